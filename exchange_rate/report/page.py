"""The words of the report's page: what its templates print of each number, and what stands under each table."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from markupsafe import Markup

from exchange_rate.analysis.axes import AXES, Axis
from exchange_rate.analysis.rates import OVER_PERMUTED
from exchange_rate.analysis.results import Candidate, Comparison, Encoder, Law, Number, Results
from exchange_rate.analysis.words import sentence, words
from exchange_rate.report.alternatives import alternatives
from exchange_rate.report.figures.metrics import shown_candidates
from exchange_rate.report.figures.rate import check_rows
from moon_rec.pages import own, page_environment
from moon_rec.shown import as_markdown, visible

_ESCAPES: dict[str, Callable[[Any], str]] = {
    "report.html.j2": visible,  # jinja escapes the rest
    "report.md.j2": lambda value: Markup(as_markdown(value)),
}
Columns = list[tuple[str, list[Number | None]]]
NUM_NEAREST = 8
"""Rows of the short table of candidate metrics; the steering metric and a decoy stand in it whatever their place."""
SECTIONS = (
    ("moved", "What moved"),
    ("missing", "What is missing"),
    ("rate", "The exchange rate"),
    ("checks", "What would change it"),
    ("metrics", "Which metric to trust"),
    ("laws", "How it grows"),
    ("segments", "Content, by segment"),
    ("rankers", "Rankers side by side"),
    ("plan", "What it takes to know it better"),
    ("encoders", "All encoders"),
    ("share", "How far to go"),
    ("pairs", "Pair by pair"),
    ("sheets", "What the encoder finds"),
    ("runs", "Runs"),
    ("definitions", "Definitions"),
)


def render(template: str, found: Results, figures: dict[str, str], sheets: list[Any]) -> str:
    """A template of the report, filled; whatever stands in the results is shown as text.

    Args:
        figures: name -> `<svg>` element.
        sheets: name, caption and base64 of each.
    """
    environment = page_environment("exchange_rate.report", _ESCAPES[template])
    environment.filters |= {one.__name__: one for one in (words, sentence, beside_the_best, tags)}
    environment.filters["percent"] = own(percent)
    return environment.get_template(template).render(
        found=found,
        figures=figures,
        sheets=sheets,
        alternatives=alternatives(found, CAPTIONS),
        captions=_captions(found),
        own_rates=[one for one in found.rates if one.ranker == found.about.ranker],
        checks=check_rows(found.rate),
        intercept_words=_intercept_words(found),
        nearest=shown_candidates(found, NUM_NEAREST),
        effects=(effects := _effects(found)),
        effect_columns=[(one.segment, True) for one in effects[0].effects] if effects else [],
        axes=_axes(found, figures),
        gains_by_segment=_gains_by_segment(found),
        gain_columns=[(_compared(one), True) for one in _own_comparisons(found)],
        sections=_sections(found, figures, sheets),
        **_columns(found),
    )


def beside_the_best(candidate: Candidate) -> str:
    """How a metric's error stands to that of the answer."""
    if candidate.is_decoy:
        return "means nothing"
    if candidate.is_chosen:
        return "the best"
    if candidate.is_told_from_best is None:
        return "not compared"
    return "told from it" if candidate.is_told_from_best else "not told from it"


def tags(encoder: Encoder) -> list[str]:
    """What stands under an encoder's name."""
    origin = encoder.origin if encoder.origin not in ("", "trained here") else ""
    stages = encoder.stages if encoder.stages not in ("", "none") else ""
    return [
        one
        for one in (*encoder.marks, "" if encoder.is_trained else "not trained", stages, origin)
        if one
    ]


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.0f} %"


def _effects(found: Results) -> list[Candidate]:
    """Metrics of which is known what they buy in the same segments as the first."""
    known = [one for one in shown_candidates(found, NUM_NEAREST) if one.effects]
    if not known:
        return []
    segments = [effect.segment for effect in known[0].effects]
    return [one for one in known if [effect.segment for effect in one.effects] == segments]


def _intercept_words(found: Results) -> str:
    if found.rate.outcome == OVER_PERMUTED:
        return "not told from zero: no direct effect is shown beside what the metric measures"
    return "AUC where the metric finds nothing, if the line went on so far"


CAPTIONS = {
    "checks": "The headline's rate beside the rates that would replace it: other encoders, within and between trainings, without one encoder or path, on other halves of the users. "
    "The shaded band is the headline's interval: what leaves it would change the conclusion.",
    "candidates": "Left: how far off each metric predicts the AUC of encoders of an unseen path, the best first; the dashed line is the error that decoys, which mean nothing, stay above; "
    "hollow marks are told from the best. Right: proxy quality, the correlation with AUC that is left when noise is taken out.",
    "share_of_the_way": "Share of the way from the baseline's AUC to the AUC of the true click probability, known because the shop is simulated; paired, interval by bootstrap over users.",
}


