"""Two folders of scores side by side: `python -m ranking.compare A B` prints tables and draws pictures.

Which tables a folder holds, and how they are paired, stands in `paired_scores.py`. All metrics, segments, seeds and both rankers see the same draws of users.

A ranker is called better by the interval over users and seeds alone; of one seed a side it is said that these
two trainings differ.

With one folder of several seeds the ranker is held against itself, which tells how much any comparison
on this shop varies by luck.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.command import Parser, count, positive
from moon_rec.errors import RankingError
from moon_rec.files import write_json
from moon_rec.outputs import (
    PICTURE,
    OutputKind,
    add_overwrite_option,
    check_output,
    json_that,
    json_with,
)
from moon_rec.processes import refuse_many_processes
from ranking.comparison import ONE_SEED, TWO_SEEDS, Comparison
from ranking.groups import group_codes
from ranking.judging import figures
from ranking.judging.judgement import are_probabilities
from ranking.judging.noise import Noise, noise_of_one_ranker
from ranking.judging.non_clicks import print_non_clicks
from ranking.judging.paired_scores import about_scores, check_same_rows, paired_scores, read_scores
from ranking.judging.power import TARGET, PowerTable, power_table, power_text
from ranking.judging.reliability import CalibrationCurve, curve_of
from ranking.judging.resampling import MIN_USERS
from ranking.judging.score_coverage import told_coverage
from ranking.judging.segments import Segment, Segments, segments_of
from ranking.metrics import Weight
from ranking.significance import (
    LOWER_IS_BETTER,
    Metric,
    Question,
    answer,
    definition,
    statistic_of,
)

MEASURES: dict[str, tuple[Metric, Weight | None]] = {
    "auc": ("auc", None),
    "gauc": ("gauc", "impressions"),
    "gauc_users": ("gauc", "users"),
    "gauc_positives": ("gauc", "positives"),
    "log_loss": ("log_loss", None),
    "normalised_entropy": ("normalised_entropy", None),
}
"""What is compared on all, cold and warm items."""
OF_PROBABILITIES = ("log_loss", "normalised_entropy")
"""Measures that scores have only where they are probabilities."""
GROUP_MEASURES = ("auc", "gauc", "log_loss")
"""What is compared in the groups of a column; fewer, for every further interval may err."""
POWER_MEASURES = ("auc", "gauc")
WRITTEN_OF_ONE = {
    "power.json": OutputKind("a power table", "", json_with("users", "seeds")),
    "power.png": PICTURE,
}
WRITTEN = WRITTEN_OF_ONE | {
    "comparison.json": OutputKind(
        "a comparison",
        "",
        json_that(lambda found: all("verdict" in one for one in found.values())),
    ),
    "segments.json": OutputKind("segments", "", json_with("judged", "left_out")),
    "comparison.png": PICTURE,
    "segments.png": PICTURE,
    "calibration.png": PICTURE,
}
"""What the command writes into its folder."""


def side_by_side(
    a: list[pl.DataFrame],
    b: list[pl.DataFrame],
    num_resamples: int = 1000,
    seed: int = 0,
    by: Sequence[str] = (),
    segments: Segments | None = None,
    description: str = "",
) -> dict[str, Comparison]:
    """All metrics of B minus A, overall, on cold and on warm items, and in groups, where they have a value.

    Args:
        a, b: tables of scores sorted by request and item, one a seed; the first of A goes with the first of B.
        by: columns of the first table of A to group by.
        segments: these instead of those of `by`.
        description: shown with the bootstrap's progress.

    Returns:
        `auc`, `gauc`, `gauc_users`, `gauc_positives`, `log_loss`, `normalised_entropy`, each also with
        `_cold` and `_warm`; `auc`, `gauc` and `log_loss` with `[column=value]` for each group.

    Raises:
        RankingError: tables of different impressions or labels, or as many seeds not on both sides.
    """
    if len(a) != len(b) or not a:
        raise RankingError(
            f"{len(a)} seeds of A and {len(b)} of B: wanted as many of each, not none"
        )
    first = check_same_rows([*a, *b])
    users = group_codes(first["user_id"].to_numpy(), first.height)
    questions = {}
    for segment in (segments or segments_of(first, by)).judged:
        for name in GROUP_MEASURES if segment.is_group else MEASURES:
            if MEASURES[name][0] in OF_PROBABILITIES and not all(map(are_probabilities, (*a, *b))):
                continue
            questions[name + segment.key] = _question(name, segment, a, b, users)
    return answer(questions, int(users.max()) + 1, num_resamples, seed, description=description)


def _question(
    name: str, segment: Segment, a: list[pl.DataFrame], b: list[pl.DataFrame], users: np.ndarray
) -> Question:
    metric, weight = MEASURES[name]
    rows = segment.rows
    labels = a[0]["label"].to_numpy()[rows]
    sides = [
        [
            statistic_of(metric, labels, table["score"].to_numpy()[rows], users[rows], weight)
            for table in side
        ]
        for side in (a, b)
    ]
    words = definition(metric, weight, len(a), segment.words)
    return Question(sides[0], sides[1], segment.num_users, words, metric in LOWER_IS_BETTER)


def power_tables(found: dict[str, Comparison], target: float = TARGET) -> list[PowerTable]:
    """Power tables of AUC and GAUC over all rows, where they have an interval."""
    names = [name for name in POWER_MEASURES if name in found and not found[name].no_interval]
    words = {"auc": "AUC of B minus A", "gauc": "GAUC by impressions of B minus A"}
    return [power_table(Noise.of_comparison(found[name], words[name]), target) for name in names]


def noise_tables(
    tables: list[pl.DataFrame], num_resamples: int, target: float = TARGET
) -> list[PowerTable]:
    """Power tables of one ranker against itself with other seeds."""
    first = check_same_rows(tables)
    labels, users = first["label"].to_numpy(), first["user_id"].to_numpy()
    scores = [table["score"].to_numpy() for table in tables]
    found = []
    for name in POWER_MEASURES:
        metric, weight = MEASURES[name]
        noise = noise_of_one_ranker(
            labels, scores, users, metric, weight, num_resamples, description=f"{name} over users"
        )
        found.append(power_table(noise, target))
    return found


def table_of(found: dict[str, Comparison]) -> str:
    """Plain text, a line a metric; with several seeds the interval over users and seeds as well, which the verdict comes from."""
    width = max(len("metric"), *(len(name) for name in found))
    over_seeds = any(result.num_seeds > 1 for result in found.values())
    head = f"{'metric':{width}} {'A':>8} {'B':>8} {'B - A':>8}  {'over users':20} "
    lines = [head + (f"{'over users and seeds':20} " if over_seeds else "") + "verdict"]
    for name, result in found.items():
        ends = [(result.low, result.high)]
        ends += [(result.wide_low, result.wide_high)] if over_seeds else []
        known = [f"[{low:+.4f}, {high:+.4f}]" if low == low else "none" for low, high in ends]
        intervals = " ".join(f"{words:20}" for words in known)
        lines.append(
            f"{name:{width}} {result.a:8.4f} {result.b:8.4f} {result.value:+8.4f}  {intervals} {result.verdict}"
        )
    return "\n".join(lines)


def multiplicity(found: dict[str, Comparison]) -> str:
    """How many intervals were looked at, and what that alone would turn up."""
    results = [result for result in found.values() if not result.no_interval]
    if not results:
        return f"no interval was looked at: each wants {MIN_USERS} counted users"
    level = results[0].level
    corrected = 1 - (1 - level) / len(results)
    shown = sum(result.is_shown for result in results)
    clear = sum(result.is_shown_at(corrected) for result in results)
    return (
        f"{len(results)} intervals were looked at: were there no difference at all, about "
        f"{(1 - level) * len(results):.1f} of them would still leave zero out; {shown} do, "
        f"{clear} also after Bonferroni's correction (at {corrected:.2%})"
    )


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("ranking.compare")
    parser = Parser(
        prog="python -m ranking.compare",
        description="Compare the scores of two rankers on the same impressions: differences with paired "
        "intervals over users, segments, and how many users and seeds are required to see a difference. With one folder of several seeds: how much that ranker varies between seeds.",
        example="python -m ranking.compare demo/ids_scores demo/cube_scores --by category --out demo/comparison",
    )
    parser.add_argument("a", type=Path, help="folder of scores, or of one folder of scores a seed")
    parser.add_argument("b", type=Path, nargs="?", help="the same, of the other ranker")
    parser.add_argument("--out", type=Path, help="folder for comparison.json and the pictures")
    add_overwrite_option(parser, "the comparison")
    parser.add_argument(
        "--resamples", type=count, default=1000, help="bootstrap resamples of users"
    )
    parser.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column whose values are segments; may be repeated",
    )
    parser.add_argument(
        "--min-users", type=count, default=MIN_USERS, help="fewest users of a segment"
    )
    parser.add_argument(
        "--target", type=positive, default=TARGET, help="difference that the power table plans for"
    )
    given = parser.parse_args(argv)
    if given.resamples < 2:
        parser.error(f"--resamples {given.resamples}: wanted at least 2")
    if given.b is None and given.by:
        parser.error("--by groups the difference of two folders; name the second one")
    if given.out is not None:
        for name, kind in (WRITTEN if given.b is not None else WRITTEN_OF_ONE).items():
            check_output(given.out / name, kind, given.overwrite)
    if given.b is None:
        _report_noise(given)
    else:
        _report_difference(given)


def _report_noise(given: Namespace) -> None:
    """Print how one ranker varies over its seeds, and draw the power table."""
    about = about_scores(given.a)
    tables = list(read_scores(given.a).values())
    power = noise_tables(tables, given.resamples, given.target)
    print(f"{given.a.name}, against itself with other seeds")
    print_non_clicks(given.a)
    _print_power(power, about)
    if given.out is not None:
        write_json(given.out / "power.json", [table.as_dict() for table in power])
        figures.draw_power(power, about, given.out / "power.png")
        print(f"picture: {given.out / 'power.png'}")


def _report_difference(given: Namespace) -> None:
    """Print and draw all that is asked of two folders."""
    about, names = about_scores(given.a), _names(given.a, given.b)
    a, b = paired_scores(given.a, given.b)
    segments = segments_of(check_same_rows([*a, *b]), given.by, given.min_users)
    found = side_by_side(
        a, b, given.resamples, segments=segments, description="bootstrap over users"
    )
    first = next(iter(found.values()))
    print(f"A: {names[0]}   B: {names[1]}   seeds: {first.num_seeds}   users: {first.count:,}")
    print_non_clicks(given.a, given.b)
    print(table_of(found))
    print(f"differences: {first.level:.0%} intervals, paired, bootstrap over users")
    if first.num_seeds < 3:
        print(ONE_SEED if first.num_seeds == 1 else TWO_SEEDS)
    print(multiplicity(found))
    for segment in segments.left_out:
        print(f"left out: {segment}")
    has_curves = all(map(are_probabilities, (*a, *b)))
    if not has_curves:
        print(
            f"not compared: {', '.join(OF_PROBABILITIES)} and calibration: scores of one side or both are no probabilities"
        )
    if covered := told_coverage(dict(zip(names, (given.a, given.b), strict=True))):
        print(covered)
    power = power_tables(found, given.target)
    for name in POWER_MEASURES:
        if name in found and found[name].no_interval:
            print(f"no power table of {name}: {found[name].no_interval}")
    _print_power(power, about)
    if given.out is None:
        return
    write_json(given.out / "comparison.json", {name: one.as_dict() for name, one in found.items()})
    write_json(given.out / "power.json", [table.as_dict() for table in power])
    write_json(given.out / "segments.json", segments.as_dict())
    figures.draw_differences(found, names, about, given.out / "comparison.png")
    figures.draw_segments(found, segments, names, about, given.out / "segments.png")
    drawn = ["comparison", "segments"]
    if has_curves:
        figures.draw_calibration(_curves(names, (a, b)), about, given.out / "calibration.png")
        drawn.append("calibration")
    if power:
        figures.draw_power(power, about, given.out / "power.png")
        drawn.append("power")
    print(f"pictures: {', '.join(drawn)} .png in {given.out}")


def _names(a: Path, b: Path) -> tuple[str, str]:
    """The folders' names, with their parents' where they are the same."""
    if a.name != b.name:
        return a.name, b.name
    return f"{a.parent.name}/{a.name}", f"{b.parent.name}/{b.name}"


def _print_power(tables: list[PowerTable], about: str) -> None:
    for table in tables:
        print()
        print(power_text(table))
    if about:
        print(f"scores: {about}")


def _curves(
    names: tuple[str, str], sides: tuple[list[pl.DataFrame], list[pl.DataFrame]]
) -> dict[str, CalibrationCurve]:
    """Calibration curves of the first seed of both."""
    curves = {}
    for letter, name, side in zip("AB", names, sides, strict=True):
        seed = ", first seed" if len(side) > 1 else ""
        curves[f"{letter}: {name}{seed}"] = curve_of(side[0])
    return curves
