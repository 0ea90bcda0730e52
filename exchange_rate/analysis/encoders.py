"""Every encoder with its figures, and how many there are."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy import stats

from exchange_rate.analysis.cells import Cell, Cells
from exchange_rate.analysis.quantities import NAN, finite, nothing, number
from exchange_rate.analysis.results import (
    BySegment,
    Card,
    Counts,
    Covered,
    Encoder,
    Number,
    OfRecipe,
)
from exchange_rate.estimation.points import gather_points
from exchange_rate.evidence.coverage import study_coverage
from exchange_rate.names import BASELINE, CONTENT, PERMUTED

OF_LABELS = (
    "path",
    "origin",
    "is_trained",
    "stages",
    "pretraining_tokens",
    "posttraining_tokens",
    "training_tokens",
    "negatives",
)
CHOSEN, BEST_METRIC, BEST_AUC = "chosen", "best by the metric", "best by AUC"


def counts_of(content: pl.DataFrame, num_runs: int) -> Counts:
    """How much there is in the headline's runs."""
    trained = content.filter(pl.col("is_trained"))
    return Counts(
        encoders=content["encoder"].n_unique(),
        trained=trained["encoder"].n_unique(),
        paths=content["path"].n_unique(),
        trained_paths=trained["path"].n_unique(),
        seeds=content["seed"].n_unique(),
        ranker_runs=num_runs,
    )


def encoders_of(
    cells: Cells, content: pl.DataFrame, steering: str, given: Mapping[str, Number]
) -> tuple[Encoder, ...]:
    """One entry an encoder, in the plan's order.

    Args:
        content: runs of the headline's ranker on vectors.
        given: AUC of encoders whose interval was given with it, for a single run has none of its own.
    """
    level = cells.study.about["level"]
    auc = seed_means(content, "auc", "AUC", level) | dict(given)
    permuted = seed_means(
        cells.runs(cells.ranker, PERMUTED), "auc", "AUC on permuted vectors", level
    )
    over = cells.over_permuted(cells.ranker)
    words = "AUC minus AUC on permuted vectors, seed by seed"
    gained = seed_means(over, "auc_over_permuted", words, level)
    gains = cells.comparison(cells.ranker, CONTENT, BASELINE)
    marks = _marks(cells, auc, steering)
    coverage = study_coverage(cells.study)["encoders"]
    return tuple(
        Encoder(
            name=(name := cell.labels["encoder"]),
            **{label: cell.labels[label] for label in OF_LABELS},
            width=finite(cell.metrics.get("dim")),
            metric=cell.number(steering),
            auc=auc.get(name, nothing("AUC")),
            auc_permuted=permuted.get(name),
            over_permuted=gained.get(name),
            gains=_by_segment(gains.get(name), "auc_gain"),
            shares=_by_segment(gains.get(name), "share_of_the_way"),
            items=_covered(coverage, name, "items"),
            searches=_covered(coverage, name, "searches"),
            marks=marks.get(name, ()),
        )
        for cell in cells.encoders
    )


def cards_of(cells: Cells) -> tuple[Card, ...]:
    """The card of every recipe that an encoder was trained by, with its encoders; those that were tracked before recipes were told have none."""
    found: dict[str, list[OfRecipe]] = {}
    for cell in cells.encoders:
        one = cell.labels
        if one.get("recipe") and one.get("card"):
            departures = one.get("recipe_departures", "")
            named = OfRecipe(encoder=one["encoder"], recipe=one["recipe"], departures=departures)
            found.setdefault(one["card"], []).append(named)
    return tuple(
        Card(
            line=line,
            encoders=tuple(of),
            text=f"{line}. By it were trained: {'; '.join(map(_by_recipe, of))}",
        )
        for line, of in found.items()
    )


def _by_recipe(one: OfRecipe) -> str:
    return (
        f"{one.encoder} (recipe {one.recipe}{f', but for {one.departures}' * bool(one.departures)})"
    )


def _covered(coverage: Mapping[str, Mapping], encoder: str, of: str) -> Covered | None:
    found = coverage.get(encoder, {}).get(of)
    return None if found is None else Covered(count=found["count"], total=found["total"])


def _by_segment(cell: Cell | None, name: str) -> BySegment:
    return BySegment() if cell is None else cell.by_segment(name)


def seed_means(runs: pl.DataFrame, column: str, words: str, level: float) -> dict[str, Number]:
    """Encoder -> mean over seeds; the interval comes from the spread between seeds, pooled over encoders."""
    if runs.is_empty() or column not in runs.columns:
        return {}
    runs = runs.filter(pl.col(column).is_finite().fill_null(False))
    points = gather_points(
        np.zeros(len(runs)), runs[column], runs["encoder"].to_list(), runs["seed"].to_list()
    )
    freedom = sum(points.num_runs) - len(points.names)
    quantile = float(stats.t.ppf((1 + level) / 2, freedom)) if freedom > 0 else NAN
    found = {}
    for row, name in enumerate(points.names):
        count, value = points.num_runs[row], float(points.outcome[row])
        half = quantile * points.seed_noise / np.sqrt(count)
        how = (
            f"{words}, mean over {count} seeds; interval from the spread between seeds, pooled over encoders"
            if freedom > 0
            else f"{words} of one training: one seed has no spread between seeds, so no interval"
        )
        source = f"n = {count} ranker runs"
        found[name] = number(value, value - half, value + half, how, source)
    return found


def _marks(cells: Cells, auc: Mapping[str, Number], steering: str) -> dict[str, tuple[str, ...]]:
    """What is special about an encoder."""
    metric = {one.labels["encoder"]: finite(one.metrics.get(steering)) for one in cells.encoders}
    found: dict[str, tuple[str, ...]] = {cells.chosen: (CHOSEN,)} if cells.comparisons else {}
    for mark, values in (
        (BEST_METRIC, metric),
        (BEST_AUC, {name: one.value for name, one in auc.items()}),
    ):
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            best = max(known, key=lambda name: known[name])
            found[best] = (*found.get(best, ()), mark)
    return found
