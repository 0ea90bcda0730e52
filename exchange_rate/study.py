"""A study: many encoders, the same ranker on each, several seeds, everything tracked: `python -m exchange_rate.study SHOP --out DIR`.

What it does, in cells (`exchange_rate.cells`), each run once for all time:
    start, pretraining, posttraining   encoders, along the paths of the plan
    encoder                            embeds the shop, measures every intermediate metric
    ranker                             one seed of the ids-only ranker, of the ranker on an encoder, or of the permuted control
    comparison                         ranker on an encoder against ids only, paired, overall and on warm and cold items

Notable choices
- Intermediate metrics and AUC are measured on the same period (`test`), so that a slope compares like with like. Nothing is chosen on it: the permuted control
  takes the encoder that is best by the steering metric on the *validation* period, where the metrics are measured too.
- Cells run in `workers` fresh processes with one torch thread each; only this process speaks to MLflow. The number of workers changes no figure.
- A cell is finished when its folder holds a result and MLflow a finished run of its key. A study that was interrupted goes on where it stopped, but what
  other code has made since is made anew: the key holds a digest of the sources.
- A script that calls `run_study` with more than one worker needs the usual `if __name__ == "__main__":`.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from exchange_rate.cells import RESULT, CellResult, CellSpec, num_of_other_code
from exchange_rate.grid import study_cells
from exchange_rate.names import PERMUTED, RankerNames
from exchange_rate.plan import StudyConfig, demo_plan
from exchange_rate.records import ABOUT, FORMAT, records_table
from exchange_rate.schedule import run_cells
from exchange_rate.sheets import draw_sheets
from moon_rec.command import Parser, add_config_options, count, run, seed_number
from moon_rec.config import load_config
from moon_rec.errors import StudyError
from moon_rec.files import digest_of
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.shop import Period
from moon_rec.tracking import Tracker

LEVEL = 0.95
"""Coverage of every interval: of the cells' estimates, and of what the report fits."""


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        id: of its parent run in MLflow: what `exchange_rate.report --study` takes.
        table: one row a ranker run, as the report reads it (`exchange_rate.records`).
        num_run, num_known: cells that ran now, and cells that had been finished before.
        folder: of the cells.
    """

    id: str
    table: pl.DataFrame
    num_run: int
    num_known: int
    folder: Path


def run_study(
    shop: Shop,
    config: StudyConfig,
    workdir: str | Path,
    tracker: Tracker,
    period: Period = "test",
    workers: int | None = None,
) -> StudyResult:
    """Run every cell of a study that is not finished yet; the module's docstring says what they are.

    Args:
        workdir: cells are kept in `workdir/cells`, shared by all studies that name it.
        period: what rankers are scored and encoders measured on.
        workers: processes; None takes two, or one on a machine with one core.

    Raises:
        StudyError: a cell failed; the message names it.
    """
    folder = Path(workdir) / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    key = digest_of(["study", config.digest(), shop.digest, period])
    workers = workers or min(2, os.cpu_count() or 1)
    cells = study_cells(shop, config, period)
    say(
        f"study {config.name!r}: {len(config.encoder_names())} encoders, {len(cells)} cells, {workers} at a time"
    )
    params = {"study": config.model_dump(mode="json"), "period": period}
    with tracker.run(config.name, "study", params, {"shop": shop.digest}, key) as parent:
        if others := num_of_other_code(folder):
            say(f"study: {others} finished cells in {folder} are left aside: other code made them")
        book = _Book(tracker, folder, parent.id)
        done = run_cells(cells, str(folder), workers, config.num_threads, book.known, book.keep)
        about = _about(shop, config, period, key) | _cells(done, book.runs)
        chosen = about["control_encoder"] or about["encoders"][-1]
        sheets = draw_sheets(
            shop, _encoder_cell(done, chosen), folder, period, config.engagement, config.seed
        )
        for sheet in sheets:
            parent.artifact(sheet)
        parent.json(about | {"sheets": [sheet.stem for sheet in sheets]}, ABOUT)
    say(
        f"study {config.name!r}: {len(done) - book.num_known} cells run, {book.num_known} finished before"
    )
    table = records_table(tracker, parent.id)
    return StudyResult(parent.id, table, len(done) - book.num_known, book.num_known, folder)


class _Book:
    """What is known of cells: results in their folders, runs in MLflow."""

    def __init__(self, tracker: Tracker, folder: Path, parent: str):
        self._tracker, self._folder, self._parent = tracker, folder, parent
        self.runs: dict[str, str] = {}
        self.num_known = 0

    def known(self, spec: CellSpec) -> CellResult | None:
        """The result of a finished cell."""
        folder = spec.folder(self._folder)
        if not (folder / RESULT).is_file():
            return None
        self.num_known += 1
        return CellResult.load(folder)

    def keep(self, spec: CellSpec, result: CellResult) -> None:
        """Make sure that MLflow has the cell's run."""
        run_id = self._tracker.finished(spec.key)
        if run_id is None:
            reads = {name: key for name, (key, _) in spec.inputs.items()} | result.reads
            reads["shop"] = spec.shop[1]
            with self._tracker.run(
                spec.name,
                spec.kind,
                {**spec.labels, **spec.settings},
                reads,
                spec.key,
                self._parent,
            ) as run:
                run.log(_flat(result))
                run_id = run.id
        self.runs[spec.key] = run_id


