"""A report in a terminal: one row an encoder."""

from typing import Any

from rich.table import Table
from rich.text import Text

from exchange_rate.report.drawing import words
from exchange_rate.report.write import Report
from moon_rec.pages import interval
from moon_rec.shown import as_console_text


def summary_table(report: Report) -> Table:
    """Encoders with their steering metric, AUC and gains, the rankers that they are compared with, and the exchange rate."""
    data = report.data
    simulated = " (simulated)" if data["is_simulated"] else ""
    title = f"{data['study']['shop']['name']}{simulated}, {data['rankers']['content']}"
    table = Table(title=as_console_text(title), title_justify="left")
    columns = (
        "encoder",
        words(data["study"]["steering_metric"]),
        "AUC",
        "gain over ids, points",
        "on cold items, points",
    )
    for place, name in enumerate(columns):
        table.add_column(as_console_text(name), justify="left" if place == 0 else "right")
    for one in data["encoders"]:
        gains = [_points(one["gains"][segment]) for segment in ("", "_cold")]
        cells = [one["encoder"], interval(one["metric"], 3), interval(one["auc"]), *gains]
        table.add_row(*map(as_console_text, cells))
    table.add_section()
    ids = data["comparison"].get("content against baseline", {})
    name = as_console_text(data["rankers"]["baseline"])
    table.add_row(name, "", as_console_text(interval(ids.get("auc_a"))), "", "")
    control = data["comparison"].get("permuted against baseline", {})
    if control:
        gains = [_points(control.get(f"auc_gain{segment}")) for segment in ("", "_cold")]
        cells = [data["rankers"]["permuted"], "", interval(control.get("auc_b")), *gains]
        table.add_row(*map(as_console_text, cells))
    if ids.get("auc_best"):
        table.add_row(
            "true click probability", "", as_console_text(interval(ids["auc_best"])), "", ""
        )
    sentences = [sentence["text"] for sentence in data["headline"]]
    said = [data["scope"], f"gains: {data['definitions']['difference of two rankers']}", *sentences]
    table.caption = Text("\n").join(map(as_console_text, said))
    table.caption_justify = "left"
    return table


def _points(number: dict[str, Any] | None) -> str:
    """A gain in points (hundredths) of AUC."""
    return interval(number, 2, 100, sign=True)
