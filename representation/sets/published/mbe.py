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

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moon_rec.errors import ShopError
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.published.collector import Collector
from representation.sets.published.layout import PictureLayout, pairs_of
from representation.sets.published.raw_rows import Row, find_files, text_of


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
    found = Collector(name, folder, layout)
    prefixes = (layout.product_prefix, *layout.distractor_prefixes)
    behind = (layout.image, *layout.levels, layout.attributes)
    wanted = [layout.query_text, layout.query_image, layout.row_id]
    wanted += [prefix + column for prefix in prefixes for column in behind]
    needed = [prefix + layout.title for prefix in prefixes]
    for where, row in found.rows(files, needed, wanted, "rows read"):
        taken = _Row(found, layout, row, where)
        taken.check_query_columns()
        answer, *_ = [taken.product(prefix) for prefix in prefixes]
        taken.queries(answer)
    more = " ..." if len(files) > 3 else ""
    return found.build(
        f", {', '.join(file.name for file in files[:3])}{more}: searches and purchases of Taobao, published by MOON's authors",
        {
            "text": ASKED,
            "image": ASKED,
            "product": f"{ASKED}; a query is its words and its picture",
        },
        "apache-2.0 (MM-Bench-E-Commerce's card)" if name == "MBE" else "see the set's card",
    )


@dataclass(frozen=True)
class _Row:
    """A row on its way into a set: one query, the product that answers it, and others."""

    found: Collector
    layout: MbeLayout
    row: Row
    where: str

    def check_query_columns(self) -> None:
        layout = self.layout
        if layout.query_text not in self.row and layout.query_image not in self.row:
            raise ShopError(
                f"{self.where} has neither column {layout.query_text!r} nor {layout.query_image!r} of the query: it has {', '.join(self.row)}; "
                "name them as query_text and query_image in layout.toml (their names are not verified)"
            )

    def product(self, prefix: str) -> int:
        """The gallery row of the product behind a prefix."""
        layout, cell = self.layout, self.row.get(prefix + self.layout.image)
        title = self._text(prefix + layout.title)
        key = (title, _name(cell))
        known = self.found.row(key)
        if known is not None:
            self.found.counts["products met again"] += 1
            return known
        if not title:
            raise ShopError(f"{self.where}: {prefix + layout.title} is empty; leave the row out")
        pairs = pairs_of(self._text(prefix + layout.attributes), self.where, ",,", ":", "!!!")
        levels = [self._text(prefix + level) for level in layout.levels]
        return self.found.product(key, title, levels, pairs, self._picture(cell))

    def queries(self, answer: int) -> None:
        """The query in its forms: by words, by picture, by both."""
        words, cell = self._text(self.layout.query_text), self.row.get(self.layout.query_image)
        image = self._picture(cell)
        if not words and image is None:
            if not cell:
                raise ShopError(
                    f"{self.where}: the query has neither words nor a picture; leave the row out"
                )
            counted = "rows whose query is a picture that was not read, left out"
            self.found.counts[counted] += 1
        if words:
            self.found.query("text", words, [answer], words)
        if image is not None:
            self.found.query("image", _name(cell), [answer], None, image)
        if words and image is not None:
            self.found.query("product", (words, _name(cell)), [answer], words, image)

    def _text(self, column: str) -> str:
        return text_of(self.row.get(column))

    def _picture(self, cell: Any) -> bytes | None:
        return self.found.picture(cell, self._text(self.layout.row_id), self.where)


def _name(cell: Any) -> Any:
    """What tells one picture from another: its address, or its bytes."""
    return (cell.get("path") or cell.get("bytes")) if isinstance(cell, dict) else cell
