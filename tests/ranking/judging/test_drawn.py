"""AUC and GAUC under joint draws: against scikit-learn, a loop over users, and independence from row order and from other users."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from moon_rec.errors import RankingError
from moon_rec.user_draws import DrawCounts, weight_rows
from ranking.judging.drawn import scores_under_draws
from ranking.judging.judgement import evaluate

COUNTS = DrawCounts(draws=6, splits=2)


def planted(num_rows=900, num_users=40, seed=0):
    """Scores with ties, in which clicks rise; half of the rows cold."""
    random = np.random.default_rng(seed)
    labels = (random.random(num_rows) < 0.3).astype(np.int64)
    return pl.DataFrame(
        {
            "request_id": np.arange(num_rows),
            "item_id": random.integers(0, 50, num_rows),
            "user_id": random.integers(0, num_users, num_rows) * 17 - 100,
            "label": labels,
            "score": np.round(0.4 * random.random(num_rows) + 0.1 * labels, 2),
            "is_cold": random.random(num_rows) < 0.5,
        }
    )


def weights_of(scores, counts):
    """`(rows of weights, impressions)` each impression's user's."""
    users = np.unique(scores["user_id"].to_numpy())
    place = np.searchsorted(users, scores["user_id"].to_numpy())
    return np.concatenate(list(weight_rows(users, counts)))[:, place]


def test_auc_is_scikit_learns_with_sample_weights():
    scores = planted()
    found, weights = scores_under_draws(scores, COUNTS), weights_of(scores, COUNTS)
    segments = {"": pl.lit(True), "_cold": pl.col("is_cold"), "_warm": ~pl.col("is_cold")}
    for segment, is_in in segments.items():
        kept = scores.select(is_in.alias("kept"))["kept"].to_numpy() & np.ones(len(scores), bool)
        labels, given = (scores[name].to_numpy()[kept] for name in ("label", "score"))
        for row, own in enumerate(weights):
            expected = roc_auc_score(labels, given, sample_weight=own[kept])
            assert found[f"auc{segment}"][row] == pytest.approx(expected, rel=1e-12)


def test_gauc_is_a_loop_over_users():
    scores = planted()
    found, weights = scores_under_draws(scores, COUNTS), weights_of(scores, COUNTS)
    for row, own in enumerate(weights[:4]):
        above = below = 0.0
        for _user, rows in scores.with_columns(weight=own).group_by("user_id"):
            labels = rows["label"].to_numpy()
            if 0 < labels.sum() < len(labels):
                weight = rows["weight"][0] * len(rows)
                above += weight * roc_auc_score(labels, rows["score"].to_numpy())
                below += weight
        assert found["gauc"][row] == pytest.approx(above / below, rel=1e-12)


def test_the_first_row_is_what_evaluate_prints():
    scores = planted()
    printed = evaluate(scores, num_resamples=2)
    found = scores_under_draws(scores, COUNTS)
    assert set(found) == {
        f"{one}{end}" for one in ("auc", "gauc") for end in ("", "_cold", "_warm")
    }
    for name, values in found.items():
        assert values[0] == pytest.approx(printed[name].value, rel=1e-12)
        assert np.isfinite(values[: 1 + COUNTS.draws]).all()


def test_row_order_changes_no_bit():
    scores = planted()
    mixed = scores.sample(fraction=1, shuffle=True, seed=3)
    found, again = scores_under_draws(scores, COUNTS), scores_under_draws(mixed, COUNTS)
    assert all((found[name] == again[name]).all() for name in found)


def test_two_rankers_of_the_same_users_have_noise_in_common():
    """The same impressions scored by two rankers that agree on most: their AUCs move together over draws, their difference hardly."""
    scores = planted(4_000, 400)
    random = np.random.default_rng(1)
    other = scores.with_columns(score=pl.col("score") + 0.02 * random.random(len(scores)))
    counts = DrawCounts(100, 1)
    one, two = (scores_under_draws(each, counts)["auc"][1:101] for each in (scores, other))
    assert np.corrcoef(one, two)[0, 1] > 0.9
    assert (one - two).std() < 0.5 * one.std()


def test_users_alone_without_a_class_leave_a_half_without_a_value():
    scores = planted(60, 2).with_columns(
        label=(pl.col("user_id") == -100).cast(pl.Int64), is_cold=None
    )
    scores = scores.with_columns(pl.col("is_cold").cast(pl.Boolean))
    found = scores_under_draws(scores, DrawCounts(20, 8))
    assert list(found) == ["auc"]  # no user has both classes
    assert np.isfinite(found["auc"][:21]).all()
    # both users together have a value, one alone or none has not
    assert np.isnan(found["auc"][21:].reshape(8, 2)).any(axis=1).all()


def test_texts_as_users_are_refused():
    scores = planted().with_columns(pl.col("user_id").cast(pl.String))
    with pytest.raises(RankingError, match="user_id of the scores is of String"):
        scores_under_draws(scores, COUNTS)
