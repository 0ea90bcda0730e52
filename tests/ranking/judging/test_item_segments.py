"""Products by brand, category level and price band: every product in one segment of each column, the largest values first, the rest together."""

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import RankingError
from ranking.judging.item_segments import MOST_VALUES, check_segment, item_segments
from tests.ranking.conftest import draw_frames, write_shop

BRANDS = [f"brand {letter}" for letter in "abcdefghij"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """120 products: ten brands of unlike sizes and some without, two levels of category, prices with some missing."""
    frames, _ = draw_frames()
    items = frames["items"]
    place = np.arange(items.height)
    brands = [BRANDS[int(np.sqrt(one) % 10)] if one % 7 else None for one in place]
    frames["items"] = items.with_columns(
        brand=pl.Series(brands, dtype=pl.String),
        category=pl.Series([f"Home/{'Kitchen' if one % 3 else 'Bath'}/deep {one % 5}" for one in place]),
        price=pl.Series([None if one % 11 == 0 else float(one) for one in place], dtype=pl.Float64),
    )  # fmt: skip
    return write_shop(frames, tmp_path_factory.mktemp("segments") / "shop")


def sizes(shop, column):
    return {one.name: len(one.items) for one in item_segments(shop, [column])}


@pytest.mark.parametrize("column", ["brand", "price", "category", "category:1", "category:2"])
def test_every_product_is_in_one_segment(shop, column):
    found = item_segments(shop, [column])
    every = np.sort(np.concatenate([one.items for one in found]))
    np.testing.assert_array_equal(every, np.sort(shop.items.collect()["item_id"].to_numpy()))
    assert len({one.key for one in found}) == len(found) <= MOST_VALUES + 2
    assert all(set(one.key) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for one in found)


def test_the_largest_values_stand_alone_and_the_rest_together(shop):
    counts = shop.items.collect()["brand"].drop_nulls().value_counts().sort("count", "brand", descending=[True, False])  # fmt: skip
    wanted = {f"brand = {name}": count for name, count in counts.head(MOST_VALUES).iter_rows()}
    wanted["brand = other"] = int(counts["count"].tail(counts.height - MOST_VALUES).sum())
    wanted["brand = unknown"] = shop.items.collect()["brand"].null_count()
    assert sizes(shop, "brand") == wanted and wanted["brand = other"] > 0


def test_levels_of_a_category(shop):
    assert sizes(shop, "category:1") == {"category:1 = Home": 120}
    assert sizes(shop, "category:2") == {"category:2 = Home/Kitchen": 80, "category:2 = Home/Bath": 40}  # fmt: skip


def test_prices_are_cut_at_quartiles(shop):
    prices = shop.items.collect()["price"].drop_nulls().to_numpy()
    edges = np.quantile(prices, [0.25, 0.5, 0.75])
    found = sizes(shop, "price")
    assert found["price = unknown"] == 11
    assert found[f"price = below {edges[0]:g}"] == (prices < edges[0]).sum()
    assert found[f"price = {edges[2]:g} and more"] == (prices >= edges[2]).sum()


@pytest.mark.parametrize("column", ["colour", "category:0", "category:10", "", "brand:1"])
def test_what_products_are_not_cut_by_is_refused(column):
    with pytest.raises(ValueError, match="wanted brand, price, category"):
        check_segment(column)


def test_a_column_without_a_value_is_refused_by_name(shop, tmp_path):
    frames, _ = draw_frames()
    frames["items"] = frames["items"].with_columns(brand=pl.lit(None, pl.String))
    bare = write_shop(frames, tmp_path / "shop")
    with pytest.raises(RankingError, match=r"no product of shop .* has one; leave it out"):
        item_segments(bare, ["brand"])
