"""Metrics against scikit-learn and literal loops."""

import math
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

import ranking
from moon_rec.errors import RankingError
from ranking.metrics import (
    WEIGHTS,
    auc,
    calibration,
    gauc,
    log_loss,
    normalised_entropy,
    score_bins,
    squared_calibration_error,
)


def rows(seed, count=400, levels=12, users=30):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    labels[:2] = [0, 1]
    return labels, random.integers(0, levels, count) / levels, random.integers(0, users, count)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_auc_is_sklearns_with_ties(seed, levels):
    labels, scores, _ = rows(seed, levels=levels)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_auc_of_equal_scores_is_a_half_in_any_order():
    for labels in ([0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]):
        assert auc(np.array(labels), np.full(4, 0.3)) == 0.5


def test_auc_takes_booleans_and_any_order():
    labels, scores, _ = rows(3)
    order = np.random.default_rng(0).permutation(labels.size)
    assert auc(labels == 1, scores) == auc(labels[order], scores[order])


def literal_gauc(labels, scores, groups, weight):
    total = weights = left_out = 0.0
    for group in set(groups.tolist()):
        mine = groups == group
        positives = int(labels[mine].sum())
        if positives in (0, int(mine.sum())):
            left_out += 1
            continue
        counted = {"impressions": mine.sum(), "users": 1, "positives": positives}[weight]
        total += counted * roc_auc_score(labels[mine], scores[mine])
        weights += counted
    return total / weights, left_out


@pytest.mark.parametrize("weight", WEIGHTS)
@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_gauc_is_the_literal_loop(weight, seed):
    labels, scores, users = rows(seed, count=150)
    users = users * 17 - 5
    value, left_out = literal_gauc(labels, scores, users, weight)
    found = gauc(labels, scores, users, weight)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (found.num_left_out, found.num_groups) == (left_out, len(set(users)) - left_out)


@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from(WEIGHTS))
@settings(max_examples=30)
def test_pieces_of_any_size_in_any_order_give_the_same_bits(seed, num_shards, weight):
    """Rows dealt to ranks and gathered rank by rank, users torn apart: equal, not merely close."""
    labels, scores, users = rows(seed, count=200)
    scores = scores + np.random.default_rng(seed).normal(size=200).round(1) * 1e-3
    rank = np.random.default_rng(seed + 1).integers(0, num_shards, 200)
    order = np.concatenate([np.flatnonzero(rank == one) for one in range(num_shards)])
    assert auc(labels, scores) == auc(labels[order], scores[order])
    whole = gauc(labels, scores, users, weight)
    assert whole == gauc(labels[order], scores[order], users[order], weight)


def test_users_who_clicked_all_or_nothing_are_counted_and_change_nothing():
    labels, scores, users = rows(4)
    alone = gauc(labels, scores, users)
    more = [np.ones(5, int), np.zeros(7, int)]
    labels = np.concatenate([labels, *more])
    scores = np.concatenate([scores, np.linspace(0, 1, 12)])
    users = np.concatenate([users, np.full(5, 900), np.full(7, 901)])
    found = gauc(labels, scores, users)
    assert (found.value, found.num_groups) == (alone.value, alone.num_groups)
    assert found.num_left_out == alone.num_left_out + 2


def test_a_tie_within_a_user_counts_a_half():
    labels, users = np.array([1, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 1])
    # user 0: one tie and one win of two pairs; user 1: a tie
    assert gauc(labels, np.array([0.5, 0.5, 0.1, 0.3, 0.3]), users, "users").value == 0.625


def test_log_loss_is_sklearns():
    labels, scores, _ = rows(5)
    assert log_loss(labels, scores) == pytest.approx(
        sklearn_log_loss(labels, np.clip(scores, 1e-12, 1 - 1e-12)), abs=1e-9
    )


