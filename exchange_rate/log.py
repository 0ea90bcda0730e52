"""One run of a CTR model that is not ours, logged to MLflow so that it joins a study: `python -m exchange_rate.log --study NAME --encoder NAME --auc .703 ...`.

`exchange_rate.evidence.joined` has the tags and metrics, which plain MLflow calls can log as well; `python -m exchange_rate.report --joined NAME` reports on all runs of the study.
What cannot count in a report is refused before it is logged.
"""

import argparse
import math
import sys

from exchange_rate.analysis.points_columns import SHARES
from exchange_rate.evidence.joined import (
    ENCODER,
    ERROR,
    KIND,
    METRICS,
    OUTCOMES,
    PATH,
    RANKER,
    SEED,
    STUDY,
    TAG,
    TRAINED,
    joining,
    refuse_unlike,
    row_of,
)
from moon_rec.command import Parser, run
from moon_rec.errors import StudyError
from moon_rec.processes import refuse_many_processes
from moon_rec.shown import visible
from moon_rec.tracking import DEFAULT_URI, Tracker


def main(argv: list[str] | None = None) -> None:
    """Log a run; see `--help`."""
    refuse_many_processes("exchange_rate.log")
    options = _parser().parse_args(argv)
    figures, tags = _figures(options), _tags(options)
    names = (options.encoder, options.ranker, options.seed and f"seed {options.seed}")
    name = " · ".join(filter(None, names))
    new = row_of({"name": name, "id": "this one", "tags": tags, "metrics": figures})
    tracker = Tracker(options.tracking, options.experiment)
    refuse_unlike([*map(row_of, joining(tracker, options.study)), new])
    labels = {one.removeprefix(TAG): text for one, text in tags.items()}
    with tracker.run(name, KIND, {}, {}, tags=labels) as tracked:
        tracked.log(figures)
    count = len(joining(tracker, options.study))
    print(visible(f"logged: {name}, AUC {options.auc:g}; study {options.study!r} has {count:,} run{'s' if count > 1 else ''} of other code in {tracker.uri}"))  # fmt: skip


def _parser() -> Parser:
    parser = Parser(
        prog="python -m exchange_rate.log",
        description="Log one run of your own CTR model on an encoder's vectors, so that it joins a study in MLflow.",
        example="python -m exchange_rate.log --study ours --encoder CLIP --ranker DeepFM --seed 0 --metric image_search_recall@10=.41 --error image_search_recall@10=.01 --auc .703 --tracking sqlite:///runs/ours/mlflow.db",
    )
    parser.add_argument("--study", required=True, type=_name, help="name of the study; runs of one name join, those of a tracked study of that name too")  # fmt: skip
    parser.add_argument("--encoder", required=True, type=_name, help="whose vectors the model read")
    parser.add_argument("--path", type=_name, help="training that the encoder is a checkpoint of; default: one of its own")  # fmt: skip
    parser.add_argument("--ranker", type=_name, help="which CTR model")
    parser.add_argument("--seed", type=_name, help="which of its trainings")
    trained = parser.add_mutually_exclusive_group()
    trained.add_argument("--trained", dest="trained", action="store_true", default=True, help="the encoder was trained")  # fmt: skip
    trained.add_argument("--untrained", dest="trained", action="store_false", default=argparse.SUPPRESS, help="the encoder has random weights: no part of the headline rate")  # fmt: skip
    parser.add_argument("--metric", type=_figure, action="append", default=[], metavar="NAME=VALUE", help="a metric of the encoder; may be repeated. Shares, not percent")  # fmt: skip
    parser.add_argument("--error", type=_figure, action="append", default=[], metavar="NAME=VALUE", help="the standard error of a --metric")  # fmt: skip
    parser.add_argument("--auc", type=_number, required=True, metavar="VALUE", help="the run's AUC, from 0 to 1")  # fmt: skip
    parser.add_argument("--auc-error", type=_number, metavar="VALUE", help="its standard error over users")  # fmt: skip
    parser.add_argument("--auc-permuted", type=_number, metavar="VALUE", help="AUC of the same model on the same vectors dealt out anew among the items")  # fmt: skip
    parser.add_argument("--tracking", default=DEFAULT_URI, help="MLflow tracking URI")
    parser.add_argument("--experiment", default="moon_rec", help="MLflow experiment")
    return parser


def _tags(options: argparse.Namespace) -> dict[str, str]:
    told = {
        STUDY: options.study,
        ENCODER: options.encoder,
        PATH: options.path,
        TRAINED: str(options.trained).lower(),
        RANKER: options.ranker,
        SEED: options.seed,
        METRICS: ", ".join(name for name, _ in options.metric),
    }
    return {tag: text for tag, text in told.items() if text}


def _figures(options: argparse.Namespace) -> dict[str, float]:
    """All figures by name.

    Raises:
        StudyError: one that is none, given twice, in percent, or an error of nothing.
    """
    if not options.metric:
        raise StudyError("no --metric: wanted what was measured of the encoder, such as image_search_recall@10=.41")  # fmt: skip
    figures: dict[str, float] = {}
    for name, value in options.metric:
        if name in figures:
            raise StudyError(f"--metric {name} is given twice, {figures[name]:g} and {value:g}")
        if name.removesuffix(ERROR) in OUTCOMES or name.endswith(ERROR):
            raise StudyError(f"--metric {name} is no metric of an encoder; give AUCs as --auc and --auc-permuted, standard errors as --error")  # fmt: skip
        if SHARES.search(name.lower()):
            _refuse_no_share(f"--metric {name}", value)
        figures[name] = value
    for name, value in options.error:
        if name not in figures or f"{name}{ERROR}" in figures:
            raise StudyError(f"--error {name}: wanted once, beside a --metric of that name; there are {', '.join(dict(options.metric))}")  # fmt: skip
        figures[f"{name}{ERROR}"] = _error(f"--error {name}", value)
    for name, value in (("auc", options.auc), ("auc_permuted", options.auc_permuted)):
        if value is not None:
            _refuse_no_share(f"--{name.replace('_', '-')}", value)
            figures[name] = value
    if options.auc_error is not None:
        figures[f"auc{ERROR}"] = _error("--auc-error", options.auc_error)
    return figures


def _refuse_no_share(option: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise StudyError(f"{option} is {value:g}: wanted a share from 0 to 1 (0.41 for 41 %)")


def _error(option: str, value: float) -> float:
    if value <= 0:
        raise StudyError(f"{option} is {value:g}, no standard error: wanted more than 0")
    return value


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no name")
    return text.strip()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number, such as 0.41")
    return value


def _figure(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    if not equals or not name.strip() or "," in name:
        raise argparse.ArgumentTypeError(f"{text!r}: wanted NAME=VALUE, such as image_search_recall@10=.41")  # fmt: skip
    return name.strip(), _number(value)


if __name__ == "__main__":
    sys.exit(run(main))
