"""Scores of any other CTR model as the tables that `ranking.evaluate` makes of our rankers: `ranking.evaluate SHOP --scores mine.parquet`.

Notable choices
- CSV, TSV, JSON lines, Parquet or Arrow, packed or not: `item_id`, `user_id`, `label`, `score`, and `request_id`, in the user's own ids.
- With a shop each row must be an impression of the period. It is found by request and item; without `request_id` by user and item, if that
  pair was shown once. `user_id` and `label` may then be left out; where they are there, they must be the shop's. `is_cold`, category, price,
  history length and activity come from the shop, as a ranker of the default features sees them. Impressions without a score are counted.
- Without a shop a missing `request_id` is the row's number, so that only files of the same rows in the same order are compared; what is not
  known (cold items, unless the file says `is_cold`) is said.
- Seeds: a column `seed`, or several files, numbered from 0 in their order. Rows must be the same.
- Scores of which any, of any seed, lies outside [0, 1] are no probabilities: only their order is measured (AUC, GAUC), no log loss, no calibration.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.errors import MoonRecError, RankingError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import OwnIds, OwnNames, id_text
from moon_rec.shop.readers.interactions.files import open_source
from moon_rec.shop.readers.interactions.typed import value_reading
from moon_rec.values import read_as, shown, whole_ids
from ranking.features import Period
from ranking.judging.judgement import IS_PROBABILITY
from ranking.judging.paired_scores import KEYS, check_same_rows
from ranking.seed_folders import seed_name

NEEDED = {True: ("item_id", "score"), False: ("item_id", "user_id", "label", "score")}
"""Columns that must be there, with a shop and without."""
VALUES = {"label": pl.Boolean(), "score": pl.Float64(), "seed": pl.Int32(), "is_cold": pl.Boolean()}
ID_KINDS = {"item_id": "item", "user_id": "user", "request_id": "request"}


def read_own_scores(
    files: Sequence[Path],
    rows: pl.DataFrame | None = None,
    shop: Shop | None = None,
    period: Period = "test",
) -> dict[str, pl.DataFrame]:
    """Tables of scores by the seeds' names, "" for the one table of no seed.

    Args:
        files: one or several, see above.
        rows: the impressions of the period as `ranking.judging.scored_period.impressions_of` gives them, with the user's own ids; with a shop.
        shop: whose period is scored; None: no shop is at hand.

    Raises:
        RankingError: a file that cannot be read, a column that is missing, a value of a wrong type, rows that are no impressions of the
            period or have another label or user there, seeds of different rows.
    """
    parts = [_typed(file, shop) for file in files]
    seeds = _by_seed(parts)
    tables = {}
    for name, (part, file) in seeds.items():
        where = f"{file}, {name}" if "seed" in part.columns else str(file)
        frame = part.drop("seed", strict=False)
        if rows is None or shop is None:
            tables[name] = _alone(frame, where)
        else:
            tables[name] = _of_shop(frame, rows, where, f"the {period} period of shop {shop.name}")
    if len(tables) > 1:
        check_same_rows([table.sort(KEYS) for table in tables.values()])
    return _marked(tables)


def _typed(file: Path, shop: Shop | None) -> tuple[pl.DataFrame, Path]:
    """A file with its declared columns read, each by its rule."""
    try:
        source = open_source([file])
        frame = source.collect(source.frame)
    except MoonRecError as error:
        raise RankingError(str(error)) from None
    missing = [name for name in NEEDED[shop is not None] if name not in frame.columns]
    if missing:
        hint = (
            "" if shop else "; with the shop before --scores the label and the user are found in it"
        )
        raise RankingError(
            f"{file}: column {', '.join(missing)} is missing: it has {', '.join(frame.columns)}; rename columns to these names{hint}"
        )
    read = []
    for column in frame.get_columns():
        if column.name in ID_KINDS:
            read.append(_ids(column, str(file), shop))
        elif column.name in VALUES:
            wanted = VALUES[column.name]
            how = value_reading(column.name, column.dtype, wanted)
            found = read_as(column, how, wanted, str(file), error=RankingError)
            read.append(found.cast(pl.Int8) if column.name == "label" else found)
        else:
            read.append(column)
    frame = pl.DataFrame(read)
    odd = (~frame["score"].is_finite()).arg_true()
    if odd.len():
        raise RankingError(
            f"{file}: score row {odd[0]}: {frame['score'][int(odd[0])]} is not finite ({odd.len():,} rows); give each row a number"
        )
    return frame, file


def _ids(column: pl.Series, where: str, shop: Shop | None) -> pl.Series:
    """Ids as the shop's tables of scores have them; without a shop whole numbers where all are, else texts, as an import takes them."""
    names = None if shop is None else OwnNames.of(shop.path, ID_KINDS[column.name])  # type: ignore[arg-type]
    if names is not None and names.is_kept:
        return names.written(column, where, error=RankingError)
    if column.dtype.is_numeric() and column.dtype != pl.UInt64:
        return whole_ids(column, where, error=RankingError)
    texts = read_as(
        column, id_text(column.name, column.dtype), pl.String(), where, error=RankingError
    )
    if texts.null_count():
        row = int(texts.is_null().arg_true()[0])
        raise RankingError(
            f"{where}: {column.name} row {row}: {shown(column[row])} is empty; give every row its id"
        )
    ids = OwnIds.of(ID_KINDS[column.name], texts)  # type: ignore[arg-type]
    if not ids.is_kept:
        return pl.Series(column.name, ids.of_texts(texts))
    if shop is None:
        return texts
    whole = texts.cast(pl.Int64, strict=False)
    row = int(whole.is_null().arg_true()[0]) if whole.null_count() else 0
    raise RankingError(
        f"{where}: {column.name} row {row}: {shown(texts[row])} is no id of shop {shop.name}, whose ids are whole numbers; give these"
    )


