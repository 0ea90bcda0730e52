"""A study: many encoders, the same ranker on each, several seeds, everything tracked: `python -m exchange_rate.study SHOP --out DIR`.

What it does, in cells (`exchange_rate.study.cells`), each run once for all time:
    start, pretraining, posttraining   encoders, along the paths of the plan
    encoder                            embeds the shop, measures every intermediate metric
    ranker                             one seed of a ranker: its baseline, on an encoder's vectors, or on permuted ones
    comparison                         two roles of a ranker on an encoder, paired, overall and on warm and cold items

Notable choices
- Intermediate metrics and AUC are measured on the same period (`test`), so that a slope compares like with like. Nothing is chosen on it: the encoder that gains
  are quoted of is the best by the steering metric on the *validation* period, where the metrics are measured too.
- Cells run in `workers` fresh processes with one torch thread each; only this process speaks to MLflow. The number of workers changes no figure.
- A cell is finished when its folder holds a result, with the outputs that it left, and MLflow a finished run of its key with the same figures. A study that was
  interrupted goes on where it stopped, but what other code has made since is made anew: the key holds a digest of the sources.
- A cell that fails stops no other (`exchange_rate.study.failures`); the study's results are written all the same and name it. The command then ends with exit code 2, and the same
  command again runs what is missing.
- One study at a time works in a folder (`exchange_rate.study.lock`); a second one is refused, or waits with `--wait`.
- A script that calls `run_study` with more than one worker needs the usual `if __name__ == "__main__":`.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from exchange_rate.evidence.records import READS, records_table
from exchange_rate.evidence.study_file import ABOUT, FORMAT
from exchange_rate.study.cell_files import RESULT, CellResult, CellSpec, remove_cell
from exchange_rate.study.cells import num_of_other_code
from exchange_rate.study.draws import gather_draws
from exchange_rate.study.failures import Failure, one_line, told
from exchange_rate.study.grid import study_cells
from exchange_rate.study.lock import locked
from exchange_rate.study.neighbours import gather_neighbours
from exchange_rate.study.outside import find_outside
from exchange_rate.study.plan import StudyConfig
from exchange_rate.study.preflight import told_before
from exchange_rate.study.schedule import Cell, run_cells
from exchange_rate.study.sheets import draw_sheets
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.files import digest_of
from moon_rec.kept import note_begins_again, note_kept
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.non_click_recipe import non_clicks_said
from moon_rec.shop.shop import Period
from moon_rec.tracking import Tracker, plain_metric_name
from ranking.judging.item_segments import item_segments

OF_THE_CLOCK = ("seconds", "rows_per_second")
FOLDERS = ("cells", "draws", "neighbours", "sheets")
"""What a study leaves where it works; whoever replaces a study's folder knows it by these."""
LEVEL = 0.95
"""Coverage of every interval: of the cells' estimates, and of what the report fits."""


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        id: of its parent run in MLflow: what `exchange_rate.report --study` takes.
        table: one row a ranker run, as the report reads it (`exchange_rate.evidence.records`).
        num_run, num_known: cells that ran now, and cells that had been finished before.
        folder: of the cells.
        failed: cells without a result, and why.
    """

    id: str
    table: pl.DataFrame
    num_run: int
    num_known: int
    folder: Path
    failed: tuple[Failure, ...] = ()


def run_study(
    shop: Shop,
    config: StudyConfig,
    workdir: str | Path,
    tracker: Tracker,
    period: Period = "test",
    workers: int | None = None,
    wait: bool = False,
) -> StudyResult:
    """Run every cell of a study that is not finished yet; the module's docstring says what they are. Cells that fail are in the result's `failed`.

    Args:
        workdir: cells are kept in `workdir/cells`, shared by all studies that name it.
        period: what rankers are scored and encoders measured on.
        workers: processes; None takes two, or one on a machine with one core.
        wait: for another study that works in `workdir`, instead of being refused.

    Raises:
        StudyError: what the plan names is missing or does not go with the shop, its steering metric cannot be measured there, another study works in `workdir`, or
            the disk is full.
    """
    folder = Path(workdir) / "cells"
    workers = workers or default_workers()
    cells, lines = planned(shop, config, folder, period, workers)
    for line in lines:
        say(line)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent, wait):
        folder.mkdir(exist_ok=True)
        return _run_study(shop, config, folder, cells, tracker, period, workers)


def planned(
    shop: Shop, config: StudyConfig, folder: Path, period: Period, workers: int
) -> tuple[list[Cell], list[str]]:
    """The cells of a study, and lines that say what will be trained, for how long, and what will be measured; nothing is written.

    Raises:
        StudyError: as `run_study`.
    """
    outside = find_outside(shop, config)
    item_segments(shop, config.segments)  # refused before the first cell
    cells = study_cells(shop, config, period, outside)
    return cells, told_before(shop, config, period, cells, folder, workers, outside)


def _by_name(config: StudyConfig) -> dict[str, Any]:
    """The plan's settings that are given, encoders and rankers by their names: what MLflow shows of a study's run."""
    given = config.model_dump(mode="json", exclude_defaults=True)
    given["encoders"] = {one.pop("name"): one for one in given["encoders"]}
    plans = [one.model_dump(mode="json", exclude_defaults=True) for one in config.rankers]
    given["rankers"] = {
        names.name: plan | {"baseline": names.baseline}
        for names, plan in zip(config.ranker_names(), plans, strict=True)
    }
    return given | {"seeds": config.ranker_seeds(), "steering_metric": config.steering_metric}


def default_workers() -> int:
    """Two, or one on a machine with one core."""
    return min(2, os.cpu_count() or 1)


def _run_study(
    shop: Shop,
    config: StudyConfig,
    folder: Path,
    cells: list[Cell],
    tracker: Tracker,
    period: Period,
    workers: int,
) -> StudyResult:
    key = digest_of(["study", config.digest(), shop.digest, period])
    params = {"study": _by_name(config), "period": period}
    tags = {"non_clicks": non_clicks_said(shop.non_clicks)}
    reads = {"shop": shop.digest}
    with tracker.run(config.name, "study", params, reads, key, tags=tags) as parent:
        parent.dataset(shop.name, shop.digest, shop.source)
        if others := num_of_other_code(folder):
            say(f"study: {others} finished cells in {folder} are left aside: other code made them")
        book = _Book(tracker, folder, parent.id)
        note_begins_again("no cell is finished yet")
        done, failed = run_cells(
            cells, str(folder), workers, config.num_threads, book.known, book.keep
        )
        for spec, result in done.values():
            if spec.kind == "choice":
                say(f"study: {spec.name}: {_chosen_settings(result)}")
        about = _about(shop, config, period, key) | _cells(done, book.runs, config.steering_metric)
        about["planned"] = {"encoders": config.encoder_names(), "cells": len(cells)}
        about["segments"] = [{"key": one.key, "name": one.name} for one in item_segments(shop, config.segments)]  # fmt: skip
        about["failed"] = [one.as_dict() for one in failed]
        sheets = _sheets(shop, config, period, about, done, folder)
        for sheet in sheets:
            parent.artifact(sheet)
        if drawn := gather_draws(done.values(), folder, key):
            parent.artifact(drawn[0])
            about["draws"] = drawn[1]
        if kept := gather_neighbours(done.values(), folder, key):
            parent.artifact(kept[0])
            about["neighbours"] = kept[1]
        parent.log({"cells_finished": len(done), "cells_failed": len(failed)})
        parent.json(about | {"sheets": [sheet.stem for sheet in sheets]}, ABOUT)
    say(
        f"study {config.name!r}: {len(done) - book.num_known} cells run, {book.num_known} finished before"
    )
    table = records_table(tracker, parent.id)
    num_run = len(done) - book.num_known
    return StudyResult(parent.id, table, num_run, book.num_known, folder, tuple(failed))


def _sheets(
    shop: Shop,
    config: StudyConfig,
    period: Period,
    about: dict[str, Any],
    done: dict[str, tuple[CellSpec, CellResult]],
    folder: Path,
) -> list[Path]:
    """The sheets of the encoder that validation chose, or of the last one; none where no encoder was finished."""
    chosen = about["chosen_encoder"] or next(reversed(about["encoders"]), None)
    if chosen is None:
        return []
    cell = _encoder_cell(done, chosen)
    return draw_sheets(shop, cell, folder, period, config.engagement, config.seed)


class _Book:
    """What is known of cells: results in their folders, runs in MLflow."""

    def __init__(self, tracker: Tracker, folder: Path, parent: str):
        self._tracker, self._folder, self._parent = tracker, folder, parent
        self.runs: dict[str, str] = {}
        self.num_known = 0
        self._tracked: dict[str, list[dict[str, Any]]] = {}
        for tracked in tracker.runs():
            self._tracked.setdefault(tracked["key"], []).append(tracked)

    def known(self, spec: CellSpec) -> CellResult | None:
        """The result of a finished cell; what was changed since it finished is removed, and said."""
        folder = spec.folder(self._folder)
        if not (folder / RESULT).is_file():
            return None
        try:
            result = CellResult.load(folder)
            changed = result.changed(folder)
            reason = "" if changed is None else f"its output {changed!r} was changed since"
        except MoonRecError as error:
            result, reason = None, one_line(error)
        if result is None or reason:
            say(f"study: cell {spec.name!r} runs again: {reason}")
            remove_cell(folder)
            return None
        self.num_known += 1
        return result

    def keep(self, spec: CellSpec, result: CellResult) -> None:
        """Make sure that MLflow has the cell's run, with these figures."""
        reads = {name: digest for name, (_, digest) in spec.outside.items()}
        reads |= {name: key for name, (key, _) in spec.inputs.items()} | result.reads
        reads["shop"] = spec.shop[1]
        found = self._tracked.get(spec.key, [])
        same = [run["id"] for run in found if _is_run_of(run, spec.kind, result, reads)]
        if found and not same:
            say(
                f"study: cell {spec.name!r}: run {found[-1]['id']} has its key but other figures; a run of its own is tracked"
            )
        self.runs[spec.key] = same[-1] if same else self._track(spec, result, reads)
        note_kept(self._folder, f"{len(self.runs):,} finished cells")

    def _track(self, spec: CellSpec, result: CellResult, reads: dict[str, str]) -> str:
        params = {**spec.labels, **spec.settings}
        with self._tracker.run(spec.name, spec.kind, params, reads, spec.key, self._parent) as run:
            run.log(_flat(result))
            return run.id


