"""How a foreign value becomes ours: one set of rules for the importer, the writer, vectors brought and files to score.

A value is taken as it is meant, or refused by name. Nothing is cast into sense: a rating is no click, 1.4 is no id, a number without a unit is no time.

Notable choices
- A rule is an expression over the column as it was found, so one streaming pass finds every broken row of a table larger than memory.
- **Whole numbers** (ids, positions): integers of any width that fit, and floats only where every value is whole and below 2^53 (2^24 in Float32): from
  there on the type cannot tell neighbours apart, so two ids may have become one (IEEE 754: a Float64 has 53 bits of significand).
- **Times**: timestamps of any unit and zone, and dates, as naive UTC microseconds. Digits below a microsecond are cut off, and that is told. Numbers only in
  a unit that is named, and only from 1990 to 2100: in a wrong unit they lie centuries away.
- **Labels**: true and false, or 0 and 1 of any numeric type. Anything else requires a threshold that is named.
- **Texts**: `String`, categories and enums. A blank text is no text (`is_blank`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import polars as pl

from moon_rec.errors import MoonRecError
from moon_rec.texts import SEEN

Unit = Literal["s", "ms", "us", "ns", "d"]
Blank = Literal["null", "empty", "refused"]
"""What a blank text counts as: null, "", or a broken rule."""
UNITS: tuple[Unit, ...] = get_args(Unit)

TIME = pl.Datetime("us")
ATTRIBUTES = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
LONGEST_VALUE = 60
"""Characters of a value that are shown; pictures and descriptions can be long."""
FIRST_YEAR, LAST_YEAR = 1990, 2100
"""What is shown and clicked on a screen lies between; a time in a wrong unit does not."""

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_IN_A_UNIT = {"d": 86_400_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
_EXACT_BITS = {pl.Float16: 11, pl.Float32: 24, pl.Float64: 53}
_FITTING = {
    32: (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16),
    64: (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32),
}


@dataclass(frozen=True)
class Rule:
    """A rule that single values break.

    Attributes:
        value: what is shown of a row that breaks it, over the table as it was found.
        bad: true where the rule is broken.
        rule: what is wrong, as it stands behind the value: "is not finite".
        mend: how to mend it; or a function of the first broken value that says so.
    """

    value: pl.Expr
    bad: pl.Expr
    rule: str
    mend: str | Callable[[object], str]

    def mend_of(self, value: object) -> str:
        """How to mend this value."""
        return self.mend if isinstance(self.mend, str) else self.mend(value)


@dataclass(frozen=True)
class Reading:
    """How a column of some type is read.

    Attributes:
        value: the column as ours, null where it is null and where a rule is broken; None where no value of the type can be read.
        broken: rules whose rows are refused.
        told: rules whose rows are handled as `mend` says.
    """

    value: pl.Expr | None
    broken: tuple[Rule, ...] = ()
    told: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Meanings:
    """What the owner of a table says of values that do not say it themselves.

    Attributes:
        time_unit: what whole-number times count, since 1970 in UTC.
        at_least: of a column of labels: from which number on it is true.
    """

    time_unit: Unit | None = None
    at_least: float | None = None


def reading(
    name: str,
    found: pl.DataType,
    wanted: pl.DataType,
    meanings: Meanings | None = None,
    blank: Blank = "null",
) -> Reading:
    """How a column is read that was found of one type and should have another.

    Args:
        wanted: one of the declared types of `moon_rec.shop.schema`.
        blank: what a blank text counts as.
    """
    meanings, column = meanings or Meanings(), pl.col(name)
    if found == pl.Null:
        return Reading(column.cast(wanted))
    if wanted in (pl.Int64, pl.Int32):
        return _whole(column, found, wanted)
    if wanted == TIME:
        return _time(column, found, meanings.time_unit)
    if wanted == pl.Boolean:
        return _label(column, found, meanings.at_least)
    if wanted == pl.String:
        return _text(column, found, blank)
    if wanted == pl.Float64:
        return _number(column, found)
    if wanted == pl.Binary:
        mend = "write the bytes of the picture's file (JPEG or PNG), not its name or its pixels"
        return Reading(column) if found == pl.Binary else _refused(column, found, "bytes", mend)
    assert wanted == ATTRIBUTES, f"no rule for {wanted}"
    return _attributes(column, found)


def as_ours(
    column: pl.Series,
    wanted: pl.DataType,
    where: str,
    meanings: Meanings | None = None,
    *,
    nullable: bool = False,
    error: type[MoonRecError] = MoonRecError,
) -> pl.Series:
    """A column that is in memory, read as `reading` says.

    Args:
        where: the file, as the error calls it.
        nullable: whether null is an answer (a search_id outside any search).
        error: the type that is raised.

    Raises:
        MoonRecError: an `error` that names column, first broken row, value, count and mend.
    """
    how = reading(column.name, column.dtype, wanted, meanings)
    return read_as(column, how, wanted, where, nullable=nullable, error=error)


def read_as(
    column: pl.Series,
    how: Reading,
    wanted: pl.DataType,
    where: str,
    *,
    nullable: bool = False,
    error: type[MoonRecError] = MoonRecError,
) -> pl.Series:
    """A column that is in memory, read in a way that is known; arguments and errors as in `as_ours`."""
    frame, name = column.to_frame(), pl.col(column.name)
    null = Rule(name, name.is_null(), "is null", "give every row a value")
    for rule in how.broken if nullable else (null, *how.broken):
        row, value, count = first_broken(frame, rule)
        if count:
            others = f" ({count:,} rows do)" * (count > 1)
            raise error(
                f"{where}: {column.name} row {row}: {shown(value)} {rule.rule}{others}; {rule.mend_of(value)}"
            )
    if how.value is None:  # all are null
        return pl.Series(column.name, [None] * column.len(), wanted)
    return frame.select(how.value.alias(column.name)).to_series()


def whole_ids(
    column: pl.Series,
    where: str,
    *,
    nullable: bool = False,
    error: type[MoonRecError] = MoonRecError,
) -> pl.Series:
    """Ids as Int64; arguments and errors as in `as_ours`."""
    return as_ours(column, pl.Int64(), where, nullable=nullable, error=error)


def first_broken(frame: pl.DataFrame, rule: Rule) -> tuple[int, object, int]:
    """First row that breaks a rule, its value, and how many rows do; count 0 where none does."""
    rows = frame.select(rule.bad.fill_null(False)).to_series().arg_true()
    if not rows.len():
        return 0, None, 0
    value = frame.slice(rows[0], 1).select(rule.value).item()
    return rows[0], value.to_list() if isinstance(value, pl.Series) else value, rows.len()


def is_blank(text: pl.Expr) -> pl.Expr:
    """Whether a text shows nothing, by the one rule of `moon_rec.texts`; null where it is null."""
    return ~text.str.contains(SEEN)


def shown(value: object) -> str:
    """A value as an error shows it."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = " ".join((repr(value) if isinstance(value, str) else str(value)).split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _refused(column: pl.Expr, found: pl.DataType, wanted: str, mend: str) -> Reading:
    """No value of this type can be read."""
    rule = Rule(column, column.is_not_null(), f"is {found}, wanted {wanted}", mend)
    return Reading(None, (rule,))


