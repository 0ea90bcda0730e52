"""BenchmarkSet: what it refuses, how it is sampled, and what a shop's period makes of it."""

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import ShopError
from moon_rec.shop import Shop, ShopWriter
from representation.sets.shop_set import shop_benchmark_set


def test_absent_columns_become_null_in_the_types_of_a_shop(make_set):
    bench = make_set()
    assert bench.gallery["description"].null_count() == bench.gallery.height
    assert bench.gallery.schema["attributes"] == pl.List(
        pl.Struct({"name": pl.String, "value": pl.String})
    )
    assert bench.queries["text"]["query_image"].null_count() == 30
    assert list(bench.queries) == ["text", "image", "product"]
    assert bench.labelled.tolist() == list(range(60))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: {"gallery": one.gallery.reverse()}, "must rise"),
        (lambda one: {"gallery": one.gallery.clear()}, "must rise"),
        (lambda one: {"gallery": one.gallery.drop("title")}, "no column 'title'"),
        (lambda one: {"gallery": one.gallery.with_columns(price=pl.lit("cheap"))}, "another type"),
        (lambda one: {"queries": {"voice": one.queries["text"]}}, "query type 'voice'"),
        (
            lambda one: {"queries": {"text": one.queries["text"].with_columns(query_id=pl.lit(1))}},
            "not unique",
        ),
        (lambda one: {"relevant": {**one.relevant, "text": [[0]]}}, "1 entries for 30 queries"),
        (lambda one: {"relevant": {"text": one.relevant["text"]}}, "none entries"),
        (lambda one: {"relevant": {**one.relevant, "image": [[60]] * 30}}, "outside 0..59"),
        (lambda one: {"excluded": {"image": [[-1]] * 30}}, "outside 0..59"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(make_set, change, words):
    with pytest.raises(ShopError, match=words) as error:
        make_set(**change(make_set()))
    assert "\n" not in str(error.value)


def test_the_digest_names_the_contents(make_set):
    assert make_set().digest == make_set().digest
    one = make_set()
    others = [
        make_set(gallery=one.gallery.with_columns(title=pl.lit("x"))),
        make_set(relevant={**one.relevant, "text": one.relevant["product"]}),
        make_set(labelled=np.arange(3)),
        make_set(excluded={}),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5


@pytest.fixture
def twin_shop(little_shop, tmp_path):
    """The little shop, but every second product has the picture of the one before it, and every fifth its title."""
    items = little_shop.items.sort("item_id").collect()
    number = pl.int_range(pl.len())
    items = items.with_columns(
        image=pl.when(number % 2 == 1).then(pl.col("image").shift(1)).otherwise("image"),
        title=pl.when(number % 5 == 4).then(pl.col("title").shift(1)).otherwise("title"),
    )
    about = {"name": "twins", "source": "made by a test", "is_simulated": True}
    times = {"cut_time": little_shop.cut_time, "test_time": little_shop.test_time}
    with ShopWriter(tmp_path / "twins", **about, **times) as writer:
        writer.write("items", items)
        for name in ("searches", "impressions"):
            writer.write(name, little_shop.table(name).collect())
    return Shop.open(tmp_path / "twins")


@pytest.mark.parametrize("which", ["little_shop", "twin_shop"])
def test_product_queries_of_a_shop_are_those_of_a_literal_loop(which, request):
    little_shop = request.getfixturevalue(which)
    bench = shop_benchmark_set(little_shop)
    items = little_shop.items.collect().rows_by_key("item_id", named=True, unique=True)
    ids = bench.gallery["item_id"].to_list()
    log = (
        little_shop.impressions.filter(pl.col("time") >= little_shop.test_time).collect().to_dicts()
    )
    late = set(
        little_shop.searches.filter(pl.col("time") >= little_shop.test_time).collect()["search_id"]
    )
    expected: dict[int, set[int]] = {}
    for one in log:
        for other in log:
            if one["search_id"] != other["search_id"] or one["search_id"] not in late:
                continue
            query, answer = items[one["item_id"]], items[other["item_id"]]
            is_pair = one["clicked"] and other["purchased"] and query["image"] is not None
            if is_pair and query["title"] != answer["title"] and query["image"] != answer["image"]:
                expected.setdefault(one["item_id"], set()).add(ids.index(other["item_id"]))
    found = dict(
        zip(
            bench.queries["product"]["query_item_id"].to_list(),
            map(set, bench.relevant["product"]),
            strict=True,
        )
    )
    assert found == expected and len(expected) > 10
    asked = bench.queries["product"]["query_item_id"].n_unique()
    late_items = {one["item_id"] for one in log if one["clicked"] and one["search_id"] in late}
    with_picture = sum(items[one]["image"] is not None for one in late_items)
    assert asked + bench.left_out["product"] == with_picture
    for item_id, rows in zip(found, bench.excluded["product"], strict=True):
        assert ids.index(item_id) in rows
        shown = items[item_id]
        alike = [
            row
            for row, other in enumerate(ids)
            if items[other]["title"] == shown["title"] or items[other]["image"] == shown["image"]
        ]
        assert rows == alike


def test_only_products_listed_since_the_cut_are_classified(little_shop):
    bench = shop_benchmark_set(little_shop)
    assert bench.gallery[bench.labelled]["title"].str.contains("zzlateitem").all()
    assert len(bench.labelled) == 4
    whole = shop_benchmark_set(little_shop, labelled="gallery")
    assert len(whole.labelled) == whole.gallery.height and whole.digest != bench.digest
    with pytest.raises(ShopError, match="wanted new or gallery"):
        shop_benchmark_set(little_shop, labelled="old")


def test_validation_never_sees_the_test_period(little_shop):
    test, validation = (
        shop_benchmark_set(little_shop, period) for period in ("test", "validation")
    )
    times = little_shop.searches.collect().rows_by_key("search_id", named=True, unique=True)
    for kind in ("text", "image", "mixed"):
        assert all(
            times[one]["time"] >= little_shop.test_time for one in test.queries[kind]["query_id"]
        )
        for one in validation.queries[kind]["query_id"]:
            assert little_shop.cut_time <= times[one]["time"] < little_shop.test_time
