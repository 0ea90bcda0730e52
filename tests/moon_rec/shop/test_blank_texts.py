"""A blank text is no text, whether a shop was imported or its folder is opened as it came."""

import polars as pl
import pytest

from moon_rec.shop import Shop, validate_folder
from moon_rec.shop.readers import TablesConfig, import_tables

CUTS = TablesConfig.model_validate(
    {"cut_time": "2025-03-07T00:00:00", "test_time": "2025-03-09T00:00:00"}
)
BLANKS = ("", " ", "\t\n", "\u3000", "\u200b")


def with_blanks(make_shop, blank):
    """The hand-made shop with a blank wherever there is no text, and one attribute without a value."""
    none = [{"name": "size", "value": blank}, {"name": "colour", "value": "red"}]
    return make_shop(
        searches=lambda f: f.with_columns(pl.col("query_text").fill_null(blank)),
        items=lambda f: f.with_columns(
            pl.col("brand", "description").fill_null(blank),
            attributes=pl.Series([none] * f.height),
        ),
    )


@pytest.fixture
def without(make_shop, tmp_path):
    """The same shop with null, as it should be read."""
    shop = Shop.open(make_shop())
    frames = {name: shop.table(name).collect() for name in ("items", "searches", "impressions")}
    again = import_tables(shop.path, tmp_path / "without", CUTS)
    return frames, again.digest


@pytest.mark.parametrize("blank", BLANKS)
def test_importing_blanks_gives_the_shop_of_null(make_shop, without, tmp_path, blank, capsys):
    shop = import_tables(with_blanks(make_shop, blank), tmp_path / "new", CUTS)
    said = capsys.readouterr().err
    assert shop.digest == without[1]
    for place, rows in (("query_text", 3), ("brand", 6), ("description", 6)):
        assert f"{place} row" in said and f"is blank ({rows} rows do); it counts as null" in said
    assert "items.attributes row 0:" in said and "that attribute is left out" in said


@pytest.mark.parametrize("blank", BLANKS)
def test_a_folder_opened_as_it_came_reads_the_same(make_shop, without, blank, capsys):
    path = with_blanks(make_shop, blank)
    capsys.readouterr()
    shop = Shop.open(path)
    for name, frame in without[0].items():
        assert shop.table(name).collect().equals(frame)
        assert shop.table(name).collect_schema() == frame.schema
    assert validate_folder(path) == []
    said = capsys.readouterr().err
    assert f"{path}/searches.parquet: searches.query_text row 1:" in said
    assert said.count("it counts as null, no text") == 3


def test_what_is_read_of_a_table_does_not_grow(make_shop):
    """Only the columns asked for are read: no text is searched for blanks where ids are wanted."""
    plan = Shop.open(make_shop()).items.select("item_id").explain()
    assert "PROJECT 1/10 COLUMNS" in plan and "contains" not in plan


def test_a_title_may_be_empty_and_a_category_not(make_shop, capsys):
    path = make_shop(
        items=lambda f: f.with_columns(
            title=pl.Series([" ", "\u3000", "", *f["title"][3:]]),
        )
    )
    assert Shop.open(path).items.collect()["title"].to_list()[:4] == ["", "", "", "thing 3"]
    capsys.readouterr()
    assert validate_folder(path) == []
    assert (
        "items.title row 0: ' ' is blank (2 rows do); it counts as \"\"" in capsys.readouterr().err
    )
    path = make_shop(items=lambda f: f.with_columns(category=pl.lit(" ")))
    (problem,) = validate_folder(path)
    assert (problem.column, problem.row, problem.count) == ("category", 0, 6)
