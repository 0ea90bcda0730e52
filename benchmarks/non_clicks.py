"""How long a sampler of non-clicks takes for a million positives: `python -m benchmarks.non_clicks`.

A made log: items listed all along it, clicked as 1 / rank, users who come back to what they had; four non-clicks a positive.
Processor seconds, so that other work on the machine does not count; the sampler and the probe apart.
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, count, run
from moon_rec.files import write_json
from moon_rec.seeds import generator
from moon_rec.shop.non_click_probe import probe_non_clicks
from moon_rec.shop.non_clicks import NonClickConfig, NonClicks, sample_non_clicks

SPAN = 60 * 86_400 * 10**6
"""Microseconds of the log."""
CONFIGS = {
    "default": NonClickConfig(),
    "within categories, before": NonClickConfig(category_share=0.3, excluded="before"),
    "uniform, request": NonClickConfig(popular_share=0, excluded="request"),
}


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write."""
    options = parsed(_parser(), argv)
    positives, items = made_log(options.positives)
    rows = [measured(name, config, positives, items) for name, config in CONFIGS.items()]
    record = {"command": " ".join(["python -m benchmarks.non_clicks", *sys.argv[1:]])}
    write_json(options.out, {**record, "hardware": describe_machine(), "rows": rows})
    print(f"written to {options.out}")


def made_log(number: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Positives, one a request, and the items; a user for twenty of them, an item for ten."""
    random = generator(0, "log of positives")
    num_items, num_users = max(number // 10, 10), max(number // 20, 5)
    listed = np.sort(random.integers(0, SPAN, num_items))
    listed[: num_items // 2] = 0
    time_of = np.sort(random.integers(1, SPAN, number))
    num_listed = np.searchsorted(listed, time_of, side="right")
    item = (num_listed ** random.random(number)).astype(np.int64) - 1  # 1 / rank, by inversion
    rows = {"request_id": np.arange(number), "user_id": random.integers(0, num_users, number)}
    positives = pl.DataFrame({**rows, "item_id": item, "time": pl.Series(time_of).cast(pl.Datetime("us"))})  # fmt: skip
    items = pl.DataFrame({"item_id": np.arange(num_items), "listed_at": pl.Series(listed).cast(pl.Datetime("us"))})  # fmt: skip
    return positives, items.with_columns(category=pl.format("c{}", pl.col("item_id") % 200))


def measured(
    name: str, config: NonClickConfig, positives: pl.DataFrame, items: pl.DataFrame
) -> dict[str, Any]:
    """Seconds of the sampler and of the probe, and what was drawn."""
    found: list[NonClicks] = []
    seconds = cpu_seconds(lambda: found.append(sample_non_clicks(positives, items, config)))
    drawn = found[0].rows
    both = [positives.with_columns(clicked=pl.lit(True)), drawn.drop("positive").with_columns(clicked=pl.lit(False))]  # fmt: skip
    rows = pl.concat(both, how="diagonal")
    cut = rows["time"].quantile(0.8)
    of_probe = cpu_seconds(lambda: probe_non_clicks(rows, items, cut))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    result = {"sampler": name, "positives": positives.height, "items": items.height, "non-clicks": drawn.height, "from the list": found[0].num_listed,
              "empty": found[0].num_empty, "processor seconds": round(seconds, 2), "of the probe": round(of_probe, 2), "peak GB": round(peak, 2)}  # fmt: skip
    print(result)
    return result


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process, all threads."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.non_clicks",
        description=str(__doc__).split("\n")[0],
        example="python -m benchmarks.non_clicks --out benchmarks/results/2026-11-26-non-clicks.json",
    )
    parser.add_argument("--out", type=Path, required=True, help="where the figures go")
    parser.add_argument("--positives", type=count, default=1_000_000, help="rows of the log")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
