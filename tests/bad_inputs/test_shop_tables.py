"""Tables to import and tables of a shop: what a column must not hold, by type and by value; what is missing; several faults at once."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from moon_rec.shop import Shop
from tests.bad_inputs.harness import Case, check

IMPORT = "moon_rec shop import tables --data tables --out new"
CHECK = "moon_rec shop check shop"
Damage = Callable[[Path], None]

ITEMS, SEARCHES, IMPRESSIONS = (f"tables/{n}.parquet" for n in ("items", "searches", "impressions"))


def changed(file: str, *columns: pl.Expr, **named: object) -> Damage:
    """Columns of a table computed anew; a plain value is put into every row."""

    def damage(folder: Path) -> None:
        values = {
            name: value if isinstance(value, pl.Expr | pl.Series) else pl.lit(value)
            for name, value in named.items()
        }
        pl.read_parquet(folder / file).with_columns(*columns, **values).write_parquet(folder / file)

    return damage


def at(row: int, column: str, value: object, dtype: pl.DataType | None = None) -> pl.Expr:
    """The column with another value in one row."""
    put = pl.lit(value, dtype) if dtype is not None else pl.lit(value)
    return pl.when(pl.int_range(pl.len()) == row).then(put).otherwise(pl.col(column)).alias(column)


def dropped(file: str, *columns: str) -> Damage:
    def damage(folder: Path) -> None:
        pl.read_parquet(folder / file).drop(columns).write_parquet(folder / file)

    return damage


def written(file: str, text: str) -> Damage:
    """Text in the place of a file."""

    def damage(folder: Path) -> None:
        (folder / file).write_text(text)

    return damage


def in_parts(folder: Path) -> None:
    """The impressions as a folder of files, as Spark writes them."""
    frame = pl.read_parquet(folder / IMPRESSIONS)
    (folder / IMPRESSIONS).unlink()
    (folder / IMPRESSIONS).mkdir()
    frame.write_parquet(folder / IMPRESSIONS / "part-0.parquet")


def made_by_hand(*damages: Damage) -> Damage:
    """A shop's folder whose manifest is written by hand: it records no counts and digests of the tables."""

    def damage(folder: Path) -> None:
        also(*damages)(folder)
        path = folder / "shop/manifest.json"
        said = json.loads(path.read_text())
        for name in ("rows", "sizes", "fingerprints"):
            said.pop(name, None)
        path.write_text(json.dumps(said))

    return damage


def also(*damages: Damage) -> Damage:
    def damage(folder: Path) -> None:
        for one in damages:
            one(folder)

    return damage


def epoch(column: str, in_a_second: int = 1) -> pl.Expr:
    """A time as a number, seconds where nothing is said."""
    return pl.col(column).dt.epoch("us") * in_a_second // 1_000_000


def typed(file: str, column: str, dtype: pl.DataType, *says: str, name: str = "") -> Case:
    """A column of another type."""
    return Case(
        f"tables: {column} of {Path(file).stem} {name or f'as {dtype}'}",
        IMPORT,
        (f"{file}: {Path(file).stem}.{column} row 0: ", *says),
        changed(file, pl.col(column).cast(dtype)),
    )


def valued(file: str, row: int, column: str, value: object, *says: str, dtype=None) -> Case:
    """One value that has no place in its column."""
    return Case(
        f"tables: {column} of {Path(file).stem} is {value!r}",
        IMPORT,
        (Path(file).name, f"{Path(file).stem}.{column} row {row}: ", *says),
        also(
            changed(file, pl.col(column).cast(dtype) if dtype else pl.col(column)),
            changed(file, at(row, column, value, dtype)),
        ),
    )


def stand_in(said: str) -> tuple[str, str]:
    """What is said of a value that a log does not have."""
    needed = said.startswith(("it is", "train"))
    return "nothing can stand in for it: " if needed else "where there is none put ", said


