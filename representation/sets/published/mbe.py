"""MBE, MOON's benchmark (Hugging Face `Daoze/MM-Bench-E-Commerce`, apache-2.0): Taobao searches and what was bought after them; and MBE2.0 (`ZHNie/MBE2.0`).

What is known of the files, and from where:
- The card says: JSON, splits train (2.7 M) and test (410 k), "collected from real-world products and user purchases on Taobao". It lists no columns.
- Columns of the *product* are those that two public programs read from the test split, written apart from each other: `id`, `doc_title`, `doc_image` (an address),
  `doc_industry_name`, `doc_cate1_name` ... `doc_cate4_name`, `doc_attributes` (`name:value,,name:value`, several values parted by `!!!`). One reads JSON Lines
  called `MBE_test...jsonl`. MOON's paper tells of categories down to level 5; the four `cate` levels below the industry would be these.
- **Not verified**: that the row's product is what was bought, and every column of the *query*. `query_text` and `query_image` are our guesses, to be set right in
  `layout.toml`; where a file has neither, the error lists the columns that it has.
- **Not verified**: any column of MBE2.0. Its paper has triplets of query, bought product and product shown but not relevant; `mbe2` reads them with the names of MBE, and
  products of `distractor_prefixes` join the gallery as nobody's answer.

Notable choices:
- One row is one query and the product that answers it. Equal queries are one query with several answers, and products of equal title and picture are one product,
  whatever `id` counts.
- Retrieval tasks of MBE: text -> product, image -> product, product (text and picture of the query) -> product.
- Pictures are looked for by the file name of their address (`picture_files`); nothing is downloaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moon_rec.errors import ShopError
from moon_rec.progress import progress
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.published.collector import Collector
from representation.sets.published.layout import PictureLayout, pairs_of
from representation.sets.published.picture_files import PictureFiles
from representation.sets.published.raw_rows import find_files, read_rows, text_of


class MbeLayout(PictureLayout):
    """Files and columns; see the module's docstring for what is known.

    Attributes:
        files: name or pattern of the split's files.
        row_id: column that names a row in errors and, where no file has its address's name, its picture.
        product_prefix: of the columns of the product that answers.
        distractor_prefixes: of further products in a row, which answer nothing.
        title, image, levels, attributes: columns of a product, behind the prefix.
        query_text, query_image: columns of the query (not verified).
    """

    files: str = "*test*.jsonl"
    row_id: str = "id"
    product_prefix: str = "doc_"
    distractor_prefixes: tuple[str, ...] = ()
    title: str = "title"
    image: str = "image"
    levels: tuple[str, ...] = (
        "industry_name",
        "cate1_name",
        "cate2_name",
        "cate3_name",
        "cate4_name",
    )
    attributes: str = "attributes"
    query_text: str = "query_text"
    query_image: str = "query_image"


ASKED = "searches of Taobao shoppers; an answer is the product of the query's own row, taken to be what was bought (not verified)"


def read_mbe(folder: Path, layout: MbeLayout, name: str = "MBE") -> BenchmarkSet:
    """A split of MBE or MBE2.0.

    Raises:
        ShopError: a file, a column or a picture is missing, or a row holds neither words nor picture of a query.
    """
    files = find_files(folder, layout.files, "files")
    pictures, found = layout.open_pictures(folder), Collector()
    optional = [layout.query_text, layout.query_image, layout.row_id]
    for prefix in (layout.product_prefix, *layout.distractor_prefixes):
        optional += [
            prefix + column for column in (layout.image, *layout.levels, layout.attributes)
        ]
    needed = [
        prefix + layout.title for prefix in (layout.product_prefix, *layout.distractor_prefixes)
    ]
    number = 0
    with progress(f"read {name}") as bar:
        for where, row in read_rows(files, needed, optional):
            if layout.is_enough(number):
                break
            _check_query_columns(layout, row, where)
            answer = _product(found, layout, row, layout.product_prefix, pictures, where)
            for prefix in layout.distractor_prefixes:
                _product(found, layout, row, prefix, pictures, where)
            _queries(found, layout, row, answer, pictures, where)
            number += 1
            bar.advance()
    found.counts["rows read"] = number
    found.counts.update(layout.counted(pictures))
    return found.build(
        name,
        f"{name}, {', '.join(file.name for file in files[:3])}{' ...' if len(files) > 3 else ''}: searches and purchases of Taobao, published by MOON's authors",
        {
            "text": ASKED,
            "image": ASKED,
            "product": f"{ASKED}; a query is its words and its picture",
        },
        "apache-2.0 (MM-Bench-E-Commerce's card)" if name == "MBE" else "see the set's card",
        layout.notes(),
    )


def _check_query_columns(layout: MbeLayout, row: Mapping[str, Any], where: str) -> None:
    if layout.query_text not in row and layout.query_image not in row:
        raise ShopError(
            f"{where} has neither column {layout.query_text!r} nor {layout.query_image!r} of the query: it has {', '.join(row)}; "
            "name them as query_text and query_image in layout.toml (their names are not verified)"
        )


def _product(
    found: Collector,
    layout: MbeLayout,
    row: Mapping[str, Any],
    prefix: str,
    pictures: PictureFiles | None,
    where: str,
) -> int:
    title = text_of(row[prefix + layout.title])
    cell = row.get(prefix + layout.image)
    key = (title, _name(cell))
    if found.has(key):
        return found.product(key, title)
    if not title:
        raise ShopError(f"{where}: {prefix + layout.title} is empty; leave the row out")
    try:
        pairs = pairs_of(text_of(row.get(prefix + layout.attributes)), ",,", ":", "!!!")
    except ShopError as error:
        raise ShopError(f"{where}: {error}") from None
    return found.product(
        key,
        title,
        [text_of(row.get(prefix + level)) for level in layout.levels],
        pairs,
        _picture(pictures, cell, row, layout, where),
    )


def _queries(
    found: Collector,
    layout: MbeLayout,
    row: Mapping[str, Any],
    answer: int,
    pictures: PictureFiles | None,
    where: str,
) -> None:
    words, cell = text_of(row.get(layout.query_text)), row.get(layout.query_image)
    image = _picture(pictures, cell, row, layout, where)
    if not words and image is None:
        if not cell:
            raise ShopError(
                f"{where}: the query has neither words nor a picture; leave the row out"
            )
        found.counts["rows whose query is a picture that was not read, left out"] += 1
        return
    name = _name(cell)
    if words:
        found.query("text", words, [answer], words)
    if image is not None:
        found.query("image", name, [answer], None, image)
    if words and image is not None:
        found.query("product", (words, name), [answer], words, image)


def _picture(
    pictures: PictureFiles | None,
    cell: Any,
    row: Mapping[str, Any],
    layout: MbeLayout,
    where: str,
) -> bytes | None:
    return pictures.read(cell, text_of(row.get(layout.row_id)), where) if pictures else None


def _name(cell: Any) -> Any:
    """What tells one picture from another: its address, or its bytes."""
    return (cell.get("path") or cell.get("bytes")) if isinstance(cell, dict) else cell
