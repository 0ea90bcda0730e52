"""Anyone's own tables: cast where they fit, split by time, checked before they appear."""

import json
from datetime import timedelta

import polars as pl
import pytest

from moon_rec.errors import ShopError
from moon_rec.shop import Shop
from moon_rec.shop.readers import TablesConfig, import_tables

CUTS = {"cut_time": "2025-03-07T00:00:00", "test_time": "2025-03-09T00:00:00"}


def test_a_shops_own_tables_give_the_same_shop(make_shop, tmp_path):
    shop = Shop.open(make_shop())
    again = import_tables(shop.path, tmp_path / "again", TablesConfig.model_validate(CUTS))
    assert again.digest == shop.digest


def test_types_are_cast_and_nullable_columns_may_be_absent(make_shop, tmp_path):
    path = make_shop(
        items=lambda f: f.drop("brand").with_columns(pl.col("item_id", "spu_id").cast(pl.Int32)),
        impressions=lambda f: f.with_columns(
            pl.col("position").cast(pl.Int64), pl.col("time").cast(pl.Datetime("ms"))
        ),
    )
    (path / "manifest.json").unlink()
    shop = import_tables(path, tmp_path / "cast", TablesConfig.model_validate(CUTS))
    assert shop.items.collect()["brand"].null_count() == 6
    shop.validate()


def test_the_split_is_by_shares_where_no_times_are_given(make_shop, tmp_path):
    config = TablesConfig(cut_share=0.5, test_share=0.7)
    shop = import_tables(make_shop(), tmp_path / "again", config)
    sizes = [
        shop.in_period(shop.impressions, period).collect().height
        for period in ("train", "validation", "test")
    ]
    assert sizes == [8, 4, 8]


@pytest.mark.parametrize(
    ("changes", "config", "message"),
    [
        ({"items": lambda f: f.drop("title")}, CUTS, r"items\.title: column is missing"),
        ({"items": lambda f: f.head(0)}, CUTS, "items: is empty"),
        (
            {"impressions": lambda f: f.with_columns(pl.col("time") - timedelta(days=300))},
            {},
            "is before its item was listed",
        ),
        ({}, {"cut_time": CUTS["cut_time"]}, "give both cut_time and test_time"),
        ({"impressions": lambda f: f.drop("time")}, {}, "time"),
    ],
)
def test_what_breaks_a_rule_does_not_appear(make_shop, tmp_path, changes, config, message):
    path = make_shop(**changes)
    with pytest.raises(ShopError, match=message) as error:
        import_tables(path, tmp_path / "out", TablesConfig.model_validate(config))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_absent_tables_are_named(make_shop, tmp_path):
    path = make_shop()
    (path / "items.parquet").unlink()
    with pytest.raises(ShopError, match=r"there is no items\.parquet"):
        import_tables(path, tmp_path / "out")
    with pytest.raises(ShopError, match="is not a folder"):
        import_tables(tmp_path / "none", tmp_path / "out")


def epochs(unit: str, factor: float):
    """Changes of the times into numbers of a unit."""
    since = {name: pl.col(name).dt.epoch("us").cast(pl.Int64) for name in ("time", "listed_at")}

    def change(name):
        number = since[name] * int(factor) if factor >= 1 else since[name] // round(1 / factor)
        return lambda frame: frame.with_columns(number.alias(name))

    return {"items": change("listed_at"), "searches": change("time"), "impressions": change("time")}


@pytest.mark.parametrize(("unit", "factor"), [("s", 1e-6), ("ms", 1e-3), ("us", 1), ("ns", 1e3)])
def test_whole_number_times_are_read_in_the_unit_that_is_named(make_shop, tmp_path, unit, factor):
    """The hand-made times are whole seconds, so every unit gives the very shop."""
    digest = Shop.open(make_shop()).digest
    path = make_shop(**epochs(unit, factor))
    with pytest.raises(ShopError, match="is a number without a unit") as error:
        import_tables(path, tmp_path / "out", TablesConfig.model_validate(CUTS))
    assert f'"{unit}" it is 2025-03-01' in str(error.value)
    assert str(error.value).count("is a number without a unit") == 3  # each table's, at once
    config = TablesConfig.model_validate(CUTS | {"time_unit": unit})
    assert import_tables(path, tmp_path / "out", config).digest == digest


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Float64, pl.Decimal(4, 1)])
def test_ratings_are_clicks_from_the_threshold_that_is_named(make_shop, tmp_path, dtype):
    clicked = Shop.open(make_shop()).impressions.collect()["clicked"]
    path = make_shop(
        impressions=lambda f: f.with_columns(
            clicked=pl.when("clicked").then(4 + pl.col("position") % 2).otherwise(3).cast(dtype)
        )
    )
    with pytest.raises(ShopError, match=r"clicked row 0: .* is neither 0 nor 1 \(20 rows do\)"):
        import_tables(path, tmp_path / "out", TablesConfig.model_validate(CUTS))
    config = TablesConfig.model_validate(CUTS | {"clicked_at_least": 4})
    shop = import_tables(path, tmp_path / "out", config)
    assert shop.impressions.collect()["clicked"].equals(clicked)


def test_a_simulated_shop_imported_again_is_the_same_and_stays_simulated(
    make_shop, tmp_path, capsys
):
    path = make_shop()
    manifest = path / "manifest.json"
    said = json.loads(manifest.read_text()) | {"is_simulated": True}
    manifest.write_text(json.dumps(said))
    shop = Shop.open(path)
    again = import_tables(path, tmp_path / "again")
    assert again.is_simulated and again.digest == shop.digest
    assert (again.name, again.source) == (shop.name, shop.source)
    assert (again.cut_time, again.test_time) == (shop.cut_time, shop.test_time)
    assert "simulated: what no setting says is kept from there" in capsys.readouterr().err
    named = import_tables(path, tmp_path / "named", TablesConfig(name="mine", cut_share=0.5))
    assert named.is_simulated and named.name == "mine" and named.source == shop.source
    assert named.cut_time != shop.cut_time
    with pytest.raises(ShopError, match="is_simulated = false"):
        import_tables(path, tmp_path / "log", TablesConfig(is_simulated=False))


def test_true_click_probabilities_are_of_a_simulated_shop(make_shop, tmp_path):
    path = make_shop()
    (path / "manifest.json").unlink()
    truth = pl.read_parquet(path / "impressions.parquet", columns=["request_id", "item_id"])
    (path / "truth").mkdir()
    truth.with_columns(click_probability=0.5).write_parquet(path / "truth" / "truth.parquet")
    assert import_tables(path, tmp_path / "new", TablesConfig.model_validate(CUTS)).is_simulated


def test_what_is_written_is_what_was_read_in_many_pieces(make_shop, tmp_path, monkeypatch):
    """Row groups of the source and pieces of the importer of unlike sizes: the shop's bytes do not depend on them."""
    digest = Shop.open(make_shop()).digest
    path = make_shop()
    for table in ("items", "searches", "impressions"):
        frame = pl.read_parquet(path / f"{table}.parquet")
        frame.write_parquet(path / f"{table}.parquet", row_group_size=3)
    monkeypatch.setattr("moon_rec.shop.readers.tables.ROW_GROUP", 7)
    assert import_tables(path, tmp_path / "new", TablesConfig.model_validate(CUTS)).digest == digest
