"""What a text of a delimited file is: a number, a time, true or false, by the same rules as typed columns.

Notable choices
- "" and the usual words for nothing (`NOTHING`) are null wherever a number, a time or an outcome is wanted; in ids and texts they
  stand for themselves, but "" is null.
- A time is ISO 8601, with or without a zone, or a number in a unit that is named (`time_unit`); digits are never taken for a
  date. Anything else needs `time_format`. Times without a zone are of `time_zone`; an hour that clocks show twice is its first.
- What a further column holds is decided by all of its values: whole numbers, numbers, else text.
- Most files write a column in one way. A batch whose values are all written so is read by it alone (`_at_once`), and one that is not by
  every way that there is; what comes out is the same.
"""

from collections.abc import Callable, Sequence

import polars as pl

from moon_rec.shop.readers.interactions.config import LogColumns, TimeColumns
from moon_rec.values import TIME, Meanings, Reading, Rule, reading, time_of_count

NOTHING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "\\N")
ISO = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%d %H:%M%#z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
)
ZONED = 4
"""So many of them name a zone."""
_DAY = "%Y-%m-%d"
TRUE = ("true", "t", "yes", "y", "1", "1.0")
FALSE = ("false", "f", "no", "n", "0", "0.0")


def value_reading(
    name: str,
    found: pl.DataType,
    wanted: pl.DataType,
    meanings: Meanings | None = None,
    times: TimeColumns | None = None,
) -> Reading:
    """How a column is read: of a text column what it says, of any other by `moon_rec.values.reading`.

    Args:
        times: how times that are texts are written, and their zone.
    """
    meanings, times = meanings or Meanings(), times or LogColumns()
    if wanted == TIME:
        return _time(name, found, meanings, times)
    if found != pl.String or wanted == pl.String:
        return reading(name, found, wanted, meanings)
    text = _text(name)
    if wanted == pl.Boolean and meanings.at_least is None:
        return _outcome(name, text)
    number = text.cast(pl.Float64, strict=False)
    if wanted == pl.Boolean:
        return _checked(name, text, number >= meanings.at_least, number, "is no number", _NUMBER)
    if wanted in (pl.Int64, pl.Int32):
        whole = text.str.replace(r"\.0+$", "").cast(wanted, strict=False)
        checked = _checked(name, text, whole, whole, "is no whole number", _NUMBER)
        return _at_once(name, checked, [pl.col(name).cast(wanted, strict=False)], wanted)
    assert wanted == pl.Float64, f"no rule for {wanted}"
    return _checked(name, text, number, number, "is no number", _NUMBER)


_NUMBER = "write it with a decimal point, without currency or separators of thousands"


def id_text(name: str, found: pl.DataType) -> Reading:
    """A column of ids as texts: whole numbers plainly, texts as they are without white space around them; "" is null."""
    column = pl.col(name)
    if found == pl.String or found in (pl.Categorical, pl.Enum):
        text = column.cast(pl.String).str.strip_chars()
        return Reading(pl.when(text != "").then(text))
    if found.is_integer():
        return Reading(column.cast(pl.String))
    if found.is_numeric():
        whole = reading(name, found, pl.Int64())
        value = None if whole.value is None else whole.value.cast(pl.String)
        return Reading(value, whole.broken, whole.told)
    rule = Rule(
        column,
        column.is_not_null(),
        f"is {found}, wanted an id",
        "name a column of texts or whole numbers",
    )
    return Reading(None, (rule,))


def further_types(source: pl.LazyFrame, names: list[str]) -> dict[str, pl.DataType]:
    """Of text columns: Int64, Float64 or String, whichever all of their values are; one streaming pass."""
    if not names:
        return {}
    wanted = []
    for number, name in enumerate(names):
        text = _text(name)
        wanted.append(text.is_not_null().sum().alias(f"there {number}"))
        for kind in (pl.Int64, pl.Float64):
            fits = text.cast(kind, strict=False).is_not_null().sum()
            wanted.append(fits.alias(f"{kind} {number}"))
        padded = text.str.contains(r"^-?0[0-9]").any()
        wanted.append(padded.alias(f"padded {number}"))
    row = source.select(wanted).collect(engine="streaming").row(0, named=True)
    found: dict[str, pl.DataType] = {}
    for number, name in enumerate(names):
        there = row[f"there {number}"]
        found[name] = pl.String()
        for kind in (pl.Float64, pl.Int64):
            if there and row[f"{kind} {number}"] == there and not row[f"padded {number}"]:
                found[name] = kind()
    return found


def further_value(name: str, kind: pl.DataType) -> pl.Expr:
    """A further column of a delimited file as the type that `further_types` found."""
    return _text(name).cast(kind, strict=False) if kind != pl.String else pl.col(name)


