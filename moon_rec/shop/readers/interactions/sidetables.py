"""The tables beside a log: items and users, read as a stream, with what the log has and they have not added bare."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.own_ids import OwnIds, id_text
from moon_rec.shop.readers.interactions.broken_rules import find_broken, refuse
from moon_rec.shop.readers.interactions.files import Source, unreadable
from moon_rec.shop.readers.interactions.further import asked_for
from moon_rec.shop.readers.interactions.pictures import Pictures
from moon_rec.shop.readers.interactions.typed import (
    further_types,
    further_value,
    value_reading,
)
from moon_rec.shop.schema import columns_of
from moon_rec.values import TIME, Meanings, Reading

PIECE = 1_024
NAMES = {
    "item": "item_id",
    "group": "spu_id",
    "user": "user_id",
}
"""Roles whose columns are called otherwise in a shop."""


@dataclass(frozen=True, repr=False)
class SideTable:
    """Items or users as their owner has them.

    Attributes:
        table: `items` or `users`.
        key: the role of the id: `item` or `user`.
        roles: role -> column. readings: how each is read, but the id's and a picture's.
        further: column -> type, of those without a role.
        own: the ids as they are written, row by row; null where a row is left out.
    """

    table: str
    key: str
    source: Source
    roles: Mapping[str, str]
    readings: dict[str, Reading]
    further: dict[str, pl.DataType]
    own: pl.Series

    @classmethod
    def open(
        cls,
        table: str,
        source: Source,
        roles: Mapping[str, str],
        meanings: Meanings,
        keep: Sequence[str] | None = None,
        leave_out: bool = False,
    ) -> "SideTable":
        """Open a table and read its ids.

        Args:
            keep: further columns that stay; None keeps all.
            leave_out: rows without an id, and say how many; otherwise they are refused.

        Raises:
            ShopError: a column is not there, a row has no id, or a value breaks a rule.
        """
        key = "item" if table == "items" else "user"
        for role, column in roles.items():
            if column not in source.columns:
                raise ShopError(
                    f"{source.name} has no column {column!r} ({table}.{role}): it has {', '.join(source.columns)}"
                )
        if key not in roles:
            raise ShopError(
                f"{source.name} has no column of ids: name it with --set {table}.{key}=NAME; it has {', '.join(source.columns)}"
            )
        readings = {
            role: _reading(source, column, role, meanings)
            for role, column in roles.items()
            if role not in (key, "image")
        }
        taken, declared = set(roles.values()), set(columns_of(table))
        names = [name for name in source.columns if name not in taken]
        if keep is not None:
            names = asked_for(source, names, keep, f"{table}.keep")
        for name in [name for name in names if name in declared]:
            say(
                f"{source.name}: {name!r} is left out: a shop has a column of that name, with another meaning"
            )
            names.remove(name)
        nested = [
            name
            for name in names
            if isinstance(source.columns[name], pl.List | pl.Struct | pl.Array)
        ]
        if nested:
            say(f"{source.name}: {', '.join(nested)} are lists or structs and are left out")
        names = [name for name in names if name not in nested]
        further = (
            further_types(source.frame, names)
            if source.is_text
            else {n: source.columns[n] for n in names}
        )
        own = _ids(source, roles[key], f"{table}.{key}", leave_out)
        found = cls(table, key, source, roles, readings, further, own)
        found._check()
        return found

    def _check(self) -> None:
        """Refuse values that break a rule: one pass."""
        rules = [
            (self.roles[role], rule) for role, how in self.readings.items() for rule in how.broken
        ]
        if rules:
            row = pl.int_range(pl.len())
            refuse(self.source, find_broken(self.source, self.source.frame, rules, row)[1])

    def pieces(self, ids: OwnIds, pictures: Pictures | None) -> Iterator[pl.DataFrame]:
        """The table in pieces of `PIECE` rows, each id once (its first row), with the shop's columns; nothing is added."""
        column = self.own.to_frame().select(ids.codes(pl.col(self.own.name)).fill_null(-1))
        codes = column.to_series().to_numpy()
        _, first = np.unique(codes, return_index=True)
        kept = np.zeros(codes.size, bool)
        kept[first] = True
        kept &= codes >= 0
        repeated = self.own.len() - self.own.null_count() - int(kept.sum())
        if repeated:
            say(f"{self.source.name}: {repeated:,} rows repeat an id; its first row stands")
        wanted = [
            how.value.alias(NAMES.get(role, role))
            for role, how in self.readings.items()
            if how.value is not None and role != "group"
        ]
        wanted += self._group()
        wanted += [
            further_value(name, kind).alias(name) if self.source.is_text else pl.col(name)
            for name, kind in self.further.items()
        ]
        if "image" in self.roles and pictures is not None:
            wanted.append(pl.col(self.roles["image"]).alias("image"))
        frame, start = self.source.frame.select(pl.lit(0).alias("_"), *wanted), 0
        try:
            for piece in frame.collect_batches(chunk_size=PIECE, maintain_order=True):
                stop = start + piece.height
                rows = piece.drop("_").with_columns(
                    pl.Series(NAMES[self.key], ids.numbers(codes[start:stop]))
                )
                rows = rows.filter(pl.Series(kept[start:stop]))
                places = start + np.flatnonzero(kept[start:stop])
                start = stop
                yield (
                    rows
                    if pictures is None or "image" not in self.roles
                    else pictures.read_into(rows, places)
                )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.source, error) from None

    def _group(self) -> list[pl.Expr]:
        """The groups' ids as whole numbers, where the table has groups."""
        if "group" not in self.readings:
            return []
        text = self.readings["group"].value
        assert text is not None
        frame = self.source.frame.select(text.alias("own")).unique()
        groups = OwnIds.of("item", self.source.collect(frame)["own"])
        if not groups.own.len():
            return []
        numbers = groups.codes(text).replace_strict(
            np.arange(groups.ids.size), groups.ids, default=None, return_dtype=pl.Int64
        )
        return [numbers.alias("spu_id")]


