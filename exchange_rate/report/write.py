"""Tracked runs, or a table of points -> one page: `python -m exchange_rate.report --tracking sqlite:///runs/study/mlflow.db --out DIR`.

Writes `report.html` (one self-contained file), `report.md`, `report.json` and `figures/*.png`. Of a study only the tracking store is read: runs, their metrics
and the study's own artifact, never a model, a table or a folder. With `--points` one file is read (`exchange_rate.analysis.points_file`).
"""

import argparse
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from exchange_rate.analysis.decision import decide
from exchange_rate.analysis.headline import headline, scope
from exchange_rate.analysis.points_file import analyse_points, read_points
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.evidence.joined import read_joined
from exchange_rate.evidence.records import Study, read_study
from exchange_rate.evidence.study_file import CAPTIONS, read_sheet
from exchange_rate.report.figures import draw_all
from exchange_rate.report.page import render
from moon_rec.command import Parser
from moon_rec.drawing import as_svg, save_png
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.outputs import (
    OutputKind,
    add_overwrite_option,
    atomic_folder,
    check_output,
    json_with,
    refuse_taken,
)
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shown import visible
from moon_rec.surroundings import is_of_disk
from moon_rec.tracking import DEFAULT_URI, Tracker

DATA = "report.json"
REPORT = OutputKind(
    "a report", DATA, json_with("scope", "headline"), ("report.html", "report.md", "figures/*.png")
)


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        folder: where it is.
        data: everything it prints, as in `report.json`.
    """

    folder: Path
    data: dict[str, Any]

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.folder / "report.html"


def write_report(
    tracker: Tracker, out: str | Path, study: str | None = None, overwrite: bool = False
) -> Report:
    """Write the report of a study into the folder `out`.

    Args:
        study: its run id; None takes the newest.
        overwrite: replace an earlier report.

    Raises:
        StudyError: no finished study, or none of that id.
        MoonRecError: `out` exists, and is no report or `overwrite` is false.
    """
    refuse_taken(out, REPORT, overwrite)
    say("report: read the tracked runs")
    tracked = read_study(tracker, study)
    engagement = tracked.about["engagement"]
    sheets = _sheets(tracker, tracked)
    captions = {name: CAPTIONS[name].format(engagement=engagement) for name in sheets}
    return _write(analyse(tracked), out, overwrite, sheets, captions)


def write_points_report(
    points: pl.DataFrame,
    out: str | Path,
    metric: str | None = None,
    ranker: str | None = None,
    *,
    name: str = "points",
    is_simulated: bool = False,
    level: float = 0.95,
    overwrite: bool = False,
) -> Report:
    """Write the report of a table of points that were measured elsewhere (`exchange_rate.analysis.points_file` has its columns, `analyse_points` the arguments).

    Raises:
        StudyError: a table that is none.
        MoonRecError: `out` exists, and is no report or `overwrite` is false.
    """
    refuse_taken(out, REPORT, overwrite)
    data = analyse_points(points, metric, ranker, name=name, is_simulated=is_simulated, level=level)
    return _write(data, out, overwrite)


def _write(
    data: dict[str, Any],
    out: str | Path,
    overwrite: bool,
    sheets: Mapping[str, bytes] = MappingProxyType({}),
    captions: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """The folder of a report: page, Markdown, figures and data."""
    data |= {"scope": scope(data), "decided": decide(data).as_dict(), "headline": headline(data)}
    figures = draw_all(data)
    with atomic_folder(out, REPORT, overwrite) as folder:
        (folder / "figures").mkdir()
        for name, figure in figures.items():
            save_png(figure, folder / "figures" / f"{name}.png")
        for name, picture in sheets.items():
            (folder / "figures" / f"{name}.png").write_bytes(picture)
        svg = {name: as_svg(figure) for name, figure in figures.items()}
        shown = [
            (name, captions[name], base64.b64encode(picture).decode())
            for name, picture in sheets.items()
        ]
        for name in ("report.html", "report.md"):
            text = render(f"{name}.j2", data, svg, shown)
            (folder / name).write_text(text, encoding="utf-8")
        write_json(folder / DATA, data)
    return Report(Path(out), data)


def _sheets(tracker: Tracker, study: Study) -> dict[str, bytes]:
    """The study's sheets by name; one that is gone or is no picture is left out, and said."""
    found = {}
    for name in study.about["sheets"]:
        try:
            what = f"sheet {name!r} of study {study.id}"
            found[name] = read_sheet(tracker.fetch(study.id, f"{name}.png"), what)
        except (MoonRecError, OSError) as error:
            if is_of_disk(error):
                raise  # a disk that is full is no fault of the sheet's
            say(f"left out: sheet {name!r}: {error}")
    return found


