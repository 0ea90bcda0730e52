"""What each figure shows, in words: for those who hear the page, and for tooltips of marks."""

from markupsafe import escape

from exchange_rate.analysis.axes import AXES
from exchange_rate.analysis.results import Results
from exchange_rate.analysis.words import counted, words
from exchange_rate.report.figures.rate import check_rows, outcome_of
from moon_rec.pages import interval
from moon_rec.shown import visible

MOST_TOLD = 12


def alternatives(found: Results, captions: dict[str, str]) -> dict[str, str]:
    """Figure -> its text; the tables below each have all of it."""
    metric = words(found.about.steering_metric)
    checks = "; ".join(
        f"{label} {interval(number, 2, 10, True)}"
        for label, number, _ in check_rows(found.rate)
        if number.value is not None
    )
    best = "; ".join(
        f"{words(one.metric)} {interval(one.left_out_error, 2, 100)}"
        for one in found.candidates[:MOST_TOLD]
        if one.left_out_error.value is not None
    )
    segments = "; ".join(
        f"{one.name} over {one.against} {interval(one.gain.all, 2, 100, True)}"
        for one in found.comparisons
    )
    return captions | {
        "exchange_rate": f"Scatter of {counted(len(found.encoders), 'encoder')} by {metric} and {found.rate.name}. {found.headline[0].text if found.headline else ''}",
        "checks": f"Rates in points of AUC for ten points of {metric}: {checks}.",
        "candidates": f"Errors of metrics at an unseen path's AUC, in points: {best}.",
        "rankers": f"Differences of AUC in points: {segments}.",
        **{axis: _growth(found, name, metric) for axis, name in AXES.items()},
    }


def _growth(found: Results, axis: str, metric: str) -> str:
    laws = [one for one in found.laws if one.axis == axis]
    is_of_encoders = axis != AXES["history_length"]
    what = f"{metric} and AUC" if is_of_encoders else "AUC"
    return f"{what} against {axis}. " + " ".join(one.sentence for one in laws[:MOST_TOLD])


def with_tooltips(svg: str, found: Results) -> str:
    """The picture with each encoder's name and numbers on its mark, for a pointer; the table has the same."""
    for place, one in enumerate(found.encoders):
        outcome = outcome_of(one, found)
        mark = f'<g id="encoder-{place}">'
        if outcome is None or mark not in svg:
            continue
        text = f"{one.name}: {words(found.about.steering_metric)} {interval(one.metric, 3)}, {found.rate.name} {interval(outcome)}"
        svg = svg.replace(mark, f"{mark}<title>{escape(visible(text))}</title>", 1)
    return svg
