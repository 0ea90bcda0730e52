"""Which labels a set has, how they are worded, and which products are left out."""

import polars as pl

from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.labels import label_tasks

PATHS = ["Men/Shoes", "Women/Shoes", "Women/Hats", "Women", None, "Men/Shoes"]
ATTRIBUTES = [
    [("colour", "red"), ("size", "1")],
    [("colour", "blue"), ("colour", "red")],  # two colours: neither is the one
    [("colour", "blue"), ("colour", "blue")],
    [("colour", None)],
    None,
    [("size", "2")],
]


def odd_set(make_set, **changed):
    pairs = [
        None if some is None else [{"name": name, "value": value} for name, value in some]
        for some in ATTRIBUTES
    ]
    gallery = pl.DataFrame(
        {"item_id": range(6), "title": ["a"] * 6, "category": PATHS, "attributes": pairs},
        schema_overrides={"item_id": pl.Int64},
    )
    return make_set(gallery=gallery, queries={}, relevant={}, excluded={}, **changed)


def test_levels_and_attributes_are_found_and_worded(make_set):
    config = BenchmarkConfig(category_wording="a {label}", attribute_wording="{name}: {label}")
    tasks = {task.name: task for task in label_tasks(odd_set(make_set), config)}
    assert list(tasks) == [
        "category level 1",
        "category level 2",
        "attribute colour",
        "attribute size",
    ]
    first, second, colour = (
        tasks[name] for name in ("category level 1", "category level 2", "attribute colour")
    )
    assert (first.texts, first.rows.tolist(), first.truth.tolist()) == (
        ["a Men", "a Women"],
        [0, 1, 2, 3, 5],
        [0, 1, 1, 1, 0],
    )
    assert second.labels == ["Men/Shoes", "Women/Hats", "Women/Shoes"]
    assert second.texts == ["a Men / Shoes", "a Hats", "a Women / Shoes"]
    assert (second.rows.tolist(), second.truth.tolist(), second.num_left_out) == (
        [0, 1, 2, 5],
        [0, 2, 1, 0],
        2,
    )
    assert (colour.texts, colour.rows.tolist(), colour.num_left_out) == (
        ["colour: blue", "colour: red"],
        [0, 2],
        4,
    )


def test_labels_come_of_the_whole_gallery_and_rows_of_the_labelled(make_set):
    import numpy as np

    bench = odd_set(make_set, labelled=np.array([0, 3]))
    first = label_tasks(bench, BenchmarkConfig())[0]
    assert (first.labels, first.rows.tolist()) == (["Men", "Women"], [0, 3])


def test_only_the_commonest_attributes_are_asked(make_set):
    names = [
        task.name for task in label_tasks(odd_set(make_set), BenchmarkConfig(num_attributes=1))
    ]
    assert names == ["category level 1", "category level 2", "attribute colour"]


def test_where_there_are_pictures_products_without_one_are_not_classified(make_set):
    gallery = make_set().gallery
    without = gallery.with_columns(image=pl.when(pl.col("item_id") > 12).then("image"))
    task = label_tasks(make_set(gallery=without), BenchmarkConfig())[0]
    assert task.rows.min() == 3 and len(task.rows) == 57
