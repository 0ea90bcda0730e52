"""`python -m moon_rec demo`: the whole chain on a simulated shop, in minutes, ending with a table and a report.

A shop is simulated, encoders are trained to different depths, each one's embeddings go into the same CTR model with several seeds, and the report
says what recall bought in AUC. Everything is tracked in one MLflow store inside the output folder. The same seed gives the same figures: a new run
starts afresh unless `--resume` keeps the finished cells of an interrupted one, which must be of the same seed, shop and code that makes the shop.
"""

import shutil
import time
from pathlib import Path
from typing import Any

from exchange_rate.plan import demo_plan
from exchange_rate.report import write_report
from exchange_rate.study import run_study
from exchange_rate.summary import summary_table
from moon_rec.code_version import code_version
from moon_rec.command import Parser, seed_number
from moon_rec.console import table_console
from moon_rec.errors import StudyError
from moon_rec.files import read_json, write_json
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from moon_rec.tracking import Tracker

MARKER = "demo.json"
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
    _prepare(out, arguments.seed, arguments.resume)
    shop = _make_shop(out / "shop", arguments.seed)
    uri = f"sqlite:///{out / 'mlflow.db'}"
    tracker = Tracker(uri, experiment="demo")
    study = run_study(shop, demo_plan(arguments.seed), out / "study", tracker)
    report = write_report(tracker, out / "report", study=study.id)
    console = table_console()
    console.print(summary_table(report))
    console.print(f"report: {out / 'report' / 'report.html'}", soft_wrap=True)
    console.print(
        f"every run: .venv/bin/mlflow ui --backend-store-uri {uri}", soft_wrap=True, highlight=False
    )
    console.print(f"took {(time.monotonic() - start) / 60:.1f} minutes", highlight=False)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m moon_rec demo",
        description="The whole chain on a simulated shop: encoders, rankers, exchange rate, report. About five minutes on 2 cores.",
        example="python -m moon_rec demo --out runs/demo --seed 0",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of its own")
    parser.add_argument(
        "--seed", type=seed_number, default=0, help="seed of shop, encoders and rankers"
    )
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run finished")
    return parser


def _prepare(out: Path, seed: int, resume: bool) -> None:
    """Make the folder of a demo; an earlier demo in it goes, or stays where it is to be resumed.

    Raises:
        StudyError: the folder holds something else, or a demo that this one cannot resume.
    """
    if out.exists() and not out.is_dir():
        raise StudyError(f"{out} is a file; name a folder of the demo's own as --out")
    about = _about(seed)
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise StudyError(f"{out} holds something else than a demo; name another --out")
        if resume:
            _check_same(out, about)
        else:
            shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
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
        raise StudyError(f"{out / MARKER} is no marker of a demo; begin afresh without --resume")
    if known["seed"] != about["seed"]:
        raise StudyError(
            f"{out} holds the demo of seed {known['seed']}, not {about['seed']}: resume with --seed {known['seed']}, name another --out, or begin afresh without "
            "--resume"
        )
    for name, words in (
        ("shop", "settings of the demo's shop"),
        ("code", "code that simulates it"),
    ):
        if known.get(name) != about[name]:
            raise StudyError(
                f"{out} holds a demo whose {words} have changed since ({known.get(name)}, now {about[name]}); begin afresh without --resume, or name another --out"
            )


def _make_shop(path: Path, seed: int) -> Shop:
    if path.exists():
        return Shop.open(path)
    say(f"[1/3] a simulated shop (seed {seed})")
    return simulate_shop(demo_shop(seed), path)
