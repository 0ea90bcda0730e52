"""Each broken rule: through the command, exit code 2 and one line that names table, column, row and value."""

import json
from datetime import timedelta

import polars as pl
import pytest

from moon_rec.command import run
from moon_rec.shop import Shop, validate_folder
from moon_rec.shop.commands import main

from .conftest import CUT, START, TEST, png, promise_nothing


def set_row(column, row, value):
    """A change of one value of a table."""

    def change(frame):
        values = frame[column].to_list()
        values[row] = value
        return frame.with_columns(pl.Series(column, values, frame.schema[column]))

    return change


def also(*changes):
    def change(frame):
        for one in changes:
            frame = one(frame)
        return frame

    return change


LATE = START + timedelta(days=20)

BROKEN = {
    "missing column": ("items", lambda f: f.drop("title"), ["items.title: column is missing"]),
    "wrong type": (
        "items",
        lambda f: f.with_columns(pl.col("price").cast(pl.String)),
        ["items.price: has type String, wanted Float64"],
    ),
    "wrong time unit": (
        "searches",
        lambda f: f.with_columns(pl.col("time").cast(pl.Datetime("ns"))),
        ["searches.time: has type Datetime(time_unit='ns'"],
    ),
    "duplicated item": (
        "items",
        set_row("item_id", 5, 12),
        ["items.item_id row 5: 12 is duplicated: row 1 has it too"],
    ),
    "duplicated search": (
        "searches",
        set_row("search_id", 7, 100),
        ["searches.search_id row 7: 100 is duplicated: row 0"],
    ),
    "duplicated impression": (
        "impressions",
        lambda f: pl.concat([f, f[3:4]]),
        ["impressions.(request_id, item_id) row 20: '1, 15' is duplicated: row 3"],
    ),
    "event before its item was listed": (
        "items",
        set_row("listed_at", 1, LATE),
        ["impressions.time row 2:", "of item 12", "is before its item was listed"],
    ),
    "picture of an item that does not decode": (
        "items",
        set_row("image", 3, b"no picture at all"),
        ["items.image row 3: 17 bytes of item_id 14", "do not decode"],
    ),
    "picture of a query that is cut short": (
        "searches",
        set_row("query_image", 4, png((9, 9, 9), (40, 40))[:-30]),
        ["searches.query_image row 4:", "of search_id 104"],
    ),
    "empty items": ("items", lambda f: f.head(0), ["items: is empty"]),
    "empty impressions": ("impressions", lambda f: f.head(0), ["impressions: is empty"]),
    "empty searches that are referred to": (
        "searches",
        lambda f: f.head(0),
        ["impressions.search_id row 0: 100 is not in searches (20 rows do)"],
    ),
    "empty users": ("users", lambda f: f.head(0), ["users: is empty"]),
    "null": ("items", set_row("title", 2, None), ["items.title row 2: None is null"]),
    "unknown item": (
        "impressions",
        set_row("item_id", 6, 99),
        ["impressions.item_id row 6: 99 is not in items"],
    ),
    "unknown search": (
        "impressions",
        also(set_row("search_id", 6, 999), set_row("search_id", 7, 999)),
        ["impressions.search_id row 6: 999 is not in searches (2 rows do)"],
    ),
    "unknown user": (
        "users",
        lambda f: f.filter(pl.col("user_id") != 2),
        [".user_id row", "users"],
    ),
    "search after its impressions": (
        "searches",
        set_row("time", 3, START + timedelta(days=3, hours=13)),
        ["impressions.time row 6:", "is before the search"],
    ),
    "another user than searched": (
        "searches",
        set_row("user_id", 3, 2),
        ["impressions.user_id row 6: '1 of search 103, made by 2' is not the user who searched"],
    ),
    "request of two times": (
        "impressions",
        set_row("time", 9, START + timedelta(days=4, hours=15)),
        ["impressions.request_id row 8: 4 has rows of more than one time"],
    ),
    "request of two users": (
        "impressions",
        also(lambda f: f.with_columns(search_id=pl.lit(None, pl.Int64)), set_row("user_id", 9, 1)),
        ["impressions.request_id row 8: 4 has rows of more than one user_id"],
    ),
    "request partly of a search": (
        "impressions",
        set_row("search_id", 9, None),
        ["impressions.request_id row 8: 4 has rows of more than one search_id"],
    ),
    "cart without click": (
        "impressions",
        set_row("carted", 1, True),
        ["impressions.carted row 1: True is without a click"],
    ),
    "purchase without click": (
        "impressions",
        set_row("purchased", 1, True),
        ["impressions.purchased row 1: True is without a click"],
    ),
    "negative position": (
        "impressions",
        set_row("position", 1, -1),
        ["impressions.position row 1: -1 is negative"],
    ),
    "negative price": ("items", set_row("price", 4, -0.5), ["items.price row 4: -0.5 is negative"]),
    "endless price": (
        "items",
        set_row("price", 4, float("inf")),
        ["items.price row 4: inf is not finite"],
    ),
    "price that is no number": (
        "items",
        set_row("price", 4, float("nan")),
        ["items.price row 4: nan is not finite"],
    ),
    "nameless attribute": (
        "items",
        set_row("attributes", 0, [{"name": None, "value": "x"}]),
        ["items.attributes row 0:", "null name or value"],
    ),
    "search without words or picture": (
        "searches",
        set_row("query_text", 0, " "),
        ["searches.query_text row 0: ' ' is empty"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_one_line_and_exit_code_2(make_shop, capsys, case):
    table, change, parts = BROKEN[case]
    path = make_shop(**{table: change})
    assert run(main, ["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    for part in parts:
        assert part in err


def test_a_sound_shop_is_ok(make_shop, capsys):
    path = make_shop()
    assert run(main, ["check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"ok {path}: 6 items, 10 searches, 20 impressions")
    assert err == ""


def test_further_columns_are_fine(make_shop):
    path = make_shop(items=lambda f: f.with_columns(season=pl.lit("may")))
    assert validate_folder(path) == []


def test_no_searches_are_fine_where_none_is_referred_to(make_shop):
    path = make_shop(
        searches=lambda f: f.head(0),
        impressions=lambda f: f.with_columns(search_id=pl.lit(None, pl.Int64)),
    )
    assert validate_folder(path) == []


@pytest.mark.parametrize("table", ["items", "searches", "impressions"])
def test_missing_table(make_shop, capsys, table):
    path = make_shop()
    (path / f"{table}.parquet").unlink()
    assert run(main, ["check", str(path)]) == 2
    err = capsys.readouterr().err
    assert f"{table}: is missing: there is no {table}.parquet" in err and err.count("\n") == 1


def test_a_file_that_is_no_parquet(make_shop, capsys):
    path = make_shop()
    (path / "items.parquet").write_bytes(b"id,title\n1,cup\n")
    assert run(main, ["check", str(path)]) == 2
    err = capsys.readouterr().err
    assert "items: cannot be read as Parquet" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("cut", "test", "message"),
    [
        (CUT, CUT, "test_time: 2025-03-07 00:00:00 is not after cut_time"),
        (START, TEST, "leaves the train period without impressions"),
        (CUT, CUT + timedelta(hours=1), "leaves the validation period without impressions"),
        (
            CUT,
            LATE,
            "leaves the test period without impressions (they run from 2025-03-01 12:00:05",
        ),
    ],
)
def test_empty_periods_are_refused(make_shop, capsys, cut, test, message):
    path = make_shop()
    manifest = path / "manifest.json"
    times = {"cut_time": cut.isoformat(), "test_time": test.isoformat()}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | times))
    assert run(main, ["check", str(path)]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_foreign_folder_is_told_how_to_get_a_manifest(make_shop, capsys):
    path = make_shop()
    (path / "manifest.json").unlink()
    assert run(main, ["check", str(path)]) == 2
    err = capsys.readouterr().err
    assert "shop import tables" in err and '"cut_time"' in err and err.count("\n") == 1


def test_all_problems_are_listed(make_shop, capsys):
    path = make_shop(
        items=also(set_row("title", 2, None), set_row("price", 4, -1.0)),
        impressions=set_row("carted", 1, True),
    )
    assert run(main, ["check", str(path), "--all"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err.count("\n") == 1 and "3 broken rules: (1) items.parquet: items.title row 2" in err
    assert all(line in err for line in out.splitlines())
    assert [problem.column for problem in validate_folder(path)] == ["title", "price", "carted"]


def test_keys_checked_a_part_at_a_time_miss_nothing(make_shop, monkeypatch):
    """Ids below zero and one that stands three times, in tables cut into many residue classes."""
    monkeypatch.setattr("moon_rec.shop.key_parts.ROWS_A_PART", 2)
    path = make_shop()
    pl.DataFrame({"user_id": [-4, 1, 2, 3, -4, -5, 5, 2, -4]}).write_parquet(path / "users.parquet")
    promise_nothing(path)
    (problem,) = validate_folder(path)
    assert (problem.row, problem.value, problem.count) == (4, -4, 3)  # rows 4, 7 and 8 say it again
    assert "row 0 has it too" in problem.rule


def test_open_names_a_missing_column(make_shop):
    path = make_shop(items=lambda f: f.drop("category"))
    with pytest.raises(ValueError, match=r"items\.category: column is missing"):
        Shop.open(path)


def test_truth_belongs_to_the_impressions(make_shop):
    path = make_shop()
    shop = Shop.open(path)
    keys = shop.impressions.select("request_id", "item_id").collect()
    (path / "truth").mkdir()
    file = path / "truth" / "truth.parquet"
    keys.with_columns(click_probability=pl.lit(0.1)).write_parquet(file)
    assert validate_folder(path) == []
    keys[1:].with_columns(click_probability=pl.lit(1.5)).write_parquet(file)
    outside, absent = validate_folder(path)
    assert (outside.column, outside.count) == ("click_probability", 19)
    assert (absent.table, absent.row, absent.value) == ("impressions", 0, "0, 11")
