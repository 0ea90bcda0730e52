"""The command `python -m exchange_rate.report`."""

import argparse
from pathlib import Path

from exchange_rate.analysis.points_file import read_points
from exchange_rate.report.against import Older, read_older
from exchange_rate.report.write import REPORT, Report, write_points_report, write_report
from moon_rec.command import Parser
from moon_rec.errors import MoonRecError
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.processes import refuse_many_processes
from moon_rec.shown import visible
from moon_rec.tracking import DEFAULT_URI, Tracker


def main(argv: list[str] | None = None) -> None:
    """Write a report; see `--help`."""
    refuse_many_processes("exchange_rate.report")
    arguments = _parser().parse_args(argv)
    _refuse_mixed(arguments)
    check_output(arguments.out, REPORT, arguments.overwrite, inputs=[arguments.against])
    older = None
    if arguments.points is not None:
        if arguments.against is not None:
            older = read_older(arguments.against, None)
        report = _of_points(arguments, older)
    else:
        tracker = Tracker(
            arguments.tracking or DEFAULT_URI, arguments.experiment or "moon_rec", must_exist=True
        )
        if arguments.against is not None:
            older = read_older(arguments.against, tracker)
        report = _of_study(arguments, tracker, older)
    results = report.results
    answer, *others = [one.text for one in results.headline]
    since = [results.moved.text] if results.moved is not None else []
    for text in (answer, *since, results.scope, *others):
        print(visible(text))
    print(f"written: {report.page}")


def _parser() -> Parser:
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
        help="a table instead of a study, one row a run: encoder, auc, a column a metric; path, trained, ranker, seed, <metric>_error, auc_error and auc_permuted where they are known",
    )
    parser.add_argument("--metric", help="of --points: the metric whose rate is asked for; default the first")  # fmt: skip
    parser.add_argument("--ranker", help="the ranker of the headline, where there are several; default the first")  # fmt: skip
    parser.add_argument("--simulated", action="store_true", default=None, help="of --points: they were measured on simulated data")  # fmt: skip
    parser.add_argument(
        "--against",
        metavar="OLD",
        help="say what moved since: an older report (its folder or report.json), or the run id of another study in the same store",
    )
    parser.add_argument("--not-logged", action="store_true", default=None, help="of a study: keep the report out of the tracking store")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    add_overwrite_option(parser, "the report")
    return parser


def _refuse_mixed(arguments: argparse.Namespace) -> None:
    """Refuse options that would count for nothing."""
    of_points, of_study = ("metric", "simulated"), ("tracking", "experiment", "study", "not_logged")
    is_points = arguments.points is not None
    for name in of_study if is_points else of_points:
        if getattr(arguments, name) is not None:
            other = "is of a study: leave it out beside --points" if is_points else "is of --points"
            raise MoonRecError(f"--{name.replace('_', '-')} {other}; see --help")


def _of_points(arguments: argparse.Namespace, older: Older | None) -> Report:
    frame = read_points(arguments.points)
    return write_points_report(
        frame,
        arguments.out,
        arguments.metric,
        arguments.ranker,
        name=arguments.points.name,
        is_simulated=bool(arguments.simulated),
        overwrite=arguments.overwrite,
        against=older,
    )


def _of_study(arguments: argparse.Namespace, tracker: Tracker, older: Older | None) -> Report:
    return write_report(
        tracker,
        arguments.out,
        arguments.study,
        arguments.overwrite,
        ranker=arguments.ranker,
        against=older,
        is_logged=not arguments.not_logged,
    )
