"""Exact search through our call beside faiss's flat index and the plain matrix product of the same sizes, taking turns.

- **ours**: `top_rows`, whole: folding of equal vectors, products, float64, order. Its result is checked against faiss's.
- **faiss**: `IndexFlatIP.search` alone, the index built before.
- **product**: all inner products by NumPy and by torch, in the blocks that suit each best, looked at by nobody; the quicker of the two counts.

A rate is products a second; a ratio is of two times of one round. Wall time suffers from neighbours on the machine, CPU time does not: with one thread the
second is the one to trust on a machine that is shared. Vectors are random: folding finds nothing, and no search has near ties.
With `--indexes`, IVF and HNSW on the same vectors or on real tables: what they find of the exact ranking, and how much quicker.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil
import torch
from threadpoolctl import threadpool_limits

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, count, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import write_json
from moon_rec.progress import say
from moon_rec.seeds import generator
from representation.search.approximate import ApproximateIndex, IndexConfig
from representation.search.exact import top_rows

SEARCHES_AT_ONCE = 1024
NUMPY_BLOCK, TORCH_BLOCK = 4096, 1024
"""Gallery vectors a product; of 1,024 to 65,536 the quickest of each library, measured."""
SECONDS_BETWEEN_LOOKS = 0.02
INDEXES = (
    IndexConfig(kind="ivf", probes=8),
    IndexConfig(kind="ivf", probes=32),
    IndexConfig(kind="ivf", probes=128),
    IndexConfig(kind="hnsw", search_width=64),
    IndexConfig(kind="hnsw", search_width=256),
)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    torch.set_num_threads(given.threads)
    faiss.omp_set_num_threads(given.threads)
    gallery, queries = _vectors(given)
    about: dict[str, Any] = {
        **describe_machine(),
        "threads": given.threads,
        "items": len(gallery),
        "dim": gallery.shape[1],
        "searches": len(queries),
        "k": given.k,
        "vectors": "random" if given.items_table is None else "an encoder's",
    }
    with threadpool_limits(given.threads):
        if given.rounds:
            about |= _exact(gallery, queries, given.k, given.rounds)
        if given.indexes:
            about["indexes"] = _indexes(gallery, queries, given.k)
    if given.out:
        write_json(given.out, about)
        print(f"written to {given.out}")


def _vectors(given: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    if given.items_table is not None:
        tables = [EmbeddingTable.open(path) for path in (given.items_table, given.queries_table)]
        rows = [table.take(np.arange(len(table))) for table in tables]
        chosen = generator(0, "searches").permutation(len(rows[1]))[: given.searches]
        return _unit(rows[0]), _unit(rows[1][chosen])
    random = generator(0, "search benchmark")
    return _unit(_random(random, given.items, given.dim)), _unit(
        _random(random, given.searches, given.dim)
    )


def _random(random: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return random.standard_normal((rows, dim), dtype=np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows /= np.sqrt(np.einsum("id,id->i", rows, rows))[:, None]
    return rows


def _exact(gallery: np.ndarray, queries: np.ndarray, k: int, rounds: int) -> dict[str, Any]:
    with watched() as peak:
        ours = top_rows(queries, gallery, k)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)  # pyright: ignore[reportCallIssue]
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: top_rows(queries, gallery, k),
        "faiss": lambda: index.search(queries, k)[1],  # pyright: ignore[reportCallIssue]
        "product_numpy": lambda: _numpy_product(queries, gallery),
        "product_torch": lambda: _torch_product(queries, gallery),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    agree = 0.0
    for number in range(rounds):
        for name in list(calls)[:: 1 - 2 * (number % 2)]:
            result, spent = _timed(calls[name])
            seconds[name].append(spent)
            say(f"round {number + 1}, {name}: {spent[0]:.2f} s wall, {spent[1]:.2f} s CPU")
            if name == "faiss":
                agree = float(
                    np.mean([np.isin(*rows).mean() for rows in zip(ours, result, strict=True)])
                )
    return _summary(seconds, 2 * len(gallery) * len(queries) * gallery.shape[1]) | {
        "peak_extra_mib": round(peak[0] / 2**20),
        "gallery_mib": round(gallery.nbytes / 2**20),
        "share_of_ours_in_faiss": agree,
    }


def _summary(seconds: dict[str, list[tuple[float, float]]], products: int) -> dict[str, Any]:
    """Ratios round by round: ours' rate over another's, by wall and by CPU time."""
    summary: dict[str, Any] = {"seconds_wall_cpu": seconds, "ratios": {}, "gflops": {}}
    for clock, place in (("wall", 0), ("cpu", 1)):
        times = {name: [each[place] for each in rows] for name, rows in seconds.items()}
        plain = [
            min(pair) for pair in zip(times["product_numpy"], times["product_torch"], strict=True)
        ]
        for name, others in (("faiss", times["faiss"]), ("product", plain)):
            ratios = [other / own for other, own in zip(others, times["ours"], strict=True)]
            middle = statistics.median(ratios)
            summary["ratios"][f"{name}_{clock}"] = [middle, min(ratios), max(ratios)]
            print(
                f"rate over {name}'s, {clock}: {middle:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            )
        best = {name: products / min(rows) / 1e9 for name, rows in times.items()}
        summary["gflops"][clock] = {name: round(value, 1) for name, value in best.items()}
    return summary


def _indexes(gallery: np.ndarray, queries: np.ndarray, k: int) -> list[dict[str, Any]]:
    """Each index beside the exact search of the same queries, one after the other."""
    found = []
    for config in INDEXES:
        index, (build, _) = _timed(lambda config=config: ApproximateIndex(gallery, config))
        _, (_, exact) = _timed(lambda: top_rows(queries, gallery, k))
        _, (_, own) = _timed(lambda index=index: index.top_rows(queries, k))
        share = index.found_of_exact(queries, [k])[k]
        found.append(
            {
                "index": index.name,
                "build_seconds": round(build, 2),
                "searches_per_cpu_second": round(len(queries) / own),
                "rate_over_exact_cpu": round(exact / own, 2),
                "of_exact": share.as_dict(),
            }
        )
        print(f"{index.name}: of exact@{k} {share}, {exact / own:.1f} times exact's rate")
    return found


def _numpy_product(queries: np.ndarray, gallery: np.ndarray) -> None:
    scores = np.empty((SEARCHES_AT_ONCE, NUMPY_BLOCK), dtype=np.float32)
    for part, block in _pieces(queries, gallery, NUMPY_BLOCK):
        whole = (len(part), len(block)) == scores.shape
        np.matmul(part, block.T, out=scores if whole else None)


def _torch_product(queries: np.ndarray, gallery: np.ndarray) -> None:
    scores = torch.empty(SEARCHES_AT_ONCE, TORCH_BLOCK)
    for part, block in _pieces(queries, gallery, TORCH_BLOCK):
        whole = (len(part), len(block)) == scores.shape
        given = torch.from_numpy(part), torch.from_numpy(block).T
        torch.mm(*given, out=scores if whole else None)


def _pieces(
    queries: np.ndarray, gallery: np.ndarray, block: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first in range(0, len(queries), SEARCHES_AT_ONCE):
        for start in range(0, len(gallery), block):
            yield queries[first : first + SEARCHES_AT_ONCE], gallery[start : start + block]


def _timed(call: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """Result, and wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, (time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def watched() -> Iterator[list[int]]:
    """The most of this process's memory that became resident while the block runs, in bytes, beyond what was."""
    process = psutil.Process()
    before, peak, done = process.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            peak[0] = max(peak[0], process.memory_info().rss - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.search",
        description="Exact search beside faiss and beside the plain matrix product; with --indexes, what IVF and HNSW find.",
        example="python -m benchmarks.search --threads 1 --out benchmarks/results/search.json",
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--searches", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3, help="0: no exact search")
    parser.add_argument("--threads", type=count, default=psutil.cpu_count() or 1)
    parser.add_argument("--indexes", action="store_true", help="measure IVF and HNSW, too")
    parser.add_argument("--items-table", type=Path, help="vectors of an encoder instead")
    parser.add_argument("--queries-table", type=Path, help="and those of its queries")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
