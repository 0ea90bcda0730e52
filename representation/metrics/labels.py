"""What products are classified into: each level of the category, and each attribute that enough of them have.

Notable choices:
- The labels of a task are all values in the whole gallery, so an item must be told from labels that no measured item has.
- A category's label at level n is the path's first n levels; its text is the last of them, or the whole path where two paths of that level end alike.
- A product with several different values of an attribute is left out of that attribute, and counted; so is one without.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.texts import has_text, normal_text
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.sets.benchmark_set import BenchmarkSet


@dataclass(frozen=True)
class LabelTask:
    """One thing to classify into.

    Attributes:
        name: such as `category level 1` or `attribute colour`.
        labels: `texts` before they were worded: category paths or values.
        texts: what the encoder reads of each label.
        rows: `(items,)` int64, rising, gallery rows to classify.
        truth: `(items,)` int64, the right label of each.
        num_left_out: rows of the set's labelled ones without this label, or with several.
    """

    name: str
    labels: list[str]
    texts: list[str]
    rows: np.ndarray
    truth: np.ndarray
    num_left_out: int


def label_tasks(bench: BenchmarkSet, config: BenchmarkConfig) -> list[LabelTask]:
    """All tasks of a set: category levels first, then attributes, those that most products have first.

    Where the gallery has pictures, only products with one are classified, so that title, picture and both are asked of the same products.
    """
    rows = bench.labelled
    assert rows is not None
    has_image = bench.gallery["image"].is_not_null().to_numpy()
    if has_image.any():
        rows = rows[has_image[rows]]
    tasks = [*_category_tasks(bench.gallery, config), *_attribute_tasks(bench.gallery, config)]
    found = []
    for name, wording, values in tasks:
        task = _task(name, wording, values, rows)
        if len(task.labels) > 1:
            found.append(task)
    return found


def _category_tasks(gallery: pl.DataFrame, config: BenchmarkConfig) -> list[tuple[str, str, list]]:
    paths = [
        [level.strip() for level in (path or "").split("/") if level.strip()]
        for path in gallery.select(normal_text("category")).to_series()
    ]
    depth = max(map(len, paths), default=0)
    return [
        (
            f"category level {level}",
            config.category_wording,
            [tuple(path[:level]) if len(path) >= level else None for path in paths],
        )
        for level in range(1, depth + 1)
    ]


def _attribute_tasks(gallery: pl.DataFrame, config: BenchmarkConfig) -> list[tuple[str, str, list]]:
    pairs = (
        gallery.with_row_index("row")
        .select("row", pl.col("attributes"))
        .explode("attributes", empty_as_null=True)
        .unnest("attributes")
        .filter(has_text("name") & has_text("value"))
        .with_columns(normal_text("name"), normal_text("value"))
        .unique(["row", "name", "value"])
    )
    counts = (
        pairs.group_by("name")
        .agg(count=pl.col("row").n_unique())
        .sort("count", "name", descending=[True, False])
    )
    tasks = []
    for name in counts["name"].head(config.num_attributes):
        single = (
            pairs.filter(pl.col("name") == name)
            .group_by("row")
            .agg("value")
            .filter(pl.col("value").list.len() == 1)
        )
        values: list[tuple[str, ...] | None] = [None] * gallery.height
        for row, value in single.iter_rows():
            values[row] = (value[0],)
        tasks.append((f"attribute {name}", config.attribute_wording, values))
    return tasks


def _task(
    name: str, wording: str, values: list[tuple[str, ...] | None], rows: np.ndarray
) -> LabelTask:
    known = sorted({value for value in values if value is not None})
    number = {value: at for at, value in enumerate(known)}
    of_rows = np.array(
        [number.get(values[row], -1) if values[row] else -1 for row in rows], np.int64
    )  # type: ignore[arg-type]
    kept = of_rows >= 0
    words = name.partition(" ")[2] if name.startswith("attribute ") else "category"
    texts = [
        wording.format(label=label, path=" / ".join(value), name=words)
        for label, value in zip(_told_apart(known), known, strict=True)
    ]
    return LabelTask(
        name,
        ["/".join(value) for value in known],
        texts,
        rows[kept],
        of_rows[kept],
        int((~kept).sum()),
    )


def _told_apart(known: list[tuple[str, ...]]) -> list[str]:
    """The last level of each path, or the whole path where another ends alike."""
    ends = Counter(value[-1] for value in known)
    return [value[-1] if ends[value[-1]] == 1 else " / ".join(value) for value in known]
