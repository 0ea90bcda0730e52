"""What each figure shows, in words: for those who hear the page, and for tooltips of marks."""

from markupsafe import escape

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
        "tokens": f"{metric} and AUC against post-training tokens along {counted(len({one.path for one in found.encoders if one.posttraining_tokens}), 'training')}. "
        + " ".join(one.sentence for one in found.laws[:MOST_TOLD]),
    }


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
