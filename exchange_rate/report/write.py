"""Tracked runs, or a table of points -> one page: `python -m exchange_rate.report --tracking sqlite:///runs/study/mlflow.db --out DIR`.

Writes `report.html` (one self-contained file), `report.md`, `report.json` with its schema, and `figures/*.png` and `*.svg`. Of a study only the tracking store is read:
runs, their metrics and the study's own artifact, never a model, a table or a folder. With `--points` one file is read (`exchange_rate.analysis.points_file`).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import polars as pl
from matplotlib.figure import Figure

from exchange_rate.analysis.points_file import analyse_points
from exchange_rate.analysis.results import Results, schema
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.evidence.draws import read_draws
from exchange_rate.evidence.neighbour_file import read_neighbours
from exchange_rate.evidence.records import Study, read_study
from exchange_rate.evidence.study_file import CAPTIONS, read_sheet
from exchange_rate.report.against import Older, moved
from exchange_rate.report.alternatives import with_tooltips
from exchange_rate.report.figures import draw_all
from exchange_rate.report.logged import log_report
from exchange_rate.report.page import render
from moon_rec.drawing import as_svg, save_png
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.outputs import OutputKind, atomic_folder, json_with, refuse_taken
from moon_rec.progress import say
from moon_rec.surroundings import is_of_disk
from moon_rec.tracking import Tracker

DATA, SCHEMA = "report.json", "report.schema.json"
REPORT = OutputKind(
    "a report",
    DATA,
    json_with("scope", "headline"),
    ("report.html", "report.md", SCHEMA, "figures/*.png", "figures/*.svg"),
)


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        folder: where it is.
        results: everything it says, as in `report.json`.
    """

    folder: Path
    results: Results

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.folder / "report.html"


def write_report(
    tracker: Tracker,
    out: str | Path,
    study: str | None = None,
    overwrite: bool = False,
    *,
    ranker: str | None = None,
    against: Older | None = None,
    is_logged: bool = True,
) -> Report:
    """Write the report of a study into the folder `out`.

    Args:
        study: its run id; None takes the newest.
        overwrite: replace an earlier report.
        ranker: name of the headline's ranker; None takes the plan's first.
        against: an older report, to say what moved.
        is_logged: keep the report among the study's artifacts, and its first sentence on the study's run.

    Raises:
        StudyError: no finished study, none of that id, or no such ranker.
        MoonRecError: `out` exists, and is no report or `overwrite` is false.
    """
    refuse_taken(out, REPORT, overwrite)
    say("report: read the tracked runs")
    tracked = read_study(tracker, study)
    engagement = tracked.about["engagement"]
    sheets = _sheets(tracker, tracked)
    captions = {name: CAPTIONS[name].format(engagement=engagement) for name in sheets}
    store = (tracker.uri, tracker.experiment)
    found = analyse(
        tracked,
        ranker,
        read_draws(tracker, tracked),
        neighbours=read_neighbours(tracker, tracked),
        tracking=store,
    )
    results = _against(found, against)
    report = _write(results, out, overwrite, sheets, captions)
    if is_logged:
        log_report(tracker, tracked.id, report.folder, results)
    return report


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
    against: Older | None = None,
) -> Report:
    """Write the report of a table of points that were measured elsewhere (`exchange_rate.analysis.points_file` has its columns, `analyse_points` the arguments).

    Raises:
        StudyError: a table that is none.
        MoonRecError: `out` exists, and is no report or `overwrite` is false.
    """
    refuse_taken(out, REPORT, overwrite)
    found = analyse_points(
        points, metric, ranker, name=name, is_simulated=is_simulated, level=level
    )
    return _write(_against(found, against), out, overwrite)


def _against(results: Results, older: Older | None) -> Results:
    return results if older is None else results.model_copy(update={"moved": moved(older, results)})


def _write(
    results: Results,
    out: str | Path,
    overwrite: bool,
    sheets: Mapping[str, bytes] = MappingProxyType({}),
    captions: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """The folder of a report: page, Markdown, figures and data."""
    say(f"report: draw {len(results.encoders)} encoders")
    figures = draw_all(results)
    with atomic_folder(out, REPORT, overwrite) as folder:
        (folder / "figures").mkdir()
        svg = {name: _save(figure, folder / "figures", name, results) for name, figure in figures.items()}  # fmt: skip
        for name, picture in sheets.items():
            (folder / "figures" / f"{name}.png").write_bytes(picture)
        shown = [
            (name, captions[name], base64.b64encode(picture).decode())
            for name, picture in sheets.items()
        ]
        for name in ("report.html", "report.md"):
            text = render(f"{name}.j2", results, svg, shown)
            (folder / name).write_text(text, encoding="utf-8")
        write_json(folder / DATA, results.model_dump(mode="json"))
        write_json(folder / SCHEMA, schema())
    return Report(Path(out), results)


def _save(figure: Figure, folder: Path, name: str, results: Results) -> str:
    """Write a figure as PNG and SVG; gives the SVG, whose marks say what they are."""
    save_png(figure, folder / f"{name}.png")
    svg = with_tooltips(as_svg(figure), results)
    (folder / f"{name}.svg").write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{svg}', encoding="utf-8")  # fmt: skip
    return svg


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
