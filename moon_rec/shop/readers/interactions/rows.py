"""The rows of a log as records of numbers on disk, in the order of the files.

Notable choices
- One streaming pass. A row is 25 bytes on disk; in memory stand the texts of the ids, each once, and one part of the rows.
- A broken rule leaves null (`moon_rec.values.Reading`), so the rules themselves are only looked at, in a second pass, where a
  column has nulls.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.broken_rules import find_broken, refuse
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.log import IDS, NEEDED, OUTCOMES, ROW, LogColumnsRead
from moon_rec.shop.readers.interactions.scratch import Scratch
from moon_rec.values import Rule

BATCH_ROWS = 1 << 17
SAMPLE = 256
"""Times of a batch of which the borders of parts by time are made."""
KIND = np.dtype(
    [
        ("user", "u4"),
        ("item", "u4"),
        ("request", "i4"),
        ("time", "i8"),
        ("position", "i4"),
        ("outcomes", "u1"),
    ]
)
"""Ids as places among the texts of their kind, request -1 where there is none; microseconds; a bit for each of `OUTCOMES`."""


@dataclass(frozen=True, repr=False)
class LogRows:
    """The rows that are used.

    Attributes:
        written: the rows of `KIND`, a part a batch, with ids as `places` knows them.
        places: kind -> the place among `texts` of each id as it is written.
        num_rows: how many there are.
        used: `(rows of the unfolded log,)` Boolean, which they are.
        outcomes: those of `OUTCOMES` that the log has. has_requests, has_positions: whether it names pages and places.
        texts: kind -> the ids as they are written, ascending, each once.
        times: some of the times, ascending, evenly spread over the files.
    """

    written: Scratch
    places: dict[str, np.ndarray]
    num_rows: int
    used: pl.Series
    outcomes: tuple[str, ...]
    has_requests: bool
    has_positions: bool
    texts: dict[str, pl.Series]
    times: np.ndarray

    def batches(self) -> Iterator[np.ndarray]:
        """The rows of `KIND`, in the order of the files."""
        for records in self.written:
            for kind, places in self.places.items():
                records[kind] = places[records[kind]]
            yield records


def read_rows(read: LogColumnsRead, config: InteractionsConfig) -> LogRows:
    """Read the log.

    Raises:
        ShopError: a rule is broken, or no row is left.
    """
    values = {role: how.value for role, how in read.readings.items() if how.value is not None}
    if not values.keys() >= set(NEEDED):
        _check_values(read, config, NEEDED)
        raise ShopError(_NO_ROWS.format(read.source.name))
    categories = {role: pl.Categories.random() for role in IDS if role in values}
    written = Scratch(KIND)
    used, times, nulls = [], [], dict.fromkeys(read.readings, 0)
    frame = read.frame.select(_wanted(values, categories))
    for batch in read.source.batches(frame, BATCH_ROWS):
        for role in nulls.keys() & set(batch.columns):
            nulls[role] += batch[role].null_count()
        used.append(batch.select(pl.all_horizontal(pl.col(NEEDED).is_not_null())).to_series())
        rows = batch if used[-1].all() else batch.filter(used[-1])
        if rows.height:
            written.append(written.num_parts, _records(rows))
            times.append(rows["time"].gather_every(max(rows.height // SAMPLE, 1)).to_numpy())
    empty = {role for role, count in nulls.items() if count or read.readings[role].value is None}
    looked = {role for role in empty if role in NEEDED or read.readings[role].broken}
    if looked:
        _check_values(read, config, looked)
    if not times:
        raise ShopError(_NO_ROWS.format(read.source.name))
    if nulls.get("position"):
        say(
            f"{read.source.name}: {nulls['position']:,} rows have no position; the order of the rows stands for all"
        )
    texts = {role: each.to_series() for role, each in categories.items()}
    order = {role: each.arg_sort().to_numpy() for role, each in texts.items()}
    if not all(each.all() for each in used):  # ids of rows that are left out alone are none
        there = _present(written, texts)
        order = {role: each[there[role][each]] for role, each in order.items()}
    return LogRows(
        written=written,
        places={role: _inverse(each, texts[role].len()) for role, each in order.items()},
        num_rows=sum(each.sum() for each in used),
        used=pl.concat(used),
        outcomes=tuple(name for name in OUTCOMES if name in values),
        has_requests="request" in values,
        has_positions="position" in values and not nulls["position"],
        texts={role: each[order[role]].rename("own") for role, each in texts.items()},
        times=np.sort(np.concatenate(times)),
    )


_NO_ROWS = "{} has no rows with user, item and time: name a log with rows"


def _present(written: Scratch, texts: Mapping[str, pl.Series]) -> dict[str, np.ndarray]:
    """Which ids rows have."""
    found = {role: np.zeros(each.len() + 1, bool) for role, each in texts.items()}
    for records in written:
        for role, there in found.items():
            there[records[role]] = True
    return found


def _inverse(order: np.ndarray, number: int) -> np.ndarray:
    """The place of each id in an order; a last one more, -1, which a code of -1 reads."""
    places = np.full(number + 1, -1, np.int64)
    places[order] = np.arange(order.size)
    return places


def _wanted(
    values: Mapping[str, pl.Expr], categories: Mapping[str, pl.Categories]
) -> list[pl.Expr]:
    """The columns of a batch: numbers, null where there is none."""
    wanted = []
    for role, value in values.items():
        if role in IDS:
            code = value.cast(pl.Categorical(categories[role])).to_physical()
            wanted.append(code.alias(role))
        elif role == "time":
            wanted.append(value.cast(pl.Int64).alias(role))
        elif role in (*OUTCOMES, "position"):
            wanted.append(value.alias(role))
    return wanted


def _records(rows: pl.DataFrame) -> np.ndarray:
    found = np.zeros(rows.height, KIND)
    for role in (*IDS, "time", "position"):
        if role in rows.columns:
            found[role] = rows[role].fill_null(-1) if role == "request" else rows[role].fill_null(0)
    for bit, name in enumerate(OUTCOMES):
        if name in rows.columns:
            found["outcomes"] |= rows[name].fill_null(False).to_numpy().astype(np.uint8) << bit
    return found


def _check_values(read: LogColumnsRead, config: InteractionsConfig, among: Collection[str]) -> None:
    """Refuse what breaks a rule, all rules in one pass, and tell what is left out.

    Args:
        among: the roles whose columns are looked at.

    Raises:
        ShopError: one line: file, row, column, value, how many, and how to mend it, for every rule that is broken.
    """
    rules, absent = [], {}
    for role, how in read.readings.items():
        if role not in among:
            continue
        column = pl.col(read.raw[role])
        rules += [(read.raw[role], rule) for rule in how.broken]
        if role in NEEDED:
            is_blank = column.cast(pl.String).str.strip_chars() == ""
            nothing = column.is_null() | (is_blank if read.source.is_text else pl.lit(False))
            mend = "give every row one, or leave such rows out with --set incomplete=dropped"
            absent[len(rules)] = role
            rules.append((read.raw[role], Rule(column, nothing, "is empty", mend)))
    num_rows, broken = find_broken(read.source, read.frame, rules, pl.col(ROW))
    if config.incomplete == "dropped":
        for number, role in absent.items():
            found, broken[number] = broken[number], None
            if found is not None:
                say(
                    f"{read.source.name}: {found.count:,} rows of {num_rows:,} have no {role} and are left out"
                )
    refuse(read.source, broken)
