"""Which metric to steer by, and how far: every candidate set against decoys, the best blend, and the encoders that contradict it.

The answer is a metric's name or `none`. A metric is named where its left-out error is the smallest of all candidates, two built-in decoys among them, and smaller than
luck gives the best of as many decoys (`exchange_rate.estimation.decoys`). So with nothing real among the candidates something is named in at most 1 - level of studies,
whatever their number; `benchmarks/metric_choice.py` counts it. Untrained encoders are left out, as from the rate: users choose between trained ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from exchange_rate.estimation.blends import best_blend
from exchange_rate.estimation.candidates import DEFINITIONS, candidate_columns, metric_errors
from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.contradictions import contradictions
from exchange_rate.estimation.decoys import Luck, allowed_share, luck, visible_decoys
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.encoders import Encoders, SegmentOutcomes
from exchange_rate.estimation.leave_out import path_codes
from exchange_rate.estimation.proxies import NUM_BOOTSTRAPS, Quality, chances_of_best, qualities
from exchange_rate.estimation.ranking import (
    Ranked,
    check_columns,
    points_of,
    rank_by_error,
    trained_rows,
)
from exchange_rate.estimation.rate import check_level
from exchange_rate.estimation.stability import stability
from exchange_rate.estimation.trust import (
    NAN,
    NONE,
    Choice,
    Disagreement,
    MetricJudgement,
    MetricTrust,
    Stability,
)
from moon_rec.errors import StudyError

LEAST_PATHS = 4
MOST_SHOWN = 20
"""Contradicting pairs that are handed on; their number is told."""

TRUST_DEFINITIONS = {
    "quality": "proxy quality: correlation of a new encoder's measured metric with its true outcome, the outcome's noise taken out (Tripuraneni et al. 2023); interval from "
    "leaving out each path in turn (jackknife of Fisher's z)",
    "left_out_error": DEFINITIONS["left_out_error"],
    "p_best": f"chance that the metric has the largest quality of all candidates, decoys among them: share of {NUM_BOOTSTRAPS:,} Bayesian bootstraps over paths",
    "p_decoy": "chance that the best of as many decoys as there are candidates predicts as well: share of draws in which the outcome's values are exchanged among paths",
    "stability": "slopes by segment, each against the others, paired over encoders",
    "is_told_from_best": DEFINITIONS["is_told_from_best"],
    "blend": "weights for metrics in standard deviations over encoders, from correlations shrunk by a ridge of the smallest leave-one-path-out error; quality and "
    "error with weights found without the encoder's fold of paths",
    "disagreements": "pairs of encoders with both differences told from zero and opposite signs; false discovery rate held over all pairs",
}


def judge_metrics(
    table: pl.DataFrame,
    outcome: str = "auc",
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    *,
    steering: str | None = None,
    segments: Mapping[str, str] | None = None,
    draws: Mapping[str, Draws] | None = None,
    seed: int = 0,
) -> MetricJudgement:
    """Judge the candidate metrics of a study; `MetricJudgement` says what comes out.

    Args:
        table, outcome, metrics, level: as for `rank_metrics`.
        steering: the metric that the study steers by: decoys are made from it and contradictions sought in it; by default the first one measured on all encoders.
        segments: the outcome's column by segment, such as `{"cold items": "auc_cold"}`.
        draws: by metric, its figures and the outcome's under the same draws of users; without them the noise of users is not taken out.
        seed: of decoys and bootstraps.

    Raises:
        StudyError: what `rank_metrics` refuses, a steering metric or a segment's column that is not there.
    """
    check_level(level)
    steered = [] if steering is None else [steering]
    check_columns(table, [outcome, *(metrics or ()), *steered, *(segments or {}).values()])
    names = list(candidate_columns(table, outcome) if metrics is None else metrics)
    rows = trained_rows(table)
    encoders = Encoders.of(rows, outcome, names, draws or {})
    if steering not in encoders.names:
        steering = encoders.names[0] if encoders.names else None
    decoys = {}
    if steering is not None and encoders.num_paths >= LEAST_PATHS:
        decoys = visible_decoys(encoders.column(steering), steering, encoders.codes, seed)
    ranked = rank_by_error(encoders.beside(rows, decoys), outcome, [*names, *decoys], level)
    compared = _Compared.of(encoders, decoys, level, seed)
    by_segment = SegmentOutcomes.of(rows, encoders, segments or {})
    found = [_trust(one, compared, encoders, by_segment) for one in ranked]
    choice = _choose(found, compared)
    if choice.answer == NONE:
        found = [replace(one, is_told_from_best=None) for one in found]
    pairs = _contradictions(rows, outcome, (steering, choice.answer), draws or {}, level)
    best = next((one.metric for one in found if one.metric in encoders.names), None)
    return MetricJudgement(
        metrics=tuple(found),
        blend=None
        if best is None
        else best_blend(encoders.sample, encoders.names, best, level, seed),
        disagreements=tuple(pairs[:MOST_SHOWN]),
        num_disagreements=len(pairs),
        choice=choice,
        level=level,
        definitions=TRUST_DEFINITIONS,
    )


MOST_NAMED = 3
"""Rivals of the best metric that its sentence names; the table has them all."""


@dataclass(frozen=True, eq=False)
class _Compared:
    """What is found of all comparable candidates at once, in the order of `names`; empty, with a reason, where there are too few paths."""

    names: tuple[str, ...]
    decoys: tuple[str, ...]
    quality: Quality
    p_best: Floats
    luck: Luck | None
    level: float
    reason: str

    @classmethod
    def of(
        cls, encoders: Encoders, decoys: Mapping[str, Floats], level: float, seed: int
    ) -> "_Compared":
        if not decoys:
            words = "no metric was measured on all encoders with different values"
            if encoders.names:
                words = f"{encoders.num_paths} paths; {LEAST_PATHS} or more are needed to tell a metric from a decoy"
            nothing = np.empty(0)
            return cls((), (), Quality(nothing, nothing, nothing, ""), nothing, None, level, words)
        sample = encoders.with_more(decoys)
        return cls(
            names=(*encoders.names, *decoys),
            decoys=tuple(decoys),
            quality=qualities(sample, level),
            p_best=chances_of_best(sample, seed),
            luck=luck(sample.metrics, sample.outcome, sample.codes, seed),
            level=level,
            reason="",
        )


def _trust(
    ranked: Ranked, compared: _Compared, encoders: Encoders, by_segment: SegmentOutcomes
) -> MetricTrust:
    """A metric's entry."""
    name, lucky = ranked.metric, compared.luck
    figures = ranked.figures(compared.level)
    known: dict[str, Any] = {
        f"left_out_error{end}": figures.get(f"left_out_error{end}", NAN)
        for end in ("", "_low", "_high")
    }
    known |= {
        "metric": name,
        "is_decoy": name in compared.decoys,
        "is_told_from_best": ranked.is_told_from_best,
        "num_encoders": ranked.num_encoders,
        "num_paths": encoders.num_paths,
    }
    if lucky is None or name not in compared.names:
        everyone = len(encoders.points.names)
        words = f"measured on {ranked.num_encoders} of {everyone} encoders"
        if ranked.num_encoders == everyone:
            words = compared.reason or "every encoder has the same value"
        nothing = dict.fromkeys(
            ("quality", "quality_low", "quality_high", "p_best", "p_decoy"), NAN
        )
        return MetricTrust(**known, **nothing, stability=None, verdict="not compared", reason=words)
    place = compared.names.index(name)
    p_decoy = lucky.p_value_of(known["left_out_error"])
    verdict = (
        "better than decoys"
        if p_decoy <= allowed_share(compared.level)
        else "no better than decoys"
    )
    words = f"the best of {len(compared.names)} decoys predicts as well in {p_decoy:.1%} of draws"
    stable = None
    if name in compared.decoys:
        verdict, words = "decoy", f"built in, it means nothing; {words}"
    elif by_segment.outcomes:
        stable = _stability(encoders, name, by_segment, compared.level)
    return MetricTrust(
        **known,
        quality=float(compared.quality.value[place]),
        quality_low=float(compared.quality.low[place]),
        quality_high=float(compared.quality.high[place]),
        p_best=float(compared.p_best[place]),
        p_decoy=p_decoy,
        stability=stable,
        verdict=verdict,
        reason="; ".join(filter(None, (words, compared.quality.reason))),
    )