def filled(file: str, column: str, value: object, *says: str, name: str) -> Case:
    """A column of one value of another type."""
    return Case(
        f"tables: {column} of {Path(file).stem} {name}",
        IMPORT,
        (f"{file}: {Path(file).stem}.{column} row 0: ", *says),
        changed(file, **{column: value}),
    )


WHOLE = "wanted whole numbers"
FLOAT, TEXT = pl.Float64(), pl.String()
UNIT = "is a number without a unit"

TYPES = [
    *(
        typed(file, column, TEXT, f"is String, {WHOLE}", "keep the list of which is which")
        for file, column in (
            *((ITEMS, "item_id"), (ITEMS, "spu_id"), (SEARCHES, "search_id")),
            *((SEARCHES, "user_id"), (IMPRESSIONS, "request_id"), (IMPRESSIONS, "user_id")),
            *((IMPRESSIONS, "item_id"), (IMPRESSIONS, "position")),
        )
    ),
    filled(IMPRESSIONS, "search_id", "s1", f"is String, {WHOLE}", "(5,", name="as text"),
    filled(ITEMS, "item_id", True, f"True is Boolean, {WHOLE}", name="as a boolean"),
    filled(ITEMS, "spu_id", datetime(2026, 1, 1), WHOLE, name="as a time"),
    filled(IMPRESSIONS, "user_id", pl.lit(b"u1"), "is Binary", name="as bytes"),
    filled(IMPRESSIONS, "user_id", pl.concat_list(pl.lit(1)), "is List(Int32)", name="as a list"),
    typed(ITEMS, "title", pl.Binary(), "is Binary, wanted text", "write it as text"),
    filled(ITEMS, "title", 5, "5 is Int32, wanted text", name="as a number"),
    filled(ITEMS, "category", 3, "3 is Int32, wanted text", name="as a number"),
    filled(
        ITEMS,
        "category",
        pl.concat_list(pl.lit("all")),
        "is List(String), wanted text",
        name="as levels",
    ),
    filled(ITEMS, "brand", 7, "7 is Int32, wanted text", "(120 rows do)", name="as a number"),
    filled(ITEMS, "description", pl.lit(b"words"), "5 bytes is Binary", name="as bytes"),
    filled(SEARCHES, "query_text", pl.lit(b"red cup"), "is Binary, wanted text", name="as bytes"),
    filled(
        SEARCHES,
        "query_text",
        pl.concat_list(pl.lit("a")),
        "is List(String)",
        name="as a list of words",
    ),
    filled(ITEMS, "price", "12.50", "'12.50' is String, wanted numbers", name="as text"),
    filled(ITEMS, "price", "$9", "without currency or separators", name="with its currency"),
    filled(ITEMS, "price", True, "is Boolean, wanted numbers", name="as a boolean"),
    filled(ITEMS, "image", "photos/1.jpg", "wanted bytes", "not its name", name="as a path"),
    filled(ITEMS, "image", pl.concat_list(pl.lit(255, pl.UInt8)), "wanted bytes", name="as pixels"),
    filled(
        ITEMS,
        "image",
        pl.struct(bytes=pl.lit(b"x"), path=pl.lit("a")),
        "wanted bytes",
        name="as a struct",
    ),
    filled(SEARCHES, "query_image", "photos/1.jpg", "wanted bytes", name="as a path"),
    filled(
        ITEMS,
        "attributes",
        '[{"name": "colour"}]',
        "wanted a list of {name, value}",
        name="as JSON",
    ),
    filled(
        ITEMS, "attributes", pl.struct(colour=pl.lit("red")), "wanted a list of", name="as a struct"
    ),
    filled(
        ITEMS,
        "attributes",
        pl.concat_list(pl.struct(key=pl.lit("colour"), value=pl.lit("red"))),
        "structs {name, value} of texts",
        name="of keys and values",
    ),
    filled(
        ITEMS,
        "attributes",
        pl.concat_list(pl.struct(name=pl.lit("width"), value=pl.lit(3))),
        "wanted a list of",
        name="with numbers as values",
    ),
    typed(ITEMS, "listed_at", TEXT, "is String, wanted a time", "to_datetime"),
    typed(SEARCHES, "time", TEXT, "is String, wanted a time", "to_datetime"),
    typed(IMPRESSIONS, "time", TEXT, "is String, wanted a time", "in UTC or with their zone"),
    typed(IMPRESSIONS, "time", pl.Time(), "is Time, wanted a time"),
    filled(IMPRESSIONS, "time", True, "is Boolean, wanted a time", name="as a boolean"),
    typed(IMPRESSIONS, "clicked", TEXT, "is String, wanted true and false", "or 0 and 1"),
    typed(IMPRESSIONS, "carted", TEXT, "is String, wanted true and false"),
    filled(IMPRESSIONS, "purchased", "no", "'no' is String", name="as a word"),
]

