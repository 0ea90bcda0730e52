"""Foreign values become ours unchanged in meaning, or are refused by name: against Python's own arithmetic, type by type."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.errors import TableError
from moon_rec.values import ATTRIBUTES, TIME, Meanings, as_ours, is_blank, reading, whole_ids

NOON = datetime(2025, 3, 1, 12)
SINCE_1970 = 1_740_830_400  # seconds of NOON in UTC


def column(values, dtype=None) -> pl.Series:
    return pl.Series("x", values, dtype, strict=False)


def times(found: pl.Series, where: str, unit=None, **options) -> pl.Series:
    return as_ours(found, TIME, where, Meanings(time_unit=unit), **options)


def labels(found: pl.Series, where: str, at_least=None, **options) -> pl.Series:
    return as_ours(found, pl.Boolean(), where, Meanings(at_least=at_least), **options)


def read(found: pl.Series, wanted: pl.DataType) -> pl.Series:
    """By the reading alone, as a streaming pass reads it."""
    return found.to_frame().select(reading("x", found.dtype, wanted).value).to_series()


@pytest.mark.parametrize(
    "dtype",
    [
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
        *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128),
        *(pl.Float16, pl.Float32, pl.Float64, pl.Decimal(20, 0), pl.Decimal(20, 2)),
    ],
)
def test_ids_of_every_width_that_fit_are_kept(dtype):
    found = whole_ids(column([0, 7, 100], dtype), "f")
    assert found.dtype == pl.Int64 and found.to_list() == [0, 7, 100]


@given(st.lists(st.floats(width=64) | st.integers(-(2**53) + 1, 2**53 - 1).map(float), min_size=1))
def test_float_ids_are_kept_exactly_or_refused(values):
    """The literal rule: whole, and of magnitude below 2^53."""
    sound = all(value.is_integer() and abs(value) < 2**53 for value in values if value == value)
    sound = sound and all(value == value for value in values)
    if sound:
        assert whole_ids(column(values), "f").to_list() == [int(value) for value in values]
    else:
        with pytest.raises(TableError):
            whole_ids(column(values), "f", error=TableError)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_unsigned_ids_are_kept_or_refused(values):
    found = pl.Series("x", values, pl.UInt64)
    if max(values) < 2**63:
        assert whole_ids(found, "f").to_list() == values
    else:
        row = next(row for row, value in enumerate(values) if value >= 2**63)
        with pytest.raises(TableError, match=f"x row {row}: {values[row]} does not fit"):
            whole_ids(found, "f", error=TableError)


@pytest.mark.parametrize(
    ("values", "dtype", "says"),
    [
        ([1, 1.4], None, "row 1: 1.4 is no whole number; write whole numbers as integers"),
        ([1, float("nan")], None, "row 1: nan is no whole number"),
        ([float("inf")], None, "row 0: inf is no whole number"),
        ([1, 2.0**53], None, "row 1: 9007199254740992.0 is Float64 of 2^53 or more"),
        ([-(2.0**53)], None, "is Float64 of 2^53 or more"),
        ([2.0**24], pl.Float32, "row 0: 16777216.0 is Float32 of 2^24 or more"),
        ([2.0**11], pl.Float16, "is Float16 of 2^11 or more"),
        (
            [1, 2**63],
            pl.UInt64,
            "row 1: 9223372036854775808 does not fit a whole number of 64 bits",
        ),
        ([-(2**63) - 1], pl.Int128, "does not fit a whole number of 64 bits"),
        ([Decimal("1.5")], pl.Decimal(10, 2), "row 0: 1.50 is no whole number"),
        ([Decimal(10) ** 25], pl.Decimal(38, 0), "does not fit a whole number of 64 bits"),
        (["12", "x"], None, "row 0: '12' is String, wanted whole numbers (2 rows do)"),
        (["a"], pl.Categorical, "row 0: 'a' is Categorical, wanted whole numbers"),
        ([True], None, "row 0: True is Boolean, wanted whole numbers"),
        ([b"1"], None, "row 0: 1 bytes is Binary, wanted whole numbers"),
        ([NOON], None, "wanted whole numbers"),
        ([[1]], None, "is List(Int64), wanted whole numbers"),
        ([1, None, None], None, "row 1: None is null (2 rows do); give every row a value"),
    ],
)
def test_what_is_no_id_is_refused_by_row_value_and_count(values, dtype, says):
    with pytest.raises(TableError) as error:
        whole_ids(column(values, dtype), "ids.parquet", error=TableError)
    assert str(error.value).startswith("ids.parquet: x row ")
    assert says in str(error.value) and "\n" not in str(error.value)


def test_null_may_be_an_answer():
    assert whole_ids(column([1.0, None]), "f", nullable=True).to_list() == [1, None]
    assert whole_ids(column([None, None]), "f", nullable=True).dtype == pl.Int64
    assert whole_ids(column([None, None], pl.String), "f", nullable=True).dtype == pl.Int64
    assert whole_ids(column([], pl.String), "f").to_list() == []


@pytest.mark.parametrize(
    ("value", "fits"), [(2**31 - 1, True), (2**31, False), (-(2**31) - 1, False)]
)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.Int128])
def test_a_whole_number_of_32_bits(value, fits, dtype):
    found = column([value], dtype)
    assert read(found, pl.Int32()).to_list() == [value if fits else None]
    assert read(found, pl.Int32()).dtype == pl.Int32


@pytest.mark.parametrize(
    "values",
    [
        column([NOON], pl.Datetime("us")),
        column([NOON], pl.Datetime("ms")),
        column([NOON], pl.Datetime("ns")),
        column([NOON.replace(tzinfo=UTC)], pl.Datetime("us", "UTC")),
        column([NOON], pl.Datetime("ms"))
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone("Asia/Tokyo"),
        column([NOON.replace(tzinfo=timezone(timedelta(0)))]),
    ],
)
def test_timestamps_of_every_unit_and_zone_are_one_moment(values):
    found = times(values, "f")
    assert found.dtype == pl.Datetime("us") and found.to_list() == [NOON]


def test_a_date_is_its_midnight():
    assert times(column([date(2025, 3, 1)]), "f").to_list() == [datetime(2025, 3, 1)]


@pytest.mark.parametrize(
    ("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]
)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Float64, pl.Decimal(30, 0)])
def test_numbers_are_times_in_a_unit_that_is_named(unit, factor, dtype):
    values = column([SINCE_1970 * factor], dtype)
    if dtype == pl.Float64 and factor == 10**9:  # over 2^53: a Float64 has lost its last digits
        with pytest.raises(TableError, match="lost its last digits"):
            times(values, "f", unit=unit, error=TableError)
        return
    assert times(values, "f", unit=unit).to_list() == [NOON]
    with pytest.raises(TableError) as error:
        times(values, "f", error=TableError)
    assert "is a number without a unit" in str(error.value)
    assert f'"{unit}" it is 2025-03-01 12:00:00' in str(error.value)
    wrong = "ms" if unit == "s" else "s"
    with pytest.raises(
        TableError, match=f"as {wrong} since 1970 is outside the years 1990 to 2100"
    ):
        times(values, "f", unit=wrong, error=TableError)


def test_days_since_1970():
    assert times(column([20_148]), "f", unit="d").to_list() == [datetime(2025, 3, 1)]


@pytest.mark.parametrize(
    ("values", "unit", "says"),
    [
        (["2025-03-01T12:00:00"], None, "is String, wanted a time; write timestamps"),
        (["2025-03-01T12:00:00"], "s", "is String, wanted a time"),
        ([timedelta(days=1)], None, "wanted a time"),
        ([True], "s", "is Boolean, wanted a time"),
        ([SINCE_1970 + 0.5], "s", "is no whole number"),
        ([float("nan")], "s", "is no whole number"),
        ([20250301], None, "in no unit is it a time from 1990 to 2100: write timestamps"),
        ([0], "s", "row 0: 0 as s since 1970 is outside the years 1990 to 2100"),
        ([2**62], "s", "outside the years 1990 to 2100"),
    ],
)
def test_what_is_no_time_is_refused(values, unit, says):
    with pytest.raises(TableError) as error:
        times(column(values), "f", unit=unit, error=TableError)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_timestamps_beyond_the_calendar_are_refused_and_do_not_wrap():
    far = column([2**62], pl.Int64).cast(pl.Datetime("ms"))
    with pytest.raises(TableError, match="outside the years 1 to 9999"):
        times(far, "f", error=TableError)


def test_digits_below_a_microsecond_are_cut_off_downwards():
    found = column([1_999, -1], pl.Int64).cast(pl.Datetime("ns"))
    assert times(found, "f").cast(pl.Int64).to_list() == [1, -1]
    (told,) = reading("x", found.dtype, pl.Datetime("us")).told
    assert found.to_frame().select(told.bad).to_series().to_list() == [True, True]


def test_a_float_that_is_no_number_is_told_once():
    found = column([float("nan")])
    how = reading("x", found.dtype, TIME, Meanings(time_unit="s"))
    broken = [rule.rule for rule in how.broken if found.to_frame().select(rule.bad).item()]
    assert broken == ["is no whole number"]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["cup", "hat"])])
def test_categories_are_their_texts(dtype):
    assert read(column(["hat", None, "cup"], dtype), pl.String()).to_list() == ["hat", None, "cup"]


@pytest.mark.parametrize(
    "values",
    [
        column([True, False, None]),
        column([1, 0, None], pl.Int8),
        column([1, 0, None], pl.UInt64),
        column([1.0, 0.0, None]),
        column([Decimal(1), Decimal(0), None], pl.Decimal(5, 2)),
    ],
)
def test_labels_of_every_type(values):
    found = labels(values, "f", nullable=True)
    assert found.dtype == pl.Boolean and found.to_list() == [True, False, None]


@pytest.mark.parametrize("value", [-1, 0.05, 2, 5, float("nan"), float("inf")])
def test_other_numbers_are_no_labels_without_a_rule(value):
    with pytest.raises(
        TableError, match=r"f: x row 1: .* is neither 0 nor 1; write true and false"
    ):
        labels(column([1.0, value]), "f", error=TableError)


def test_a_rating_is_a_label_from_a_threshold_on():
    ratings = column([1, 2, 3, 4, 5, None])
    assert labels(ratings, "f", at_least=4, nullable=True).to_list() == [False] * 3 + [True] * 2 + [
        None
    ]
    with pytest.raises(TableError, match="nan is not finite"):
        labels(column([float("nan")]), "f", at_least=4, error=TableError)
    with pytest.raises(TableError, match="is true or false already"):
        labels(column([True]), "f", at_least=1, error=TableError)
    with pytest.raises(TableError, match="'yes' is String, wanted true and false"):
        labels(column(["yes"]), "f", error=TableError)


@given(st.text())
def test_blank_is_what_shows_nothing(text):
    """Against Python's own classes of characters; the few of them that Unicode calls white space without being Z, Cc or Cf are none."""
    import unicodedata

    nothing = all(unicodedata.category(letter) in ("Zs", "Zl", "Zp", "Cc", "Cf") for letter in text)
    found = column([text]).to_frame().select(is_blank(pl.col("x"))).item()
    if (
        found != nothing
    ):  # an unassigned letter may have been assigned in the newer of two Unicode tables
        assert any(unicodedata.category(letter) == "Cn" for letter in text)


