"""All checks that need a GPU, one after the other: `python -m benchmarks.gpu_all --out DIR --shop SHOP --weights STARTERS`.

Each runs in a process of its own with a time limit, and one that fails or is too slow stops no other. Nine minutes are shared out, so that a card which is lent for ten is enough. In DIR stand each check's
figures (`<name>.json`, with date and hardware) and what it printed (`<name>.log`), and `summary.json`, which is written anew after every check: what was asked, what was found, and whether it holds.

Exits with code 2 where there is no GPU, and where a check does not hold. `--dry-run` prints the commands, which may be run by themselves.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks.chain import describe_device, describe_machine
from benchmarks.figures_file import FIGURES
from moon_rec.command import Parser, run
from moon_rec.errors import MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.progress import say

SECONDS = 540.0
HOLDS, FAILS, LATE, UNTRIED = "holds", "does not hold", "not finished in time", "not tried"
SUMMARY, WORK = "summary.json", "work"


class Check(NamedTuple):
    """A command and what it is to show.

    Attributes:
        name: of its files.
        asked: what is to be shown.
        words: after `python -m`, as a command line.
        seconds: it may take.
        found: its figures in a line.
    """

    name: str
    asked: str
    words: tuple[str, ...]
    seconds: float
    found: Callable[[Any], str]


def checks(shop: str, weights: str, out: Path) -> list[Check]:
    """All of them, the surest first; `out` is where figures and encoders go."""
    work = out / WORK

    def words(module: str, *options: object) -> tuple[str, ...]:
        return (module, *map(str, options))

    def to(name: str) -> tuple[str, str]:
        return "--out", str(out / f"{name}.json")

    small = ("--set", "steps=5", "--set", "batch_size=32", "--set", "log_every=1")
    start = work / "costs" / "start"
    return [
        Check(
            "search", "exact search on the card ranks as on the processor, ties included",
            words("benchmarks.gpu_search", *to("search")), 60, _of_search,
        ),
        Check(
            "recipes", "every recipe's post-training and embedding run on the card, in bfloat16; what they cost beside plain",
            words("benchmarks.recipe_costs", shop, "--device", "cuda", "--work", work / "costs", "--experts", 4, "--rounds", 2, "--steps", 10, *to("recipes")), 110, _of_recipes,
        ),
        Check(
            "pretraining", "MOON's pretraining runs on the card",
            words("representation.pretrain", shop, "--recipe", "moon", "--start", start, "--out", work / "pretrained", "--graded", 0, "--overwrite", *small), 25,
            _of_log(work / "pretrained" / "pretraining_log.json"),
        ),
        Check(
            "reasoning", "MOON3.0's reasoning trains on the card",
            words("representation.reason", shop, "--recipe", "moon3", "--start", start, "--out", work / "reasoned", "--graded", 0, "--overwrite", *small), 25,
            _of_log(work / "reasoned" / "reasoning_log.json"),
        ),
        Check(
            "encoder", "a refinement's losses, vectors and rankings on the card are the processor's",
            words("benchmarks.gpu_encoder", shop, "--work", work / "encoder", "--steps", 15, *to("encoder")), 80, _of_encoder,
        ),
        Check(
            "ranker", "a ranker's losses on the card are the processor's; rows a second",
            words("benchmarks.gpu_ranker", "--steps", 100, *to("ranker")), 60, _of_ranker,
        ),
        Check(
            "loader", "the loader keeps the card busy: at least .95 of the rate on batches that lie there",
            words("benchmarks.gpu_loader", shop, "--work", work / "loader", "--rounds", 2, "--steps", 20, *to("loader")), 70, _of_loader,
        ),
        Check(
            "title", "title to own picture, the whole vision tower tuned on the card",
            words("benchmarks.title_to_picture", shop, "--weights", weights, "--work", work / "title", "--device", "cuda", "--contestants", "tuned", "--epochs", 4, "--look-every", 2, "--batch-size", 256, "--held-out", 300, "--validation", 100, *to("title")), 50,
            _of_title,
        ),
        Check(
            "backbone", "a step by chunks on Qwen3-VL-2B's sizes takes hardly more memory where its batch grows",
            words("benchmarks.gpu_backbone", shop, "--work", work / "backbone", "--steps", 2, *to("backbone")), 60, _of_backbone,
        ),
    ]  # fmt: skip


def _of_search(found: Any) -> str:
    seconds = found["found"]["seconds"]
    told = ", ".join(f"{name} {value:g} s" for name, value in seconds.items())
    return f"rankings equal; {told}; IVF finds {found['found']['ivf_share_of_exact']:.3f}"


def _of_recipes(found: Any) -> str:
    return "; ".join(
        f"{row['recipe']} {1000 * row['seconds_a_step']:.0f} ms a step ({row['over_plain']['seconds_a_step']:.2f}), {1000 * row['seconds_a_product']:.2f} ms a product ({row['over_plain']['seconds_a_product']:.2f}), {row.get('mib_peak', 0):,.0f} MiB"
        for row in found["rows"]
    )


def _of_log(log: Path) -> Callable[[Any], str]:
    """Of a training that writes no figures: its losses."""

    def told(_: Any) -> str:
        losses = [entry["loss"] for entry in read_json(log)["log"]]
        return f"{len(losses)} steps, losses {', '.join(f'{loss:.3f}' for loss in losses)}"

    return told


def _of_encoder(found: Any) -> str:
    apart = {name: one["apart"] for name, one in found["found"].items() if isinstance(one, dict) and "apart" in one}  # fmt: skip
    told = ", ".join(f"{name}: {value:.1e} of a loss" for name, value in apart.items())
    return f"{told}; vectors {found['found']['vectors_apart']:.1e}"


def _of_ranker(found: Any) -> str:
    return "; ".join(
        f"{name}: {one['largest_loss_gap']:.1e}, {one['rows_per_second']:,.0f} rows/s"
        for name, one in found["found"].items()
    )


def _of_loader(found: Any) -> str:
    return "; ".join(
        f"{one['training']}: {one['share_of_cached_rate']:.3f}" for one in found["trainings"]
    )


def _of_title(found: Any) -> str:
    recall = found["tuned"]["recall"]
    told = ", ".join(f"{depth} {one['share']:.3f}" for depth, one in recall.items())
    return f"{told} among {found['products']:,} products"


def _of_backbone(found: Any) -> str:
    return "; ".join(
        f"{one['name']}, {one['rows']} pairs: {one['mib_peak']:,} MiB, {one['pairs_a_second']:g} pairs/s"
        for one in found["cells"]
    )


def tried(check: Check, out: Path, seconds: float) -> dict[str, Any]:
    """Run it, and say what came of it; `seconds`: what is left of all checks' time."""
    row: dict[str, Any] = {"name": check.name, "asked": check.asked, "command": command_of(check)}
    limit = min(check.seconds, seconds)
    if limit <= 0:
        return row | {"outcome": UNTRIED, "found": "no time was left", "seconds": 0.0}
    log, started = out / f"{check.name}.log", time.monotonic()
    with open(log, "w", encoding="utf-8") as file:
        outcome = _ended([sys.executable, "-m", *check.words], file, limit)
    row |= {"outcome": outcome, "seconds": round(time.monotonic() - started, 1)}
    return row | {"found": _found(check, out, log, outcome)}