def _is_run_of(run: dict[str, Any], kind: str, result: CellResult, reads: dict[str, str]) -> bool:
    """Whether a tracked run is this result's: the same kind, inputs and figures, but for what a machine's clock gave."""
    read = {name.removeprefix(READS): value for name, value in run["tags"].items() if name.startswith(READS)}  # fmt: skip
    figures = {
        plain_metric_name(name): value
        for name, value in _flat(result).items()
        if math.isfinite(value) and name not in OF_THE_CLOCK
    }
    tracked = {name: value for name, value in run["metrics"].items() if name not in OF_THE_CLOCK}
    return run["kind"] == kind and read == reads and tracked == figures


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
        "num_seeds": len(config.ranker_seeds()),
        "seeds": config.ranker_seeds(),
        "seed": config.seed,
        "width": config.width,
        "level": LEVEL,
        "rankers": [one.as_dict() for one in config.ranker_names()],
        "label": config.features.label,
        "cold_below": config.features.cold_below,
        "engagement": config.engagement,
        "shop": {
            **shop.about(),
            "non_clicks": non_clicks_said(shop.non_clicks),
            "cut_time": shop.cut_time.isoformat(sep=" "),
            "test_time": shop.test_time.isoformat(sep=" "),
        },
    }


def _chosen_settings(result: CellResult) -> str:
    """In words."""
    share, epochs = result.numbers["unknown_rate"], result.numbers["epochs"]
    return (
        f"unknown_rate = {share:g}, epochs = {epochs:g}, shared by all rankers over this baseline"
    )


