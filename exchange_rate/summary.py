"""A report in a terminal: one row an encoder."""

from typing import Any

from rich.table import Table

from exchange_rate.drawing import words
from exchange_rate.page import interval
from exchange_rate.report import Report


def summary_table(report: Report) -> Table:
    """Encoders with their steering metric, AUC and gains, the rankers that they are compared with, and the exchange rate."""
    data = report.data
    simulated = " (simulated)" if data["is_simulated"] else ""
    title = f"{data['study']['shop']['name']}{simulated}, {data['rankers']['content']}"
    table = Table(title=title, title_justify="left")
    columns = (
        "encoder",
        words(data["study"]["steering_metric"]),
        "AUC",
        "gain over ids, points",
        "on cold items, points",
    )
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right")
    for one in data["encoders"]:
        gains = [_points(one["gains"][segment]) for segment in ("", "_cold")]
        table.add_row(one["encoder"], interval(one["metric"], 3), interval(one["auc"]), *gains)
    table.add_section()
    ids = data["comparison"].get("content against ids", {})
    table.add_row(data["rankers"]["ids"], "", interval(ids.get("auc_a")), "", "")
    control = data["comparison"].get("permuted against ids", {})
    if control:
        gains = [_points(control.get(f"auc_gain{segment}")) for segment in ("", "_cold")]
        table.add_row(data["rankers"]["permuted"], "", interval(control.get("auc_b")), *gains)
    if ids.get("auc_best"):
        table.add_row("true click probability", "", interval(ids["auc_best"]), "", "")
    sentences = [sentence["text"] for sentence in data["headline"]]
    table.caption = "\n".join(
        [data["scope"], f"gains: {data['definitions']['difference of two rankers']}", *sentences]
    )
    table.caption_justify = "left"
    return table


def _points(number: dict[str, Any] | None) -> str:
    """A gain in points (hundredths) of AUC."""
    return interval(number, 2, 100, sign=True)
