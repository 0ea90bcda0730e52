"""Paired comparisons agree with `ranking.compare_seeds` and, for the share of the way, with a literal loop."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import ranking
from exchange_rate.study.comparison import compare_rankers
from moon_rec.errors import StudyError
from ranking.judging.resampling import interval, user_resamples
from ranking.metrics import auc


@pytest.fixture(scope="module")
def scored():
    """Truth and two rankers of four seeds: B sees more of the truth than A."""
    random = np.random.default_rng(0)
    count = 3_000
    truth = random.normal(size=count)
    probability = 1 / (1 + np.exp(2 - truth))
    label = (random.uniform(size=count) < probability).astype(np.int8)
    rows = pl.DataFrame(
        {
            "request_id": np.arange(count) // 10,
            "item_id": np.arange(count),
            "user_id": np.arange(count) // 30,
            "label": label,
            "is_cold": random.uniform(size=count) < 0.3,
        }
    )

    def ranker(noise):
        score = truth + random.normal(0, noise, count)
        return rows.with_columns(score=pl.Series(1 / (1 + np.exp(-score))))

    tables = [ranker(3.0) for _ in range(4)], [ranker(1.0) for _ in range(4)]
    known = rows.select("request_id", "item_id").with_columns(
        click_probability=pl.Series(probability)
    )
    return *tables, known


def test_differences_are_those_of_compare_seeds(scored):
    a, b, truth = scored
    found = compare_rankers(a, b, truth, num_resamples=100)
    for segment in ("", "_cold", "_warm"):
        rows = {"": pl.lit(True), "_cold": pl.col("is_cold"), "_warm": ~pl.col("is_cold")}[segment]
        first = a[0].filter(rows)
        labels, users = first["label"].to_numpy().astype(int), first["user_id"].to_numpy()
        for metric in ("auc", "gauc"):
            reference = ranking.compare_seeds(
                labels,
                [one.filter(rows)["score"].to_numpy() for one in a],
                [one.filter(rows)["score"].to_numpy() for one in b],
                users,
                metric,
                100,
            )
            own = found[f"{metric}_gain{segment}"]
            # several seeds: the interval over users and seeds, for two ways of training are compared
            assert (own.value, own.low, own.high) == pytest.approx(
                (reference.value, reference.wide_low, reference.wide_high), abs=1e-12
            )
            assert own.high - own.low > reference.high - reference.low
            assert "over users and seeds" in own.definition
            assert own.low > 0


def test_all_segments_are_under_the_same_draws_of_all_users(scored):
    """By a loop over the draws with scikit-learn; users without cold items are drawn, too, and weigh nothing there."""
    is_cold = pl.col("is_cold") & (pl.col("user_id") % 2 == 0)
    a, b = (side[0].with_columns(is_cold=is_cold) for side in scored[:2])
    found = compare_rankers([a], [b], None, num_resamples=25)
    users, cold, labels = (b[name].to_numpy() for name in ("user_id", "is_cold", "label"))
    for segment, rows in {"": cold | True, "_cold": cold, "_warm": ~cold}.items():
        given = labels[rows], b["score"].to_numpy()[rows]
        drawn = [
            roc_auc_score(*given, sample_weight=weights[users[rows]])
            for weights in user_resamples(100, 25, 0)
        ]
        own = found[f"auc_b{segment}"]
        assert own.count == np.unique(users[rows]).size
        counted = min(np.unique(users[rows & (labels == label)]).size for label in (0, 1))
        assert (own.low, own.high) == pytest.approx(interval(np.array(drawn), 0.95, counted))


def test_against_a_permuted_control_other_encoders_see_the_same_draws(scored):
    """A gain over the baseline less a gain over the control is what the control gains, draw by draw: their intervals are those of one mechanism in three cells."""
    a, b, truth = scored
    control = [
        one.with_columns(score=(2 * one["score"] + other["score"]) / 3)
        for one, other in zip(a, b, strict=True)
    ]
    over_control = compare_rankers(control, b, truth, num_resamples=25)
    over_baseline = compare_rankers(a, b, truth, num_resamples=25)
    of_control = compare_rankers(a, control, truth, num_resamples=25)
    gain = over_baseline["auc_gain"].value - over_control["auc_gain"].value
    assert gain == pytest.approx(of_control["auc_gain"].value, abs=1e-12)
    # the same AUC under the same draws, whichever cell takes it
    for one, other in (
        (over_control["auc_b"], over_baseline["auc_b"]),
        (over_control["auc_a"], of_control["auc_b"]),
        (over_control["auc_best_cold"], of_control["auc_best_cold"]),
    ):
        assert (one.value, one.low, one.high) == (other.value, other.low, other.high)
    share = over_control["share_of_the_way"]
    assert 0 < share.low < share.value < share.high < 1


def test_one_seed_a_side_has_the_interval_over_users_alone(scored):
    a, b, truth = scored
    own = compare_rankers(a[:1], b[:1], truth, num_resamples=50)["auc_gain"]
    assert own.low < own.value < own.high and "over users alone" in own.definition


def test_share_of_the_way_is_its_definition(scored):
    a, b, truth = scored
    found = compare_rankers(a, b, truth, num_resamples=20)
    labels = a[0]["label"].to_numpy()
    ids = np.mean([auc(labels, one["score"].to_numpy()) for one in a])
    cube = np.mean([auc(labels, one["score"].to_numpy()) for one in b])
    best = auc(labels, truth["click_probability"].to_numpy())
    assert found["share_of_the_way"].value == pytest.approx((cube - ids) / (best - ids))
    assert found["auc_best"].value == pytest.approx(best)


def test_rows_are_paired_by_request_and_item_not_by_place(scored):
    a, b, truth = scored
    plain = compare_rankers(a, b, truth, num_resamples=20)
    mixed = compare_rankers(
        a, [one.sample(fraction=1, shuffle=True, seed=1) for one in b], truth, num_resamples=20
    )
    assert mixed == plain


def test_without_truth_there_is_no_share(scored):
    a, b, _ = scored
    found = compare_rankers(a, b, None, num_resamples=10)
    assert "auc_gain" in found and not any("share" in name or "best" in name for name in found)


def test_the_same_ranker_gains_nothing(scored):
    a, _, truth = scored
    gain = compare_rankers(a, a, truth, num_resamples=50)["auc_gain"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_scores_of_other_rows_are_refused(scored):
    a, b, truth = scored
    with pytest.raises(StudyError, match="not of the same rows"):
        compare_rankers(a, [one.head(100) for one in b], truth)
    with pytest.raises(StudyError, match="4 seeds of A and 1 of B"):
        compare_rankers(a, b[:1], truth)


def test_a_part_of_the_products_is_compared_as_if_it_stood_alone(scored):
    a, b, truth = scored
    rows = a[0]["item_id"].to_numpy() % 3 == 0
    found = compare_rankers(a, b, truth, num_resamples=20, parts={"_in_brand_0": ("brand = Koti", rows)})  # fmt: skip
    alone = compare_rankers([one.filter(rows) for one in a], [one.filter(rows) for one in b], truth, num_resamples=20)  # fmt: skip
    for name in ("auc_a", "auc_b", "auc_gain", "gauc_gain", "auc_best", "share_of_the_way"):
        own = found[f"{name}_in_brand_0"]
        assert own.value == pytest.approx(alone[name].value) and own.count == alone[name].count
        assert own.definition.endswith(", brand = Koti only")
    assert found["auc_gain"] == compare_rankers(a, b, truth, num_resamples=20)["auc_gain"]
    none = compare_rankers(a, b, truth, num_resamples=20, parts={"_in_x_0": ("x", rows & False)})
    assert not any("_in_x_0" in name for name in none)