def _chosen(done: dict[str, tuple[CellSpec, CellResult]], steering: str) -> str | None:
    """The encoder that is best by the steering metric on the validation period, the first of equals; None where it was measured on none."""
    values = {
        spec.labels["encoder"]: result.estimates[f"validation.{steering}"].value
        for spec, result in done.values()
        if spec.kind == "encoder" and f"validation.{steering}" in result.estimates
    }
    return max(values, key=lambda name: values[name], default=None)


def _cells(
    done: dict[str, tuple[CellSpec, CellResult]], runs: dict[str, str], steering: str
) -> dict[str, Any]:
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
        about: dict[str, Any] = {
            "name": spec.name,
            "kind": spec.kind,
            "key": spec.key,
            "run": runs[spec.key],
        }
        for labels in (spec.labels, *spec.also):
            cells.append({**about, "labels": labels, "definitions": definitions})
    return {
        "cells": cells,
        "definitions": texts,
        "encoders": [cell["labels"]["encoder"] for cell in cells if cell["kind"] == "encoder"],
        "chosen_encoder": _chosen(done, steering),
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


def refuse_failures(result: StudyResult) -> None:
    """The end of a command whose study is not whole.

    Raises:
        StudyError: cells failed; what the others found is tracked.
    """
    if result.failed:
        raise StudyError(
            f"study {result.id}: {told(result.failed)}; what the others found is tracked, and the same command again runs only what is missing"
        )
