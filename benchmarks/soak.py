"""The chain again and again in one process: does anything grow?

    python -m benchmarks.soak --minutes 60 --out runs/soak.json

A cycle simulates a shop, pre-trains and post-trains an encoder, embeds the shop, trains, evaluates and scores with a ranker, runs a study with tracking and writes its report, all at
the sizes of `benchmarks.faulting.commands`, and removes what it made, but for the tracking store, which every cycle uses and which therefore grows. After each cycle are counted, after a
garbage collection: resident memory and its highest so far, what of it C's `malloc` has given out, open handles, threads, child processes, objects that Python's collector knows, files left in the working folder and in the
folder of temporary files. MLflow keeps the place of the files of each of the last 1,025 runs that had some, 72 objects each (`benchmarks.kept_by_libraries`): these are given up before counting, for that store would not be
full within an hour. The outputs of every cycle are compared with the first one's, bit for bit but for what `faulting.contents.VARIES` names.

Flat: after the warm-up (the first fifth of the cycles, at least twenty: the allocator's free
store grows for as long) a line through a count over the cycles has a slope whose 95 % interval holds 0 or lies below the count's limit: .1
MiB a cycle of memory, .02 of a handle, thread or file, 20 objects. The interval is that of least squares, with as many independent cycles as the residuals' first autocorrelation leaves (n (1 -
r) / (1 + r)). Fewer than ten cycles after the warm-up decide nothing. The highest memory may rise only as resident memory does.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import math
import os
import shutil
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any, ClassVar

os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
from scipy import stats

from benchmarks.faulting.commands import BASE, COMMANDS, RANKER, VECTORS, plan
from benchmarks.faulting.contents import contents, differences
from moon_rec.command import Parser, positive, run
from moon_rec.files import atomic_file, write_json
from moon_rec.palette import BLUE
from moon_rec.progress import progress, silence

LIMITS = {
    "resident_mib": 0.1,
    "highest_mib": 0.1,
    "allocated_mib": 0.1,
    "handles": 0.02,
    "threads": 0.02,
    "children": 0.02,
    "objects": 20.0,
    "files_left": 0.02,
    "temporary_files": 0.02,
}
"""What is counted -> the slope, a cycle, that is still called flat."""
FEWEST, WARM_UP = 10, 20
_SETTINGS = tuple(word for setting in RANKER for word in ("--set", setting))
_STORE = ("--tracking", "sqlite:///../tracking/mlflow.db")
CHAIN: tuple[tuple[str, ...], ...] = (
    *(words for name, words in BASE if name not in ("study", "ranker")),
    next(one.words for one in COMMANDS if one.name == "embed"),
    ("ranking.train", "shop", *VECTORS, "--out", "ranker", "--checkpoint-every", "2", *_SETTINGS),
    ("ranking.evaluate", "ranker", "shop", *VECTORS, "--out", "scores", "--resamples", "20"),
    ("ranking.score", "ranker", "shop", *VECTORS, "--out", "scores.parquet"),
    (
        "exchange_rate.study",
        "shop",
        "--plan",
        "../plan.toml",
        "--out",
        "study",
        "--workers",
        "1",
        *_STORE,
    ),
    ("exchange_rate.report", *_STORE, "--out", "report"),
)


def cycle(folder: Path) -> dict[str, str]:
    """The chain once in a new folder, which goes again; what it made, as `contents` tells it."""
    folder.mkdir()
    home = Path.cwd()
    os.chdir(folder)
    try:
        for words in CHAIN:
            said, told = io.StringIO(), io.StringIO()
            with silence(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
                code = _run(words)
            if code:
                raise SystemExit(f"{' '.join(words)} ended with {code}: {told.getvalue()}")
        return contents(folder)
    finally:
        os.chdir(home)
        shutil.rmtree(folder)


def _run(words: tuple[str, ...]) -> int:
    module, *argv = words
    if module == "moon_rec":
        return importlib.import_module("moon_rec.__main__").main(list(argv))
    return run(importlib.import_module(module).main, argv)


def sample(work: Path) -> dict[str, float]:
    """What this process holds now."""
    _empty_mlflows_store()
    gc.collect()
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if line
    )
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    return {
        "resident_mib": int(status["VmRSS"].split()[0]) / 1024,
        "highest_mib": int(status["VmHWM"].split()[0]) / 1024,
        "allocated_mib": allocated() / 2**20,
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": int(status["Threads"]),
        "children": len(children.read_text().split()),
        "objects": len(gc.get_objects()),
        "files_left": sum(1 for path in work.iterdir()),
        "temporary_files": sum(len(files) for _, _, files in os.walk(tempfile.gettempdir())),
    }


def _empty_mlflows_store() -> None:
    if tracking := sys.modules.get("mlflow.tracking._tracking_service.utils"):
        tracking._artifact_repos_cache.clear()


def allocated() -> int:
    """Bytes that C's `malloc` has given and not got back: what grows there is lost, where resident memory may only be scattered. 0 without glibc."""
    call = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if call is None:
        return 0
    call.restype = _MallInfo
    found = call()
    return found.uordblks + found.hblkhd


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def judge(values: list[float], limit: float) -> dict[str, Any]:
    """Slope a cycle after the warm-up with its interval, and whether that is flat; see the module."""
    warm = max(WARM_UP, math.ceil(len(values) / 5))
    rest = np.array(values[warm:], dtype=float)
    if len(rest) < FEWEST:
        return {"verdict": f"not decided: {len(rest)} cycles after the warm-up, {FEWEST} needed"}
    cycles = np.arange(len(rest), dtype=float)
    slope, intercept = np.polyfit(cycles, rest, 1)
    residuals = rest - intercept - slope * cycles
    spread = float((residuals**2).sum())
    follows = float((residuals[1:] * residuals[:-1]).sum() / spread) if spread > 0 else 0.0
    follows = min(max(follows, 0.0), 0.99)
    count = max(len(rest) * (1 - follows) / (1 + follows), 3.0)
    error = math.sqrt(spread / (count - 2) / ((cycles - cycles.mean()) ** 2).sum())
    half = float(stats.t.ppf(0.975, count - 2)) * error
    low, high = slope - half, slope + half
    is_flat = low <= 0 <= high or high < limit
    return {
        "slope": float(slope),
        "low": float(low),
        "high": float(high),
        "first": float(rest[0]),
        "last": float(rest[-1]),
        "verdict": "flat" if is_flat else ("falls" if high < 0 else "grows"),
    }