def _reading(source: Source, column: str, role: str, meanings: Meanings) -> Reading:
    kind = source.columns[column]
    if role == "listed_at":
        return value_reading(column, kind, TIME, _unit_of(source, column, meanings))
    if role == "price":
        return value_reading(column, kind, pl.Float64())
    if role == "group":
        return id_text(column, kind)
    if role == "category" and isinstance(kind, pl.List | pl.Array):
        texts = pl.col(column).list.eval(pl.element().cast(pl.String)).list.join("/")
        return Reading(pl.when(texts != "").then(texts))
    if isinstance(kind, pl.List):
        return Reading(pl.col(column).list.eval(pl.element().cast(pl.String)).list.join(" "))
    if kind.is_numeric():
        return Reading(pl.col(column).cast(pl.String))
    return value_reading(column, kind, pl.String())


def _unit_of(source: Source, column: str, meanings: Meanings) -> Meanings:
    """The log's unit of times is that of numbers alone: a column whose first text is none has times as texts."""
    if source.columns[column] != pl.String:
        return meanings
    first = source.collect(source.frame.select(pl.col(column).drop_nulls().head(1)))[column]
    is_number = first.len() and first.cast(pl.Float64, strict=False).null_count() == 0
    return meanings if is_number else Meanings()


def _ids(source: Source, column: str, role: str, leave_out: bool) -> pl.Series:
    how = id_text(column, source.columns[column])
    if how.value is None:
        rule = how.broken[0]
        raise ShopError(f"{source.name}: {column} ({role}) {rule.rule}; {rule.mend_of(None)}")
    own = source.collect(source.frame.select(how.value.alias("own")))["own"]
    if own.null_count() and leave_out:
        say(
            f"{source.name}: {own.null_count():,} rows of {own.len():,} have no id and are left out"
        )
    elif own.null_count():
        file, row = source.place(int(own.is_null().arg_true()[0]))
        raise ShopError(
            f"{file}: {column} row {row} is empty ({own.null_count():,} rows are); give each {role.split('.')[1]} its id, or leave such rows out with --set incomplete=dropped"
        )
    return own
