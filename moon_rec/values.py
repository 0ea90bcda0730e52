"""How a foreign value becomes ours: one set of rules for the importer, the writer, vectors brought and files to score.

A value is taken as it is meant, or refused by name. Nothing is cast into sense: a rating is no click, 1.4 is no id, a number without a unit is no time.

Notable choices
- A rule is an expression over the column as it was found, so one streaming pass finds every broken row of a table larger than memory.
- **Whole numbers** (ids, positions): integers of any width that fit, and floats only where every value is whole and below 2^53 (2^24 in Float32): from
  there on the type cannot tell neighbours apart, so two ids may have become one (IEEE 754: a Float64 has 53 bits of significand).
- **Times**: timestamps of any unit and zone, and dates, as naive UTC microseconds. Digits below a microsecond are cut off, and that is told. Numbers only in
  a unit that is named, and only from 1990 to 2100: in a wrong unit they lie centuries away.
- **Labels**: true and false, or 0 and 1 of any numeric type. Anything else requires a threshold that is named.
- **Texts**: `String`, categories and enums. A blank text is no text (`not_blank`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import polars as pl

from moon_rec.errors import MoonRecError

Unit = Literal["s", "ms", "us", "ns", "d"]
UNITS: tuple[Unit, ...] = get_args(Unit)

TIME = pl.Datetime("us")
ATTRIBUTES = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
LONGEST_VALUE = 60
"""Characters of a value that are shown; pictures and descriptions can be long."""

_EPOCH = datetime(1970, 1, 1)
_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_MICROSECOND = timedelta(microseconds=1)
_IN_A_UNIT = {"d": 86_400_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
_EXACT_BITS = {pl.Float16: 11, pl.Float32: 24, pl.Float64: 53}
_FITTING = {
    32: (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16),
    64: (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32),
}
_BLANK = r"^[\s\p{Cc}\p{Cf}]*$"


@dataclass(frozen=True)
class Rule:
    """A rule that single values break.

    Attributes:
        bad: over the column as found: true where the rule is broken.
        rule: what is wrong, as it stands behind the value: "is not finite".
        mend: how to mend it; or a function of the first broken value that says so.
        value: what of the value is shown, where it is not the value itself (a time beyond Python's calendar).
    """

    bad: pl.Expr
    rule: str
    mend: str | Callable[[object], str]
    value: pl.Expr | None = None

    def mend_of(self, value: object) -> str:
        """How to mend this value."""
        return self.mend if isinstance(self.mend, str) else self.mend(value)


@dataclass(frozen=True)
class Reading:
    """How a column of some type is read.

    Attributes:
        value: the column as ours; null where it is null and where a rule is broken.
        broken: rules whose rows are refused.
        told: rules whose rows are handled as `mend` says.
    """

    value: pl.Expr
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
    is_blank_null: bool = True,
) -> Reading:
    """How a column is read that was found of one type and should have another.

    Args:
        wanted: one of the declared types of `moon_rec.shop.schema`.
        is_blank_null: of texts: whether a blank one is null (a nullable column), else it becomes "".
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
        return _text(column, found, is_blank_null)
    if wanted == pl.Float64:
        return _number(column, found)
    if wanted == pl.Binary:
        mend = "write the bytes of the picture's file (JPEG or PNG), not its name or its pixels"
        return Reading(column) if found == pl.Binary else _refused(column, found, "bytes", mend)
    assert wanted == ATTRIBUTES, f"no rule for {wanted}"
    return _attributes(column, found)


def whole_ids(
    column: pl.Series,
    where: str,
    *,
    nullable: bool = False,
    first_row: int = 0,
    error: type[MoonRecError] = MoonRecError,
) -> pl.Series:
    """Ids as Int64.

    Args:
        where: the file, as the error calls it.
        nullable: whether null is an answer (a search_id outside any search).
        first_row: row of the file at which the column begins.
        error: the type that is raised.

    Raises:
        MoonRecError: an `error` that names column, first broken row, value, count and mend.
    """
    return _read(column, pl.Int64(), where, nullable, first_row, error)


def times(
    column: pl.Series,
    where: str,
    *,
    unit: Unit | None = None,
    nullable: bool = False,
    first_row: int = 0,
    error: type[MoonRecError] = MoonRecError,
) -> pl.Series:
    """Times as naive UTC `Datetime("us")`; whole numbers only with a `unit`, counted from 1970. Arguments and errors as in `whole_ids`."""
    return _read(column, TIME, where, nullable, first_row, error, Meanings(time_unit=unit))


def labels(
    column: pl.Series,
    where: str,
    *,
    at_least: float | None = None,
    nullable: bool = False,
    first_row: int = 0,
    error: type[MoonRecError] = MoonRecError,
) -> pl.Series:
    """Labels as Boolean; numbers other than 0 and 1 only with `at_least`, from which on they are true. Arguments and errors as in `whole_ids`."""
    meanings = Meanings(at_least=at_least)
    return _read(column, pl.Boolean(), where, nullable, first_row, error, meanings)


def is_blank(text: pl.Expr) -> pl.Expr:
    """Whether a text shows nothing: empty, or only white space, control and format characters (Unicode's White_Space, Cc, Cf)."""
    return text.str.contains(_BLANK)


def not_blank(text: pl.Expr) -> pl.Expr:
    """The text, null where it is blank: a blank text is no text."""
    return pl.when(~is_blank(text)).then(text)


def shown(value: object) -> str:
    """A value as an error shows it."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = " ".join((repr(value) if isinstance(value, str) else str(value)).split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _read(
    column: pl.Series,
    wanted: pl.DataType,
    where: str,
    nullable: bool,
    first_row: int,
    error: type[MoonRecError],
    meanings: Meanings | None = None,
) -> pl.Series:
    """A column by its rules, or the first rule that is broken raised."""
    frame = column.to_frame()
    how = reading(column.name, column.dtype, wanted, meanings)
    null = Rule(pl.col(column.name).is_null(), "is null", "give every row a value")
    for rule in how.broken if nullable else (null, *how.broken):
        rows = frame.select(rule.bad.fill_null(False)).to_series().arg_true()
        if rows.len():
            row, others = rows[0], f" ({rows.len():,} rows do)" * (rows.len() > 1)
            of_value = pl.col(column.name) if rule.value is None else rule.value
            value = frame.slice(row, 1).select(of_value).item()
            raise error(
                f"{where}: {column.name} row {first_row + row}: {shown(value)} {rule.rule}{others}; {rule.mend_of(value)}"
            )
    return frame.select(how.value).to_series()


def _refused(column: pl.Expr, found: pl.DataType, wanted: str, mend: str) -> Reading:
    """No value of this type can be read."""
    rule = Rule(column.is_not_null(), f"is {found}, wanted {wanted}", mend)
    return Reading(pl.lit(None), (rule,))


def _with_rules(value: pl.Expr, *rules: Rule, told: tuple[Rule, ...] = ()) -> Reading:
    broken = pl.any_horizontal(rule.bad for rule in rules)
    return Reading(pl.when(~broken).then(value), rules, told)


def _whole(column: pl.Expr, found: pl.DataType, wanted: pl.DataType) -> Reading:
    if not found.is_numeric():
        mend = "give each its whole number, and keep the list of which is which"
        return _refused(column, found, "whole numbers", mend)
    bits = 64 if wanted == pl.Int64 else 32
    value, rules = column.cast(wanted, strict=False), _inexact(column, found)
    if not _always_fits(found, bits):
        wide = column.cast(pl.Float64) if found.is_float() else column.cast(pl.Int128, strict=False)
        outside = (wide < -(2 ** (bits - 1))) | (wide > 2 ** (bits - 1) - 1)
        if found.is_float():
            outside = outside & column.is_finite()
        reason = f"does not fit a whole number of {bits} bits"
        rules.append(Rule(outside, reason, f"number them anew, within {bits} bits"))
    return _with_rules(value, *rules) if rules else Reading(value)


def _always_fits(found: pl.DataType, bits: int) -> bool:
    """Whether every whole number of the type that keeps the other rules fits."""
    if found.is_float():
        return bits == 64
    return found in _FITTING[bits]


def _inexact(column: pl.Expr, found: pl.DataType) -> list[Rule]:
    """Rules of numbers that must be whole: broken by what is not, and by floats that have lost their last digits."""
    mend = "write whole numbers as integers, as they are at their source"
    if found.is_decimal():
        whole = column.cast(pl.Int64, strict=False)
        return [Rule((whole.cast(found, strict=False) != column), "is no whole number", mend)]
    if not found.is_float():
        return []
    bits = _EXACT_BITS[type(found)]
    fraction = ~column.is_finite() | (column != column.floor())
    lost = column.is_finite() & (column.cast(pl.Float64).abs() >= 2**bits)
    reason = f"is {found} of 2^{bits} or more, where it has lost its last digits"
    return [Rule(fraction, "is no whole number", mend), Rule(lost, reason, mend)]


def _time(column: pl.Expr, found: pl.DataType, unit: Unit | None) -> Reading:
    if found == TIME:
        return Reading(column)
    if isinstance(found, pl.Datetime):
        if found.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return _of_count(column.cast(pl.Int64), found.time_unit, (1, 9999))
    if found == pl.Date:
        return _of_count(column.cast(pl.Int64), "d", (1, 9999))
    if not found.is_numeric():
        mend = "write timestamps (polars: str.to_datetime, pandas: to_datetime), in UTC or with their zone"
        return _refused(column, found, "a time", mend)
    if unit is None:
        rule = Rule(column.is_not_null(), "is a number without a unit", _unit_named)
        return Reading(pl.lit(None, TIME), (rule,))
    years = (_FIRST_YEAR, _LAST_YEAR)
    return _of_count(column, unit, years, _inexact(column, found))


def _of_count(
    column: pl.Expr, unit: Unit, years: tuple[int, int], rules: list[Rule] | None = None
) -> Reading:
    """Numbers of a unit since 1970 as a time: from the first of the years to the end of the last."""
    low = (datetime(years[0], 1, 1) - _EPOCH) // _MICROSECOND
    high = (datetime(years[1], 12, 31, 23, 59, 59) - _EPOCH) // _MICROSECOND
    if unit == "ns":
        low, high = max(low * 1_000, -(2**63)), min(high * 1_000, 2**63 - 1)
    else:
        low, high = -(-low // _IN_A_UNIT[unit]), high // _IN_A_UNIT[unit]
    outside = Rule(
        ~column.is_between(low, high),
        f"as {unit} since 1970 is outside the years {years[0]} to {years[1]}",
        _unit_named if years[0] == _FIRST_YEAR else "write the time as it is at its source",
        column,
    )
    whole, told = column.cast(pl.Int64, strict=False), ()
    if unit == "ns":
        reason, done = "has digits below a microsecond", "they are cut off"
        told = (Rule((whole % 1_000 != 0), reason, done),)
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
        if _FIRST_YEAR <= time.year <= _LAST_YEAR:
            made.append(f'"{unit}" it is {time:%Y-%m-%d %H:%M:%S}')
    if not made:
        return f"in no unit is it a time from {_FIRST_YEAR} to {_LAST_YEAR}: write timestamps"
    return f"with time_unit = {', with '.join(made)}: name the unit to `shop import tables`, or write timestamps"


def _label(column: pl.Expr, found: pl.DataType, at_least: float | None) -> Reading:
    if found == pl.Boolean:
        if at_least is None:
            return Reading(column)
        mend = "leave out the number from which on it is true"
        return Reading(column, (Rule(column.is_not_null(), "is true or false already", mend),))
    if not found.is_numeric():
        mend = "write true and false, or 0 and 1"
        return _refused(column, found, "true and false", mend)
    if found.is_decimal():
        column = column.cast(pl.Float64)
    if at_least is None:
        mend = "write true and false, or have `shop import tables` told what counts, such as clicked_at_least=4"
        return _with_rules(
            column == 1, Rule((column != 0) & (column != 1), "is neither 0 nor 1", mend)
        )
    finite = pl.lit(False) if found.is_integer() else ~column.is_finite()
    rule = Rule(finite, "is not finite", "give a number, or leave the row out")
    return _with_rules(column >= at_least, rule)


def _text(column: pl.Expr, found: pl.DataType, is_blank_null: bool) -> Reading:
    if found not in (pl.String, pl.Categorical, pl.Enum):
        mend = "write it as text (String)"
        return _refused(column, found, "text", mend)
    text = column if found == pl.String else column.cast(pl.String)
    counted = "null" if is_blank_null else '""'
    told = Rule(is_blank(text), "is blank", f"it counts as {counted}, no text")
    return Reading(not_blank(text) if is_blank_null else blank_as_empty(text), told=(told,))


def blank_as_empty(text: pl.Expr) -> pl.Expr:
    """The text, "" where it is blank: for a column in which null has no place."""
    return pl.when(is_blank(text)).then(pl.lit("")).otherwise(text)


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
        value, Rule(lost, "does not fit a Float64 exactly", "write a smaller number")
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
    told = Rule(blank, "has a blank name or value", "that attribute is left out")
    return Reading(without_blank_attributes(column), told=(told,))


def without_blank_attributes(column: pl.Expr) -> pl.Expr:
    """Attributes without those whose name or value is blank."""
    return column.list.eval(pl.element().filter(~_blank_attribute()))


def _blank_attribute() -> pl.Expr:
    name, value = (pl.element().struct.field(part) for part in ("name", "value"))
    return (is_blank(name) | is_blank(value)).fill_null(False)
