"""Behaviour that was no impression: what a table of events must not hold, and what is handled and said."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.bad_inputs.harness import Case, check

IMPORT = "moon_rec shop import tables --data tables --out new"
EVENTS = "tables/events.parquet"


def with_events(*changes: pl.Expr | str, row: int | None = None, **named: object) -> Callable:
    """Twenty events among the tables to import: good ones, with columns changed, all rows or one; a text drops that column."""

    def damage(folder: Path) -> None:
        log = pl.read_parquet(folder / "tables/impressions.parquet").sort("time", "item_id")
        keys = ["user_id", "item_id", "time"]
        frame = log.filter(~pl.col("clicked")).head(20).select(
            *keys, clicked=pl.lit(True), carted=pl.lit(False), purchased=pl.lit(False)
        )  # fmt: skip
        for name, value in named.items():
            new = value if isinstance(value, pl.Expr) else pl.lit(value)
            if row is not None:
                new = pl.when(pl.int_range(pl.len()) == row).then(new).otherwise(pl.col(name))
            frame = frame.with_columns(new.alias(name))
        for change in changes:
            frame = frame.drop(change) if isinstance(change, str) else frame.with_columns(change)
        frame.write_parquet(folder / EVENTS)

    return damage


def twice(folder: Path) -> None:
    with_events()(folder)
    frame = pl.read_parquet(folder / EVENTS)
    pl.concat([frame, frame[3:5]]).write_parquet(folder / EVENTS)


def again(folder: Path) -> None:
    """An act that an impression has, too."""
    log = pl.read_parquet(folder / "tables/impressions.parquet").filter("clicked")
    keys = ["user_id", "item_id", "time"]
    log.head(3).select(*keys, "clicked", "carted", "purchased").write_parquet(folder / EVENTS)


def emptied(folder: Path) -> None:
    with_events()(folder)
    pl.read_parquet(folder / EVENTS).clear().write_parquet(folder / EVENTS)


def cut_short(folder: Path) -> None:
    with_events()(folder)
    data = (folder / EVENTS).read_bytes()
    (folder / EVENTS).write_bytes(data[: len(data) // 2])


def in_parts(folder: Path) -> None:
    (folder / EVENTS).mkdir()


def row(name: str, column: str, number: int, says: tuple[str, ...], **change: object) -> Case:
    """One row of the table with another value."""
    places = ("events.parquet", f"events.{column} row {number}: ")
    return Case(f"events: {name}", IMPORT, (*places, *says), with_events(row=number, **change))


CASES = [
    row("an item that is not there", "item_id", 4, ("99999 is not in items", "add it to items"), item_id=99_999),
    row("before the item was listed", "time", 0, ("is before its item was listed", "listed_at"), time=pl.datetime(2025, 1, 1)),
    row("outside the years", "time", 2, ("is outside the years 1990 to 2100",), time=pl.datetime(1970, 1, 2)),
    row("no time", "time", 7, ("is null", "give every row a value"), time=None),
    row("no user", "user_id", 1, ("is null", "leave the table out"), user_id=None),
    row("nothing was done", "clicked", 5, ("nothing was done", "drop the row"), clicked=False),
    row("a purchase without a click", "purchased", 6, ("is without a click", "set clicked to true"), clicked=False, purchased=True),
    row("a cart without a click", "carted", 6, ("is without a click", "set clicked to true"), clicked=False, carted=True),
    Case(
        "events: an act twice",
        IMPORT,
        ("events.parquet", "row 20: ", "is duplicated: row 3 has it too", "(2 rows do)", "make it unique"),
        twice,
    ),
    Case("events: no column of items", IMPORT, ("events.item_id: column is missing", "leave the table out"), with_events("item_id")),
    Case("events: no column of clicks", IMPORT, ("events.clicked: column is missing", "put true"), with_events("clicked")),
    Case("events: a kind in words", IMPORT, ("events.clicked row 0: 'view' is String",), with_events(clicked="view")),
    Case("events: users as text", IMPORT, ("events.user_id row 0: ", "is String"), with_events(pl.col("user_id").cast(pl.String))),
    Case("events: times without a unit", IMPORT, ("events.time row 0: ", "is a number without a unit"), with_events(pl.col("time").dt.epoch("s"))),
    Case("events: a number that is no label", IMPORT, ("events.purchased row 0: 7",), with_events(purchased=7)),
    Case("events: no rows", IMPORT, ("events.parquet", "is empty", "remove it"), emptied),
    Case("events: half a file", IMPORT, ("events.parquet", "cannot be read"), cut_short),
    Case("events: a folder", IMPORT, ("events.parquet", "is a folder, wanted a file"), in_parts),
    Case("events: an impression's click again", IMPORT, ("events.time row 0: ", "(3 rows do)", "histories count it once"), again, told=True),
]  # fmt: skip


LOG = "moon_rec shop import interactions log.csv --out new"
BESIDE = f"{LOG} --events acts.csv"


def files(acts: str = "", log: str = "") -> Callable[[Path], None]:
    """A log of pages of two items, and events beside it; rows of either are added."""

    def damage(folder: Path) -> None:
        rows = [
            f"u{page % 4},i{(page + place * 3) % 7},2024-03-{1 + page // 9:02d} 0{page % 9}:00:00,{int(place == page % 2)},shown"
            for page in range(60)
            for place in range(2)
        ]
        header = "user,item,time,clicked,what"
        (folder / "log.csv").write_text("\n".join([header, *rows]) + "\n" + log)
        good = "user,item,time,event_type\nu1,i2,2024-03-01 00:30:00,view\n"
        (folder / "acts.csv").write_text(acts if acts.startswith(("user", "who")) else good + acts)

    return damage


CASES += [
    Case("events: a kind that nobody named", BESIDE, ("acts.csv: event_type row 2: 'wishlist' is a kind without a meaning", "(2 rows do)", "events.left_out_kinds"),
         files("u1,i1,2024-03-02 00:00:00,cart\nu1,i2,2024-03-02 00:00:00,wishlist\nu1,i3,2024-03-02 00:00:00,wishlist\n")),
    Case("events: no kind in a row", BESIDE, ("acts.csv: event_type row 1: ", "is a kind without a meaning"), files("u1,i1,2024-03-02 00:00:00,\n")),
    Case("events: a time that is none", BESIDE, ("acts.csv: time row 1: 'noon' is no time", "events.time_format"), files("u1,i1,noon,view\n")),
    Case("events: a row without an item", BESIDE, ("acts.csv: item row 1: ", "is empty", "incomplete=dropped"), files("u1,,2024-03-02 00:00:00,view\n")),
    Case("events: no column is the user", BESIDE, ("acts.csv: no column is the user", "--set events.user=NAME", "who, item, time"), files("who,item,time\nu1,i2,2024-03-01 00:30:00\n")),
    Case("events: a column that is not there", f"{BESIDE} --set events.item=sku", ("acts.csv has no column 'sku' (events.item)",), files()),
    Case("events: no such file", f"{LOG} --events nowhere.csv", ("nowhere.csv",), files()),
    Case("events: a header alone", BESIDE, ("acts.csv", "no rows"), files("user,item,time,event_type\n")),
    Case("events: settings without a table", f"{LOG} --set events.item=item", ("events.item = 'item' changes nothing", "--events"), files()),
    Case("events: kinds without a column", f'{BESIDE} --set events.carted_kinds=["cart"]', ("events.carted_kinds = ('cart',) changes nothing", "events.kind"), files("user,item,time\nu1,i2,2024-03-01 00:30:00\n")),
    Case("events: kinds of a log without their column", f'{LOG} --set log.event_kinds=["view"]', ("log.event_kinds = ('view',) changes nothing without log.kind",), files()),
    Case("events: a column of kinds without events", f"{LOG} --set log.kind=what", ("log.kind = 'what' changes nothing without log.event_kinds",), files()),
    Case("events: a kind that no row has", f'{LOG} --set log.kind=what --set log.event_kinds=["veiw"]', ("what is nowhere 'veiw' (log.event_kinds)", "shown, view"), files(log="u1,i1,2024-03-02 00:00:00,0,view\n")),
    Case("events: every row of the log", f'{LOG} --set log.kind=what --set log.event_kinds=["shown"]', ("no row is an impression", "leave out those that are positives"), files()),
    Case("events: half of the log's kinds unknown", f'{LOG} --set log.kind=what --set log.event_kinds=["like"]', ("log.csv: what row 120: 'like' is a kind without a meaning", "events.clicked_kinds"), files(log="u1,i1,2024-03-02 00:00:00,0,like\n")),
    Case("events: kinds left out", f'{BESIDE} --set events.left_out_kinds=["wishlist"]', ("acts.csv: 1 rows are of a kind that is left out (wishlist)",), files("u1,i2,2024-03-02 00:00:00,wishlist\n"), told=True),
    Case("events: an act in three rows", BESIDE, ("1 events repeat one of the same user, item and time",), files("u1,i2,2024-03-01 00:30:00,purchase\n"), told=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_events(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
