"""The command `python -m exchange_rate.study`."""

import argparse
from pathlib import Path

from exchange_rate.study.demo_plan import demo_plan
from exchange_rate.study.plan import StudyConfig
from exchange_rate.study.run import default_workers, planned, refuse_failures, run_study
from moon_rec.command import Parser, add_config_options, count, seed_number
from moon_rec.config import load_config
from moon_rec.errors import StudyError
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.tracking import Tracker

EXAMPLE = Path(__file__).with_name("example_plan.toml")


def main(argv: list[str] | None = None) -> None:
    """Run a study; see `--help`."""
    refuse_many_processes("exchange_rate.study")
    arguments = _parser().parse_args(argv)
    out: Path = arguments.out
    if arguments.settings and arguments.plan is None:
        raise StudyError(
            f"--set {arguments.settings[0]!r} without --plan: the demo's plan is fixed but for --seed; write a plan and name it"
        )
    if out.exists() and not out.is_dir():
        raise StudyError(f"{out} is a file; name a folder for cells and tracking as --out")
    if arguments.seed is not None and arguments.plan is not None:
        raise StudyError(
            f"--seed {arguments.seed} beside --plan changes nothing: a plan has its own; use --set seed={arguments.seed}"
        )
    config = (
        load_config(StudyConfig, arguments.plan, arguments.settings)
        if arguments.plan is not None
        else demo_plan(arguments.seed or 0)
    )
    uri = arguments.tracking or f"sqlite:///{out / 'mlflow.db'}"
    tracker = Tracker(uri)  # an address that can never work is refused before anything is read
    shop = Shop.open(arguments.shop)
    say(f"studying {shop!r}")  # its digest reads the files: nothing is written for a damaged shop
    if arguments.dry_run:
        workers = arguments.workers or default_workers()
        print("\n".join(planned(shop, config, out / "cells", arguments.period, workers)[1]))
        return
    with tracker:
        result = run_study(
            shop, config, out, tracker, arguments.period, arguments.workers, arguments.wait
        )
    print(f"study {result.id}: {len(result.table)} ranker runs tracked in {tracker.uri}")
    print(
        f"report: python -m exchange_rate.report --tracking {tracker.uri} --study {result.id} --out {out / 'report'}"
    )
    refuse_failures(result)


class _PrintExample(argparse.Action):
    """Prints the example of a plan and ends the command, as `--help` does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(EXAMPLE.read_text(encoding="utf-8"), end="")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m exchange_rate.study",
        description="Train the encoders of a plan, measure each, train the same ranker on each with several seeds, and track everything in MLflow.",
        example="python -m exchange_rate.study runs/shop --plan plan.toml --out runs/study",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument(
        "--example",
        action=_PrintExample,
        nargs=0,
        help="print a plan that runs, and end: python -m exchange_rate.study --example > plan.toml",
    )
    parser.add_argument(
        "--dry-run",
        "--preflight",
        action="store_true",
        help="say what would be trained, for how long, and what would be measured, and end; nothing is written",
    )
    add_config_options(parser, "--plan", "the plan in a TOML file; without it the demo's")
    parser.add_argument("--seed", type=seed_number, help="seed of the demo's plan (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="output folder: cells and tracking")
    parser.add_argument("--tracking", help="MLflow tracking URI; default OUT/mlflow.db")
    parser.add_argument("--period", choices=("validation", "test"), default="test")
    parser.add_argument(
        "--workers", type=count, help="number of processes; default 2, or 1 on one core"
    )
    parser.add_argument(
        "--wait", action="store_true", help="wait until another study that uses OUT has ended"
    )
    return parser
