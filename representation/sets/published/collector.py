"""Products and queries of a published set, gathered row by row into a `BenchmarkSet`: equal ones once, everything counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.schema import ATTRIBUTES
from representation.sets.benchmark_set import QUERY_TYPES, BenchmarkSet, QueryType

SOLIDUS = "／"
"""Stands in a category's name for `/`, which parts the levels of a path; Chinese names hold it often."""


@dataclass
class Collector:
    """Takes products and queries as they are read.

    Attributes:
        counts: what was read, merged and left out, in words; printed by `build`, so that nothing goes unseen.
    """

    counts: Counter[str] = field(default_factory=Counter)
    _products: list[dict[str, Any]] = field(default_factory=list)
    _rows: dict[Any, int] = field(default_factory=dict)
    _queries: dict[str, dict[Any, dict[str, Any]]] = field(default_factory=dict)

    def has(self, key: Any) -> bool:
        """Whether a product of that key is there."""
        return key in self._rows

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
        brand: str = "",
        description: str = "",
    ) -> int:
        """Add a product, or find the one of that key; gives its gallery row."""
        if key in self._rows:
            self.counts["products met again"] += 1
            return self._rows[key]
        row = len(self._products)
        self._rows[key] = row
        path = "/".join(level.replace("/", SOLIDUS) for level in levels if level)
        self._products.append(
            {
                "item_id": row,
                "title": title,
                "category": path or None,
                "brand": brand or None,
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
        known[key] = {"text": text, "image": image, "is_row": is_row, "answers": set(answers)}

    def build(
        self,
        name: str,
        source: str,
        asked: dict[QueryType, str],
        licence: str = "",
        notes: Sequence[str] = (),
    ) -> BenchmarkSet:
        """The set, with its counts printed.

        Raises:
            ShopError: no product, or no query.
        """
        if not self._products or not any(self._queries.values()):
            what = "product" if not self._products else "query"
            raise ShopError(f"{name}: no {what} was read; see the columns named in its layout")
        pictures = sum(row["image"] is not None for row in self._products)
        queries = ", ".join(
            f"{len(self._queries[kind]):,} {kind}" for kind in QUERY_TYPES if kind in self._queries
        )
        counted = "; ".join(
            f"{count:,} {what}" for what, count in sorted(self.counts.items()) if count
        )
        say(
            f"{name}: {len(self._products):,} products ({pictures:,} with a picture); queries: {queries}; {counted or 'nothing left out'}"
        )
        for note in notes:
            say(f"{name}: {note}")
        tables = {kind: list(found.values()) for kind, found in self._queries.items() if found}
        return BenchmarkSet(
            name=name,
            source=source,
            is_simulated=False,
            licence=licence,
            gallery=pl.DataFrame(
                self._products,
                schema={
                    "item_id": pl.Int64,
                    "title": pl.String,
                    "category": pl.String,
                    "brand": pl.String,
                    "attributes": ATTRIBUTES,
                    "description": pl.String,
                    "image": pl.Binary,
                },
            ),
            queries={kind: _query_frame(found) for kind, found in tables.items()},  # type: ignore[arg-type]
            relevant={
                kind: [sorted(one["answers"] - {one["is_row"]}) for one in found]
                for kind, found in tables.items()
            },  # type: ignore[arg-type]
            excluded={
                kind: [[] if one["is_row"] is None else [one["is_row"]] for one in found]
                for kind, found in tables.items()
            },  # type: ignore[arg-type]
            asked=asked,
        )


def _query_frame(found: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "query_id": list(range(len(found))),
            "query_text": [one["text"] for one in found],
            "query_image": [one["image"] for one in found],
            "query_item_id": [one["is_row"] for one in found],
        },
        schema={
            "query_id": pl.Int64,
            "query_text": pl.String,
            "query_image": pl.Binary,
            "query_item_id": pl.Int64,
        },
    )