def _by_seed(
    parts: Sequence[tuple[pl.DataFrame, Path]],
) -> dict[str, tuple[pl.DataFrame, Path]]:
    """Seed's name -> its rows and their file."""
    found: dict[str, tuple[pl.DataFrame, Path]] = {}
    columned = ["seed" in frame.columns for frame, _ in parts]
    if any(columned) and not all(columned):
        without = parts[columned.index(False)][1]
        raise RankingError(
            f"{without} has no column seed, and another file has: give it to all, or to none"
        )
    for number, (frame, file) in enumerate(parts):
        if "seed" not in frame.columns:
            found[seed_name(number) if len(parts) > 1 else ""] = frame, file
            continue
        for seed in frame["seed"].unique().sort().to_list():
            if seed_name(seed) in found:
                raise RankingError(
                    f"seed {seed} is in {found[seed_name(seed)][1]} and in {file}: give each seed in one file"
                )
            found[seed_name(seed)] = frame.filter(pl.col("seed") == seed), file
    return found


def _alone(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Scores of a log that is not at hand."""
    if "request_id" not in frame.columns:
        say(
            f"{where}: no request_id, so the row's number stands for it: compare it with files of the same rows in the same order alone"
        )
        frame = frame.with_columns(request_id=pl.int_range(pl.len(), dtype=pl.Int64))
    if "is_cold" not in frame.columns:
        say(
            f"{where}: without its shop cold and warm items, category, price, history length and activity are not known: what needs them is not measured"
        )
        frame = frame.with_columns(is_cold=pl.lit(None, pl.Boolean))
    order = ["request_id", "item_id", "user_id", "label", "score", "is_cold"]
    return frame.select(*order, pl.exclude(order))


def _of_shop(frame: pl.DataFrame, rows: pl.DataFrame, where: str, whole: str) -> pl.DataFrame:
    """Scores joined to the impressions that they are of, in the order of the shop."""
    keys = ["request_id", "item_id"] if "request_id" in frame.columns else ["user_id", "item_id"]
    absent = [name for name in keys if name not in frame.columns]
    if absent:
        raise RankingError(
            f"{where}: column request_id is missing, and user_id too: give one of them, to find the impressions in the shop"
        )
    twice = frame.select(keys).is_duplicated()
    if twice.any():
        raise RankingError(
            f"{where}: {_row(frame, keys, twice)} has more than one score ({int(twice.sum()):,} of {frame.height:,} rows are not alone); score each impression once"
        )
    if keys[0] == "user_id":
        several = rows.filter(rows.select(keys).is_duplicated()).unique(keys)
        unclear = frame.select(
            pl.struct(keys).is_in(several.select(pl.struct(keys)).to_series().implode())
        ).to_series()
        if unclear.any():
            raise RankingError(
                f"{where}: {_row(frame, keys, unclear)} was shown several times in {whole} ({int(unclear.sum()):,} rows): give the column request_id"
            )
    strange = (
        frame.select(keys)
        .join(rows.select(*keys, there=True), on=keys, how="left", maintain_order="left")["there"]
        .is_null()
    )
    if strange.any():
        raise RankingError(
            f"{where}: {int(strange.sum()):,} of {frame.height:,} rows are no impression of {whole} (first {_row(frame, keys, strange)}); "
            "score that period, or name another with --period"
        )
    own = [name for name in frame.columns if name not in rows.columns and name != "score"]
    given = [
        name
        for name in ("label", "user_id", "request_id")
        if name in frame.columns and name not in keys
    ]
    joined = rows.join(
        frame.select(
            *keys, "score", *own, *(pl.col(name).alias(f"given {name}") for name in given)
        ),
        on=keys,
        how="inner",
        maintain_order="left",
    )
    for name in given:
        unlike = joined[name] != joined[f"given {name}"]
        if unlike.any():
            row = int(unlike.arg_true()[0])
            raise RankingError(
                f"{where}: {_row(joined, keys, unlike)} has {name} {shown(joined[f'given {name}'][row])}, in {whole} it is {shown(joined[name][row])} "
                f"({int(unlike.sum()):,} of {frame.height:,} rows differ); score that log's impressions"
            )
    if joined.height < rows.height:
        say(
            f"{where}: {rows.height - joined.height:,} of {rows.height:,} impressions of {whole} have no score: what is measured is of the others alone"
        )
    columns = list(rows.columns)
    columns.insert(columns.index("label") + 1, "score")
    return joined.select(*columns, *own)


def _row(frame: pl.DataFrame, keys: Sequence[str], wanted: pl.Series) -> str:
    """The first of the rows, by its ids."""
    row = frame.row(int(wanted.arg_true()[0]), named=True)
    return ", ".join(f"{key.removesuffix('_id')} {shown(row[key])}" for key in keys)


def _marked(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Tables whose scores are no probabilities say so."""
    every = np.concatenate([one["score"].to_numpy() for one in tables.values()])
    low, high = float(every.min(initial=1)), float(every.max(initial=0))
    if low >= 0 and high <= 1:
        return dict(tables)
    say(
        f"scores go from {low:g} to {high:g}, outside [0, 1], so they are no probabilities: AUC and GAUC are measured, log loss, normalised entropy and "
        "calibration are not; of logits give 1 / (1 + exp(-score))"
    )
    return {
        name: one.with_columns(pl.lit(False).alias(IS_PROBABILITY)) for name, one in tables.items()
    }