def _flat(result: CellResult) -> dict[str, float]:
    """Metrics as MLflow holds them: an estimate's value by its name, its interval and count behind a dot."""
    flat = dict(result.numbers) | {"seconds": result.seconds}
    for name, one in result.estimates.items():
        flat |= {name: one.value, f"{name}.low": one.low, f"{name}.high": one.high}
        flat[f"{name}.count"] = float(one.count)
    return flat


def _about(shop: Shop, config: StudyConfig, period: str, key: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": config.name,
        "key": key,
        "period": period,
        "steering_metric": config.steering_metric,
        "num_seeds": config.num_seeds,
        "seed": config.seed,
        "width": config.width,
        "level": LEVEL,
        "rankers": RankerNames.of(config.ids_ranker, config.ranker).as_dict(),
        "label": config.features.label,
        "cold_below": config.features.cold_below,
        "engagement": config.engagement,
        "shop": {
            "name": shop.name,
            "digest": shop.digest,
            "source": shop.source,
            "is_simulated": shop.is_simulated,
            "cut_time": shop.cut_time.isoformat(sep=" "),
            "test_time": shop.test_time.isoformat(sep=" "),
        },
    }


def _cells(done: dict[str, tuple[CellSpec, CellResult]], runs: dict[str, str]) -> dict[str, Any]:
    """The cells with their runs and labels, and the definitions of their estimates, each text once."""
    texts: list[str] = []
    places: dict[str, int] = {}
    cells = []
    for spec, result in done.values():
        definitions = {}
        for name, one in result.estimates.items():
            if one.definition not in places:
                places[one.definition] = len(texts)
                texts.append(one.definition)
            definitions[name] = places[one.definition]
        about = {"name": spec.name, "kind": spec.kind, "run": runs[spec.key], "labels": spec.labels}
        cells.append({**about, "definitions": definitions})
    labels = [cell["labels"] for cell in cells]
    control = [one["encoder"] for one in labels if one.get("ranker") == PERMUTED]
    return {
        "cells": cells,
        "definitions": texts,
        "encoders": [cell["labels"]["encoder"] for cell in cells if cell["kind"] == "encoder"],
        "control_encoder": control[0] if control else None,
    }


def _encoder_cell(
    done: dict[str, tuple[CellSpec, CellResult]], name: str
) -> tuple[CellSpec, CellResult]:
    """The finished cell of the encoder of that name."""
    return next(
        cell
        for cell in done.values()
        if cell[0].kind == "encoder" and cell[0].labels["encoder"] == name
    )


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
    shop = Shop.open(arguments.shop)
    say(f"studying {shop!r}")  # its digest reads the files: nothing is written for a damaged shop
    uri = arguments.tracking or f"sqlite:///{out / 'mlflow.db'}"
    tracker = Tracker(uri)
    out.mkdir(parents=True, exist_ok=True)
    result = run_study(shop, config, out, tracker, arguments.period, arguments.workers)
    print(f"study {result.id}: {len(result.table)} ranker runs tracked in {uri}")
    print(
        f"report: python -m exchange_rate.report --tracking {uri} --study {result.id} --out {out / 'report'}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m exchange_rate.study",
        description="Train the encoders of a plan, measure each, train the same ranker on each with several seeds, track it all.",
        example="python -m exchange_rate.study runs/shop --plan plan.toml --out runs/study",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    add_config_options(parser, "--plan", "the plan in a TOML file; without it the demo's")
    parser.add_argument("--seed", type=seed_number, help="of the demo's plan (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder of cells and tracking")
    parser.add_argument("--tracking", help="MLflow tracking URI; default OUT/mlflow.db")
    parser.add_argument("--period", choices=("validation", "test"), default="test")
    parser.add_argument("--workers", type=count, help="processes; default 2, or 1 on one core")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
