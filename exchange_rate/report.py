"""Tracked runs -> one page: `python -m exchange_rate.report --tracking sqlite:///runs/study/mlflow.db --out DIR`.

Writes `report.html` (one self-contained file), `report.md`, `report.json` and `figures/*.png`. Only the tracking store is read: runs, their metrics and the
study's own artifact, never a model, a table or a folder.
"""

import base64
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange_rate.analysis import analyse
from exchange_rate.decision import decide
from exchange_rate.drawing import as_svg, save_png
from exchange_rate.figures import draw_all
from exchange_rate.headline import headline, scope
from exchange_rate.page import render
from exchange_rate.records import Study, read_study
from exchange_rate.study_file import CAPTIONS, read_sheet
from moon_rec.command import Parser, run
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
    data = analyse(tracked)
    data |= {"scope": scope(data), "decided": decide(data).as_dict(), "headline": headline(data)}
    figures = draw_all(data)
    sheets = _sheets(tracker, tracked)
    with atomic_folder(out, REPORT, overwrite) as folder:
        (folder / "figures").mkdir()
        for name, figure in figures.items():
            save_png(figure, folder / "figures" / f"{name}.png")
        for name, picture in sheets.items():
            (folder / "figures" / f"{name}.png").write_bytes(picture)
        svg = {name: as_svg(figure) for name, figure in figures.items()}
        shown = [
            (
                name,
                CAPTIONS[name].format(engagement=tracked.about["engagement"]),
                base64.b64encode(picture).decode(),
            )
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
        description="Turn a study's tracked runs into one HTML page, Markdown, JSON and figures.",
        example="python -m exchange_rate.report --tracking sqlite:///runs/demo/mlflow.db --experiment demo --out runs/report",
    )
    parser.add_argument("--tracking", default=DEFAULT_URI, help="MLflow tracking URI")
    parser.add_argument("--experiment", default="moon_rec", help="MLflow experiment")
    parser.add_argument("--study", help="run id of the study; default the newest")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    add_overwrite_option(parser, "the report")
    arguments = parser.parse_args(argv)
    check_output(arguments.out, REPORT, arguments.overwrite)
    tracker = Tracker(arguments.tracking, arguments.experiment, must_exist=True)
    report = write_report(tracker, arguments.out, arguments.study, arguments.overwrite)
    for text in (report.data["scope"], *(one["text"] for one in report.data["headline"])):
        print(visible(text))
    print(f"written: {report.page}")


if __name__ == "__main__":
    sys.exit(run(main))
