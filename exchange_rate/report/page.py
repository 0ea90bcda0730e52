"""The words of the report's page: what its templates print of each number, and what stands under each table."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from exchange_rate.analysis.decision import PAIRS
from exchange_rate.report.drawing import words
from moon_rec.pages import Data, page_environment
from moon_rec.shown import as_markdown, visible

_ESCAPES: dict[str, Callable[[Any], str]] = {
    "report.html.j2": visible,  # jinja escapes the rest
    "report.md.j2": lambda value: Markup(as_markdown(value)),
}
Columns = list[tuple[str, list[Data | None]]]
NOTHING_OF = (
    "A table of points says nothing of ids only, of a permuted control, or of training tokens: how much of an AUC is content is not known from it. "
    "A study measures that (python -m exchange_rate.study)."
)
"""Stands on a page of points measured elsewhere."""
NUM_NEAREST = 6
"""Rows of the short table of candidate metrics; the steering metric stands in it whatever its place."""


def render(template: str, data: Data, figures: dict[str, str], sheets: list[Any]) -> str:
    """A template of the report, filled; whatever stands in `data` is shown as text.

    Args:
        data: as in `report.json`.
        figures: name -> `<svg>` element.
        sheets: name, caption and base64 of each.
    """
    context = {"data": data, "figures": figures, "sheets": sheets}
    environment = page_environment("exchange_rate.report", _ESCAPES[template])
    environment.filters |= {one.__name__: one for one in (words, beside_the_best)}
    return environment.get_template(template).render(context | _columns(data))


def beside_the_best(candidate: Data) -> str:
    """How a metric's error stands to the best one's."""
    if candidate["is_best"]:
        return (
            "smallest error" if candidate["is_told_from_mean"] else "smallest, as good as the mean"
        )
    if candidate["is_told_from_best"] is None:
        return "not compared"
    return "told from it" if candidate["is_told_from_best"] else "not told from it"


def _columns(data: Data) -> dict[str, Any]:
    """The columns of every table whose numbers are explained under it."""
    metric, names = words(data["study"]["steering_metric"]), data["rankers"]
    candidates, comparison = data["candidates"], data["comparison"]
    encoders, pairwise = data["encoders"], data["pairwise"]["rows"]
    ids = comparison.get(PAIRS[0], {})
    labels = (
        f"{names['content']} over ids only",
        "permuted vectors over ids only",
        f"{names['content']} over permuted vectors",
    )
    pairs = dict(zip(PAIRS, labels, strict=True))

    def of(rows: list[Data], name: str) -> list[Data | None]:
        return [row[name] for row in rows]

    steering = [one for one in candidates if one["metric"] == data["study"]["steering_metric"]]
    nearest = candidates[:NUM_NEAREST]
    columns: dict[str, Columns] = {
        "rate_numbers": [(rate["name"], [rate["slope"]]) for rate in data["rates"].values()],
        "candidate_numbers": [
            ("left-out error", of(candidates, "left_out_error")),
            ("guessing the mean", of(candidates, "left_out_error_of_mean")),
            ("AUC per standard deviation", of(candidates, "slope_per_deviation")),
            ("Kendall's tau", of(candidates, "kendall")),
        ],
        "comparison_numbers": [
            (label, [comparison[pair].get("auc_gain")])
            for pair, label in pairs.items()
            if pair in comparison
        ],
        "encoder_numbers": [
            (metric, of(encoders, "metric")),
            ("AUC of encoders", of(encoders, "auc")),
            ("gain", [one["gains"][""] for one in encoders]),
            ("gain on cold", [one["gains"]["_cold"] for one in encoders]),
            (names["baseline"], [ids.get("auc_a")]),
            ("true click probability", [ids.get("auc_best")]),
        ],
        "share_numbers": [
            ("share of the way", [share for one in encoders for share in one["shares"].values()])
        ],
        "pairwise_numbers": [
            (f"gain of {metric}", of(pairwise, "metric_gain")),
            ("gain of AUC", of(pairwise, "auc_gain")),
            ("ratio", of(pairwise, "ratio")),
        ],
    }
    return columns | {
        "nothing_of": NOTHING_OF,
        "pairs": pairs,
        "nearest": nearest + [one for one in steering if one not in nearest],
    }