def _with_rules(value: pl.Expr, *rules: Rule, told: tuple[Rule, ...] = ()) -> Reading:
    broken = pl.any_horizontal(rule.bad for rule in rules)
    return Reading(pl.when(~broken).then(value), rules, told)


def _whole(column: pl.Expr, found: pl.DataType, wanted: pl.DataType) -> Reading:
    if not found.is_numeric():
        mend = "give each its whole number, the same in every table, and keep the list of which is which"
        return _refused(column, found, "whole numbers", mend)
    bits = 64 if wanted == pl.Int64 else 32
    value, rules = column.cast(wanted, strict=False), _inexact(column, found)
    if not _always_fits(found, bits):
        wide = column.cast(pl.Float64) if found.is_float() else column.cast(pl.Int128, strict=False)
        outside = (wide < -(2 ** (bits - 1))) | (wide > 2 ** (bits - 1) - 1)
        if found.is_float():
            outside = outside & column.is_finite()
        reason = f"does not fit a whole number of {bits} bits"
        rules.append(Rule(column, outside, reason, f"number them anew, within {bits} bits"))
    return _with_rules(value, *rules) if rules else Reading(value)


def _always_fits(found: pl.DataType, bits: int) -> bool:
    """Whether every whole number of the type that keeps the other rules fits."""
    if found.is_float():
        return bits == 64
    return found in _FITTING[bits]


