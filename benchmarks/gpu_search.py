"""faiss's indexes on a GPU by this project's search, beside the processor: `python -m benchmarks.gpu_search`.

Random vectors round 2,000 directions, as an encoder's lie together. Exact search must rank as the processor does, ties included, to the last of 1,000; a difference ends it
with code 2. Of IVF the share of the exact rows that it finds. A second call of each is timed: the first makes what a process makes once.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from benchmarks.chain import describe_device, describe_machine
from moon_rec.command import Parser, run
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import say
from representation.search import exact
from representation.search.approximate import ApproximateIndex, IndexConfig
from representation.search.exact import top_rows

NUM_DIRECTIONS = 2000
SPREAD = 1.5
WIDE, NUM_WIDE = 1000, 256
"""A long ranking, of fewer searches."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = _parser().parse_args(argv)
    if given.device == "cuda" and not faiss.get_num_gpus():
        raise MoonRecError(
            "faiss sees no GPU; python -m moon_rec doctor says why, --device cpu tries the script"
        )
    gallery, queries = _vectors(given.count, given.searches, given.dim)
    seconds: dict[str, float] = {}
    on_gpu = _timed(seconds, "exact", lambda: top_rows(queries, gallery, given.k))
    wide = top_rows(queries[:NUM_WIDE], gallery, WIDE)
    index = ApproximateIndex(gallery, IndexConfig(kind="ivf"))
    found = _timed(seconds, "ivf", lambda: index.top_rows(queries, given.k))
    exact.MOST_ON_GPU = 0
    on_cpu = _timed(seconds, "exact, processor", lambda: top_rows(queries, gallery, given.k))
    if not (
        np.array_equal(on_gpu, on_cpu)
        and np.array_equal(wide, top_rows(queries[:NUM_WIDE], gallery, WIDE))
    ):
        raise MoonRecError("exact search on the GPU ranks otherwise than on the processor")
    pairs = zip(found, on_cpu, strict=True)
    share = float(np.mean([len(np.intersect1d(*pair)) / given.k for pair in pairs]))
    about = {**describe_machine(), **describe_device(given.device), "faiss": faiss.__version__}
    setting = {name: getattr(given, name) for name in ("count", "searches", "dim", "k")}
    say(f"rankings equal; {index.name} finds {share:.3f} of the exact {given.k}; seconds {seconds}")
    if given.out:
        figures = {"seconds": seconds, "ivf": index.name, "ivf_share_of_exact": share}
        write_json(given.out, {"machine": about, "setting": setting, "found": figures})


def _vectors(count: int, searches: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of a gallery, with a pair of equals, and of searches."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(NUM_DIRECTIONS, dim)).astype(np.float32)

    def drawn(number: int) -> np.ndarray:
        rows = directions[random.integers(0, NUM_DIRECTIONS, number)]
        rows += SPREAD * random.standard_normal((number, dim), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    gallery = drawn(count)
    gallery[7] = gallery[count // 2]
    return gallery, drawn(searches)


def _timed(seconds: dict[str, float], name: str, search: Callable[[], np.ndarray]) -> np.ndarray:
    search()
    started = time.perf_counter()
    found = search()
    seconds[name] = round(time.perf_counter() - started, 3)
    return found


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.gpu_search",
        description="Check and time search by faiss on a GPU against the processor.",
        example="python -m benchmarks.gpu_search --out benchmarks/results/gpu-search.json",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="to search on")
    parser.add_argument("--count", type=int, default=1_000_000, help="vectors of the gallery")
    parser.add_argument("--searches", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=50, help="neighbours of each search")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
