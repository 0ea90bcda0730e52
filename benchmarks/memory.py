"""Resident memory of training on a frozen table of ten million items: `python -m benchmarks.memory`.

The claim: a 10-million-item, 128-wide table (float16, 2.56 GB) trains with under 2 GiB of resident memory beyond the
table's touched pages. These are pages of a file that the system keeps while nobody else needs the room and drops when
somebody does; all the rest is counted: Python and its libraries, the id tables and their optimiser state, the
catalogue, batches, activations. Each process's share is read from /proc (Linux), many times a second, so a peak of
any length over 50 ms is seen.

Notable choices
- Random requests, vectors and ids: which rows are touched is the worst case, nothing is read twice on purpose.
- Every one of the ten million items has an id embedding of its own (640 MB of the limit), as if each was in training.
- The training is `train_ranker`, one epoch of CUBE, whole: with what is made before the first step and checked
  after the last.
"""

import argparse
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.synthetic_tables import synthetic_tables
from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import progress, say
from moon_rec.seeds import generator
from moon_rec.table_writer import write_table
from ranking.config import RankerConfig
from ranking.train import train_ranker

LIMIT = 2 * 1024**3
SECONDS_BETWEEN_LOOKS = 0.05
CHUNK = 1 << 17


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="memory-") as folder:
        path = Path(folder) / "items"
        started = time.perf_counter()
        table = make_table(path, given.items, given.dim, given.precision)
        made = time.perf_counter() - started
        say(f"{len(table):,} vectors of {table.dim} in {table.vectors.dtype}: {made:.0f} s")
        before = resident(path)
        tables = synthetic_tables(
            given.requests,
            candidates=10,
            lengths=(given.history // 2, given.history),
            num_values={
                "user": 20_000,
                "item": given.items,
                "category": 1000,
                "brand": 5000,
                "price": 10,
            },
        )
        with watched(path) as peak:
            ranker = train_ranker(tables, RankerConfig(content="cube"), table)
    print(f"{'':18}{'before':>10}{'peak':>10}   MiB")
    for name, value in peak.items():
        print(f"{name:18}{before[name] / 2**20:10,.0f}{value / 2**20:10,.0f}")
    print(f"limit of what is beyond the table's pages: {LIMIT / 2**20:,.0f} MiB")
    if given.out:
        about = {
            **describe_machine(),
            "command": "python -m benchmarks.memory " + " ".join(argv or sys.argv[1:]),
            "items": given.items,
            "dim": given.dim,
            "precision": given.precision,
            "history": given.history,
            "steps": given.requests * 10 / RankerConfig().batch_size,
            "rows_per_second": ranker.rows_per_second,
            "id_table_bytes": 4 * RankerConfig().embedding_dim * given.items,
            "limit": LIMIT,
            "before": before,
            "peak": peak,
        }
        write_json(given.out, about)
    if peak["beyond_the_table"] >= LIMIT:
        raise MoonRecError(
            f"{peak['beyond_the_table']:,} bytes were resident beyond the table, the limit is {LIMIT:,}"
        )


def make_table(path: Path, items: int, dim: int, precision: str) -> EmbeddingTable:
    """Random vectors, written in pieces."""

    def chunks() -> Iterator[np.ndarray]:
        random = generator(0, "vectors of the memory benchmark")
        with progress("random vectors", items) as bar:
            for start in range(0, items, CHUNK):
                number = min(CHUNK, items - start)
                yield random.standard_normal((number, dim), dtype=np.float32)
                bar.advance(number)

    return write_table(path, np.arange(1, items + 1), chunks(), dim, precision=precision)  # type: ignore[arg-type]


def resident(table: Path) -> dict[str, int]:
    """Bytes of this process that are resident.

    `anonymous`: what it allocated. `libraries`: pages of files other than the table's. `beyond_the_table`: both.
    `table`: the table's pages.
    """
    status = Path("/proc/self/status").read_text()
    kib = {name: int(value) for name, value in re.findall(r"(Rss\w+):\s+(\d+) kB", status)}
    of_table, is_table = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            is_table = line.endswith("table.safetensors") and table.name in line
        elif is_table and line.startswith("Rss:"):
            of_table += int(line.split()[1])
    others = kib["RssFile"] + kib["RssShmem"] - of_table
    found = {"anonymous": kib["RssAnon"], "libraries": others}
    found |= {"beyond_the_table": kib["RssAnon"] + others, "table": of_table}
    return {name: 1024 * value for name, value in found.items()}


@contextmanager
def watched(table: Path) -> Iterator[dict[str, int]]:
    """The most of each share of `resident` while the block runs."""
    peak, done = resident(table), threading.Event()

    def watch() -> None:
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            for name, value in resident(table).items():
                peak[name] = max(peak[name], value)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.memory",
        description="Resident memory of training CUBE on a frozen table that is made for it, and deleted after.",
        example="python -m benchmarks.memory --out benchmarks/results/memory.json",
    )
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--precision", choices=("float32", "float16", "int8"), default="float16")
    parser.add_argument(
        "--requests", type=int, default=15_400, help="of ten candidates: 51 make a step"
    )
    parser.add_argument("--history", type=int, default=200, help="longest")
    parser.add_argument("--folder", type=Path, help="where the table lies while it is needed")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