def _text(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    return pl.when(~text.is_in(NOTHING)).then(text)


def _checked(
    name: str, text: pl.Expr, value: pl.Expr, parsed: pl.Expr, rule: str, mend: str
) -> Reading:
    bad = text.is_not_null() & parsed.is_null()
    return Reading(pl.when(~bad).then(value), (Rule(pl.col(name), bad, rule, mend),))


def _outcome(name: str, text: pl.Expr) -> Reading:
    small = text.str.to_lowercase()
    is_true, is_false = small.is_in(TRUE), small.is_in(FALSE)
    mend = "write 0 and 1, or name a threshold of numbers, such as --set clicked_at_least=4"
    bad = Rule(pl.col(name), ~(is_true | is_false), "is neither true nor false", mend)
    found = Reading(pl.when(is_true).then(True).when(is_false).then(False), (bad,))
    column = pl.col(name)
    digit = pl.when(column == "1").then(True).when(column == "0").then(False)
    return _at_once(name, found, [digit], pl.Boolean())


def _time(name: str, found: pl.DataType, meanings: Meanings, times: TimeColumns) -> Reading:
    if isinstance(found, pl.Datetime) and found.time_zone is None and times.time_zone != "UTC":
        local = _in_utc(pl.col(name).cast(TIME), times.time_zone)
        return _checked(name, pl.col(name), local, local, *_NO_HOUR)
    if found != pl.String:
        return reading(name, found, TIME, meanings)
    text = _text(name)
    if times.time_format is None and meanings.time_unit is not None:
        number = text.cast(pl.Float64, strict=False)
        bad = text.is_not_null() & number.is_null()
        mend = "leave time_unit out where times are texts"
        broken = Rule(pl.col(name), bad, "is no number", mend)
        whole = text.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
        if meanings.time_unit in ("s", "d"):  # fractions of seconds, as Python's time() writes them
            whole = pl.coalesce(whole, number.floor().cast(pl.Int64, strict=False))
        counted = time_of_count(whole, meanings.time_unit, rules=[broken])
        plain = time_of_count(pl.col(name).cast(pl.Int64, strict=False), meanings.time_unit)
        return counted if plain.value is None else _at_once(name, counted, [plain.value], TIME)
    forms = [_formatted(text, times)] if times.time_format is not None else _iso(text, times)
    value = pl.coalesce(*forms)
    bad = text.is_not_null() & value.is_null()
    rule = Rule(pl.col(name), bad, "is no time", _mend_of(times))
    return _at_once(name, Reading(pl.when(~bad).then(value), (rule,)), forms, TIME)


def _at_once(name: str, how: Reading, ways: Sequence[pl.Expr], wanted: pl.DataType) -> Reading:
    """The same reading of a text column, faster where one of the ways reads every text of a batch."""
    value = how.value
    assert value is not None

    def read(texts: pl.Series) -> pl.Series:
        batch, nothing = texts.alias(name).to_frame(), texts.null_count()
        for way in ways:
            found = batch.select(way).to_series()
            if found.null_count() == nothing:
                return found
        return batch.select(value).to_series()

    quick = pl.col(name).map_batches(read, return_dtype=wanted, is_elementwise=True)
    return Reading(quick, how.broken, how.told)


_NO_HOUR = ("is an hour that the clocks skip", "write times in UTC, or with their zone")


def _iso(text: pl.Expr, times: TimeColumns) -> list[pl.Expr]:
    """The forms of ISO 8601, each null where a text is not written so."""
    text = text.str.replace(r"(Z| UTC| GMT)$", "+00:00")
    zoned = [
        text.str.to_datetime(
            form, time_unit="us", time_zone="UTC", strict=False
        ).dt.replace_time_zone(None)
        for form in ISO[:ZONED]
    ]
    plain = [text.str.to_datetime(form, time_unit="us", strict=False) for form in ISO[ZONED:]]
    day = text.str.to_date(_DAY, strict=False).cast(TIME)
    return [*zoned, *(_in_utc(local, times.time_zone) for local in (*plain, day))]


def _formatted(text: pl.Expr, times: TimeColumns) -> pl.Expr:
    form = str(times.time_format)
    if "%z" in form or "%#z" in form or "%:z" in form:
        return text.str.to_datetime(
            form, time_unit="us", time_zone="UTC", strict=False
        ).dt.replace_time_zone(None)
    if not any(mark in form for mark in ("%H", "%I", "%T", "%R", "%s", "%X", "%c")):
        return _in_utc(text.str.to_date(form, strict=False).cast(TIME), times.time_zone)
    return _in_utc(text.str.to_datetime(form, time_unit="us", strict=False), times.time_zone)


def _in_utc(local: pl.Expr, zone: str) -> pl.Expr:
    if zone == "UTC":
        return local
    there = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return there.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _mend_of(times: TimeColumns) -> Callable[[object], str]:
    def mend(value: object) -> str:
        text = str(value).strip()
        if text.lstrip("-").replace(".", "", 1).isdigit() and times.time_format is None:
            return _of_number(text)
        if times.time_format is not None:
            return f"{times.table}.time_format is {times.time_format!r}"
        return f'write ISO 8601 (2024-05-20 13:00:00), or say how it is written, such as --set {times.table}.time_format="%d.%m.%Y %H:%M"'

    return mend


def _of_number(text: str) -> str:
    how = reading("time", pl.Int64(), TIME)
    return how.broken[0].mend_of(int(float(text)))
