"""Two folders of scores side by side: `python -m ranking.compare A B` prints a table and draws a picture.

A folder is what `ranking.evaluate` wrote (`scores.parquet`), or a folder of such folders, one a training
seed, paired by name. Rows are matched by request and item, so their order in the files is of no matter.
"""

from pathlib import Path

import matplotlib.figure
import numpy as np
import polars as pl

from moon_rec.command import Parser
from moon_rec.errors import RankingError
from moon_rec.files import atomic_file, write_json
from ranking.judgement import SEGMENTS
from ranking.significance import METRICS, Comparison, compare_seeds

KEYS = ("request_id", "item_id")
LOWER_IS_BETTER = ("log_loss",)


def read_scores(folder: Path) -> list[pl.DataFrame]:
    """The tables of scores in a folder, one a seed, each sorted by request and item.

    Raises:
        RankingError: no `scores.parquet` in the folder or in its subfolders.
    """
    files = sorted(folder.glob("scores.parquet")) or sorted(folder.glob("*/scores.parquet"))
    if not files:
        raise RankingError(
            f"no scores.parquet in {folder} or its subfolders: write it with ranking.evaluate --out"
        )
    return [pl.read_parquet(file).sort(KEYS) for file in files]


def side_by_side(
    a: list[pl.DataFrame], b: list[pl.DataFrame], num_resamples: int = 1000, seed: int = 0
) -> dict[str, Comparison]:
    """All metrics of B minus A, overall, on cold and on warm items, where they have a value.

    Args:
        a, b: tables of scores sorted by request and item, one a seed, paired by position.

    Raises:
        RankingError: tables of different impressions or labels, or as many seeds not on both sides.
    """
    first = a[0]
    for table in (*a, *b):
        if not table.select(*KEYS, "label").equals(first.select(*KEYS, "label")):
            raise RankingError(
                f"the scores are of different impressions ({first.height} and {table.height} rows); "
                "compare scores of one shop and period"
            )
    cold = first["is_cold"].to_numpy()
    chosen = {"": np.ones(cold.size, dtype=bool), "_cold": cold, "_warm": ~cold}
    labels, users = first["label"].to_numpy(), first["user_id"].to_numpy()
    found = {}
    for segment in SEGMENTS:
        rows = chosen[segment]
        if rows.sum() == 0 or labels[rows].min() == labels[rows].max():
            continue
        pairs = [[table["score"].to_numpy()[rows] for table in side] for side in (a, b)]
        for metric in METRICS:
            found[metric + segment] = compare_seeds(
                labels[rows], pairs[0], pairs[1], users[rows], metric, num_resamples, seed
            )
    return found


def table_of(found: dict[str, Comparison]) -> str:
    """Plain text, a line a metric."""
    lines = [f"{'metric':14} {'A':>8} {'B':>8} {'B - A':>8}  {'interval':20} verdict"]
    for name, result in found.items():
        interval = f"[{result.low:+.4f}, {result.high:+.4f}]"
        lines.append(
            f"{name:14} {result.a:8.4f} {result.b:8.4f} {result.value:+8.4f}  {interval:20} "
            f"{verdict(name, result)}"
        )
    return "\n".join(lines)


def verdict(name: str, result: Comparison) -> str:
    """`B better`, `A better` or `no difference shown`, at the interval's level."""
    if not result.is_significant:
        return "no difference shown"
    lower = name.startswith(LOWER_IS_BETTER)
    return "B better" if (result.value > 0) != lower else "A better"


def draw(found: dict[str, Comparison], names: tuple[str, str], path: Path) -> None:
    """A picture of the differences with their intervals; log losses are drawn with the sign turned."""
    figure = matplotlib.figure.Figure(figsize=(7, 0.4 * len(found) + 1.4), layout="constrained")
    axes = figure.subplots()
    for row, (name, result) in enumerate(found.items()):
        sign = -1 if name.startswith(LOWER_IS_BETTER) else 1
        ends = sorted((sign * result.low, sign * result.high))
        colour = "tab:blue" if result.is_significant else "tab:gray"
        axes.plot(ends, [row, row], color=colour, linewidth=2)
        axes.plot([sign * result.value], [row], "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    labels = [f"-{name}" if name.startswith(LOWER_IS_BETTER) else name for name in found]
    axes.set_yticks(range(len(found)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"{names[1]} minus {names[0]} (right of zero: {names[1]} is better)")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m ranking.compare",
        description="Compare the scores of two rankers on the same impressions: differences with paired "
        "intervals over users.",
        example="python -m ranking.compare demo/ids_scores demo/cube_scores --out demo/comparison",
    )
    parser.add_argument("a", type=Path, help="folder of scores, or of one folder of scores a seed")
    parser.add_argument("b", type=Path, help="the same, of the other ranker")
    parser.add_argument("--out", type=Path, help="folder for comparison.json and comparison.png")
    parser.add_argument("--resamples", type=int, default=1000, help="of users")
    given = parser.parse_args(argv)
    found = side_by_side(read_scores(given.a), read_scores(given.b), given.resamples)
    names = (given.a.name, given.b.name)
    first = next(iter(found.values()))
    print(
        f"A: {names[0]}   B: {names[1]}   seeds: {len(first.seed_values)}   users: {first.count:,}"
    )
    print(table_of(found))
    print(f"differences: {first.level:.0%} intervals, paired, bootstrap over users")
    if given.out is not None:
        about = {name: result.as_dict() for name, result in found.items()}
        write_json(given.out / "comparison.json", about)
        draw(found, names, given.out / "comparison.png")
        print(f"picture: {given.out / 'comparison.png'}")
