"""The columns of a log by what they are, whatever its files look like, and lists of what a page showed unfolded."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.files import Source
from moon_rec.shop.readers.interactions.typed import id_text, value_reading
from moon_rec.values import TIME, Meanings, Reading

OUTCOMES = ("clicked", "carted", "purchased")
IDS = ("user", "item", "request")
NEEDED = ("user", "item", "time")
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


def read_columns(
    source: Source, roles: Mapping[str, str], config: InteractionsConfig, table: str = "log"
) -> LogColumnsRead:
    """How each role's column is read; a list of what a page showed is unfolded into a row each.

    Args:
        table: `log` or `events`: which part of the settings says what its columns are.

    Raises:
        ShopError: a named column is not there.
    """
    columns = config.log if table == "log" else config.events
    for role, column in roles.items():
        if column not in source.columns:
            raise ShopError(
                f"{source.name} has no column {column!r} ({table}.{role}): it has {', '.join(source.columns)}"
            )
    frame, raw = source.frame.with_row_index(ROW), dict(roles)
    if table == "events":
        frame = _with_lists_unfolded(frame, source, roles)
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
        if role in IDS or role == "kind":
            readings[role] = id_text(column, found)
        elif role == "time":
            unit = getattr(columns, "time_unit", None) or config.time_unit
            meanings = Meanings(time_unit=unit)
            readings[role] = value_reading(column, found, TIME, meanings, columns)
        elif role in OUTCOMES:
            least = Meanings(at_least=getattr(config, f"{role}_at_least"))
            readings[role] = value_reading(column, found, pl.Boolean(), least)
        elif role == "position":
            readings[role] = value_reading(column, found, pl.Int32())
        else:
            readings[role] = value_reading(column, found, pl.String())
    return LogColumnsRead(source, frame, readings, raw)


def _with_lists_unfolded(
    frame: pl.LazyFrame, source: Source, roles: Mapping[str, str]
) -> pl.LazyFrame:
    """A row for each entry of the columns that are lists, entry by entry."""
    lists = [name for name in roles.values() if isinstance(source.columns[name], pl.List)]
    if not lists:
        return frame
    first, *others = (pl.col(name).list.len() for name in lists)
    uneven = frame.filter(pl.any_horizontal(*(each != first for each in others), False))
    rows = source.collect(uneven.select(ROW).head(1))
    if rows.height:
        file, row = source.place(rows.item())
        raise ShopError(
            f"{file}: {' and '.join(lists)} row {row}: lists of different lengths; give each item its time"
        )
    return frame.explode(lists, empty_as_null=False)


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