@pytest.mark.parametrize(
    "blank", ["", " ", "\t\n", "\u00a0", "\u3000", "\u200b", "\ufeff ", "\u2028"]
)
def test_a_blank_text_is_no_text(blank):
    found = column([blank, f"{blank}cup{blank}", None])
    assert read(found, pl.String()).to_list() == [None, f"{blank}cup{blank}", None]
    title = reading("x", pl.String(), pl.String(), blank="empty")
    assert found.to_frame().select(title.value).to_series().to_list() == ["", found[1], None]


def test_attributes_with_a_blank_part_are_left_out_and_others_kept_in_order():
    both = [{"name": "colour", "value": "red"}, {"name": "size", "value": " "}]
    found = pl.Series("x", [both, [{"name": "", "value": "a"}], [], None], ATTRIBUTES)
    assert read(found, ATTRIBUTES).to_list() == [both[:1], [], [], None]
    other = pl.Series("x", [[{"value": "red", "name": "colour"}]])
    assert read(other, ATTRIBUTES).to_list() == [both[:1]]
    assert read(pl.Series("x", [[], []], pl.List(pl.Null)), ATTRIBUTES).dtype == ATTRIBUTES


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([{"colour": "red"}], ATTRIBUTES),
        (['[{"name": "colour"}]'], ATTRIBUTES),
        ([[{"key": "colour", "value": "red"}]], ATTRIBUTES),
        ([[{"name": "width", "value": 3}]], ATTRIBUTES),
        ([["red"]], ATTRIBUTES),
        ([b"words"], pl.String()),
        ([3], pl.String()),
        ([["words"]], pl.String()),
        (["12.50"], pl.Float64()),
        ([True], pl.Float64()),
        (["photo.jpg"], pl.Binary()),
        ([[255, 216]], pl.Binary()),
        ([{"bytes": b"x", "path": "a.jpg"}], pl.Binary()),
    ],
)
def test_values_of_another_type_are_refused_never_cast(values, wanted):
    found = pl.Series("x", [*values, None])
    how = reading("x", found.dtype, wanted)
    (rule,) = how.broken
    assert f"is {found.dtype}, wanted" in rule.rule and rule.mend_of(values[0])
    assert found.to_frame().select(rule.bad).to_series().to_list() == [True, False]


def test_prices_of_every_number_are_the_nearest_float():
    assert read(column([Decimal("12.50")], pl.Decimal(10, 2)), pl.Float64()).to_list() == [12.5]
    assert read(column([3], pl.UInt8), pl.Float64()).to_list() == [3.0]
    found = column([2**53 + 1], pl.Int64)
    (rule,) = reading("x", found.dtype, pl.Float64()).broken
    assert found.to_frame().select(rule.bad).item()