NUMBERS = [
    valued(ITEMS, 3, "item_id", 1.4, "1.4 is no whole number", "as integers", dtype=FLOAT),
    valued(ITEMS, 3, "spu_id", float("nan"), "nan is no whole number", dtype=FLOAT),
    valued(SEARCHES, 5, "user_id", float("inf"), "inf is no whole number", dtype=FLOAT),
    valued(IMPRESSIONS, 7, "request_id", 1.5, "1.5 is no whole number", dtype=FLOAT),
    valued(IMPRESSIONS, 7, "search_id", float("nan"), "null where there is none", dtype=FLOAT),
    valued(IMPRESSIONS, 9, "user_id", 2.0**53, "Float64 of 2^53 or more", "lost", dtype=FLOAT),
    valued(IMPRESSIONS, 9, "item_id", 2.0**24, "Float32 of 2^24", dtype=pl.Float32()),
    valued(IMPRESSIONS, 9, "position", 2**31, "does not fit a whole number of 32 bits"),
    valued(IMPRESSIONS, 9, "position", 0.5, "0.5 is no whole number", dtype=FLOAT),
    valued(IMPRESSIONS, 9, "position", -1, "-1 is negative", "count positions from 0"),
    Case(
        "tables: user ids beyond 64 bits",
        IMPORT,
        (
            "impressions.user_id row 0: ",
            "does not fit a whole number of 64 bits",
            "number them anew",
        ),
        changed(IMPRESSIONS, pl.col("user_id").cast(pl.UInt64) + pl.lit(2**63, pl.UInt64)),
    ),
    Case(
        "tables: user ids merged by Float64 beyond 2^53",
        IMPORT,
        (
            "impressions.user_id row 0: ",
            "lost its last digits",
            "rows do",
            "searches.user_id row 0: ",
        ),
        also(
            *(
                changed(file, (pl.col("user_id").cast(FLOAT) + 2.0**60).alias("user_id"))
                for file in (IMPRESSIONS, SEARCHES)
            )
        ),
    ),
    valued(ITEMS, 2, "price", float("inf"), "inf is not finite", "give the price or null"),
    valued(ITEMS, 2, "price", float("nan"), "nan is not finite"),
    valued(ITEMS, 2, "price", -0.5, "-0.5 is negative"),
    valued(ITEMS, 2, "price", 2**53 + 1, "does not fit a Float64 exactly", dtype=pl.Int64()),
    *(
        valued(
            IMPRESSIONS,
            4,
            "clicked",
            value,
            f"{value} is neither 0 nor 1",
            "clicked_at_least=4",
            dtype=FLOAT,
        )
        for value in (-1.0, 0.05, 2.0, float("nan"))
    ),
    valued(IMPRESSIONS, 4, "carted", 2, "2 is neither 0 nor 1", dtype=pl.Int8()),
    valued(IMPRESSIONS, 4, "purchased", -1, "-1 is neither 0 nor 1", dtype=pl.Int8()),
    Case(
        "tables: clicked holds ratings",
        IMPORT,
        (f"{IMPRESSIONS}: impressions.clicked row 1: 2 is neither 0 nor 1", "clicked_at_least=4"),
        changed(IMPRESSIONS, clicked=pl.int_range(pl.len()) % 5 + 1, purchased=False),
    ),
    Case(
        "tables: a rating that is no number, with a rule",
        f"{IMPORT} --set clicked_at_least=4",
        ("impressions.clicked row 6: nan is not finite",),
        changed(
            IMPRESSIONS,
            clicked=pl.when(pl.int_range(pl.len()) == 6).then(float("nan")).otherwise(5.0),
        ),
    ),
    Case(
        "tables: a rule for labels that are true and false already",
        f"{IMPORT} --set purchased_at_least=1",
        ("impressions.purchased row 0: False is true or false already", "leave out the number"),
    ),
]

