"""What ties do to a recall, where items are numbered by sales: `python -m benchmarks.ties`.

300 items whose sales fall as 1 / rank, 2,000 searches that each want one item, drawn by sales; vectors of 64 dimensions. A query is its item's vector with noise. Encoders that know less
and less give the same vector to whole groups of items (drawn at random, so that a group has popular items and others). Three readings of hit recall@k:
- `by row`: ties go to the lower row, the better-sold item, as they did before;
- `random orders`: the mean over orders of the items drawn at random, which is what the encoder knows;
- `ours`: `search_recall`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.console import table_console
from moon_rec.files import write_json
from moon_rec.progress import track
from moon_rec.seeds import generator
from representation.metrics.recall import search_recall
from representation.search.exact import top_rows

ITEMS, SEARCHES, DIM, NOISE = 300, 2000, 64, 0.1
VECTORS = (300, 150, 60, 30, 10, 1)
"""Distinct vectors that the encoders give to the items."""
KS = (1, 10)


def main(argv: list[str] | None = None) -> None:
    """Simulate, print and write."""
    options = parsed(_parser(), argv)
    rows = [
        row
        for num in track(VECTORS, "encoders", len(VECTORS))
        for row in measured(num, options.orders, options.seed)
    ]
    _print(rows, options.orders)
    record = {"command": " ".join(["python -m benchmarks.ties", *sys.argv[1:]])}
    write_json(options.out, {**record, "hardware": describe_machine(), "rows": rows})
    print(f"written to {options.out}")


def measured(num_vectors: int, orders: int, seed: int) -> list[dict[str, Any]]:
    """The three readings of an encoder by k."""
    random = generator(seed, "ties", num_vectors)
    group = random.permutation(np.arange(ITEMS) % num_vectors)
    gallery = _unit(random.normal(size=(num_vectors, DIM)))[group]
    sales = 1 / np.arange(1, ITEMS + 1)
    wanted = random.choice(ITEMS, SEARCHES, p=sales / sales.sum())
    queries = _unit(gallery[wanted] + NOISE * random.normal(size=(SEARCHES, DIM)))
    if num_vectors == 1:
        queries = gallery[wanted]
    ours = search_recall(queries, gallery, wanted[:, None], KS)
    by_row = _hits(queries, gallery, wanted)
    drawn = []
    for _ in range(orders):
        old = random.permutation(ITEMS)
        drawn.append(_hits(queries, gallery[old], np.argsort(old)[wanted]))
    return [
        {
            "vectors": num_vectors,
            "k": k,
            "tied": ours.hit[k].tied,
            "by row": by_row[at],
            "random orders": float(np.mean([each[at] for each in drawn])),
            "ours": ours.hit[k].value,
            "chance": k / ITEMS,
        }
        for at, k in enumerate(KS)
    ]


def _hits(queries: np.ndarray, gallery: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Recall by k, ties to the lower row."""
    ranked = top_rows(queries, gallery, KS[-1])
    return [float((ranked[:, :k] == wanted[:, None]).any(axis=1).mean()) for k in KS]


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _print(rows: list[dict[str, Any]], orders: int) -> None:
    table = Table(title=f"hit recall of {SEARCHES:,} searches of {ITEMS} items; {orders} orders")
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            *(f"{one:.4f}" if isinstance(one, float) else str(one) for one in row.values())
        )
    table_console().print(table)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.ties",
        description="Recall by row, in random orders and as counted, of encoders that give many items one vector.",
        example="python -m benchmarks.ties --orders 200",
    )
    parser.add_argument("--orders", type=int, default=200, help="orders of the items drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", default=Path("benchmarks/results/ties.json")
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
