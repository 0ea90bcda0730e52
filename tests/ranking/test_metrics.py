"""Metrics against scikit-learn and literal loops."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from moon_rec.errors import RankingError
from ranking.metrics import WEIGHTS, auc, calibration, gauc, log_loss, normalised_entropy


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
    assert found.error == pytest.approx(0.25)


def test_calibration_error_is_the_literal_loop():
    labels, _, _ = rows(7, count=1000)
    scores = np.random.default_rng(7).random(1000)
    order = np.argsort(scores)
    gaps = [abs((scores - labels)[part].sum()) for part in np.array_split(order, 10)]
    assert calibration(labels, scores).error == pytest.approx(sum(gaps) / 1000)


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([0, 2, 1], [0.1, 0.2, 0.3], "label .*2.* in row 1"),
        ([0, 1, 1], [0.1, math.nan, 0.3], "score nan in row 1"),
        ([0, 1, 1], [0.1, math.inf, 0.3], "score inf in row 1"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "all 3 labels are 1"),
        ([0, 1], [0.1, 0.2, 0.3], r"labels \(2,\) and scores \(3,\)"),
        ([], [], "not none"),
    ],
)
def test_what_is_wrong_is_named(labels, scores, words):
    with pytest.raises(RankingError, match=words):
        auc(np.array(labels), np.array(scores))


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