def _captions(found: Results) -> dict[str, str]:
    """Under each figure, what is seen there."""
    metric, content = words(found.about.steering_metric), found.ranker.content
    outcome = "what the same ranker (" + content + ") gains on its vectors over the same vectors permuted" if found.rate.outcome == OVER_PERMUTED else f"the AUC of the same ranker ({content}) on its vectors"  # fmt: skip
    seeds = (
        ", of one seed, so without an interval"
        if found.about.num_seeds == 1 and found.about.shop
        else ", mean over seeds with the interval that the spread between seeds gives"
    )
    rankers = f"Left: AUC of {found.ranker.baseline or 'the baseline'}, of {content} on the encoder “{found.chosen_encoder}”, and of the same on its vectors permuted among items; intervals by bootstrap over users. Right: what each gains over the baseline, paired on the same rows."
    return CAPTIONS | {
        "exchange_rate": f"Each point is an encoder: its {metric} with its interval, and {outcome}{seeds}. Circles were trained, squares were not; thin lines join encoders of one training. "
        "The line is the fit among trained encoders, the band its interval; green is what the next points buy at the best encoder.",
        "rankers": rankers,
        **{axis: _growth(axis, metric) for axis in AXES},
    }


def _growth(axis: Axis, metric: str) -> str:
    """Under the figure of an axis."""
    if axis == "history_length":
        return "AUC of rankers that differ in how many behaviours of a user they read. Crosses are what a law says of points that it has not seen."
    text = f"{metric} and AUC against {AXES[axis]}; colours are groups of encoders alike on every other axis, crosses are what a law says of points that it has not seen, a dashed line is a law that stands"
    if axis == "posttraining_tokens":
        text += "; encoders of one training are joined. A checkpoint before the end of a learning-rate schedule is not what a shorter schedule would have given. Lines across: encoders without post-training"
    return f"{text}. What no axis tells (losses, pairs, rates) may differ between trainings."


def _axes(found: Results, figures: dict[str, str]) -> list[tuple[str, str, list[Law]]]:
    """Key, name and laws of every axis that the page has something of."""
    there = [(axis, name, [one for one in found.laws if one.axis == name]) for axis, name in AXES.items()]  # fmt: skip
    return [one for one in there if one[2] or one[0] in figures]


def _own_comparisons(found: Results) -> list[Comparison]:
    return [one for one in found.comparisons if one.ranker == found.about.ranker]


def _compared(one: Comparison) -> str:
    against = one.against if one.against_role == "baseline" else "permuted vectors"
    return f"{one.name} over {against}"


def _gains_by_segment(found: Results) -> list[tuple[str, list[Number | None]]]:
    """Segment of products -> the difference in each comparison of the headline's ranker; null where it could not be judged."""
    own = [{one.name: one.number for one in each.by_segment} for each in _own_comparisons(found)]
    names = dict.fromkeys(name for each in own for name in each)
    return [(name, [each.get(name) for each in own]) for name in names]


def _sections(found: Results, figures: dict[str, str], sheets: list[Any]) -> list[tuple[str, str]]:
    """Those that the page has."""
    absent = {
        "moved": found.moved is None,
        "missing": not found.missing.text,
        "checks": found.rate.slope.value is None,
        "laws": not _axes(found, figures),
        "segments": not found.comparisons,
        "rankers": len(found.rankers) < 2,
        "plan": found.plan is None,
        "share": "share_of_the_way" not in figures,
        "sheets": not sheets,
        "runs": not found.runs,
    }
    return [(id, title) for id, title in SECTIONS if not absent.get(id)]


def _columns(found: Results) -> dict[str, Columns]:
    """The columns of every table whose numbers are explained under it."""
    metric, encoders = words(found.about.steering_metric), found.encoders
    content = found.comparison("content", "baseline")
    own_rates = [one for one in found.rates if one.ranker == found.about.ranker]
    return {
        "rate_numbers": [
            *((one.name, [one.slope]) for one in own_rates),
            ("the next points", [one.shape.next_point for one in own_rates if one.shape]),
        ],
        "check_numbers": [
            *((label, [number]) for label, number, _ in check_rows(found.rate)),
            ("the line at a metric of zero", [found.rate.intercept]),
        ],
        "candidate_numbers": [
            ("error", [one.left_out_error for one in found.candidates]),
            ("proxy quality", [one.quality for one in found.candidates]),
        ],
        "comparison_numbers": [
            (f"{one.name} over {one.against}", [one.gain.all]) for one in found.comparisons
        ],
        "ranker_numbers": [
            ("AUC of the baseline", [one.auc_baseline for one in found.rankers]),
            ("AUC", [one.auc for one in found.rankers]),
            ("gain", [one.gain.all for one in found.rankers]),
            ("rate", [one.rate for one in found.rankers]),
        ],
        "encoder_numbers": [
            (metric, [one.metric for one in encoders]),
            ("AUC", [one.auc for one in encoders]),
            ("over permuted", [one.over_permuted for one in encoders]),
            ("gain", [one.gains.all for one in encoders]),
            ("gain on cold", [one.gains.cold for one in encoders]),
            *((one.name, [one.auc.all, one.gain.all]) for one in found.references),
            *_of_references(content),
        ],
        "share_numbers": [
            ("share of the way", [one for row in encoders for one in _values(row.shares)])
        ],
        "pairwise_numbers": [
            (f"gain of {metric}", [one.metric_gain for one in found.pairwise]),
            ("gain of AUC", [one.auc_gain for one in found.pairwise]),
            ("ratio", [one.ratio for one in found.pairwise]),
        ],
    }


def _of_references(content: Comparison | None) -> Columns:
    if content is None:
        return []
    return [
        (content.against, [content.auc_against.all]),
        ("true click probability", [content.best.all]),
    ]


def _values(numbers: Any) -> Iterable[Number | None]:
    return (numbers.all, numbers.warm, numbers.cold)
