"""Which metric to trust, as the report has it."""

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.quantities import finite, number
from exchange_rate.analysis.results import (
    Blend,
    Candidate,
    Choice,
    Disagreement,
    Named,
    SegmentEffect,
)
from exchange_rate.analysis.words import with_words
from exchange_rate.estimation import trust
from exchange_rate.estimation.trust import NONE, MetricJudgement, MetricTrust

EFFECT = "AUC per standard deviation of the metric over encoders, of the segment's items alone; interval from leaving out each path in turn"


def candidates_of(judged: MetricJudgement, cells: Cells, steering: str) -> tuple[Candidate, ...]:
    """All metrics, decoys among them, the smallest left-out error first; `is_shown` marks those of the steering metric's cut, the answer whatever its cut, and decoys."""
    cut = f"@{steering.rpartition('@')[2]}" if "@" in steering else ""
    found = []
    for one in judged.metrics:
        is_chosen = one.metric == judged.choice.answer
        is_at_cut = "@" not in one.metric or not cut or one.metric.endswith(cut)
        found.append(_candidate(one, judged, cells, is_chosen, is_chosen or is_at_cut))
    return tuple(found)


def _candidate(
    one: MetricTrust, judged: MetricJudgement, cells: Cells, is_chosen: bool, is_shown: bool
) -> Candidate:
    source = f"{one.num_encoders} encoders on {one.num_paths} paths"
    stability, words = one.stability, judged.definitions
    return Candidate(
        metric=one.metric,
        definition="" if one.is_decoy else cells.definition(one.metric),
        is_decoy=one.is_decoy,
        verdict=one.verdict,
        reason=one.reason,
        quality=number(
            one.quality, one.quality_low, one.quality_high, words.get("quality", ""), source
        ),
        left_out_error=number(
            one.left_out_error,
            one.left_out_error_low,
            one.left_out_error_high,
            words.get("left_out_error", ""),
            source,
        ),
        probability_best=finite(one.p_best),
        probability_decoy=finite(one.p_decoy),
        effects=tuple(
            SegmentEffect(
                segment=effect.segment,
                slope=number(
                    effect.slope,
                    effect.low,
                    effect.high,
                    EFFECT,
                    f"{effect.num_encoders} encoders",
                ),
                quality=finite(effect.quality),
                num_encoders=effect.num_encoders,
            )
            for effect in (stability.effects if stability is not None else ())
        ),
        is_stable=None if stability is None else stability.is_stable,
        stability="" if stability is None else stability.reason,
        num_encoders=one.num_encoders,
        num_paths=one.num_paths,
        is_chosen=is_chosen,
        is_told_from_best=one.is_told_from_best,
        is_shown=is_shown,
    )


def choice_of(judged: MetricJudgement) -> Choice:
    """The answer."""
    choice = judged.choice
    return Choice(
        metric=None if choice.answer == NONE else choice.answer,
        not_told_from=choice.not_told_from,
        error_to_beat=finite(choice.error_to_beat),
        num_decoy_draws=choice.num_decoy_draws,
        num_disagreements=judged.num_disagreements,
        reason=with_words(choice.reason, [one.metric for one in judged.metrics]),
    )


def blend_of(judged: MetricJudgement) -> Blend | None:
    """The best mixture; None where none could be made."""
    blend, words = judged.blend, judged.definitions
    if blend is None:
        return None
    weight = words.get("weights", "weight of the metric in its standard deviations over encoders")
    return Blend(
        weights=tuple(
            Named(name=name, number=number(value, definition=weight))
            for name, value in blend.weights.items()
        ),
        quality=number(blend.quality, blend.low, blend.high, words.get("quality", "")),
        left_out_error=finite(blend.left_out_error),
        best_metric=blend.best_metric,
        best_left_out_error=finite(blend.best_left_out_error),
        is_better=blend.is_better,
        reason=with_words(blend.reason, [one.metric for one in judged.metrics]),
    )


def disagreements_of(judged: MetricJudgement, steering: str) -> tuple[Disagreement, ...]:
    """Pairs that contradict a metric, those of the steering metric first, else the surest first."""
    ordered = sorted(judged.disagreements, key=lambda one: one.metric != steering)
    return tuple(_disagreement(one, judged.definitions) for one in ordered)


def _disagreement(one: trust.Disagreement, words: dict[str, str]) -> Disagreement:
    return Disagreement(
        metric=one.metric,
        better_by_metric=one.better_by_metric,
        better_by_auc=one.better_by_outcome,
        metric_difference=number(
            one.metric_difference,
            one.metric_low,
            one.metric_high,
            words.get("metric_difference", "metric of the one minus that of the other"),
        ),
        auc_difference=number(
            one.outcome_difference,
            one.outcome_low,
            one.outcome_high,
            words.get("outcome_difference", "AUC of the one minus that of the other"),
        ),
        z=one.z,
    )
