"""Run a chain of commands one after another and measure each: wall time, CPU time, peak memory of its whole process tree.

What the real-data benchmarks share. A step that has left its output behind from an earlier run can be skipped with `--resume`.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from moon_rec.errors import MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.progress import say

SECONDS_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True)
class Step:
    """A command of the chain: `words` follow `python`; `makes` is the path it leaves behind."""

    name: str
    words: list[str]
    makes: Path


@dataclass(frozen=True)
class Measured:
    """What a step cost."""

    name: str
    command: str
    wall_seconds: float
    cpu_seconds: float
    peak_gib: float


def run_chain(steps: list[Step], out: Path, resume: bool = False) -> list[Measured]:
    """Run the steps in turn, print a line for each, and write `out` (JSON) after every step.

    With `resume`, a step whose output is there keeps what an earlier run measured of it, if its command is the same.

    Raises:
        MoonRecError: a step ended with another exit code than 0, or another command made the output that `resume` finds.
    """
    known = read_json(out)["steps"] if resume and out.exists() else []
    earlier = {one["name"]: Measured(**one) for one in known}
    measured = []
    for number, step in enumerate(steps, 1):
        if resume and step.makes.exists():
            measured.append(_kept(step, earlier.get(step.name)))
            say(f"[{number}/{len(steps)}] {step.name}: already there ({step.makes})")
            continue
        say(f"[{number}/{len(steps)}] {step.name}: python {' '.join(step.words)}")
        one = _measure(step)
        measured.append(one)
        say(f"    {one.wall_seconds:.0f} s, peak {one.peak_gib:.2f} GiB")
        write_json(out, {**describe_machine(), "steps": [asdict(item) for item in measured]})
    total = sum(one.wall_seconds for one in measured)
    peak = max((one.peak_gib for one in measured), default=0.0)
    say(f"all: {total / 60:.1f} minutes, peak {peak:.2f} GiB; written to {out}")
    return measured


def _kept(step: Step, earlier: Measured | None) -> Measured:
    """What an earlier run measured of the very same command."""
    command = "python " + " ".join(step.words)
    if earlier is None or earlier.command != command:
        known = "is not known" if earlier is None else f"was made by {earlier.command!r}"
        raise MoonRecError(
            f"step {step.name!r}: {step.makes} is there, but {known}, not by {command!r}; remove it or name another --out"
        )
    return earlier


def module_step(module: str, makes: Path, *words: object, name: str = "") -> Step:
    """A step that is `python -m module words ...`."""
    return Step(name or module, ["-m", module, *map(str, words)], makes)


def ranker_steps(
    shop: Path, out: Path, seeds: tuple[int, ...], tables: list[str], extra: tuple[str, ...] = ()
) -> list[Step]:
    """Train and score DIN on ids and CUBE with each seed, then compare them over all seeds.

    Args:
        tables: the words that name the embedding tables, for CUBE only.
        extra: further words for both trainings.
    """
    steps = []
    for content, words in (("none", []), ("cube", tables)):
        for seed in seeds:
            ranker = out / "rankers" / f"{content}-{seed}"
            scores = out / f"scores-{content}" / f"seed-{seed}"
            options = ["--content", content, *words, "--set", f"seed={seed}", *extra]
            name = f"{content}, seed {seed}"
            train = module_step(
                "ranking.train", ranker, shop, "--out", ranker, *options, name=f"train {name}"
            )
            judge = module_step(
                "ranking.evaluate",
                scores,
                ranker,
                shop,
                "--out",
                scores,
                *words,
                name=f"score {name}",
            )
            steps += [train, judge]
    sides = (out / "scores-none", out / "scores-cube")
    compared = out / "comparison"
    return [*steps, module_step("ranking.compare", compared, *sides, "--out", compared)]


def describe_machine() -> dict[str, str | int]:
    """Date, commit, hardware and Python, as a result must name them."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    head = subprocess.run(words, check=False, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": head.stdout.strip(),
        "cores": os.cpu_count() or 0,
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def describe_device(device: str) -> dict[str, str | None]:
    """What torch computes with, and which torch.

    Raises:
        MoonRecError: `cuda` where torch finds no GPU.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise MoonRecError("--device cuda, but torch finds no GPU here; try --device cpu")
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {"device": device, "gpu": gpu, "torch": torch.__version__}


def add_chain_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Add `--out` and `--resume`."""
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for all that is made")
    parser.add_argument("--resume", action="store_true", help="skip steps whose output is there")


def _measure(step: Step) -> Measured:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, *step.words])
    watcher = _PeakMemory(process.pid)
    watcher.start()
    code = process.wait()
    watcher.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code != 0:
        raise MoonRecError(f"step {step.name!r} ended with exit code {code}; its own line is above")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = watcher.peak / 2**30
    wall = time.monotonic() - start
    return Measured(step.name, "python " + " ".join(step.words), wall, cpu, peak)


class _PeakMemory(threading.Thread):
    """Looks at a process tree four times a second and keeps the largest sum of resident memory (pages that processes share count in each: an upper bound)."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.peak, self._pid, self._over = 0, pid, threading.Event()

    def run(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self.peak = max(self.peak, self._now())

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _now(self) -> int:
        try:
            root = psutil.Process(self._pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        total = 0
        for one in family:
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total
