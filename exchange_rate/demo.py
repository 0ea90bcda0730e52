"""`python -m moon_rec demo`: the whole chain on a simulated shop, in minutes, ending with a table and a report.

A shop is simulated, encoders are trained in several ways and one is brought along, each one's embeddings go into the same CTR model over ids and counters of the log, with several seeds and
a permuted control, and the report says what recall bought in AUC. Everything is tracked in one MLflow store inside the output folder. The same seed gives the same figures: a new run
starts afresh in place of an earlier one with `--overwrite`; `--resume` keeps the finished cells of an interrupted one, which must be of the same seed, shop
and code that makes the shop.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from exchange_rate.report.summary import summary_table
from exchange_rate.report.write import REPORT, write_report
from exchange_rate.study.demo_plan import demo_plan
from exchange_rate.study.lock import LOCK, locked
from exchange_rate.study.plain_vectors import bring_plain_vectors
from exchange_rate.study.run import FOLDERS, refuse_failures, run_study
from moon_rec.code_version import code_version
from moon_rec.command import Parser, seed_number
from moon_rec.console import table_console
from moon_rec.errors import StudyError
from moon_rec.files import read_json, write_json
from moon_rec.kept import note_kept, note_to_go_on
from moon_rec.outputs import (
    OutputKind,
    add_overwrite_option,
    check_output,
    json_with,
    remove_folder,
)
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.schema import SHOP
from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from moon_rec.shown import as_console_text
from moon_rec.tracking import Tracker

MARKER = "demo.json"
VECTORS = "vectors"
"""Of the encoder that is brought."""
DEMO = OutputKind(
    "a demo",
    MARKER,
    json_with("made by", "seed", "shop"),
    (
        *SHOP.below("shop"),
        *REPORT.below("report"),
        LOCK,
        f"study/{LOCK}",
        *(f"study/{name}/**" for name in FOLDERS),
        f"{VECTORS}/**",
        "mlflow.db*",
        "artifacts/**",
        ".moon_rec-journal/**",
    ),
)
SHOP_CODE = ("moon_rec.shop", "moon_rec.seeds")
"""What makes the shop."""


def demo_shop(seed: int) -> SimulationConfig:
    """The demo's shop: small enough for minutes, large enough for an interval on cold items.

    Its pictures stand on calmer grounds than the simulation's default, for an encoder that starts from random weights has half a minute to learn to see.
    """
    return SimulationConfig(
        num_items=1_500,
        share_image=0.60,
        share_text=0.25,
        share_both=0.15,
        purchases_per_search=0.7,
        clutter=0.3,
        photo_difficulty=0.5,
        seed=seed,
    )


def main(argv: list[str] | None = None) -> None:
    """Run the demo; see `--help`."""
    refuse_many_processes("moon_rec demo")
    arguments = _parser().parse_args(argv)
    out: Path = arguments.out
    start = time.monotonic()
    with contextlib.ExitStack() as held:
        _prepare(held, out, arguments.seed, arguments.resume, arguments.overwrite)
        _run(out, arguments.seed, start)


def _run(out: Path, seed: int, start: float) -> None:
    note_to_go_on("--resume")
    note_kept(out, "a demo that has begun")
    shop = _make_shop(out / "shop", seed)
    uri = f"sqlite:///{out / 'mlflow.db'}"
    tracker = Tracker(uri, experiment="demo")
    with tracker:
        bring_plain_vectors(shop, out / VECTORS)
        study = run_study(shop, demo_plan(seed, out / VECTORS), out / "study", tracker)
        report = write_report(tracker, out / "report", study=study.id, overwrite=True)
    console = table_console()
    console.print(summary_table(report))
    for line in (
        f"report: {out / 'report' / 'report.html'}",
        f"every run: .venv/bin/mlflow ui --backend-store-uri {uri}",
    ):
        console.print(as_console_text(line), soft_wrap=True)
    console.print(f"took {(time.monotonic() - start) / 60:.1f} minutes", highlight=False)
    refuse_failures(study)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m moon_rec demo",
        description="The whole chain on a simulated shop: encoders, rankers, exchange rate, report. About five minutes on 2 cores.",
        example="python -m moon_rec demo --out runs/demo --seed 0",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="output folder")
    parser.add_argument(
        "--seed", type=seed_number, default=0, help="seed of shop, encoders and rankers"
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep the finished cells of an earlier run"
    )
    add_overwrite_option(parser, "the demo")
    return parser


def _prepare(
    held: contextlib.ExitStack, out: Path, seed: int, resume: bool, overwrite: bool = False
) -> None:
    """Make the folder of a demo and hold its lock; an earlier demo in it goes with `overwrite`, and stays where it is to be resumed.

    Raises:
        MoonRecError: the folder holds something else, or a demo that is not to be replaced.
        StudyError: a demo that this one cannot resume, or one that is at work there.
    """
    about = _about(seed)
    if resume and (out / MARKER).is_file():
        _check_same(out, about)
    else:
        check_output(out, DEMO, overwrite)
        # whoever removes a demo holds its lock; the folder made anew has a lock of its own, and whoever has that goes on
        with locked(out) if (out / MARKER).is_file() else contextlib.nullcontext():
            remove_folder(out, DEMO)
    out.mkdir(parents=True, exist_ok=True)
    held.enter_context(locked(out))
    write_json(out / MARKER, about)


def _about(seed: int) -> dict[str, Any]:
    """What the shop of a demo depends on; its cells have keys of their own."""
    return {
        "made by": "python -m moon_rec demo",
        "seed": seed,
        "shop": demo_shop(seed).digest(),
        "code": code_version(SHOP_CODE)["code"],
    }


def _check_same(out: Path, about: dict[str, Any]) -> None:
    known = read_json(out / MARKER)
    if not isinstance(known, dict) or not isinstance(known.get("seed"), int):
        raise StudyError(f"{out / MARKER} is no marker of a demo; name another --out")
    if known["seed"] != about["seed"]:
        raise StudyError(
            f"{out} holds the demo of seed {known['seed']}, not {about['seed']}: resume with --seed {known['seed']}, name another --out, or begin afresh with "
            "--overwrite"
        )
    for name, words in (
        ("shop", "settings of the demo's shop"),
        ("code", "code that simulates it"),
    ):
        if known.get(name) != about[name]:
            raise StudyError(
                f"{out} holds a demo whose {words} have changed since ({known.get(name)}, now {about[name]}); begin afresh with --overwrite, or name another --out"
            )


def _make_shop(path: Path, seed: int) -> Shop:
    if path.exists():
        return Shop.open(path)
    say(f"[1/3] a simulated shop (seed {seed})")
    return simulate_shop(demo_shop(seed), path)
