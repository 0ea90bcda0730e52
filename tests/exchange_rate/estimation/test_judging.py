"""Which metric to trust: decoys do not win, nothing real is answered with none, what is planted is found."""

import json

import numpy as np
import polars as pl
import pytest

from exchange_rate import judge_metrics, rank_metrics
from exchange_rate.estimation.contradictions import contradictions
from exchange_rate.estimation.decoys import exchanged, luck
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.leave_out import squared_errors
from exchange_rate.estimation.ranking import points_of
from exchange_rate.estimation.stability import stability
from exchange_rate.estimation.trust import NONE
from moon_rec.errors import StudyError


def study(random, num_encoders=12, num_metrics=6, each=1, real=("recall",), noise=0.1):
    """Runs of 3 seeds; AUC rises with quality, the real metrics follow it, the others mean nothing; paths of `each` encoders have effects of their own."""
    codes = np.arange(num_encoders) // each
    of_path = random.normal(0, 1, (num_metrics + 2, num_encoders))[:, codes] * (each > 1)
    drawn = random.normal(0, 1, (num_metrics + 2, num_encoders))
    quality, scatter, *idle = of_path + drawn
    columns = {f"idle {row}": values for row, values in enumerate(idle)}
    columns |= {name: quality + noise * random.normal(0, 1, num_encoders) for name in real}
    encoders = pl.DataFrame(
        {
            "encoder": [f"encoder {row}" for row in range(num_encoders)],
            "path": [f"path {code}" for code in codes],
            **columns,
            "base": 0.6 + 0.02 * quality + 0.003 * scatter,
        }
    )
    runs = [
        encoders.with_columns(
            seed=pl.lit(seed), auc=pl.col("base") + pl.Series(random.normal(0, 1e-3, num_encoders))
        )
        for seed in range(3)
    ]
    return pl.concat(runs).drop("base")


def test_a_real_metric_among_idle_ones_is_named_and_decoys_stand_beside_it():
    found = judge_metrics(study(np.random.default_rng(0)), steering="idle 0")
    assert found.choice.answer == "recall" and found.choice.not_told_from == ()
    first = found.metrics[0]
    assert (first.metric, first.verdict) == ("recall", "better than decoys")
    assert first.quality_low > 0.75 and first.p_decoy == 0.001 and first.p_best > 0.9
    decoys = [one for one in found.metrics if one.is_decoy]
    assert [one.verdict for one in decoys] == ["decoy", "decoy"]
    assert {one.metric for one in decoys} == {"decoy: idle 0 of other encoders", "decoy: noise"}
    assert sum(one.p_best for one in found.metrics) == pytest.approx(1)
    json.dumps(found.as_dict())


def test_errors_are_those_of_rank_metrics():
    frame = study(np.random.default_rng(1), each=2)
    ranked = dict(rank_metrics(frame).select("metric", "left_out_error").iter_rows())
    for one in judge_metrics(frame).metrics:
        assert one.is_decoy or one.left_out_error == pytest.approx(ranked[one.metric])


