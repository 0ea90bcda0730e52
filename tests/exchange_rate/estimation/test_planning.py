"""A plan's width is that of studies of the planned size; what binds is what was made to bind."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from exchange_rate import plan_study
from exchange_rate.estimation.lines import fit_line
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.planning import NEW_PATH, half_width, noise_parts, plan_points
from exchange_rate.estimation.plans import NoiseParts, StudySize
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.rate import fit_points
from exchange_rate.estimation.sandwich import t_quantile
from exchange_rate.estimation.verdict import clusters_of
from moon_rec.errors import StudyError

SINGLE = NoiseParts(
    slope=0.1,
    spread_between=0.1,
    spread_within=0.0,
    path_scatter=0.0,
    encoder_scatter=0.004,
    seed_noise=0.001,
    user_noise=0.0,
    search_noise=0.0,
)
PATHS = replace(SINGLE, spread_within=0.06, path_scatter=0.004, encoder_scatter=0.003)


def draw(parts, size, random):
    """A study of that size with that noise."""
    code = np.arange(size.encoders) % size.paths

    def normal(deviation):
        return deviation * random.normal(0, 1, size.encoders)

    def of_path(deviation):
        return deviation * random.normal(0, 1, size.paths)[code]

    metric = 0.4 + of_path(parts.spread_between) + normal(parts.spread_within)
    outcome = 0.6 + parts.slope * metric + of_path(parts.path_scatter)
    outcome += normal(parts.encoder_scatter) + normal(parts.seed_noise / size.seeds**0.5)
    return Points(
        names=tuple(f"encoder {row}" for row in range(size.encoders)),
        paths=tuple(f"path {one}" for one in code),
        is_trained=np.ones(size.encoders, dtype=np.bool_),
        metric=metric + normal(parts.search_noise),
        outcome=outcome,
        metric_error=np.full(size.encoders, parts.search_noise),
        num_runs=(size.seeds,) * size.encoders,
        seed_noise=parts.seed_noise,
    )


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        (SINGLE, StudySize(6, 6, 3)),
        (SINGLE, StudySize(24, 24, 3)),
        (replace(SINGLE, search_noise=0.03), StudySize(16, 16, 3)),
        (replace(SINGLE, seed_noise=0.01), StudySize(12, 12, 2)),
        (PATHS, StudySize(24, 8, 3)),
        (replace(PATHS, search_noise=0.02, seed_noise=0.003), StudySize(24, 6, 1)),
        (replace(PATHS, path_scatter=0.008, spread_between=0.05), StudySize(40, 8, 1)),
    ],
)
def test_the_planned_width_is_that_of_simulated_studies(parts, size):
    random = np.random.default_rng(0)
    fits = [fit_points(draw(parts, size, random), leave_out="none") for _ in range(150)]
    seen = np.nanmedian([(fit.high - fit.low) / 2 for fit in fits])
    assert half_width(parts, size, size, 0.95) == pytest.approx(seen, rel=0.15)


def test_without_paths_and_noise_the_width_is_that_of_least_squares():
    size = StudySize(12, 12, 4)
    scatter = 0.004**2 + 0.001**2 / 4
    error = np.sqrt(scatter / (11 * 0.1**2))
    # the degrees of freedom are the fit's: between Satterthwaite's and encoders - 2
    found = half_width(SINGLE, size, size, 0.95)
    assert t_quantile(0.95, 10) * error < found < t_quantile(0.95, 4) * error


def test_parts_come_back_from_a_large_study():
    random = np.random.default_rng(1)
    parts = replace(PATHS, search_noise=0.02, seed_noise=0.002)
    points = draw(parts, StudySize(480, 120, 2), random)
    noise = Noise.of(points)
    line = fit_line(points.metric, points.outcome, noise, clusters_of(points))
    assert line is not None
    found = noise_parts(points, noise, line)
    for name in ("slope", "spread_between", "spread_within", "path_scatter", "encoder_scatter"):
        assert getattr(found, name) == pytest.approx(getattr(parts, name), rel=0.2), name
    assert (found.seed_noise, found.search_noise) == pytest.approx((0.002, 0.02))


@pytest.mark.parametrize(
    ("parts", "binding"),
    [
        (replace(PATHS, path_scatter=0.02, spread_within=0.01), "paths"),
        (replace(PATHS, encoder_scatter=0.02), "encoders"),
        (replace(PATHS, seed_noise=0.02), "seeds"),
        (replace(PATHS, search_noise=0.06, encoder_scatter=0.001), "searches"),
    ],
)
def test_what_binds_is_what_was_made_to_bind_and_more_of_it_helps_most(parts, binding):
    points = draw(parts, StudySize(48, 12, 2), np.random.default_rng(2))
    plan = plan_points(points, 0.1, 0.95, searches=1000)
    assert plan.binding == binding
    assert sum(plan.shares.values()) == pytest.approx(1)
    json.dumps(plan.as_dict())


def test_options_reach_the_target_and_no_smaller_one_does():
    points = draw(SINGLE, StudySize(8, 8, 1), np.random.default_rng(3))
    plan = plan_points(points, 0.2)
    more = plan.options[0]
    assert more.is_enough and more.relative_half_width <= 0.2
    assert more.size.encoders == more.size.paths > 8
    fewer = replace(more.size, encoders=more.size.encoders - 1, paths=more.size.paths - 1)
    assert half_width(plan.parts, fewer, plan.now.size, 0.95) > 0.2 * abs(plan.parts.slope)
    seeds = next(one for one in plan.options if "seeds" in one.change)
    assert not seeds.is_enough and "not enough, however many" in seeds.change


def test_the_next_encoder_is_on_a_new_path_where_paths_bind_and_hardly_vary_within():
    parts = replace(PATHS, path_scatter=0.01, spread_within=0.01)
    points = draw(parts, StudySize(24, 6, 3), np.random.default_rng(4))
    found = plan_points(points).next_encoder
    assert found is not None and found.path == NEW_PATH
    assert found.metric in (points.metric.min(), points.metric.max())
    assert found.relative_half_width < found.relative_half_width_now
    assert found.words.startswith("an encoder of a new path")


def test_a_path_is_gone_on_with_no_further_than_its_encoders_lie_apart():
    parts = replace(PATHS, path_scatter=0.02)
    points = draw(parts, StudySize(24, 6, 3), np.random.default_rng(4))
    plan = plan_points(points)
    found = plan.next_encoder
    assert found is not None and found.path in points.paths  # within paths is what tells the slope
    own = points.metric[[path == found.path for path in points.paths]]
    step = plan.parts.spread_within
    assert own.min() - step <= found.metric <= own.max() + step


def runs(random, num_encoders=12):
    recall = random.uniform(0.1, 0.6, num_encoders)
    encoders = pl.DataFrame(
        {
            "encoder": [f"encoder {row}" for row in range(num_encoders)],
            "recall": recall,
            "recall.low": recall - 0.02,
            "recall.high": recall + 0.02,
            "recall.count": 1200,
            "base": 0.6 + 0.1 * recall + random.normal(0, 0.004, num_encoders),
        }
    )
    return pl.concat(
        encoders.with_columns(
            seed=pl.lit(seed),
            auc=pl.col("base") + pl.Series(random.normal(0, 0.001, num_encoders)),
        )
        for seed in range(3)
    ).drop("base")


def test_a_study_is_planned_from_its_table():
    plan = plan_study(runs(np.random.default_rng(5)), "recall")
    assert plan.now.size == StudySize(12, 12, 3, 1200, None)
    assert {one.change.split(":")[0] for one in plan.options} == {
        "more encoders, each a training of its own",
        "more seeds",
        "more searches",
    }
    assert plan.next_encoder is not None and plan.next_encoder.path == NEW_PATH
    assert plan.binding == "encoders" and "owed to encoders" in plan.reason


def test_where_there_is_no_slope_there_is_no_plan():
    plan = plan_study(runs(np.random.default_rng(6), 3), "recall")
    assert plan.options == () and plan.next_encoder is None
    assert plan.reason.startswith("no plan: 3 distinct encoders")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: {"table": frame, "metric": "gone"}, "no column 'gone'"),
        (lambda frame: {"table": frame, "metric": "recall", "outcome": "gone"}, "no column 'gone'"),
        (lambda frame: {"table": frame, "metric": "recall", "target": 0}, "target = 0"),
        (
            lambda frame: {
                "table": frame.with_columns(auc=pl.lit(None, pl.Float64)),
                "metric": "recall",
            },
            "no run of a trained encoder has both recall and auc",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(change, says):
    with pytest.raises(StudyError, match=says):
        plan_study(**change(runs(np.random.default_rng(7))))
