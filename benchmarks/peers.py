"""Rows a second of DIN here and in FuxiCTR, on the same ids: `python -m benchmarks.peers {training,requests}`.

The setting: 200,000 rows, 100,000 items, history 10-50 (mean 30), embedding 16, tower 256-128-64, attention
64, batch 1024, 2 threads, one row a request (so that nothing is gained by grouping); whole training loop,
loader included. Each library runs its own loop, loader and optimiser: here row-wise Adagrad for tables and
AdamW, there Adam; here a ReLU in the attention, there Dice, the default of its model zoo (with `--activation
ReLU` as here). The two take turns, A B A B; medians and the ratio of each pair are reported.

`requests` needs no peer: requests of 10 candidates with a history of 200, against the same rows one by one.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.chain import describe_machine
from benchmarks.din_steps import Bench
from benchmarks.figures_file import parsed
from benchmarks.synthetic_tables import (
    ALL_FEATURES,
    ITEM_ALONE,
    one_row_a_request,
    random_vectors,
    synthetic_tables,
)
from moon_rec.allocator import keep_freed_memory
from moon_rec.command import Parser, count, run
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import say
from ranking.config import RankerConfig
from ranking.handover import write_fuxictr

PEERS = Path(".venv-peers/bin/python")
FEATURES = {"item": ITEM_ALONE, "all": ALL_FEATURES}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    keep_freed_memory()  # as `python -m ranking.train` does
    found = training(given) if given.task == "training" else requests(given)
    settings = {name: value for name, value in vars(given).items() if name not in ("out", "task")}
    result = {**describe_machine(), "command": " ".join(sys.argv[1:]), **settings, **found}
    print(json.dumps(found, indent=2))
    if given.out:
        write_json(given.out, result)


def training(given: argparse.Namespace) -> dict[str, Any]:
    """Training and loading of both libraries in turn, and this one's loop against ready batches."""
    if not PEERS.exists():
        raise MoonRecError("FuxiCTR is not installed: make peers")
    tables = synthetic_tables(given.rows, num_values=FEATURES[given.features])
    bench = Bench(tables, _config(given), clock=_clock(given))
    measured: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_fuxictr(tables, data)
        for pair in range(given.pairs):
            say(f"pair {pair + 1} of {given.pairs}")
            _add(measured, "loading", bench.loading())
            _add(measured, "fuxictr_loading", _fuxictr(given, data, "load"))
            _add(measured, "ready_batches", bench.ready_batches())
            _add(measured, "training", bench.whole_loop())
            _add(measured, "fuxictr_training", _fuxictr(given, data, "train"))
    ratios = {
        "training_to_fuxictr": _ratios(measured, "training", "fuxictr_training"),
        "loading_to_fuxictr": _ratios(measured, "loading", "fuxictr_loading"),
        "whole_loop_to_ready_batches": _ratios(measured, "training", "ready_batches"),
    }
    return {"rows_per_second": _medians(measured), "ratio": _medians(ratios), "all": measured}


def requests(given: argparse.Namespace) -> dict[str, Any]:
    """Requests of 10 candidates against their rows one by one, for DIN and for CUBE."""
    num_requests, candidates, length = given.rows // 10, 10, 200
    lengths = (length, length)
    whole = synthetic_tables(num_requests, candidates, lengths, FEATURES[given.features])
    rows = one_row_a_request(whole)
    vectors = random_vectors(whole.items.ids.size)
    measured: dict[str, list[float]] = {}
    for _ in range(given.pairs):
        for name, content in (("din", "none"), ("cube", "cube")):
            items = vectors if content == "cube" else None
            config = _config(given).model_copy(update={"content": content})
            for way, tables in (("requests", whole), ("row_by_row", rows)):
                bench = Bench(tables, config, items, _clock(given))
                _add(measured, f"{name}_{way}", bench.whole_loop())
    ratios = {
        name: _ratios(measured, f"{name}_requests", f"{name}_row_by_row")
        for name in ("din", "cube")
    }
    return {"rows_per_second": _medians(measured), "ratio": _medians(ratios), "all": measured}


def _config(given: argparse.Namespace) -> RankerConfig:
    return RankerConfig(
        embedding_dim=16,
        attention_dim=64,
        tower=(256, 128, 64),
        batch_size=1024,
        num_threads=given.threads,
    )


def _fuxictr(given: argparse.Namespace, data: Path, task: str) -> float:
    """Rows a second of FuxiCTR, in a process of its own; its imports and set-up are not timed."""
    words = [str(PEERS), "benchmarks/fuxictr_din.py", str(data), "--task", task]
    words += ["--threads", str(given.threads), "--workers", str(given.workers)]
    words += ["--activation", given.activation, *(["--cpu-time"] if given.cpu_time else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MoonRecError(f"FuxiCTR ended with exit code {done.returncode}: {done.stderr[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["rows"] / found["seconds"]


def _clock(given: argparse.Namespace):
    return time.process_time if given.cpu_time else time.perf_counter


def _add(measured: dict[str, list[float]], name: str, value: float) -> None:
    measured.setdefault(name, []).append(round(value, 1))
    say(f"    {name}: {value:,.0f} rows/s")


def _ratios(measured: dict[str, list[float]], one: str, other: str) -> list[float]:
    return [round(a / b, 3) for a, b in zip(measured[one], measured[other], strict=True)]


def _medians(measured: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in measured.items()}


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.peers",
        description="Rows a second of DIN here and in FuxiCTR, or of requests against rows one by one.",
        example="python -m benchmarks.peers training --out benchmarks/results/din-fuxictr.json",
    )
    parser.add_argument("task", choices=("training", "requests"))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=count, default=2)
    parser.add_argument("--features", choices=tuple(FEATURES), default="item")
    parser.add_argument("--activation", default="Dice", help="of FuxiCTR's attention")
    parser.add_argument(
        "--workers", type=int, default=1, help="FuxiCTR's loader processes; 1 is its own default"
    )
    parser.add_argument(
        "--cpu-time", action="store_true", help="count CPU time: for a machine that is not quiet"
    )
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
