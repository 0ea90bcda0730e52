"""Anyone's own tables: cast where they fit, split by time, checked before they appear."""

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