def _ended(words: list[str], log: IO[str], seconds: float) -> str:
    """How a command ended; what it started ends with it."""
    child = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        return FAILS if child.wait(seconds) else HOLDS
    except subprocess.TimeoutExpired:
        return LATE
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _found(check: Check, out: Path, log: Path, outcome: str) -> str:
    """The figures in a line where they are there, and what was said last where the check did not hold."""
    figures = out / f"{check.name}.json"
    try:
        told = check.found(read_json(figures) if figures.is_file() else None)
    except (MoonRecError, OSError, LookupError, TypeError, ValueError):
        told = ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines and outcome != HOLDS else ""
    return "; ".join(filter(None, (told, last))) or "it said nothing"


def command_of(check: Check) -> str:
    """As it may be given by hand."""
    return f"python -m {shlex.join(check.words)}"


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.gpu_all",
        description="Run all checks that need a GPU, each with a time limit, nine minutes together, and say of each what was asked, what was found, and whether it holds.",
        example="python -m benchmarks.gpu_all --out runs/gpu --shop runs/demo/shop --weights runs/starters",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for figures and logs")
    parser.add_argument("--shop", required=True, help="a shop's folder, such as the demo's")
    parser.add_argument("--weights", required=True, help="folder of representation.starters")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of these checks; default: all")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    add_overwrite_option(parser, "the figures")
    given = parser.parse_args(argv)
    every = checks(given.shop, given.weights, given.out)
    chosen = [one for one in every if given.only is None or one.name in given.only]
    if odd := set(given.only or ()) - {one.name for one in every}:
        raise MoonRecError(f"--only {min(odd)}: no such check; there are {', '.join(one.name for one in every)}")  # fmt: skip
    if given.dry_run:
        print("\n".join(f"{command_of(one)}  # {one.seconds:.0f} s" for one in chosen))
        return
    _refuse_without_a_gpu()
    about = {**describe_machine(), **describe_device("cuda"), "shop": given.shop}
    _make_room(given.out, chosen, given.overwrite)
    _run(chosen, given.out, about)


def _refuse_without_a_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise MoonRecError(
            "torch finds no GPU here, and all of these checks need one; python -m moon_rec doctor says why, --dry-run prints the commands"
        )


def _make_room(out: Path, chosen: list[Check], overwrite: bool) -> None:
    """Figures and encoders of an earlier run are removed where `overwrite` says so.

    Raises:
        MoonRecError: it does not, or what is there is none.
    """
    files = [out / name for name in (SUMMARY, *(f"{one.name}.json" for one in chosen))]
    for file in files:
        check_output(file, FIGURES, overwrite)
    if (out / WORK).exists():
        if not (overwrite and (out / SUMMARY).is_file()):
            raise MoonRecError(
                f"{out / WORK} exists already; name another --out, or give --overwrite where it is of an earlier run, beside its {SUMMARY}"
            )
        shutil.rmtree(out / WORK)
    for file in files:
        file.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


def _run(chosen: list[Check], out: Path, about: dict[str, Any]) -> None:
    """All in turn; the summary after each.

    Raises:
        MoonRecError: one does not hold.
    """
    rows: list[dict[str, Any]] = []
    end = time.monotonic() + SECONDS
    for check in chosen:
        say(f"{check.name}: {check.asked}")
        rows.append(tried(check, out, end - time.monotonic()))
        write_json(out / SUMMARY, about | {"checks": rows})
    for row in rows:
        print(f"{row['name']} | {row['asked']} | {row['found']} | {row['outcome']}")
    if short := [f"{row['name']} ({row['outcome']})" for row in rows if row["outcome"] != HOLDS]:
        raise MoonRecError(f"{len(short)} of {len(rows)} checks: {', '.join(short)}; {out / SUMMARY} says what was found, logs stand beside it")  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main))