def _inexact(column: pl.Expr, found: pl.DataType) -> list[Rule]:
    """Rules of numbers that must be whole: broken by what is not, and by floats that have lost their last digits."""
    mend = (
        "write whole numbers as integers, as they are at their source, and null where there is none"
    )
    if found.is_decimal():
        whole = column.cast(pl.Int64, strict=False)
        return [
            Rule(column, (whole.cast(found, strict=False) != column), "is no whole number", mend)
        ]
    if not found.is_float():
        return []
    bits = _EXACT_BITS[type(found)]
    fraction = ~column.is_finite() | (column != column.floor())
    lost = column.is_finite() & (column.cast(pl.Float64).abs() >= 2**bits)
    reason = f"is {found} of 2^{bits} or more, where it has lost its last digits"
    return [Rule(column, fraction, "is no whole number", mend), Rule(column, lost, reason, mend)]


def _time(column: pl.Expr, found: pl.DataType, unit: Unit | None) -> Reading:
    if isinstance(found, pl.Datetime):
        if found.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return time_of_count(column.cast(pl.Int64), found.time_unit, (1, 9999))
    if found == pl.Date:
        return time_of_count(column.cast(pl.Int64), "d", (1, 9999))
    if not found.is_numeric():
        mend = "write timestamps (polars: str.to_datetime, pandas: to_datetime), in UTC or with their zone"
        return _refused(column, found, "a time", mend)
    if unit is None:
        rule = Rule(column, column.is_not_null(), "is a number without a unit", _unit_named)
        return Reading(None, (rule,))
    years = (FIRST_YEAR, LAST_YEAR)
    return time_of_count(column, unit, years, _inexact(column, found))


