"""M5Product (Dong et al. 2022, xiaodongsuper.github.io/M5Product_dataset): products in five modalities, labelled; retrieval of products of the same label.

What is known of the files, and from where:
- The documentation's `meta_info`: `item_id` (string), `caption` (string), `image` (a .jpg file), `video`, `audio`, `tabular` (dict), `label` (string).
- The authors' M5Product_toolkit reads one JSON object by item id: `{"title", "label", "url"}` in its evaluation (`evaluate_unit.py`), `{"title", "pv"}` in its
  loader, `pv` being `name#:#value#;#name#:#value`. There a query's answers are all products of its label; the query itself is taken out of its ranking.
- **Not verified**: the names of the files, of the lists of query and gallery ids, and that one file holds all of these fields; all are options.

Notable choices: every product of the file is in the gallery and is asked as text, image and product (both), unless lists of ids say otherwise. Precision over the
whole label set is what the toolkit scores; here a query that has one product of its label in the top k counts as found, as everywhere in this benchmark.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moon_rec.errors import ShopError
from moon_rec.progress import track
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.published.collector import Collector
from representation.sets.published.layout import PictureLayout, pairs_of
from representation.sets.published.raw_rows import find_files, read_mapping, text_of


class M5ProductLayout(PictureLayout):
    """Files and fields.

    Attributes:
        products: JSON object by item id (name not verified).
        query_ids, gallery_ids: files of one item id a line; an empty name takes all products.
        titles: fields tried for the title, the first that is there.
        label: field of the annotation: what makes a product an answer.
        tabular: fields tried for properties: a dict, or the toolkit's `pv` text.
    """

    products: str = "meta_info.json"
    query_ids: str = ""
    gallery_ids: str = ""
    titles: tuple[str, ...] = ("caption", "title")
    label: str = "label"
    tabular: tuple[str, ...] = ("tabular", "pv")


def read_m5product(folder: Path, layout: M5ProductLayout, name: str = "M5Product") -> BenchmarkSet:
    """The set of a file and its pictures.

    Raises:
        ShopError: a file, a field or a picture is missing, or a list names an id that the file has not.
    """
    path = find_files(folder, layout.products, "products")[0]
    products = read_mapping(path)
    if layout.max_rows:
        products = dict(list(products.items())[: layout.max_rows])
    gallery = _ids(folder, layout.gallery_ids, products, path)
    queries = _ids(folder, layout.query_ids, products, path)
    found = Collector(name, folder, layout)
    labels: dict[str, list[int]] = {}
    shown: dict[str, tuple[str, bytes | None]] = {}
    in_gallery = set(gallery)
    for item in track(list(dict.fromkeys([*gallery, *queries])), f"read {name}"):
        where, row = f"{path} item {item}", products[item]
        title, label = _title(row, layout, where), text_of(row.get(layout.label))
        if not label:
            raise ShopError(
                f"{where} has no {layout.label!r}: leave it out, or name the field as label in layout.toml"
            )
        image = found.picture(f"{item}.jpg", item, where)
        shown[item] = title, image
        if item in in_gallery:
            at = found.product(item, title, [label], _pairs(row, layout, where), image)
            labels.setdefault(label, []).append(at)
    for item in queries:
        title, image = shown[item]
        answers = labels.get(text_of(products[item][layout.label]), [])
        own = found.row(item)
        found.query("text", item, answers, title, None, own)
        if image is not None:
            found.query("image", item, answers, None, image, own)
            found.query("product", item, answers, title, image, own)
        if not set(answers) - {own}:
            found.counts["queries whose label no other product of the gallery has"] += 1
    found.counts["products in the file"] = len(products)
    asked = "products of M5Product; an answer is any other product of the same label"
    return found.build(
        f", {path.name}: products of Alibaba's shops, labelled by its authors",
        {"text": asked, "image": asked, "product": asked},
        "for research alone, see the set's terms of use",
    )


def _ids(folder: Path, file: str, products: Mapping[str, Any], path: Path) -> list[str]:
    if not file:
        return list(products)
    listed = find_files(folder, file, "query_ids or gallery_ids")[0]
    ids = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines()]
    for number, item in enumerate(ids, 1):
        if item and item not in products:
            raise ShopError(f"{listed} line {number} names item {item!r}, which {path} has not")
    return [item for item in ids if item]


def _title(row: Any, layout: M5ProductLayout, where: str) -> str:
    if not isinstance(row, dict):
        raise ShopError(f"{where} is a {type(row).__name__}; wanted an object")
    for field in layout.titles:
        if text_of(row.get(field)):
            return text_of(row[field])
    raise ShopError(
        f"{where} has no {' or '.join(layout.titles)}: it has {', '.join(row)}; name the field in titles of layout.toml"
    )


def _pairs(row: Mapping[str, Any], layout: M5ProductLayout, where: str) -> list[tuple[str, str]]:
    value = next((row[field] for field in layout.tabular if row.get(field)), None)
    if isinstance(value, dict):
        return [(text_of(name), text_of(each)) for name, each in value.items()]
    text = text_of(value)
    if "#:#" not in text:  # the toolkit takes a `pv` of one letter for none
        return []
    return pairs_of(text, where, "#;#", "#:#")