@pytest.mark.parametrize(("num_encoders", "each"), [(6, 1), (12, 1), (24, 3)])
def test_with_46_decoys_and_nothing_real_the_best_seldom_passes(num_encoders, each):
    random, passed = np.random.default_rng(2), 0
    codes = np.arange(num_encoders) // each
    for number in range(200):
        of_path = random.normal(0, 1, (num_encoders // each, 47))[codes] * (each > 1)
        drawn = of_path + random.normal(0, 1, (num_encoders, 47))
        metrics, outcome = drawn[:, 1:], drawn[:, 0]
        shares = squared_errors(metrics, outcome[:, None], codes).share
        passed += luck(metrics, outcome, codes, number, 199).p_value(shares.min()) <= 0.05
    assert passed <= 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)


def test_with_46_decoys_the_answer_is_none_until_one_is_real():
    """`benchmarks/metric_choice.py` counts 1,000 studies a row."""
    random = np.random.default_rng(3)
    idle = [judge_metrics(study(random, 12, 46, real=())).choice.answer for _ in range(8)]
    assert idle.count(NONE) >= 6  # of 8 at .95 each
    found = [judge_metrics(study(random, 12, 46)).choice.answer for _ in range(5)]
    assert found.count("recall") >= 4


def test_two_real_metrics_alike_are_both_told_from_decoys():
    choice = judge_metrics(study(np.random.default_rng(4), real=("one", "two"))).choice
    assert {choice.answer, *choice.not_told_from} == {"one", "two"}
    assert "not told from it" in choice.reason


def test_checkpoints_of_few_trainings_name_nothing():
    """Six checkpoints of two trainings: AUC and metric agree perfectly, and by luck of two trainings they may."""
    frame = study(np.random.default_rng(5), 6, 2, each=3, noise=0.0)
    choice = judge_metrics(frame).choice
    assert choice.answer == NONE and "2 paths" in choice.reason


def test_four_lucky_paths_do_not_pass_for_24_encoders():
    """One value a path, six checkpoints each: permuting encoders would give p below .001 to a metric that agrees by luck in 1 of 24 orders."""
    codes = np.repeat(np.arange(4), 6)
    random = np.random.default_rng(6)
    metric = np.array([1.0, 2.0, 3.0, 4.0])[codes] + random.normal(0, 0.01, 24)
    outcome = np.array([1.1, 2.0, 2.9, 4.0])[codes] + random.normal(0, 0.01, 24)
    found = luck(metric[:, None], outcome, codes, 0)
    share = squared_errors(metric[:, None], outcome[:, None], codes).share[0, 0]
    assert found.p_value(share) > 0.03
    alone = luck(metric[:, None], outcome, np.arange(24), 0)
    assert alone.p_value(share) == 0.001


def test_exchanging_keeps_paths_together():
    codes, random = np.array([0, 0, 1, 1, 2, 2]), np.random.default_rng(7)
    values = np.array([1.0, 2.0, 10.0, 14.0, 100.0, 108.0])
    drawn = exchanged(values, codes, random, 200)
    means = (drawn[::2] + drawn[1::2]) / 2
    assert {tuple(sorted(one)) for one in means.T} == {(1.5, 12.0, 104.0)}
    gaps = np.abs(drawn[1::2] - drawn[::2])
    np.testing.assert_allclose(gaps, np.array([[1.0], [4.0], [8.0]]) * np.ones((1, 200)))
    assert len({tuple(one) for one in drawn.T}) == 48  # 3! orders of means times 2^3 turns


def test_untrained_encoders_judge_nothing():
    frame = study(np.random.default_rng(8)).with_columns(is_trained=pl.lit(True))
    far = frame.head(1).with_columns(
        encoder=pl.lit("random weights"), is_trained=pl.lit(False), auc=pl.lit(0.3)
    )
    with_far = pl.concat([frame, far])
    assert judge_metrics(with_far).as_dict() == judge_metrics(frame).as_dict()
    assert rank_metrics(with_far).equals(rank_metrics(frame))


def test_a_metric_that_is_not_measured_everywhere_is_not_compared():
    frame = study(np.random.default_rng(9)).with_columns(
        pl.when(pl.col("encoder") != "encoder 3").then("recall").alias("recall"), same=pl.lit(1.0)
    )
    found = {one.metric: one for one in judge_metrics(frame).metrics}
    assert found["recall"].verdict == found["same"].verdict == "not compared"
    assert found["recall"].reason == "measured on 11 of 12 encoders"
    assert found["same"].reason == "every encoder has the same value"
    assert np.isnan(found["recall"].p_best)


def planted(swap):
    """Twelve encoders whose AUC follows recall, but for `swap`, two of which have each other's AUC."""
    recall = np.linspace(0.1, 0.7, 12)
    auc = 0.6 + 0.05 * recall
    auc[list(swap)] = auc[list(swap)[::-1]]
    random, rows = np.random.default_rng(10), []
    for seed in range(3):
        noise = random.normal(0, 5e-4, 12)
        rows += [
            {
                "encoder": f"encoder {row:02}",
                "seed": seed,
                "auc": auc[row] + noise[row],
                "recall": recall[row],
                "recall.low": recall[row] - 0.02,
                "recall.high": recall[row] + 0.02,
            }
            for row in range(12)
        ]
    return pl.DataFrame(rows)


def test_a_planted_contradiction_is_found_and_where_there_is_none_none_is():
    found = judge_metrics(planted((3, 9)))
    first = found.disagreements[0]
    assert (first.better_by_metric, first.better_by_outcome) == ("encoder 09", "encoder 03")
    assert first.metric_low > 0 > first.outcome_high and first.z > 5
    assert found.num_disagreements >= len(found.disagreements) > 0
    assert judge_metrics(planted((3, 3))).disagreements == ()


def test_a_contradiction_needs_noise_that_is_known():
    frame = planted((3, 9)).drop("recall.low", "recall.high")
    assert judge_metrics(frame).disagreements == ()


def test_draws_that_lift_all_encoders_make_no_contradiction_unsure():
    frame, random = planted((3, 9)), np.random.default_rng(11)
    names = tuple(frame["encoder"].unique(maintain_order=True))
    lift = random.normal(0, 1, (200, 1))
    small = random.normal(0, 1e-4, (200, 12))
    draws = Draws(names, 0.3 + lift + small, 0.6 + lift + small)
    found = contradictions(points_of(frame, "auc", "recall", draws=draws), "recall", 0.95)
    assert found[0].better_by_metric == "encoder 09" and found[0].z > 5


def test_segments_with_unlike_slopes_are_told_apart():
    random = np.random.default_rng(12)
    metric = random.normal(size=12)

    def outcomes(extra):
        noise = random.normal(0, 0.002, (2, 12))
        return {
            "warm": 0.01 * metric + noise[0],
            "cold": (0.01 + extra) * metric + noise[1],
        }

    none = {"warm": 0.0, "cold": 0.0}
    found = stability(metric, outcomes(0.02), np.arange(12), 0.95, none)
    assert found.is_stable is False and "more in cold" in found.reason
    assert found.effects[1].slope == pytest.approx(0.03 * metric.std(ddof=1), rel=0.1)
    alarms = [
        stability(metric, outcomes(0.0), np.arange(12), 0.95, none).is_stable is False
        for _ in range(200)
    ]
    assert np.mean(alarms) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_segments_come_from_their_columns():
    frame = study(np.random.default_rng(13)).with_columns(
        auc_cold=3 * pl.col("auc") - 1.2, nothing=pl.lit(None, dtype=pl.Float64)
    )
    segments = {"all items": "auc", "cold items": "auc_cold", "no items": "nothing"}
    first = judge_metrics(frame, metrics=["recall"], segments=segments).metrics[0]
    assert first.stability is not None and first.stability.is_stable is False
    assert [one.segment for one in first.stability.effects] == ["all items", "cold items"]
    slopes = [one.slope for one in first.stability.effects]
    assert slopes[1] == pytest.approx(3 * slopes[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steering": "gone"}, "no column 'gone'"),
        ({"segments": {"cold": "gone"}}, "no column 'gone'"),
        ({"metrics": ["gone"]}, "no column 'gone'"),
        ({"outcome": "gone"}, "no column 'gone'"),
    ],
)
def test_a_column_that_is_not_there_is_named(change, says):
    with pytest.raises(StudyError, match=says):
        judge_metrics(study(np.random.default_rng(14)), **change)


def test_many_metrics_and_encoders_are_judged_in_seconds():
    import time

    frame = study(np.random.default_rng(15), 165, 59, each=5)
    start = time.process_time()
    judge_metrics(frame)
    assert time.process_time() - start < 6
