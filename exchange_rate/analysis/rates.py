"""The exchange rates of a study: the headline's, and those that stand beside it."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.joint_draws import OVER_PERMUTED, draws_for, kind_of
from exchange_rate.analysis.quantities import finite, nothing, number, slope_number
from exchange_rate.analysis.results import (
    Influence,
    LeftOutRate,
    Line,
    PairRow,
    Paths,
    Rate,
    Shape,
    SplitUsers,
)
from exchange_rate.estimation.candidates import metric_errors
from exchange_rate.estimation.rate import MIN_ENCODERS, fit_exchange_rate, pairwise_ratios
from exchange_rate.estimation.results import ExchangeRate, LeftOut
from exchange_rate.evidence.draws import StudyDraws
from exchange_rate.names import CONTENT
from moon_rec.errors import StudyError

OUTCOMES = {
    "auc": "AUC",
    "auc_warm": "AUC on warm items",
    "auc_cold": "AUC on cold items",
    "gauc": "GAUC",
}
"""What rates are given of, as it is called."""
NAMES = OUTCOMES | {OVER_PERMUTED: "AUC over permuted vectors"}
LINE_POINTS = 60


def rates_of(
    cells: Cells, content: pl.DataFrame, steering: str, draws: StudyDraws | None
) -> tuple[Rate, ...]:
    """The headline's rate first: of AUC over permuted vectors where every trained encoder has them, else of AUC; then the other outcomes, then AUC of other rankers.

    Args:
        content: runs of the headline's ranker on vectors that count.
        draws: the same draws of users for all encoders; None where there are none.
    """
    own = [
        _rate(cells, cells.ranker, content, steering, outcome, draws)
        for outcome in OUTCOMES
        if _has(content, outcome)
    ]
    permuted = with_outcome(cells, content, OVER_PERMUTED)
    if len(_trained(permuted)) >= MIN_ENCODERS:
        over = _rate(cells, cells.ranker, permuted, steering, OVER_PERMUTED, draws)
        has_all = _trained(content) == _trained(permuted)
        own.insert(0 if has_all else 1, over)
    return (*own, *_of_others(cells, steering, draws))


def with_outcome(cells: Cells, content: pl.DataFrame, outcome: str) -> pl.DataFrame:
    """The runs of `content` that have that outcome, with it: AUC over permuted vectors is that of two runs."""
    if outcome != OVER_PERMUTED:
        return content
    over = cells.over_permuted(cells.ranker)
    return content.join(over, on=["encoder", "seed"], how="inner", maintain_order="left")


def _of_others(cells: Cells, steering: str, draws: StudyDraws | None) -> Iterator[Rate]:
    for names in cells.rankers[1:]:
        runs = cells.runs(names["name"], CONTENT)
        if len(runs) and _has(runs, "auc"):
            yield _rate(cells, names["name"], runs, steering, "auc", draws)


def _trained(content: pl.DataFrame) -> set[str]:
    return set(content.filter(pl.col("is_trained"))["encoder"])


def _has(runs: pl.DataFrame, outcome: str) -> bool:
    return outcome in runs.columns and runs[outcome].is_finite().fill_null(False).any()


def _rate(
    cells: Cells,
    ranker: str,
    content: pl.DataFrame,
    steering: str,
    outcome: str,
    draws: StudyDraws | None,
) -> Rate:
    """The exchange rate of one outcome on the steering metric, or why there is none."""
    name = NAMES[outcome]
    if steering not in content.columns:
        return _no_rate(ranker, outcome, f"{steering} was not measured on this shop")
    measured = pl.all_horizontal(pl.col(steering, outcome).is_finite().fill_null(False))
    runs = content.filter(measured)
    absent = content.filter(~measured)["encoder"].unique(maintain_order=True).to_list()
    if not runs["is_trained"].any():
        reason = (
            f"no trained encoder has {steering} and {name}, and the rate is among trained encoders"
        )
        return _no_rate(ranker, outcome, reason)
    try:
        noise, told = metric_errors(runs, steering)
        fit = fit_exchange_rate(
            runs[steering].to_numpy(),
            runs[outcome].to_numpy(),
            runs["encoder"].to_list(),
            runs["seed"].to_list(),
            cells.study.about["level"],
            metric_error=noise,
            path=runs["path"].to_list(),
            is_trained=runs["is_trained"].to_list(),
            draws=draws_for(draws, ranker, steering, outcome, runs),
            outcome_kind=kind_of(outcome),
            metric_name=steering,
            outcome=name,
        )
    except StudyError as error:
        return _no_rate(ranker, outcome, str(error))
    left_out = f"without {', '.join(map(repr, absent))}, not measured there" if absent else ""
    reason = "; ".join(filter(None, (fit.reason, told, left_out)))
    return typed_rate(fit, ranker, outcome, reason, runs, steering)


def _no_rate(ranker: str, outcome: str, reason: str) -> Rate:
    return Rate(
        ranker=ranker,
        outcome=outcome,
        name=NAMES[outcome],
        verdict="not identified",
        reason=reason,
        slope=nothing(),
        intercept=None,
        direct_effect="",
        all_encoders=None,
        untrained=(),
        paths=None,
        shape=None,
        influence=None,
        split_users=None,
        num_encoders=0,
        num_paths=0,
        num_runs=0,
        metric_noise=None,
        shared_noise=None,
        seed_noise=None,
        scatter=None,
        line=None,
    )


def typed_rate(
    fit: ExchangeRate, ranker: str, outcome: str, reason: str, runs: pl.DataFrame, steering: str
) -> Rate:
    """A fit as the report has it."""
    encoders = "encoder" if fit.num_encoders == 1 else "encoders"
    source = (
        f"{fit.num_encoders} {encoders} on {fit.paths.num_paths} paths, {fit.num_runs} ranker runs"
    )
    others = fit.all_encoders
    split = fit.split_users
    return Rate(
        ranker=ranker,
        outcome=outcome,
        name=NAMES[outcome],
        verdict=fit.verdict,
        reason=reason,
        slope=number(fit.slope, fit.low, fit.high, fit.definition, source),
        intercept=slope_number(fit.intercept, source),
        direct_effect=fit.direct_effect,
        all_encoders=None if others is None else slope_number(others),
        untrained=fit.untrained,
        paths=Paths(
            num_paths=fit.paths.num_paths,
            within=slope_number(fit.paths.within),
            between=slope_number(fit.paths.between),
            difference=slope_number(fit.paths.difference),
            share=finite(fit.paths.share) or 0.0,
            disagree=fit.paths.disagree,
            text=fit.paths.text,
        ),
        shape=_shape(fit, runs, steering),
        influence=_influence(fit),
        split_users=None
        if split is None or finite(split.value) is None
        else SplitUsers(
            value=split.value,
            spread=finite(split.spread) or 0.0,
            num_splits=split.num_splits,
            agrees=split.agrees,
            definition=split.definition,
        ),
        num_encoders=fit.num_encoders,
        num_paths=fit.paths.num_paths,
        num_runs=fit.num_runs,
        metric_noise=finite(fit.metric_noise),
        shared_noise=finite(fit.shared),
        seed_noise=finite(fit.seed_noise),
        scatter=finite(fit.scatter),
        line=_line(fit, runs, steering),
    )


def _shape(fit: ExchangeRate, runs: pl.DataFrame, steering: str) -> Shape:
    shape = fit.shape
    own = _in_the_fit(fit, runs)
    best = "" if own.is_empty() else own.sort(steering, maintain_order=True)["encoder"][-1]
    return Shape(
        form=shape.form,
        next_point=slope_number(shape.next_point),
        best_encoder=best,
        best_metric=finite(shape.at),
        at_floor=shape.at_floor,
        at_ceiling=shape.at_ceiling,
        text=shape.text,
    )


def _influence(fit: ExchangeRate) -> Influence:
    changed = {(one.what, one.name) for one in fit.influence.changes}
    return Influence(
        left_out=tuple(_left_out(one, changed) for one in fit.influence.left_out),
        low=finite(fit.influence.low),
        high=finite(fit.influence.high),
    )


def _left_out(one: LeftOut, changed: set[tuple[str, str]]) -> LeftOutRate:
    return LeftOutRate(
        what=one.what,
        name=one.name,
        slope=finite(one.slope.value),
        low=finite(one.slope.low),
        high=finite(one.slope.high),
        verdict=one.verdict,
        changes=(one.what, one.name) in changed,
    )


def _in_the_fit(fit: ExchangeRate, runs: pl.DataFrame) -> pl.DataFrame:
    """Runs of the encoders that the line is drawn through."""
    outside = {*fit.untrained, *fit.shape.at_floor, *fit.shape.at_ceiling}
    return runs.filter(~pl.col("encoder").is_in(list(outside)))


def _line(fit: ExchangeRate, runs: pl.DataFrame, steering: str) -> Line | None:
    metric = _in_the_fit(fit, runs)[steering].to_numpy()
    if not np.isfinite(fit.slope) or not len(metric):
        return None
    margin = 0.06 * float(np.ptp(metric))
    x = np.linspace(metric.min() - margin, metric.max() + margin, LINE_POINTS)
    columns = (x, *fit.line(x))
    if not all(np.isfinite(one).all() for one in columns):
        return None
    x, value, low, high = (tuple(one.tolist()) for one in columns)
    return Line(x=x, value=value, low=low, high=high)


RATIO = (
    "(AUC of the encoder - AUC of the first) / (metric of the encoder - metric of the first); Fieller's interval from the noise of seeds and of the "
    "metric; empty where the gain of the metric is not told from zero"
)


def pairs_of(content: pl.DataFrame, steering: str, level: float) -> tuple[PairRow, ...]:
    """Each encoder against the first; empty where the metric is not there, for the rate's reason says why."""
    if steering not in content.columns:
        return ()
    content = content.filter(pl.col(steering).is_finite().fill_null(False))
    try:
        noise, _ = metric_errors(content, steering)
        rows = pairwise_ratios(
            content[steering].to_numpy(),
            content["auc"].to_numpy(),
            content["encoder"].to_list(),
            content["seed"].to_list(),
            level,
            metric_error=noise,
        )
    except StudyError:
        return ()
    return tuple(
        PairRow(
            encoder=row["encoder"],
            metric_gain=_gain(row, "metric_gain", "metric", "the metric's standard error"),
            auc_gain=_gain(row, "auc_gain", "AUC", "the noise of seeds"),
            ratio=number(row["ratio"], row["low"], row["high"], RATIO, _runs(row)),
        )
        for row in rows.iter_rows(named=True)
    )


def _gain(row: dict, name: str, of: str, noise: str):
    words = f"{of} of the encoder minus that of the first; interval from {noise}"
    return number(row[name], row[f"{name}_low"], row[f"{name}_high"], words, _runs(row))


def _runs(row: dict) -> str:
    return f"{row['num_runs']} ranker runs"
