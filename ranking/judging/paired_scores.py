"""Tables of scores as folders hold them, paired by training seed and row by row.

A folder is what `ranking.evaluate` wrote: `scores.parquet`, or folders that hold one, one a training seed, paired by name. Rows are matched by request and item, so their order in the files is of no matter.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from moon_rec.errors import RankingError, first_line
from moon_rec.files import read_json
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shown import visible
from ranking.judging.judgement import check_columns, check_scores
from ranking.judging.non_clicks import sampled_in
from ranking.seed_folders import SCORES_FILE, files_by_seed

KEYS = ("request_id", "item_id")


def read_scores(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of scores in a folder by the seed folders' names, each sorted by request and item.

    The one table of a folder without seed folders is named "".

    Raises:
        RankingError: no `scores.parquet` in the folder or in its subfolders, or both; a file that is not one.
    """
    return {name: _read(file) for name, file in _files(folder).items()}


def paired_scores(a: Path, b: Path) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """The tables of two folders, seed by seed of the same name.

    Raises:
        RankingError: seeds that only one side has, or what `read_scores` refuses.
    """
    sides = [_files(folder) for folder in (a, b)]
    if sides[0].keys() != sides[1].keys():
        alone = [sorted(one.keys() - other.keys()) for one, other in (sides, sides[::-1])]
        only = [
            f"{', '.join(name or 'scores.parquet without a seed folder' for name in names)} only in {folder}"
            for names, folder in zip(alone, (a, b), strict=True)
            if names
        ]
        raise RankingError(
            f"seeds are paired by the names of their folders, and these have no partner: {'; '.join(only)}; "
            "score the same seeds of both rankers, or name their folders alike"
        )
    tables = [[_read(files[name]) for name in sides[0]] for files in sides]
    return tables[0], tables[1]


def about_scores(folder: Path) -> str:
    """Shop and period of a folder of scores as `ranking.evaluate` noted them; empty where it did not."""
    beside = next(iter(_files(folder).values())).parent / "metrics.json"
    try:
        about = read_json(beside)
        if not about["shop"]:  # scores of another model, without its shop
            return ""
        simulated = " (simulated)" if about["is_simulated"] else ""
        sampled = sampled_in(folder)
        return visible(f"{about['shop']}{simulated}, {about['period']} period")[:200] + sampled
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _files(folder: Path) -> dict[str, Path]:
    files = files_by_seed(folder, SCORES_FILE)
    if not files:
        raise RankingError(
            f"no scores.parquet in {folder} or its subfolders: write it with ranking.evaluate --out"
        )
    return files


def _read(file: Path) -> pl.DataFrame:
    refuse_bombs(file, RankingError)
    try:
        table = pl.read_parquet(file)
    except UNREADABLE as error:  # polars panics on some damages
        reason = first_line(error)
        raise RankingError(
            f"{file} cannot be read ({reason}); write it again with ranking.evaluate"
        ) from None
    try:
        check_scores(table)
    except RankingError as error:
        raise RankingError(f"{file}: {error}") from None
    return table.sort(KEYS)


def check_same_rows(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The first table of scores; raise RankingError where another is of other impressions, labels or users."""
    first = tables[0]
    check_columns(first)
    for table in tables[1:]:
        check_columns(table)
        if table.height != first.height or any(_unlike(first, table, name).any() for name in KEYS):
            raise RankingError(
                f"the scores are of different impressions ({first.height} and {table.height} rows); "
                "compare scores of one shop and period"
            )
        for name in ("label", "user_id"):
            unlike = _unlike(first, table, name)
            if unlike.any():
                row = int(unlike.arg_max() or 0)
                one = first.row(row, named=True)
                raise RankingError(
                    f"request {one['request_id']}, item {one['item_id']} has {name} {one[name]!r} in one table "
                    f"and {table[name][row]!r} in another ({unlike.sum():,} of {first.height:,} rows); compare "
                    "scores of one shop and period"
                )
    return first


def _unlike(one: pl.DataFrame, other: pl.DataFrame, name: str) -> pl.Series:
    """Where a column of two tables of as many rows differs, `(rows,)` boolean."""
    sides = one[name], other[name]
    if len({side.dtype == pl.String for side in sides}) > 1:  # 7 and "7" are not the same
        return pl.repeat(True, one.height, eager=True)
    return sides[0] != sides[1]
