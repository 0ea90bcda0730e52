"""Products and queries of a published set, gathered row by row into a `BenchmarkSet`: equal ones once, everything counted."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import progress, say
from moon_rec.shop.schema import ATTRIBUTES
from representation.sets.benchmark_set import QUERY_TYPES, BenchmarkSet, QueryType, Rows
from representation.sets.published.layout import PictureLayout
from representation.sets.published.picture_files import PictureFiles
from representation.sets.published.raw_rows import Row, read_rows

SOLIDUS = "／"
"""Stands in a category's name for `/`, which parts the levels of a path; Chinese names hold it often."""
PRODUCT = {
    "item_id": pl.Int64,
    "title": pl.String,
    "category": pl.String,
    "brand": pl.String,
    "attributes": ATTRIBUTES,
    "description": pl.String,
    "image": pl.Binary,
}
QUERY = {
    "query_id": pl.Int64,
    "query_text": pl.String,
    "query_image": pl.Binary,
    "query_item_id": pl.Int64,
}


class Collector:
    """Takes products and queries as they are read.

    Attributes:
        counts: what was read, merged and left out, in words; printed by `build`, so that nothing goes unseen.
    """

    def __init__(self, name: str, folder: Path, layout: PictureLayout) -> None:
        """
        Args:
            name: of the set, for messages.

        Raises:
            ShopError: `layout.pictures` names a file that is no archive.
        """
        self.name, self.counts = name, Counter[str]()
        self._layout, self._pictures = layout, _open_pictures(folder, layout)
        self._products: list[dict[str, Any]] = []
        self._rows: dict[Any, int] = {}
        self._queries: dict[QueryType, dict[Any, dict[str, Any]]] = {}

    def rows(
        self, files: list[Path], needed: list[str], wanted: list[str], counted: str
    ) -> Iterator[tuple[str, Row]]:
        """Rows of the main files with their places, as `read_rows` gives them, at most `max_rows`; how many stands in `counts` as `counted`."""
        most = self._layout.max_rows
        with progress(f"read {self.name}") as bar:
            for where, row in read_rows(files, needed, wanted):
                if most and bar.done >= most:
                    break
                yield where, row
                bar.advance()
        self.counts[counted] = bar.done

    def picture(self, cell: Any, row_id: str, where: str) -> bytes | None:
        """As `PictureFiles.read`; None where no picture is to be read."""
        return self._pictures.read(cell, row_id, where) if self._pictures else None

    def row(self, key: Any) -> int | None:
        """The gallery row of a product; None where it is not there."""
        return self._rows.get(key)

    def product(
        self,
        key: Any,
        title: str,
        levels: Sequence[str] = (),
        attributes: Sequence[tuple[str, str]] = (),
        image: bytes | None = None,
        description: str = "",
    ) -> int:
        """Add a product of a new key; gives its gallery row."""
        row = self._rows[key] = len(self._products)
        path = "/".join(level.replace("/", SOLIDUS) for level in levels if level)
        self._products.append(
            {
                "item_id": row,
                "title": title,
                "category": path or None,
                "attributes": [{"name": n, "value": v} for n, v in attributes if n and v],
                "description": description or None,
                "image": image,
            }
        )
        return row

    def query(
        self,
        kind: QueryType,
        key: Any,
        answers: Sequence[int],
        text: str | None = None,
        image: bytes | None = None,
        is_row: int | None = None,
    ) -> None:
        """Add a query, or further answers to the one of that key.

        Args:
            answers: gallery rows that answer it.
            is_row: the gallery row that the query itself is, taken out of its ranking.
        """
        known = self._queries.setdefault(kind, {})
        if key in known:
            self.counts[f"{kind} queries met again"] += 1
            known[key]["answers"].update(answers)
            return
        asked = {"query_text": text, "query_image": image, "query_item_id": is_row}
        known[key] = {**asked, "query_id": len(known), "answers": set(answers)}

    def build(self, source: str, asked: Mapping[QueryType, str], licence: str) -> BenchmarkSet:
        """The set, with its counts printed.

        Raises:
            ShopError: no product, or no query.
        """
        if not self._products or not self._queries:
            what = "query" if self._products else "product"
            raise ShopError(f"{self.name}: no {what} was read; see the columns named in its layout")
        self._tell()
        queries: dict[QueryType, pl.DataFrame] = {}
        relevant: dict[QueryType, Rows] = {}
        excluded: dict[QueryType, Rows] = {}
        for kind, known in self._queries.items():
            found = [*known.values()]
            queries[kind] = pl.DataFrame(found, QUERY)
            relevant[kind] = [sorted(one["answers"] - {one["query_item_id"]}) for one in found]
            own = [one["query_item_id"] for one in found]
            excluded[kind] = [[] if row is None else [row] for row in own]
        return BenchmarkSet(
            name=self.name,
            source=f"{self.name}{source}",
            is_simulated=False,
            licence=licence,
            gallery=pl.DataFrame(self._products, PRODUCT),
            queries=queries,
            relevant=relevant,
            excluded=excluded,
            asked={**asked},
        )

    def _tell(self) -> None:
        if self._pictures:
            self.counts["pictures not found"] = self._pictures.num_missing
        pictures = sum(row["image"] is not None for row in self._products)
        queries = ", ".join(
            f"{len(self._queries[kind]):,} {kind}" for kind in QUERY_TYPES if kind in self._queries
        )
        counted = "; ".join(
            f"{count:,} {what}" for what, count in sorted(self.counts.items()) if count
        )
        say(
            f"{self.name}: {len(self._products):,} products ({pictures:,} with a picture); queries: {queries}; {counted or 'nothing left out'}"
        )
        if self._layout.max_rows:
            say(f"{self.name}: only the first {self._layout.max_rows:,} rows were read (max_rows)")
        if self._pictures is None:
            say(f'{self.name}: no pictures were read (missing_pictures = "none")')


def _open_pictures(folder: Path, layout: PictureLayout) -> PictureFiles | None:
    if layout.missing_pictures == "none":
        return None
    path = folder / layout.pictures
    places = (path, path.with_name(f"{path.name}.zip"))
    # a name may be too long for any file
    there = next((one for one in places if os.path.exists(one)), None)
    return PictureFiles(there, layout.missing_pictures == "count", layout.longest_side or None)