def draw(samples: list[dict[str, float]], verdicts: dict[str, Any], path: Path) -> None:
    """Every count over the cycles."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 3, figsize=(12, 8), constrained_layout=True)
    for axis, name in zip(axes.flat, LIMITS, strict=True):
        axis.plot([one[name] for one in samples], color=BLUE, linewidth=1)
        axis.set_title(f"{name}: {verdicts[name]['verdict'].split(':')[0]}", fontsize=9)
        axis.set_xlabel("cycle", fontsize=8)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=100)
    pyplot.close(figure)


def main(argv: list[str] | None = None) -> None:
    """The command; exit code 1 where something grows, or a cycle made something else."""
    given = _parser().parse_args(argv)
    work = Path(tempfile.mkdtemp(prefix="moon-rec-soak-"))
    (work / "tracking").mkdir()
    (work / "plan.toml").write_text(plan(), encoding="utf-8")
    (work / "tmp").mkdir()
    tempfile.tempdir = str(work / "tmp")
    samples: list[dict[str, float]] = []
    first: dict[str, str] = {}
    differing: list[str] = []
    start = time.monotonic()
    seconds = round(60 * given.minutes)
    places = None
    try:
        with progress("soak, seconds", seconds) as bar:
            while (passed := time.monotonic() - start) < seconds or len(samples) < 2:
                made = cycle(work / "cycle")
                first = first or made
                differing += [f"cycle {len(samples)}: {one}" for one in differences(made, first)]
                samples.append(sample(work))
                if given.where and len(samples) == given.where_from:
                    tracemalloc.start(12)
                    places = tracemalloc.take_snapshot()
                note = f"cycle {len(samples)}, {samples[-1]['resident_mib']:.0f} MiB"
                bar.advance(round(time.monotonic() - start - passed), note=note)
        if places is not None:
            _show_where(places)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    verdicts = {name: judge([one[name] for one in samples], LIMITS[name]) for name in LIMITS}
    about = {"minutes": (time.monotonic() - start) / 60, "cycles": len(samples)}
    about |= {"verdicts": verdicts, "differing": differing[:20], "samples": samples}
    write_json(given.out, about)
    draw(samples, verdicts, given.out.with_suffix(".png"))
    print(f"{len(samples)} cycles in {about['minutes']:.1f} minutes")
    for name, one in verdicts.items():
        print(f"{name:16} {one['verdict']}{_line(one)}")
    print(f"outputs: {'the same in every cycle' if not differing else '; '.join(differing[:3])}")
    if differing or any(one["verdict"] == "grows" for one in verdicts.values()):
        sys.exit(1)


def _line(one: dict[str, Any]) -> str:
    if "slope" not in one:
        return ""
    interval = f"{one['slope']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}] a cycle"
    return f" {interval}, {one['first']:,.0f} to {one['last']:,.0f}"


def _show_where(before: tracemalloc.Snapshot) -> None:
    """The lines whose memory grew most since then."""
    gc.collect()
    for one in tracemalloc.take_snapshot().compare_to(before, "lineno")[:15]:
        print(f"{one.size_diff / 1024:+10.1f} KiB {one.count_diff:+7} {one.traceback}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.soak",
        description="Run the whole small chain again and again in one process, and tell whether memory, handles, threads or files grow.",
        example="python -m benchmarks.soak --minutes 60 --out runs/soak.json",
    )
    parser.add_argument("--minutes", type=positive, default=60.0)
    parser.add_argument("--out", type=Path, required=True, help="JSON; a picture goes beside it")
    parser.add_argument("--where", action="store_true", help="show whose memory grew (slower)")
    parser.add_argument("--where-from", type=int, default=4, metavar="CYCLE", help="from then on")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
