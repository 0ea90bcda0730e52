"""A log as arrays of whole numbers, whatever its files looked like; bounded by some 60 bytes a row.

Two streaming passes: faults of values, and the rows with their ids as codes. A text stands in memory once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.own_ids import id_text
from moon_rec.shop.readers.interactions.broken_rules import find_broken, refuse
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.files import Source
from moon_rec.shop.readers.interactions.typed import value_reading
from moon_rec.values import TIME, Meanings, Reading, Rule

OUTCOMES = ("clicked", "carted", "purchased")
IDS = ("user", "item", "request")
ROW = "row of the log"


@dataclass(frozen=True, repr=False)
class LogColumnsRead:
    """The columns of a log as expressions over its rows, lists unfolded.

    Attributes:
        frame: the rows, `ROW` among the columns: the row of the file that each came from.
        readings: role -> how it is read.
        raw: role -> the column's name in the file, for messages.
    """

    source: Source
    frame: pl.LazyFrame
    readings: dict[str, Reading]
    raw: dict[str, str]


@dataclass(frozen=True, repr=False)
class LogArrays:
    """The rows that are used, in the order of the files.

    Attributes:
        user, item: `(rows,)` places among the texts of their kind; request: the same, -1 where there is none, or None.
        time: microseconds since 1970.
        outcomes: name -> `(rows,)` bool; without "clicked" where the log has positives alone.
        position: `(rows,)` or None. used: which rows of the unfolded log these are.
        texts: kind -> the ids as they are written, ascending, each once.
    """

    user: np.ndarray
    item: np.ndarray
    request: np.ndarray | None
    time: np.ndarray
    outcomes: dict[str, np.ndarray]
    position: np.ndarray | None
    used: np.ndarray
    texts: dict[str, pl.Series]


def read_columns(
    source: Source, roles: Mapping[str, str], config: InteractionsConfig
) -> LogColumnsRead:
    """How each role's column is read; a list of what a page showed is unfolded into a row each.

    Raises:
        ShopError: a named column is not there.
    """
    for role, column in roles.items():
        if column not in source.columns:
            raise ShopError(
                f"{source.name} has no column {column!r} (log.{role}): it has {', '.join(source.columns)}"
            )
    frame, raw = source.frame.with_row_index(ROW), dict(roles)
    if "shown" in roles:
        frame = _unfolded(frame, source, roles)
        raw["item"] = "shown item"
        if "chosen" in roles or "shown clicked" in frame.collect_schema():
            raw["clicked"] = "shown clicked"
    schema = frame.collect_schema()
    readings = {}
    for role, column in raw.items():
        if role in ("shown", "chosen"):
            continue
        found = schema[column]
        if role in IDS:
            readings[role] = id_text(column, found)
        elif role == "time":
            unit = Meanings(time_unit=config.time_unit)
            readings[role] = value_reading(column, found, TIME, unit, config.log)
        elif role in OUTCOMES:
            least = Meanings(at_least=getattr(config, f"{role}_at_least"))
            readings[role] = value_reading(column, found, pl.Boolean(), least)
        elif role == "position":
            readings[role] = value_reading(column, found, pl.Int32())
        else:
            readings[role] = value_reading(column, found, pl.String())
    return LogColumnsRead(source, frame, readings, raw)


def _unfolded(frame: pl.LazyFrame, source: Source, roles: Mapping[str, str]) -> pl.LazyFrame:
    """A row for each item that a page showed: its id, and whether it was chosen where that is known."""
    shown, kind = roles["shown"], source.columns[roles["shown"]]
    if kind == pl.String:
        parts = (
            pl.col(shown)
            .str.strip_chars("[]() ")
            .str.split(" ")
            .list.eval(
                pl.element()
                .str.strip_chars(" ,'\"")
                .filter(pl.element().str.strip_chars(" ,'\"") != "")
            )
        )
        frame = frame.with_columns(parts.alias("shown item")).explode(
            "shown item", empty_as_null=False
        )
        marked = pl.col("shown item").str.extract_groups(r"^(.*)-([01])$")
        if "chosen" in roles:
            return frame.with_columns(_chosen(roles["chosen"]))
        return frame.with_columns(
            marked.struct.field("2").alias("shown clicked"),
            marked.struct.field("1").alias("shown item"),
        )
    frame = frame.with_columns(pl.col(shown).alias("shown item")).explode(
        "shown item", empty_as_null=False
    )
    return frame.with_columns(_chosen(roles["chosen"])) if "chosen" in roles else frame


def _chosen(column: str) -> pl.Expr:
    chosen = pl.col(column).list.contains(pl.col("shown item"))
    return chosen.fill_null(False).alias("shown clicked")


def check_values(read: LogColumnsRead, config: InteractionsConfig) -> pl.Expr:
    """Refuse what breaks a rule, all rules in one pass; which rows are used is returned.

    Raises:
        ShopError: one line: file, row, column, value, how many, and how to mend it, for every rule that is broken.
    """
    rules, absent = [], {}
    for role, how in read.readings.items():
        column = pl.col(read.raw[role])
        rules += [(read.raw[role], rule) for rule in how.broken]
        if role in ("user", "item", "time") and how.value is not None:
            nothing = column.is_null() | (
                column.cast(pl.String).str.strip_chars() == ""
                if read.source.is_text
                else pl.lit(False)
            )
            mend = "give every row one, or leave such rows out with --set incomplete=dropped"
            absent[len(rules)] = role
            rules.append((read.raw[role], Rule(column, nothing, "is empty", mend)))
    num_rows, broken = find_broken(read.source, read.frame, rules, pl.col(ROW))
    if not num_rows:
        raise ShopError(f"{read.source.name} has no rows: name a log with rows")
    if config.incomplete == "dropped":
        for number, role in absent.items():
            found, broken[number] = broken[number], None
            if found is not None:
                say(
                    f"{read.source.name}: {found.count:,} rows of {num_rows:,} have no {role} and are left out"
                )
    refuse(read.source, broken)
    needed = [read.readings[role].value for role in ("user", "item", "time")]
    return pl.all_horizontal(value.is_not_null() for value in needed if value is not None)


def read_arrays(read: LogColumnsRead, used: pl.Expr) -> LogArrays:
    """The rows as arrays, in one pass; ids as codes into the texts that there are."""
    values = {role: how.value for role, how in read.readings.items() if how.value is not None}
    wanted = [used.alias("used")]
    for role, value in values.items():
        if role in IDS:
            wanted.append(
                value.cast(pl.Categorical(pl.Categories(f"moon_rec log {role}"))).alias(role)
            )
        elif role == "time":
            wanted.append(value.cast(pl.Int64).alias(role))
        elif role in OUTCOMES:
            wanted.append(value.fill_null(False).alias(role))
        elif role == "position":
            wanted.append(value.alias(role))
    rows = read.source.collect(read.frame.select(wanted))
    used_rows = rows["used"].to_numpy()
    if not used_rows.all():
        rows = rows.filter(pl.col("used"))
    position = None
    if "position" in rows.columns and not rows["position"].null_count():
        position = rows["position"].to_numpy().astype(np.int64)
    elif "position" in rows.columns:
        missing = rows["position"].null_count()
        say(
            f"{read.source.name}: {missing:,} rows have no position; the order of the rows stands for all"
        )
    codes, texts = {}, {}
    for role in IDS:
        if role in rows.columns:
            texts[role], codes[role] = _coded(rows[role])
    return LogArrays(
        user=codes["user"],
        item=codes["item"],
        request=codes.get("request"),
        time=rows["time"].to_numpy(),
        outcomes={
            name: rows[name].to_numpy().astype(bool) for name in OUTCOMES if name in rows.columns
        },
        position=position,
        used=used_rows,
        texts=texts,
    )


def _coded(ids: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """The texts of a column, ascending, and each row's place among them; -1 where it is null."""
    physical = ids.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    there = ids.unique().drop_nulls()
    texts = there.cast(pl.String)
    order = texts.arg_sort().to_numpy()
    place = np.full(int(physical.max(initial=-1)) + 2, -1, np.int64)
    place[there.to_physical().cast(pl.Int64).to_numpy()[order]] = np.arange(order.size)
    return texts[order].rename("own"), place[
        physical
    ]  # a code of -1 reads the last place, which is -1