def test_normalised_entropy_is_log_loss_over_that_of_the_mean_rate():
    labels, scores, _ = rows(6)
    always = np.full(labels.size, labels.mean())
    scores = np.clip(scores, 0.02, 0.98)
    found = normalised_entropy(labels, scores)
    by_sklearn = sklearn_log_loss(labels, scores) / sklearn_log_loss(labels, always)
    assert found == pytest.approx(by_sklearn, abs=1e-12)
    assert normalised_entropy(labels, always) == pytest.approx(1, abs=1e-12)
    with pytest.raises(RankingError, match="all 400 labels are 1"):
        normalised_entropy(labels * 0 + 1, scores)


def test_calibration_of_promises_twice_too_large():
    labels = np.tile([0, 0, 0, 1], 100)
    found = calibration(labels, np.full(400, 0.5))
    assert found.ratio == pytest.approx(2.0)
    # one bin of 400 rows, a gap of .25; clicks vary by 3/16 each, of which 399 are free
    assert found.error == pytest.approx((0.25**2 - 3 / 16 / 399) ** 0.5)


@pytest.mark.parametrize("num_users", [None, 50])
def test_calibration_error_is_the_literal_loop(num_users):
    labels, _, users = rows(7, count=1000, users=num_users or 1000)
    if num_users is None:
        users = np.arange(1000)
    scores = np.random.default_rng(7).random(1000)
    total = 0.0
    for part in np.array_split(np.argsort(scores), 10):
        gaps = [
            (scores - labels)[part[users[part] == user]].sum() for user in range(users.max() + 1)
        ]
        variance = len(gaps) * np.var(gaps, ddof=1)
        total += (np.sum(gaps) ** 2 - variance) / part.size
    found = calibration(labels, scores, groups=None if num_users is None else users)
    assert found.error == pytest.approx((total / 1000) ** 0.5)


def test_calibration_error_of_right_promises_is_nil_on_average():
    """Before it is cut at zero and its root taken; the plain mean square gap is far above zero."""
    random, found, plain = np.random.default_rng(5), [], []
    for _ in range(400):
        chances = random.beta(1, 6, size=600)
        labels = (random.random(600) < chances).astype(int)
        bins = score_bins(chances, 10)
        sums, squares = (np.bincount(bins, (chances - labels) ** power, 10) for power in (1, 2))
        sizes = np.bincount(bins, minlength=10).astype(float)
        found.append(squared_calibration_error(sums, squares, sizes, 600))
        plain.append(squared_calibration_error(sums, squares, sizes, 600, noise=0))
    error = np.std(found) / 20
    assert abs(np.mean(found)) < 3 * error < np.mean(plain) / 4


BAD_GROUPS = [
    ([7, 7, None, 8], r"group None in row 2 \(1 of 4 rows\) is missing; give every row"),
    ([7.0, float("nan"), float("nan"), 8.0], r"group nan in row 1 \(2 of 4 rows\) is missing"),
    (np.array([7, np.nan, 8, 8]), r"group nan in row 1 \(1 of 4 rows\)"),
    (pl.Series([7, 7, None, 8]), r"group nan in row 2 \(1 of 4 rows\)"),
    (pl.Series(["a", None, "b", "b"]), r"group None in row 1 \(1 of 4 rows\)"),
    (["a", 7, "7", "a"], r"group 7 in row 1 \(1 of 4 rows\) is of another kind than 'a' in row 0"),
    ([7, "7", 7, 7], r"group '7' in row 1 \(1 of 4 rows\) is of another kind than 7 in row 0"),
    (np.array([7, "7", 7, 7], dtype=object), "group '7' in row 1"),
    (["a", " ", "", "b"], r"group ' ' in row 1 \(2 of 4 rows\) is empty"),
    ([7, 7.5, 8, 8], r"group 7.5 in row 1 \(1 of 4 rows\) is no whole number"),
    ([2.0**53, 2.0**53 + 2, 8.0, 8.0], r"group 9007199254740992.0 in row 0 \(2 of 4 rows\)"),
    ([7, float("inf"), 8, 8], "group inf in row 1"),
    ([True, False, True, True], "group True in row 0"),
    (np.array([True, False, True, True]), "groups of type bool"),
    (np.array(["2026-01-01"] * 4, dtype="datetime64[D]"), "groups of type datetime64"),
    ([(1,), (2,), (1,), (2,)], "groups .4, 1.: wanted one for each of 4 rows"),
]