TIMES = [
    Case(
        "tables: times as seconds without a unit",
        IMPORT,
        (
            f"{IMPRESSIONS}: impressions.time row 0: 176",
            UNIT,
            'with time_unit = "s" it is 2026-01-01',
        ),
        changed(IMPRESSIONS, time=epoch("time")),
    ),
    Case(
        "tables: times as milliseconds without a unit",
        IMPORT,
        (f"{SEARCHES}: searches.time row 0: 176", UNIT, 'with time_unit = "ms" it is 2026-01-01'),
        changed(SEARCHES, time=epoch("time", 1_000)),
    ),
    Case(
        "tables: listed_at as seconds without a unit",
        IMPORT,
        (
            f"{ITEMS}: items.listed_at row 0: 176",
            UNIT,
            'with time_unit = "s" it is 2026-01-01 00:00:00',
        ),
        changed(ITEMS, listed_at=epoch("listed_at")),
    ),
    Case(
        "tables: days written as a number such as 20260101",
        IMPORT,
        ("impressions.time row 0: 20260101 is a number without a unit", "in no unit is it a time"),
        changed(IMPRESSIONS, time=20260101),
    ),
    Case(
        "tables: seconds read as milliseconds",
        f"{IMPORT} --set time_unit=ms",
        (
            "impressions.time row 0",
            "as ms since 1970 is outside the years 1990 to 2100",
            '"s" it is 2026',
        ),
        changed(IMPRESSIONS, time=epoch("time")),
    ),
    Case(
        "tables: milliseconds read as seconds",
        f"{IMPORT} --set time_unit=s",
        (
            "impressions.time row 0",
            "as s since 1970 is outside the years 1990 to 2100",
            '"ms" it is 2026',
        ),
        changed(IMPRESSIONS, time=epoch("time", 1_000)),
    ),
    Case(
        "tables: seconds with a fraction",
        f"{IMPORT} --set time_unit=s",
        ("impressions.time row 0: 1767", "is no whole number"),
        changed(IMPRESSIONS, time=pl.col("time").dt.epoch("us") / 1e6 + 0.0625),
    ),
    Case(
        "tables: one time of zero among seconds",
        f"{IMPORT} --set time_unit=s",
        (f"{IMPRESSIONS}: impressions.time row 8: 0 as s since 1970 is outside the years",),
        also(changed(IMPRESSIONS, time=epoch("time")), changed(IMPRESSIONS, at(8, "time", 0))),
    ),
    Case(
        "tables: a unit where no time is a number",
        f"{IMPORT} --set time_unit=s",
        ("time_unit = 's' changes nothing", "leave it out"),
    ),
    Case(
        "tables: a unit that is none",
        f"{IMPORT} --set time_unit=weeks",
        ("time_unit", "'weeks'", "'s', 'ms', 'us', 'ns' or 'd'"),
        changed(IMPRESSIONS, time=epoch("time")),
    ),
    Case(
        "tables: seconds that were read as microseconds, in 1970",
        IMPORT,
        ("impressions.time row 0: 1970-01-01", "is outside the years 1990 to 2100", "rows do"),
        changed(IMPRESSIONS, time=epoch("time").cast(pl.Datetime("us"))),
    ),
    Case(
        "tables: a time beyond the calendar",
        IMPORT,
        ("searches.parquet", "time", "outside the years 1 to 9999"),
        changed(
            SEARCHES,
            time=pl.when(pl.int_range(pl.len()) == 2)
            .then(pl.lit(2**61, pl.Int64))
            .otherwise(pl.col("time").cast(pl.Int64) // 1_000)
            .cast(pl.Datetime("ms")),
        ),
    ),
]

MISSING = [
    *(
        Case(
            f"tables: {Path(file).stem} without {column}",
            IMPORT,
            (
                f"{file}: {Path(file).stem}.{column}: column is missing: the table has",
                *stand_in(put),
            ),
            dropped(file, column),
        )
        for file, column, put in (
            (ITEMS, "item_id", "a number for each distinct product"),
            (ITEMS, "spu_id", "item_id, where products have no groups"),
            (ITEMS, "title", '"" where a product is known by its picture alone'),
            (ITEMS, "category", 'one name for all, such as "all"'),
            (ITEMS, "attributes", "an empty list"),
            (ITEMS, "listed_at", "the first time that the item was seen"),
            (SEARCHES, "user_id", "a number for each session"),
            (SEARCHES, "time", "the time of the first impression"),
            (IMPRESSIONS, "request_id", "a number for each distinct user and time"),
            (IMPRESSIONS, "position", "the order in the request, from 0"),
            (IMPRESSIONS, "carted", "false"),
            (IMPRESSIONS, "purchased", "false"),
            (IMPRESSIONS, "time", "train, validation and test are split by it"),
        )
    ),
    Case(
        "tables: a column by another name",
        IMPORT,
        ("items.item_id: column is missing", "add it as Int64 (is it Item_ID?)"),
        lambda folder: (
            pl.read_parquet(folder / ITEMS)
            .rename({"item_id": "Item_ID"})
            .write_parquet(folder / ITEMS)
        ),
    ),
    Case(
        "tables: no impressions",
        IMPORT,
        (f"{IMPRESSIONS}: impressions: is missing: there is no impressions.parquet",),
        lambda folder: (folder / IMPRESSIONS).unlink(),
    ),
    Case(
        "tables: impressions in parts",
        IMPORT,
        (f"{IMPRESSIONS}: impressions: is a folder, wanted a file", "as one Parquet file"),
        in_parts,
    ),
    Case(
        "tables: items that are CSV",
        IMPORT,
        (f"{ITEMS}: items: cannot be read as Parquet", "write it again"),
        written(ITEMS, "item_id,title\n1,cup\n"),
    ),
    Case(
        "tables: items without a row",
        IMPORT,
        (f"{ITEMS}: items: is empty",),
        lambda folder: pl.read_parquet(folder / ITEMS).head(0).write_parquet(folder / ITEMS),
    ),
    *(
        valued(file, 3, column, None, "None is null", *stand_in(put))
        for file, column, put in (
            (ITEMS, "title", '""'),
            (ITEMS, "attributes", "an empty list"),
            (SEARCHES, "user_id", "a number for each session"),
            (IMPRESSIONS, "clicked", "it is what is learnt"),
            (IMPRESSIONS, "position", "the order in the request"),
        )
    ),
]

ROWS = [
    valued(ITEMS, 4, "category", "\u3000 ", "is blank", "a text that can be seen"),
    Case(
        "tables: an item twice",
        IMPORT,
        ("items.item_id row 5: 14 is duplicated: row 2 has it too", "rows do"),
        changed(ITEMS, at(5, "item_id", 14)),
    ),
    Case(
        "tables: an impression of no item",
        IMPORT,
        (f"{IMPRESSIONS}: impressions.item_id row 6: 3 is not in items", "drop the row"),
        changed(IMPRESSIONS, at(6, "item_id", 3)),
    ),
    Case(
        "tables: an attribute without a value",
        IMPORT,
        (
            f"{ITEMS}: items.attributes row 0: ",
            "has a null name or value",
            "leave that attribute out",
        ),
        changed(
            ITEMS, attributes=pl.concat_list(pl.struct(name=pl.lit("a"), value=pl.lit(None, TEXT)))
        ),
    ),
    Case(
        "tables: a search by neither words nor picture",
        IMPORT,
        (f"{SEARCHES}: searches.query_text row 1: ' ' is empty and query_image is null",),
        changed(SEARCHES, at(1, "query_text", " "), at(1, "query_image", None)),
    ),
    Case(
        "tables: searches without a column of words or of pictures",
        IMPORT,
        (
            f"{SEARCHES}: searches.query_text row 0: None is empty and query_image is null (600 rows do)",
        ),
        dropped(SEARCHES, "query_text", "query_image"),
    ),
    Case(
        "tables: pictures that do not decode",
        IMPORT,
        (
            f"{ITEMS}: items.image row 2: 5 bytes of item_id 14: 5 bytes do not decode",
            "and so of 28 (2 rows do)",
        ),
        changed(
            ITEMS,
            image=pl.when(pl.col("item_id").is_in([14, 28]))
            .then(pl.lit(b"photo"))
            .otherwise(pl.col("image")),
        ),
    ),
    Case(
        "tables: a picture of no bytes and one that is cut short",
        IMPORT,
        (
            "2 broken rules: ",
            "items.image row 1: 0 bytes of item_id 7: no bytes",
            "items.image row 3: 40 bytes of item_id 21: 40 bytes do not decode",
        ),
        changed(
            ITEMS,
            image=pl.when(pl.col("item_id") == 7)
            .then(pl.lit(b""))
            .when(pl.col("item_id") == 21)
            .then(pl.col("image").bin.slice(0, 40))
            .otherwise(pl.col("image")),
        ),
    ),
    Case(
        "tables: an event before its item was listed",
        IMPORT,
        (f"{IMPRESSIONS}: impressions.time row ", "is before its item was listed"),
        changed(ITEMS, at(0, "listed_at", datetime(2026, 1, 5))),
    ),
]

SEVERAL = [
    Case(
        "tables: every column of the impressions missing that a log may lack",
        IMPORT,
        (
            "tables: 5 broken rules: (1) items.parquet: items.spu_id: column is missing",
            "impressions.request_id: column is missing",
            "impressions.position: column is missing; add it as Int32; where there is none put the order",
            "impressions.carted: column is missing",
            "(5) impressions.parquet: impressions.purchased: column is missing",
        ),
        also(
            dropped(ITEMS, "spu_id"),
            dropped(IMPRESSIONS, "request_id", "position", "carted", "purchased"),
        ),
    ),
    Case(
        "tables: a missing column, wrong types, broken rows and a broken picture at once",
        IMPORT,
        (
            "tables: 7 broken rules: ",
            "items.listed_at: column is missing",
            "items.price row 2: -1.0 is negative",
            "items.title row 5: None is null",
            "searches.time row 0: ",
            "impressions.user_id row 0: ",
            "impressions.clicked row 9: 3 is neither 0 nor 1",
            "items.image row 6: 1 bytes of item_id 42",
        ),
        also(
            changed(ITEMS, at(2, "price", -1.0), at(5, "title", None), at(6, "image", b"x")),
            dropped(ITEMS, "listed_at"),
            changed(SEARCHES, time=epoch("time")),
            changed(
                IMPRESSIONS,
                pl.col("user_id").cast(TEXT),
                pl.col("clicked").cast(pl.Int8),
            ),
            changed(IMPRESSIONS, at(9, "clicked", 3, pl.Int8()), purchased=False),
        ),
    ),
    Case(
        "tables: several kinds in one column",
        IMPORT,
        (
            "items.item_id row 1: 0.5 is no whole number",
            "items.item_id row 2: 9007199254740992.0 is Float64 of 2^53 or more",
            "items.item_id row 3: None is null",
        ),
        also(
            changed(ITEMS, pl.col("item_id").cast(FLOAT)),
            changed(
                ITEMS,
                item_id=pl.Series([0.0, 0.5, 2.0**53, None] + [7.0 * n for n in range(4, 120)]),
            ),
        ),
    ),
    Case(
        "tables: faults into a file of no known kind",
        f"{IMPORT} --faults faults.xlsx",
        ("--faults faults.xlsx", ".parquet or .csv"),
    ),
    Case(
        "tables: faults into a file that exists",
        f"{IMPORT} --faults tables/items.parquet",
        ("tables/items.parquet exists already and is not replaced: it is not a list of faults",),
    ),
]

FOLDERS = [
    Case(
        "tables: a simulated shop called a log",
        "moon_rec shop import tables --data shop --out new --set is_simulated=false",
        ("is_simulated = false, but shop is of a simulated shop (manifest.json says so)",),
    ),
    Case(
        "tables: true click probabilities called a log",
        f"{IMPORT} --set is_simulated=false",
        ("but tables is of a simulated shop (it has truth/truth.parquet)",),
        lambda folder: _with_truth(folder / "tables"),
    ),
    Case(
        "tables: a click probability of 1.5",
        IMPORT,
        ("tables/truth/truth.parquet: truth.click_probability row 0: 1.5 is outside 0 to 1",),
        lambda folder: _with_truth(folder / "tables", 1.5),
    ),
    Case(
        "tables: a manifest beside them that is no JSON",
        IMPORT,
        ("tables/manifest.json cannot be read as JSON",),
        written("tables/manifest.json", "{"),
    ),
    Case(
        "tables: test before validation",
        f"{IMPORT} --set cut_time=2026-01-08 --set test_time=2026-01-07",
        ("test_time 2026-01-07 00:00:00 is not after cut_time 2026-01-08", "move test_time"),
    ),
    Case(
        "tables: into a folder that exists", IMPORT.replace("new", "shop"), ("shop exists already",)
    ),
]

SHOPS = [
    Case(
        "shop: a text column of another type",
        CHECK,
        ("shop/items.parquet: items.brand: has type Binary, wanted String", "shop import tables"),
        made_by_hand(changed("shop/items.parquet", pl.col("brand").cast(pl.Binary))),
    ),
    Case(
        "shop: opened with ids of another type and a column missing",
        lambda folder: Shop.open(folder / "shop"),
        (
            "2 broken rules: ",
            "items.item_id: has type Float64, wanted Int64",
            "impressions.position: column is missing",
            "the order in the request, from 0",
        ),
        made_by_hand(
            changed("shop/items.parquet", pl.col("item_id").cast(FLOAT)),
            dropped("shop/impressions.parquet", "position"),
        ),
    ),
    Case(
        "shop: broken rows of three tables and a missing column",
        CHECK,
        (
            "shop: 4 broken rules: ",
            "items.parquet: items.attributes: column is missing",
            "items.price row 2: -1.0 is negative",
            "searches.user_id row 4: None is null",
            "impressions.position row 6: -3 is negative",
        ),
        made_by_hand(
            changed("shop/items.parquet", at(2, "price", -1.0)),
            dropped("shop/items.parquet", "attributes"),
            changed("shop/searches.parquet", at(4, "user_id", None)),
            changed("shop/impressions.parquet", at(6, "position", -3, pl.Int32())),
        ),
    ),
    Case(
        "shop: times in 1970",
        CHECK,
        ("impressions.time row 0: 1970-01-01", "outside the years 1990 to 2100", "seconds or"),
        made_by_hand(
            changed("shop/impressions.parquet", time=epoch("time").cast(pl.Datetime("us")))
        ),
    ),
    Case(
        "shop: a blank category",
        CHECK,
        ("shop/items.parquet: items.category row 4: '' is blank",),
        made_by_hand(changed("shop/items.parquet", at(4, "category", ""))),
    ),
]

PICTURED = pl.col("query_image").is_not_null() & pl.col("query_text").is_null()
TOLD = [
    *(
        Case(
            f"tables: {blank!r} for no words",
            IMPORT,
            (
                "tables/searches.parquet: searches.query_text row ",
                "counts as null, no text",
                "ok new",
            ),
            changed(
                SEARCHES, query_text=pl.when(PICTURED).then(pl.lit(blank)).otherwise("query_text")
            ),
            told=True,
        )
        for blank in ("", " ", "\u3000")
    ),
    *(
        Case(
            f"tables: a blank {column}",
            IMPORT,
            (f"{ITEMS}: items.{column} row 3: ' ' is blank", said, "ok new"),
            changed(ITEMS, at(3, column, "  ")),
            told=True,
        )
        for column, said in (
            ("brand", "it counts as null, no text"),
            ("description", "it counts as null, no text"),
            ("title", 'it counts as "", no text'),
        )
    ),
    Case(
        "tables: an attribute with a blank value",
        IMPORT,
        ("items.attributes row 0: ", "has a blank name or value (120 rows do)", "is left out"),
        changed(ITEMS, attributes=pl.concat_list(pl.struct(name=pl.lit("a"), value=pl.lit("")))),
        told=True,
    ),
    Case(
        "tables: without search ids and a search's words under another name",
        IMPORT,
        (
            "tables/searches.parquet: searches.query_text: column is missing; null in every row (is it Query_Text?)",
            "tables/impressions.parquet: impressions.search_id: column is missing; null in every row",
        ),
        also(
            changed(
                SEARCHES,
                pl.col("query_text").alias("Query_Text"),
                query_image=pl.col("query_image").drop_nulls().first(),
            ),
            dropped(SEARCHES, "query_text"),
            dropped(IMPRESSIONS, "search_id"),
        ),
        told=True,
    ),
    Case(
        "tables: times with nanoseconds",
        IMPORT,
        ("impressions.time row 0: ", "has digits below a microsecond", "they are cut off"),
        changed(
            IMPRESSIONS,
            time=(pl.col("time").cast(pl.Datetime("ns")).cast(pl.Int64) + 7).cast(
                pl.Datetime("ns")
            ),
        ),
        told=True,
    ),
    Case(
        "tables: of a simulated shop",
        "moon_rec shop import tables --data shop --out new",
        ("shop/manifest.json: 'planted', simulated: what no setting says is kept", "simulated"),
        told=True,
    ),
    Case(
        "shop: blank words",
        CHECK,
        (
            "shop/searches.parquet: searches.query_text row ",
            "is blank",
            "counts as null",
            "ok shop",
        ),
        made_by_hand(
            changed(
                "shop/searches.parquet",
                query_text=pl.when(PICTURED).then(pl.lit("")).otherwise("query_text"),
            )
        ),
        told=True,
    ),
]

CASES = [*TYPES, *NUMBERS, *TIMES, *MISSING, *ROWS, *SEVERAL, *FOLDERS, *SHOPS, *TOLD]


def _with_truth(tables: Path, probability: float = 0.1) -> None:
    keys = pl.read_parquet(tables / "impressions.parquet", columns=["request_id", "item_id"])
    (tables / "truth").mkdir()
    keys.with_columns(click_probability=probability).write_parquet(tables / "truth/truth.parquet")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shop_tables(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
