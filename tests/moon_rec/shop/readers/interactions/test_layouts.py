"""From the files of five layouts to a shop, by command alone; the behaviour that comes out is the one that was put in."""

import polars as pl
import pytest

from moon_rec.shop import Shop
from moon_rec.shop.commands import main
from moon_rec.shop.own_ids import read_own_ids, with_own_ids
from tests.moon_rec.shop.readers.interactions import layouts


@pytest.fixture
def imported(tmp_path, monkeypatch, capsys):
    """A function from a layout's name to the shop and what was said."""

    def run(name, *further):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        words = layouts.LAYOUTS[name](folder)
        main(["import", "interactions", *words, "--out", "shop", *further])
        printed = capsys.readouterr()
        return Shop.open(folder / "shop"), printed.out + printed.err

    return run


def outcomes(rows):
    """(user, item, time, clicked), sorted."""
    return rows.select("user_id", "item_id", "time", "clicked").sort(pl.all())


def expected(user, item):
    """The invented behaviour, with users and items as the functions write them."""
    rows = layouts.behaviour()
    return pl.DataFrame(
        {
            "user_id": [user(value) for value in rows["user"]],
            "item_id": [item(value) for value in rows["item"]],
            "time": rows["time"].cast(pl.Datetime("us")),
            "clicked": rows["clicked"],
        }
    ).sort(pl.all())


def test_positives_alone_get_non_clicks_that_are_said_everywhere(imported):
    shop, said = imported("amazon")
    rows = shop.impressions.collect()
    clicked = outcomes(rows.filter("clicked"))
    assert clicked.equals(
        expected(int, lambda item: item + 1).filter("clicked").unique().sort(pl.all())
    )
    assert shop.non_clicks is not None and shop.non_clicks.number == 4
    assert "non-clicks sampled (4 a positive among items listed by then" in said
    assert "what the sampling gives away" in said and "every row is a positive" in said
    assert (rows["position"] == 0).all()
    others = rows.filter(~pl.col("clicked"))
    assert 0 < others.height <= 4 * clicked.height
    assert not (shop.path / "ids").exists(), "whole numbers are kept as they are"


def test_recbole_atomic_files(imported):
    shop, _ = imported("recbole")
    assert outcomes(shop.impressions.collect()).equals(expected(int, int))
    items = shop.items.collect()
    assert items["title"].to_list() == [f'"Film {i}' for i in items["item_id"]]
    assert items["genre:token_seq"].to_list() == ["Drama Comedy"] * layouts.NUM_ITEMS


def test_lists_of_candidates(imported):
    shop, _ = imported("eb_nerd")
    rows = shop.impressions.collect()
    assert outcomes(rows).equals(expected(int, lambda item: item + 9_000_000))
    behaviour = layouts.behaviour()
    assert rows["request_id"].to_list() == behaviour["page"].to_list()
    assert rows["position"].to_list() == behaviour["place"].to_list()
    assert (rows["device_type"] == 2).all()
    assert set(shop.items.collect()["category"]) == {"sport", "krimi"}


def test_pictures_by_path_and_ids_with_points(imported):
    shop, said = imported("furniture")
    rows = with_own_ids(shop.impressions.collect(), shop.path)
    wanted = expected(lambda user: f"k{user:03d}", layouts.own_id)
    assert outcomes(rows).equals(
        wanted.with_columns(pl.col("time").dt.truncate("1m")).sort(pl.all())
    )
    items = with_own_ids(shop.items.collect(), shop.path).sort("item_id")
    there = dict(items.select("item_id", "image").iter_rows())
    assert there[layouts.own_id(3)] == layouts.picture(3)
    assert there[layouts.own_id(5)] is None and there[layouts.own_id(7)] is None
    assert "22 taken, 1 missing, 1 broken" in said
    assert items["category"].unique().to_list() == ["chairs/wood"]
    assert items["price"].to_list() == [19.9 + i for i in range(layouts.NUM_ITEMS)]
    mapping = read_own_ids(shop.path, "item")
    assert mapping is not None and mapping["own"].to_list() == [
        layouts.own_id(i) for i in range(24)
    ]


def test_candidates_and_clicks_in_one_text_without_a_header(imported):
    shop, _ = imported("mind")
    rows = with_own_ids(shop.impressions.collect(), shop.path)
    wanted = expected(lambda user: f"U{user}", lambda item: f"N{item}")
    assert outcomes(rows).equals(wanted)
    assert rows["request_id"].to_list() == layouts.behaviour()["page"].to_list()
    titles = with_own_ids(shop.items.collect(), shop.path)
    assert dict(titles.select("item_id", "title").iter_rows())["N4"] == '"Title 4'


@pytest.mark.parametrize("name", list(layouts.LAYOUTS))
def test_a_draft_that_is_given_back_makes_the_same_shop(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = layouts.LAYOUTS[name](tmp_path)
    main(["import", "interactions", *words, "--out", "one"])
    before = sorted(path.name for path in tmp_path.iterdir())
    main(["import", "interactions", *words, "--guess"])
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "a dry run writes nothing"
    assert "As it is, this would be refused" not in capsys.readouterr().out
    main(["import", "interactions", *words, "--guess", "map.toml"])
    kept = [word for word in words if "=" not in word and word != "--set"]
    further = [f"log.{n}" for n in ("time_format", "names", "keep")] + ["items.names", "clicked_at"]
    for setting in [word for word in words if "=" in word]:
        if setting.startswith(tuple(further)):
            kept += ["--set", setting]
    main(["import", "interactions", *kept, "--map", "map.toml", "--out", "two"])
    assert Shop.open("one").digest == Shop.open("two").digest


def test_a_log_as_csv_is_the_log_as_tables(shop, tmp_path, monkeypatch):
    """Whole-number ids, written as texts of a CSV, stay what they are: every table that a ranker reads is the same."""
    names = [
        "request_id",
        "user_id",
        "item_id",
        "time",
        "position",
        "clicked",
        "carted",
        "purchased",
    ]
    tables = tmp_path / "tables"
    tables.mkdir()
    rows = shop.impressions.select(*names, search_id=pl.lit(None, pl.Int64)).collect()
    items = shop.items.drop("image").collect()
    rows.write_parquet(tables / "impressions.parquet")
    items.write_parquet(tables / "items.parquet")
    rows.drop("search_id").write_csv(tmp_path / "log.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6f")
    items.drop("attributes").write_csv(
        tmp_path / "items.csv", datetime_format="%Y-%m-%d %H:%M:%S%.6fZ", float_precision=17
    )
    monkeypatch.chdir(tmp_path)
    main(["import", "tables", "--data", "tables", "--out", "one"])
    main(["import", "interactions", "log.csv", "--items", "items.csv", "--out", "two"])
    one, two = Shop.open("one"), Shop.open("two")
    assert (one.cut_time, one.test_time) == (two.cut_time, two.test_time)
    assert one.impressions.collect().equals(
        two.impressions.select(one.impressions.collect_schema().names()).collect()
    )
    kept = ["item_id", "spu_id", "title", "category", "brand", "description", "price", "listed_at"]
    assert one.items.select(kept).collect().equals(two.items.select(kept).collect())