def main(argv: list[str] | None = None) -> None:
    """Write a report; see `--help`."""
    refuse_many_processes("exchange_rate.report")
    parser = Parser(
        prog="python -m exchange_rate.report",
        description="Turn a study's tracked runs, or a table of points measured elsewhere, into one HTML page, Markdown, JSON and figures.",
        example="python -m exchange_rate.report --tracking sqlite:///runs/demo/mlflow.db --experiment demo --out runs/report",
    )
    parser.add_argument("--tracking", help=f"MLflow tracking URI; default {DEFAULT_URI}")
    parser.add_argument("--experiment", help="MLflow experiment; default moon_rec")
    parser.add_argument("--study", help="run id of the study; default: the newest")
    parser.add_argument(
        "--points",
        type=Path,
        help="a table instead of a study, one row a run: encoder, auc, a column a metric; path, ranker, seed, <metric>_error and auc_error where they are known",
    )
    parser.add_argument("--joined", metavar="NAME", help="runs that other code logged with the tag moon_rec.study = NAME, and those of a study of that name (python -m exchange_rate.log)")  # fmt: skip
    parser.add_argument("--metric", help="of --points and --joined: the metric whose rate is asked for; default the first")  # fmt: skip
    parser.add_argument("--ranker", help="of --points and --joined: which CTR model, where there are several")  # fmt: skip
    parser.add_argument("--simulated", action="store_true", default=None, help="of --points and --joined: they were measured on simulated data")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    add_overwrite_option(parser, "the report")
    arguments = parser.parse_args(argv)
    _refuse_mixed(arguments)
    check_output(arguments.out, REPORT, arguments.overwrite)
    if arguments.points is not None or arguments.joined is not None:
        report = _of_points(arguments)
    else:
        report = _of_study(arguments)
    for text in (report.data["scope"], *(one["text"] for one in report.data["headline"])):
        print(visible(text))
    print(f"written: {report.page}")


def _refuse_mixed(arguments: argparse.Namespace) -> None:
    """Refuse options that would count for nothing."""
    of_points = ("metric", "ranker", "simulated")
    for kind, refused in (("points", ("tracking", "experiment", "study", "joined")), ("joined", ("study",))):  # fmt: skip
        if getattr(arguments, kind) is not None:
            for name in refused:
                if getattr(arguments, name) is not None:
                    raise MoonRecError(f"--{name} is of a study: leave it out beside --{kind}; see --help")  # fmt: skip
            return
    for name in of_points:
        if getattr(arguments, name) is not None:
            raise MoonRecError(f"--{name} is of --points and --joined; see --help")


def _of_points(arguments: argparse.Namespace) -> Report:
    if arguments.joined is not None:
        joined = read_joined(_store(arguments), arguments.joined)
        name, frame, is_simulated = joined.name, joined.points, joined.is_simulated
    else:
        name, frame, is_simulated = arguments.points.name, read_points(arguments.points), False
    return write_points_report(
        frame,
        arguments.out,
        arguments.metric,
        arguments.ranker,
        name=name,
        is_simulated=is_simulated or bool(arguments.simulated),
        overwrite=arguments.overwrite,
    )


def _of_study(arguments: argparse.Namespace) -> Report:
    return write_report(_store(arguments), arguments.out, arguments.study, arguments.overwrite)


def _store(arguments: argparse.Namespace) -> Tracker:
    return Tracker(
        arguments.tracking or DEFAULT_URI, arguments.experiment or "moon_rec", must_exist=True
    )
