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
from exchange_rate.records import read_study
from exchange_rate.sheets import CAPTIONS
from moon_rec.command import Parser, run
from moon_rec.errors import StudyError
from moon_rec.files import atomic_folder, write_json
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.tracking import DEFAULT_URI, Tracker

DATA = "report.json"


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


def write_report(tracker: Tracker, out: str | Path, study: str | None = None) -> Report:
    """Write the report of a study into the folder `out`, in place of an earlier one.

    Args:
        study: its run id; None takes the newest.

    Raises:
        StudyError: no finished study, or none of that id; a folder that holds something else than a report.
    """
    if Path(out).is_dir() and any(Path(out).iterdir()) and not (Path(out) / DATA).is_file():
        raise StudyError(f"{out} holds something else than a report; name another folder as --out")
    say("report: read the tracked runs")
    tracked = read_study(tracker, study)
    data = analyse(tracked)
    data |= {"scope": scope(data), "decided": decide(data).as_dict(), "headline": headline(data)}
    figures = draw_all(data)
    sheets = {
        name: tracker.fetch(tracked.id, f"{name}.png").read_bytes()
        for name in tracked.about.get("sheets", [])
    }
    with atomic_folder(out, overwrite=True) as folder:
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
    arguments = parser.parse_args(argv)
    if arguments.out.exists() and not arguments.out.is_dir():
        raise StudyError(f"{arguments.out} is a file; name a folder for the report as --out")
    tracker = Tracker(arguments.tracking, arguments.experiment, must_exist=True)
    report = write_report(tracker, arguments.out, arguments.study)
    for text in (report.data["scope"], *(one["text"] for one in report.data["headline"])):
        print(text)
    print(f"written: {report.page}")


if __name__ == "__main__":
    sys.exit(run(main))