def time_of_count(
    column: pl.Expr,
    unit: Unit,
    years: tuple[int, int] = (FIRST_YEAR, LAST_YEAR),
    rules: list[Rule] | None = None,
) -> Reading:
    """Numbers of a unit since 1970 as a time: from the first of the years to the end of the last."""
    low = (datetime(years[0], 1, 1) - _EPOCH) // _MICROSECOND
    high = (datetime(years[1], 12, 31, 23, 59, 59) - _EPOCH) // _MICROSECOND
    if unit == "ns":
        low, high = max(low * 1_000, -(2**63)), min(high * 1_000, 2**63 - 1)
    else:
        low, high = -(-low // _IN_A_UNIT[unit]), high // _IN_A_UNIT[unit]
    finite = column.cast(pl.Float64).is_finite()  # what is not is told as no whole number
    outside = Rule(
        column,
        ~column.is_between(low, high) & finite,
        f"as {unit} since 1970 is outside the years {years[0]} to {years[1]}",
        _unit_named if years[0] == FIRST_YEAR else "write the time as it is at its source",
    )
    whole, told = column.cast(pl.Int64, strict=False), ()
    if unit == "ns":
        reason, done = "has digits below a microsecond", "they are cut off"
        told = (Rule(column, (whole % 1_000 != 0), reason, done),)
        whole = whole // 1_000
    else:
        whole = whole * _IN_A_UNIT[unit]
    return _with_rules(whole.cast(TIME), *(rules or []), outside, told=told)


def _unit_named(value: object) -> str:
    """Which units make a time of a number, and how to say so."""
    made = []
    for unit in UNITS:
        try:
            step = _MICROSECOND * (_IN_A_UNIT[unit] if unit != "ns" else 1)
            time = _EPOCH + (int(value) // (1_000 if unit == "ns" else 1)) * step  # type: ignore[call-overload]
        except (OverflowError, ValueError, TypeError):
            continue
        if FIRST_YEAR <= time.year <= LAST_YEAR:
            made.append(f'"{unit}" it is {time:%Y-%m-%d %H:%M:%S}')
    if not made:
        return f"in no unit is it a time from {FIRST_YEAR} to {LAST_YEAR}: write timestamps"
    return f"with time_unit = {', with '.join(made)}: name the unit to `shop import tables`, or write timestamps"


def _label(column: pl.Expr, found: pl.DataType, at_least: float | None) -> Reading:
    if found == pl.Boolean:
        if at_least is None:
            return Reading(column)
        mend = "leave out the number from which on it is true"
        return Reading(
            None, (Rule(column, column.is_not_null(), "is true or false already", mend),)
        )
    if not found.is_numeric():
        mend = "write true and false, or 0 and 1"
        return _refused(column, found, "true and false", mend)
    if found.is_decimal():
        column = column.cast(pl.Float64)
    if at_least is None:
        mend = "write true and false (`shop import tables` takes a rule of what counts, such as clicked_at_least=4)"
        return _with_rules(
            column == 1, Rule(column, (column != 0) & (column != 1), "is neither 0 nor 1", mend)
        )
    finite = pl.lit(False) if found.is_integer() else ~column.is_finite()
    rule = Rule(column, finite, "is not finite", "give a number, or leave the row out")
    return _with_rules(column >= at_least, rule)


def _text(column: pl.Expr, found: pl.DataType, blank: Blank) -> Reading:
    if found not in (pl.String, pl.Categorical, pl.Enum):
        return _refused(column, found, "text", "write it as text (String)")
    text = column if found == pl.String else column.cast(pl.String)
    if blank == "refused":
        mend = "give every row a text that can be seen"
        return _with_rules(text, Rule(text, is_blank(text), "is blank", mend))
    if blank == "empty":
        told = Rule(text, is_blank(text) & (text != ""), "is blank", 'it counts as "", no text')
        return Reading(pl.when(is_blank(text)).then(pl.lit("")).otherwise(text), told=(told,))
    told = Rule(text, is_blank(text), "is blank", "it counts as null, no text")
    return Reading(pl.when(~is_blank(text)).then(text), told=(told,))


def _number(column: pl.Expr, found: pl.DataType) -> Reading:
    if not found.is_numeric():
        return _refused(
            column, found, "numbers", "write it as a number, without currency or separators"
        )
    value = column.cast(pl.Float64, strict=False)
    if not found.is_integer():
        return Reading(value)
    lost = column.is_not_null() & ~column.is_between(-(2**53), 2**53)
    return _with_rules(
        value, Rule(column, lost, "does not fit a Float64 exactly", "write a smaller number")
    )


def _attributes(column: pl.Expr, found: pl.DataType) -> Reading:
    """Lists of (name, value); an attribute with a blank name or value is none."""
    mend = "write a list of structs {name, value} of texts, an empty list where there are none"
    inner = getattr(found, "inner", None)
    if inner == pl.Null:
        return Reading(column.cast(ATTRIBUTES))
    fields = dict(inner.to_schema()) if isinstance(inner, pl.Struct) else {}
    is_text = all(kind in (pl.String, pl.Categorical, pl.Enum) for kind in fields.values())
    if not isinstance(found, pl.List) or set(fields) != {"name", "value"} or not is_text:
        return _refused(column, found, "a list of {name, value}", mend)
    if found != ATTRIBUTES:
        named = [pl.element().struct.field(name).cast(pl.String) for name in ("name", "value")]
        column = column.list.eval(pl.struct(named))
    blank = column.list.eval(_blank_attribute()).list.any()
    told = Rule(column, blank, "has a blank name or value", "that attribute is left out")
    kept = column.list.eval(pl.element().filter(~_blank_attribute()))
    return Reading(kept, told=(told,))


def _blank_attribute() -> pl.Expr:
    name, value = (pl.element().struct.field(part) for part in ("name", "value"))
    return (is_blank(name) | is_blank(value)).fill_null(False)