@pytest.mark.parametrize(("groups", "words"), BAD_GROUPS, ids=range(len(BAD_GROUPS)))
@pytest.mark.parametrize("judge", ["gauc", "compare", "compare_seeds", "calibration"])
def test_missing_and_mixed_groups_are_refused_by_row_and_count(groups, words, judge):
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.4, 0.3, 0.2, 0.1])
    with pytest.raises(RankingError, match=words):
        if judge == "gauc":
            gauc(labels, scores, groups)
        elif judge == "compare":
            ranking.compare(labels, scores, scores, groups, num_resamples=2)
        elif judge == "compare_seeds":
            ranking.compare_seeds(labels, [scores] * 2, [scores] * 2, groups, num_resamples=2)
        else:
            calibration(labels, scores, groups=groups)


def test_groups_may_be_texts_or_whole_numbers_of_any_size():
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.4, 0.3, 0.1, 0.2])
    whole = gauc(labels, scores, np.array([7, 7, 8, 8]))
    for groups in (
        ["b", "b", "a", "a"], [7.0, 7.0, 8.0, 8.0], [7, 7.0, 8, 8.0], pl.Series(["u", "u", "v", "v"]),
        [2**60 + 1, 2**60 + 1, 2**60, 2**60], np.array([7, 7, 8, 8], dtype=np.uint8),
    ):  # fmt: skip
        assert gauc(labels, scores, groups) == whole


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([0, 2, 1], [0.1, 0.2, 0.3], "label .*2.* in row 1"),
        ([0, 1, 1], [0.1, math.nan, 0.3], "score nan in row 1"),
        ([0, 1, 1], [0.1, math.inf, 0.3], "score inf in row 1"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "all 3 labels are 1"),
        ([0, 1], [0.1, 0.2, 0.3], r"labels \(2,\) and scores \(3,\)"),
        ([], [], "not none"),
        (["0", "1", "1"], [0.1, 0.2, 0.3], "label '0' in row 0: wanted a number"),
        ([0, 1, 1], [0.1, "0.2", 0.3], "score '0.2' in row 1: wanted a number"),
        ([0, 1, None], [0.1, 0.2, 0.3], "label None in row 2: wanted a number"),
        ([0, 1, 1], [0.1, None, 0.3], "score None in row 1: wanted a number"),
        ([0, 0.05, 1], [0.1, 0.2, 0.3], "label 0.05 in row 1: wanted 0 or 1 .1 of 3 rows"),
    ],
)
def test_what_is_wrong_is_named(labels, scores, words):
    with pytest.raises(RankingError, match=words):
        auc(labels, scores)


def test_logits_are_no_probabilities():
    with pytest.raises(RankingError, match="sigmoid"):
        log_loss(np.array([0, 1]), np.array([0.1, 1.5]))


def test_gauc_errors():
    with pytest.raises(RankingError, match="weight 'rows'"):
        gauc(np.array([0, 1]), np.array([0.1, 0.2]), np.array([1, 1]), weight="rows")
    with pytest.raises(RankingError, match="none of 2 groups"):
        gauc(np.array([0, 1]), np.array([0.1, 0.2]), np.array([1, 2]))
    with pytest.raises(RankingError, match="groups"):
        gauc(np.array([0, 1]), np.array([0.1, 0.2]), np.array([1, 2, 3]))


def test_metrics_need_no_torch():
    code = (
        "import sys, ranking; from ranking.metrics import auc; assert callable(ranking.compare);"
        "assert not {'torch', 'torchrec'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