def _stability(
    encoders: Encoders, name: str, by_segment: SegmentOutcomes, level: float
) -> Stability:
    kept = by_segment.kept
    codes = path_codes(encoders.codes[kept].tolist())
    metric = encoders.column(name)[kept]
    return stability(metric, by_segment.outcomes, codes, level, by_segment.noises)


def _choose(found: Sequence[MetricTrust], compared: _Compared) -> Choice:
    """The first metric where it is better than decoys; `found` has the smallest left-out error first."""
    if compared.luck is None:
        return Choice(NONE, (), NAN, 0, f"No metric can be told from a decoy: {compared.reason}.")
    to_beat = compared.luck.error_to_beat(compared.level)
    number = len(compared.luck.shares)
    best = found[0]
    if best.verdict != "better than decoys":
        first = next(one for one in found if not one.is_decoy)
        words = (
            f"No metric is shown to predict an unseen encoder better than a decoy: the best, {first.metric}, errs by {first.left_out_error:.2g}, "
            f"and below {to_beat:.2g} the best of {len(compared.names)} decoys falls in {allowed_share(compared.level):.0%} of draws only."
        )
        if best.is_decoy:
            words = f"No metric is to be trusted: a built-in decoy errs less ({best.left_out_error:.2g}) than the best of them, {first.metric} ({first.left_out_error:.2g})."
        return Choice(NONE, (), to_beat, number, words)
    rivals = tuple(
        one.metric
        for one in found[1:]
        if one.verdict == "better than decoys" and not one.is_told_from_best
    )
    words = (
        f"{best.metric} predicts an unseen encoder with the smallest error, {best.left_out_error:.2g}; below {to_beat:.2g} the best of {len(compared.names)} decoys "
        f"falls in {allowed_share(compared.level):.0%} of draws only"
    )
    more = f" and {len(rivals) - MOST_NAMED} others" if len(rivals) > MOST_NAMED else ""
    words += f"; not told from it: {', '.join(rivals[:MOST_NAMED])}{more}." if rivals else "."
    return Choice(best.metric, rivals, to_beat, number, words)


def _contradictions(
    rows: pl.DataFrame,
    outcome: str,
    metrics: Sequence[str | None],
    draws: Mapping[str, Draws],
    level: float,
) -> list[Disagreement]:
    """The pairs of each of these metrics, the surest first."""
    found = []
    for metric in dict.fromkeys(metrics):
        if metric is None or metric == NONE:
            continue
        try:
            errors, _ = metric_errors(rows, metric)
        except (
            StudyError
        ):  # without a standard error no pair is beyond noise; the metric's own row says so
            errors = None
        points = points_of(rows, outcome, metric, metric_error=errors, draws=draws.get(metric))
        found += contradictions(points, metric, level)
    return sorted(found, key=lambda one: -one.z)
