"""The command `python -m exchange_rate.report`."""

import argparse
from pathlib import Path

from exchange_rate.analysis.points_file import read_points
from exchange_rate.evidence.joined import read_joined
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
    tracker = None if arguments.points is not None else _store(arguments)
    older = None if arguments.against is None else read_older(arguments.against, tracker)
    if tracker is None or arguments.joined is not None:
        report = _of_points(arguments, tracker, older)
    else:
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
    parser.add_argument("--joined", metavar="NAME", help="runs that other code logged with the tag moon_rec.study = NAME, and those of a study of that name (python -m exchange_rate.log)")  # fmt: skip
    parser.add_argument("--metric", help="of --points and --joined: the metric whose rate is asked for; default the first")  # fmt: skip
    parser.add_argument("--ranker", help="the ranker of the headline, where there are several; default the first")  # fmt: skip
    parser.add_argument("--simulated", action="store_true", default=None, help="of --points and --joined: they were measured on simulated data")  # fmt: skip
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
    points, joined = ("metric", "simulated"), ("study", "not_logged")
    if arguments.points is not None:
        kind, refused = "--points", ("tracking", "experiment", "joined", *joined)
    elif arguments.joined is not None:
        kind, refused = "--joined", joined
    else:
        kind, refused = "", points
    for name in refused:
        if getattr(arguments, name) is not None:
            other = f"is of a study: leave it out beside {kind}" if kind else "is of --points and --joined"  # fmt: skip
            raise MoonRecError(f"--{name.replace('_', '-')} {other}; see --help")


def _store(arguments: argparse.Namespace) -> Tracker:
    return Tracker(
        arguments.tracking or DEFAULT_URI, arguments.experiment or "moon_rec", must_exist=True
    )


def _of_points(
    arguments: argparse.Namespace, tracker: Tracker | None, older: Older | None
) -> Report:
    if tracker is not None:
        joined = read_joined(tracker, arguments.joined)
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
