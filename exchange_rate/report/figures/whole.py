"""All figures of a report."""

from collections.abc import Callable
from functools import partial

import matplotlib
from matplotlib.figure import Figure

from exchange_rate.analysis.axes import AXES
from exchange_rate.analysis.results import Results
from exchange_rate.report.figures.laws import growth
from exchange_rate.report.figures.metrics import candidates
from exchange_rate.report.figures.rankers import rankers, share_of_the_way
from exchange_rate.report.figures.rate import checks, exchange_rate
from moon_rec.drawing import STYLE, as_figure_texts
from moon_rec.palette import MUTED

FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "exchange_rate": exchange_rate,
    "checks": checks,
    "candidates": candidates,
    "rankers": rankers,
    **{axis: partial(growth, axis=axis) for axis in AXES},
    "share_of_the_way": share_of_the_way,
}
"""Name -> what draws it, in the order of the page."""


def draw_all(found: Results) -> dict[str, Figure]:
    """Every figure that there is the data for, by name."""
    drawn: dict[str, Figure] = {}
    shown = Results.model_validate(as_figure_texts(found.model_dump()))
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(shown)
            if figure is not None:
                figure.suptitle(_scope(shown), x=0.01, ha="left", fontsize=8, color=MUTED)
                drawn[name] = figure
    return drawn


def _scope(found: Results) -> str:
    """What stands over every figure: it may be shown alone."""
    about = found.about
    kind = "simulated shop" if about.is_simulated else "shop"
    if about.shop is None:
        return f"{'simulated ' if about.is_simulated else ''}points of {about.name}"
    seeds = "one seed" if about.num_seeds == 1 else f"{about.num_seeds} seeds"
    sampled = "; non-clicks sampled" if about.shop.non_clicks else ""
    return f"{kind} {about.shop.name}, {about.period} period, {seeds}{sampled}"
