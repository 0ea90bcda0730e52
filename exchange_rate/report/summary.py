"""A report in a terminal: one row an encoder."""

from rich.table import Table
from rich.text import Text

from exchange_rate.analysis.results import Number, Results
from exchange_rate.analysis.words import words
from exchange_rate.report.write import Report
from moon_rec.pages import interval
from moon_rec.shown import as_console_text

MOST_ROWS = 40


def summary_table(report: Report) -> Table:
    """Encoders with their steering metric, AUC and gains, the rankers that they are compared with, and the answer."""
    found = report.results
    simulated = " (simulated)" if found.about.is_simulated else ""
    shop = found.about.shop.name if found.about.shop else found.about.name
    title = f"{shop}{simulated}, {found.ranker.content}"
    table = Table(title=as_console_text(title), title_justify="left")
    columns = (
        "encoder",
        words(found.about.steering_metric),
        "AUC",
        "gain over the baseline, points",
        "on cold items, points",
    )
    for place, name in enumerate(columns):
        table.add_column(as_console_text(name), justify="left" if place == 0 else "right")
    for one in found.encoders[:MOST_ROWS]:
        gains = [_points(one.gains.all), _points(one.gains.cold)]
        cells = [one.name, interval(one.metric, 3), interval(one.auc), *gains]
        table.add_row(*map(as_console_text, cells))
    if len(found.encoders) > MOST_ROWS:
        table.add_row(f"{len(found.encoders) - MOST_ROWS} more: see the page", "", "", "", "")
    table.add_section()
    _add_references(table, found)
    sentences = [one.text for one in found.headline]
    gains = [f"gains: {one.text}" for one in found.definitions if one.term == "difference of two rankers"]  # fmt: skip
    cards = [one.text for one in found.cards]
    said = [*sentences[:1], found.scope, *gains, *sentences[1:], *cards]
    table.caption = Text("\n").join(map(as_console_text, said))
    table.caption_justify = "left"
    return table


def _add_references(table: Table, found: Results) -> None:
    content = found.comparison("content", "baseline")
    control = found.comparison("permuted", "baseline")
    baseline = content.auc_against.all if content else None
    name = found.ranker.baseline or "baseline"
    table.add_row(as_console_text(name), "", as_console_text(interval(baseline)), "", "")
    for one in (*found.references, *([control] if control is not None else [])):
        gains = [_points(one.gain.all), _points(one.gain.cold)]
        table.add_row(*map(as_console_text, [one.name, "", interval(one.auc.all), *gains]))
    if content is not None and content.best.all is not None:
        best = as_console_text(interval(content.best.all))
        table.add_row("true click probability", "", best, "", "")


def _points(number: Number | None) -> str:
    """A gain in points (hundredths) of AUC."""
    return interval(number, 2, 100, sign=True)
