"""A table of points -> its scaling law: `python -m exchange_rate.laws points.csv --x tokens --y recall --out DIR`.

Prints the law in a sentence with its intervals, or why there is none; writes `laws.html`, `laws.json`, `laws.png` and `laws.svg`.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from exchange_rate.laws.allocation import compute_optimal
from exchange_rate.laws.analysis import ONE_INPUT, analyse_law
from exchange_rate.laws.figures import draw_laws
from exchange_rate.laws.forms import FORMS
from exchange_rate.laws.page import render
from exchange_rate.laws.points import LawPoints, read_law_points
from exchange_rate.laws.results import LawResult
from moon_rec.command import Parser, positive, seed_number
from moon_rec.drawing import as_svg, save_png
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.files import write_json
from moon_rec.outputs import (
    OutputKind,
    add_overwrite_option,
    atomic_folder,
    check_output,
    json_with,
)
from moon_rec.progress import say
from moon_rec.shown import visible

DATA = "laws.json"
LAWS = OutputKind("a folder of laws", DATA, json_with("laws", "x", "y"), ("laws.html", "laws.png", "laws.svg"))  # fmt: skip
COST = 6.0
GROWTH = (1.0, 10.0, 100.0)
"""Budgets that are shown where none is asked for, in multiples of the largest that was seen."""


def main(argv: list[str] | None = None) -> None:
    """Fit and write; see `--help`."""
    arguments = _parser().parse_args(argv)
    _refuse_mixed(arguments)
    check_output(arguments.out, LAWS, arguments.overwrite, inputs=[arguments.points])
    x = [one for one in (arguments.x, arguments.x2) if one is not None]
    by = arguments.axis or arguments.by
    groups = read_law_points(arguments.points, x, arguments.y, arguments.seed, by)
    if arguments.axis:
        groups = [replace(points, axis=points.group) for points in groups]
    found = []
    for number, points in enumerate(groups, 1):
        if len(groups) > 1:
            say(f"laws: group {number} of {len(groups)}, {visible(points.group)}")
        found.append(_analyse(points, x, arguments))
    data: dict[str, Any] = {
        "source": arguments.points.name,
        "x": x,
        "y": arguments.y,
        "cost": arguments.cost or COST,
        "laws": [
            {"group": points.group, "result": result.as_dict(), "allocations": _budgets(points, result, arguments)}
            for points, result in found
        ],
    }  # fmt: skip
    figure = draw_laws(found, x, arguments.y)
    with atomic_folder(arguments.out, LAWS, arguments.overwrite) as folder:
        save_png(figure, folder / "laws.png")
        svg = as_svg(figure)
        (folder / "laws.svg").write_text(svg, encoding="utf-8")
        (folder / "laws.html").write_text(render(data, svg), encoding="utf-8")
        write_json(folder / DATA, data)
    for _, result in found:
        print(visible(result.sentence))
    print(f"written: {arguments.out / 'laws.html'}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m exchange_rate.laws",
        description="Fit a scaling law to a table of points, one row a run: how y grows with x, and what of it the points identify.",
        example="python -m exchange_rate.laws points.csv --x tokens --y recall --seed seed --out runs/laws",
    )
    parser.add_argument("points", type=Path, help="CSV, TSV, JSON lines, Parquet or Arrow; packed or not")  # fmt: skip
    parser.add_argument("--x", required=True, metavar="COLUMN", help="the input, positive")
    parser.add_argument("--x2", metavar="COLUMN", help="a second input: the form is then additive, N is --x and D is --x2")  # fmt: skip
    parser.add_argument("--y", required=True, metavar="COLUMN", help="what grows or falls with it")
    parser.add_argument("--form", choices=FORMS, help="the form that is asked about; default power, with --x2 additive")  # fmt: skip
    parser.add_argument("--scale", choices=("log", "linear"), help="of the residuals; default log where y is positive and falls, such as a loss, else linear")  # fmt: skip
    parser.add_argument("--seed", metavar="COLUMN", help="tells repeats of one point apart; their mean is fitted")  # fmt: skip
    parser.add_argument("--by", metavar="COLUMN", help="groups, each with a law of its own")
    parser.add_argument("--axis", metavar="COLUMN", help="names what --x counts in each row (tokens, negatives, histories): each axis has a law and a figure of its own")  # fmt: skip
    parser.add_argument("--hold-out", type=seed_number, help="how many of the largest x are predicted without them; default a fifth, 5 at most")  # fmt: skip
    parser.add_argument("--budget", type=positive, action="append", help="with --x2: its best use is asked for, cost x N x D; may be repeated")  # fmt: skip
    parser.add_argument("--cost", type=positive, help="with --x2: of one N and one D; default 6, the FLOP of a parameter on a token")  # fmt: skip
    parser.add_argument("--bootstrap-seed", type=seed_number, default=0, help="of the draws behind the intervals of a hundred points or more")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    add_overwrite_option(parser, "the folder of laws")
    return parser


def _refuse_mixed(arguments: argparse.Namespace) -> None:
    """Refuse options that would count for nothing, and a form of another number of inputs."""
    for name in ("by", "x2"):
        if arguments.axis is not None and getattr(arguments, name) is not None:
            raise MoonRecError(f"--axis and --{name} do not go together; leave one of them out")
    if arguments.x2 is None:
        for name in ("budget", "cost"):
            if getattr(arguments, name) is not None:
                raise MoonRecError(f"--{name} is of two inputs; name the second with --x2")
    inputs = 1 if arguments.x2 is None else 2
    wanted = inputs if arguments.form is None else 1 if arguments.form in ONE_INPUT else 2
    if wanted != inputs:
        mend = "leave --x2 out" if inputs == 2 else "name the second with --x2"
        raise MoonRecError(f"--form {arguments.form} takes {wanted} input(s), not {inputs}; {mend}")


def _analyse(
    points: LawPoints, x: list[str], arguments: argparse.Namespace
) -> tuple[LawPoints, LawResult]:
    is_group = points.group and not points.axis
    name = f"{arguments.y} of {points.group}" if is_group else arguments.y
    try:
        result = analyse_law(
            points.x,
            points.y,
            arguments.form,
            scale=arguments.scale,
            num_held_out=arguments.hold_out,
            average_repeats=points.has_seeds,
            x_name=points.axis or " (N) and ".join(x) + (" (D)" if len(x) == 2 else ""),
            y_name=name,
            seed=arguments.bootstrap_seed,
        )
    except StudyError as error:
        of_group = f", group {points.group!r}" if points.group else ""
        raise StudyError(f"{arguments.points}{of_group}: {error}") from None
    return points, result


def _budgets(
    points: LawPoints, result: LawResult, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """The best use of the budgets asked for, or of `GROWTH`; nothing where no law of two inputs stands."""
    law = result.law
    if law is None or law.form != "additive" or not result.stands:
        if arguments.budget:
            say("laws: no budget is laid out, for no law stands")
        return []
    if law.parameters["A"] * law.parameters["B"] <= 0:
        say("laws: no budget is laid out, for more of one input makes y worse")
        return []
    cost = arguments.cost or COST
    largest = cost * float(points.x.prod(axis=1).max())
    budgets = arguments.budget or [largest * one for one in GROWTH]
    return [asdict(one) for one in compute_optimal(law, budgets, cost)]
