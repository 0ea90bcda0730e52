"""What masking known positives, drawing hard negatives and curating pairs cost: `python -m benchmarks.known_positives runs/myntra/shop --vectors runs/myntra/vectors`.

Per step of a batch of 128: the mask over 25,600 columns (200 times the batch), wanted in 5 ms, and 8 hard negatives a row, wanted in 3 ms. Once a training: curation.
Wall time beside the processor's, the median of the rounds: on a machine that is shared, waiting for others counts in the former alone.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import write_json
from moon_rec.progress import track
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from representation.curation import CurationConfig, curate
from representation.negatives import HardNegatives, KnownPositives
from representation.posttraining.pairs import known_items, logged_pairs

CLOCKS = (time.perf_counter, time.process_time)
ROWS, COLUMNS, HARD = 128, 25_600, 8


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write."""
    options = parsed(_parser(), argv)
    shop = Shop.open(options.shop)
    pairs = logged_pairs(shop, options.engagement)
    items = known_items(shop).collect()
    known, seconds = _once(
        lambda: KnownPositives.from_pairs(pairs, shop.in_period(shop.searches, "train"), items)
    )
    hard, seconds_hard = _once(lambda: HardNegatives(shop, known))
    found: dict[str, Any] = {
        "shop": shop.name,
        "is_simulated": shop.is_simulated,
        "engagement": options.engagement,
    }
    found |= {
        "pairs": sum(frame.height for frame in pairs.values()),
        "rows": ROWS,
        "columns": COLUMNS,
    }
    found["seconds_to_make"] = {"known": round(seconds, 3), "hard": round(seconds_hard, 3)}
    found["milliseconds"] = {}
    for kind, frame in pairs.items():
        random = generator(options.seed, "rows", kind)
        taken: dict[str, list[list[float]]] = {"mask": [], "draw": []}
        for step in track(range(options.rounds), kind):
            rows = frame[random.integers(frame.height, size=ROWS)]
            columns = items[random.integers(items.height, size=COLUMNS)]
            ids, spus = columns["item_id"].to_numpy(), columns["spu_id"].to_numpy()
            taken["mask"].append(_timed(lambda: known.blocked(rows, ids, spus)))  # noqa: B023
            taken["draw"].append(_timed(lambda: hard.draw(rows, HARD, step)))  # noqa: B023
        found["milliseconds"][kind] = {name: _summary(times) for name, times in taken.items()}
    if options.vectors:
        of_items = EmbeddingTable.open(options.vectors / "items")
        of_queries = EmbeddingTable.open(options.vectors / "queries")
        curated, seconds = _once(
            lambda: curate(shop, pairs, CurationConfig(), of_items, of_queries)
        )
        found["curation"] = {
            "seconds": round(seconds, 3),
            "steps": {step.name: [step.rows_in, step.rows_out, round(step.seconds, 3)] for step in curated.steps},
        }  # fmt: skip
    found["machine"] = describe_machine()
    write_json(options.out, found)
    for kind, taken_by in found["milliseconds"].items():
        print(f"{kind}: " + ", ".join(f"{name} {ms['wall']} ms" for name, ms in taken_by.items()))
    print(f"written to {options.out}")


def _once(make: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    made = make()
    return made, time.perf_counter() - start


def _timed(act: Callable[[], Any]) -> list[float]:
    starts = [clock() for clock in CLOCKS]
    act()
    return [1000 * (clock() - start) for clock, start in zip(CLOCKS, starts, strict=True)]


def _summary(times: list[list[float]]) -> dict[str, float]:
    """Medians over the rounds but the first, and the slowest by the wall's clock."""
    wall, processor = np.array(times[1:]).T
    return {
        "wall": round(float(np.median(wall)), 2),
        "processor": round(float(np.median(processor)), 2),
        "slowest_wall": round(float(wall.max()), 2),
    }


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.known_positives",
        description="Time the mask of known positives, draws of hard negatives, and curation.",
        example="python -m benchmarks.known_positives runs/demo/shop --vectors runs/demo/vectors --out known.json",
    )
    parser.add_argument("shop", type=Path, help="a shop's folder")
    parser.add_argument("--vectors", type=Path, metavar="DIR", help="embedding tables items and queries; without them curation is not timed")  # fmt: skip
    parser.add_argument("--engagement", default="purchased", help="what makes a pair positive")
    parser.add_argument("--rounds", type=int, default=50, help="batches of each kind of query")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
