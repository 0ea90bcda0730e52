"""Who is measured: an encoder, or vectors brought along. Both give vectors of products, queries and labels, or say why they cannot.

Notable choices:
- An *item type* is what of a product is shown: `text` and `both` hold all its texts (title, category, attributes ...; how they are worded is the encoder's),
  `image` its picture alone; `title` and `title+image` leave out what holds the labels (classification uses these).
- An encoder that reads no pictures is not measured where a picture is part of the question: shown half of it, it would answer another question. Its columns
  `text` say what it can do.
- Vectors brought along are taken as they are: item type `both`, whatever they were made of; a product as query has its vector as a product.
- Vectors of a set are computed once for each encoder and kept in pieces (`stored_vectors`), so a second run, or one that was killed, goes on from them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.seeds import generator
from moon_rec.texts import has_text
from representation.core_region.crops import box_columns, boxes_told
from representation.interface import Encoder, Modality
from representation.sets.benchmark_set import BenchmarkSet, QueryType
from representation.sets.stored_vectors import encoded

ItemType = Literal["text", "image", "both"]
LabelledType = Literal["title", "image", "title+image"]
ITEM_TYPES: tuple[ItemType, ...] = ("text", "image", "both")
LABELLED_TYPES: tuple[LabelledType, ...] = ("title", "image", "title+image")
Shown = Literal["text", "image", "both"]


@dataclass(frozen=True)
class NotMeasured:
    """Why there is no number."""

    why: str

    def __str__(self) -> str:
        return f"not measured: {self.why}"

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"not_measured": self.why}


@dataclass(frozen=True)
class Vectors:
    """Vectors of some rows of a table.

    Attributes:
        rows: `(rows,)` int64, rising: which rows of the gallery, of the queries or of the labels.
        unit: `(rows, dim)` float32, each of length 1.
        norms: `(rows,)` lengths before; all 1 for an encoder.
    """

    rows: np.ndarray
    unit: np.ndarray
    norms: np.ndarray

    def places(self, count: int) -> np.ndarray:
        """`(count,)` where each of the table's rows stands among these; -1 where it has no vector."""
        place = np.full(count, -1)
        place[self.rows] = np.arange(len(self.rows))
        return place


class Contestant(Protocol):
    """One row of the benchmark's tables.

    Attributes:
        name: as it is printed.
        digest: of what made the vectors.
        made_by: in words.
        dim: width of a vector.
    """

    name: str
    digest: str
    made_by: str
    dim: int

    def items(self, kind: ItemType) -> Vectors | NotMeasured:
        """The gallery, each product shown as `kind`; those that have nothing to show are left out."""
        ...

    def with_others_pictures(self) -> Vectors | NotMeasured:
        """The gallery, each product by its own texts and the picture of another, drawn at random."""
        ...

    def labelled(self, kind: LabelledType, rows: np.ndarray) -> Vectors | NotMeasured:
        """Gallery rows to classify, each shown as `kind`, without the texts that hold labels."""
        ...

    def queries(self, kind: QueryType, shown: Shown = "both") -> Vectors | NotMeasured:
        """Queries of a type; `shown` leaves out their picture or their words."""
        ...

    def labels(self, texts: list[str]) -> Vectors | NotMeasured:
        """Texts of labels, as queries."""
        ...


class EncoderContestant:
    """An encoder on a set; see `Contestant`."""

    def __init__(
        self, name: str, encoder: Encoder, bench: BenchmarkSet, folder: Path, batch_size: int = 256
    ) -> None:
        """`folder` keeps the vectors, in a folder of the encoder's digest."""
        self.name, self.digest, self.dim = name, encoder.digest, encoder.dim
        reads = " and ".join(sorted(encoder.modalities, reverse=True))
        self.made_by = f"{type(encoder).__name__}, reads {reads}"
        self._encoder, self._bench, self._batch_size = encoder, bench, batch_size
        self._folder = folder / encoder.digest
        self._items: dict[str, Vectors] = {}
        self._has_pictures = bench.gallery["image"].null_count() < bench.gallery.height

    def items(self, kind: ItemType) -> Vectors | NotMeasured:
        lacks = self._lacks(kind)
        if lacks is not None:
            return lacks
        if kind not in self._items:
            gallery = self._bench.gallery.with_row_index("row")
            self._items[kind] = self._products(gallery, kind, f"products by {kind}")
        return self._items[kind]

    def with_others_pictures(self) -> Vectors | NotMeasured:
        lacks = self._lacks("both")
        if lacks is not None:
            return lacks
        gallery = self._bench.gallery
        pictured = gallery["image"].is_not_null().arg_true().to_numpy()
        round_table = generator(0, "others' pictures", len(pictured)).permutation(pictured)
        whose = np.arange(gallery.height)
        whose[round_table] = np.roll(round_table, 1)
        shown = ["image", *box_columns(gallery.columns)]
        dealt = gallery.with_columns(gallery.select(shown)[whose])
        frame = dealt.with_row_index("row")
        return self._products(frame, "both", "products by their texts and others' pictures")

    def labelled(self, kind: LabelledType, rows: np.ndarray) -> Vectors | NotMeasured:
        modality: Modality = {"title": "text", "image": "image", "title+image": "both"}[kind]  # type: ignore[assignment]
        lacks = self._lacks(modality)
        if lacks is not None:
            return lacks
        columns = {"text": ["title"], "image": ["image"], "both": ["title", "image"]}[modality]
        gallery = self._bench.gallery.with_row_index("row")[rows]
        frame = gallery.select("row", "item_id", *columns, *box_columns(gallery.columns))
        return self._products(frame, modality, f"labelled products by {kind}")

    def queries(self, kind: QueryType, shown: Shown = "both") -> Vectors | NotMeasured:
        frame = self._bench.queries[kind].drop("user_id").with_row_index("row")
        if shown == "text":
            frame = frame.with_columns(query_image=pl.lit(None, pl.Binary))
        elif shown == "image":
            frame = frame.with_columns(query_text=pl.lit(None, pl.String))
        has_image = pl.col("query_image").is_not_null()
        frame = frame.filter(has_text("query_text") | has_image)
        for modality, has in (("text", has_text("query_text")), ("image", has_image)):
            if modality not in self._encoder.modalities and frame.select(has.any()).item():
                return _reads_no(modality)
        words = f"{kind} queries" + ("" if shown == "both" else f" by {shown}")
        return self._encode(frame, words, self._as_queries)

    def labels(self, texts: list[str]) -> Vectors | NotMeasured:
        if "text" not in self._encoder.modalities:
            return _reads_no("text")
        frame = pl.DataFrame({"query_text": texts}).with_row_index("row")
        return self._encode(frame, "labels", self._as_queries)

    def _as_queries(self, frame: pl.DataFrame) -> np.ndarray:
        return self._encoder.encode_queries(frame, self._batch_size, progress=False)

    def _lacks(self, kind: Modality) -> NotMeasured | None:
        for modality in ("text", "image") if kind == "both" else (kind,):
            if modality not in self._encoder.modalities:
                return _reads_no(modality)
        if kind != "text" and not self._has_pictures:
            return NotMeasured("the set has no pictures of products")
        return None

    def _products(self, frame: pl.DataFrame, modality: Modality, words: str) -> Vectors:
        if modality == "image":
            frame = frame.filter(pl.col("image").is_not_null())
        if modality == "text" and "image" in frame.columns:
            frame = frame.drop("image")

        def encode(part: pl.DataFrame) -> np.ndarray:
            return self._encoder.encode_items(part, modality, self._batch_size, progress=False)

        return self._encode(frame, words, encode)

    def _encode(
        self, frame: pl.DataFrame, words: str, encode: Callable[[pl.DataFrame], np.ndarray]
    ) -> Vectors:
        rows = frame["row"].to_numpy().astype(np.int64)
        with boxes_told(getattr(self._encoder, "cut", None)):
            vectors = encoded(self._folder, words, frame.drop("row"), encode, self.dim, self.name)
        return unit_vectors(rows, vectors, f"{self.name}, {words}")


class TableContestant:
    """Vectors brought along: of products by `item_id`, and if there are any of queries by `query_id`; see `Contestant`."""

    def __init__(
        self, name: str, items: EmbeddingTable, queries: EmbeddingTable | None, bench: BenchmarkSet
    ) -> None:
        """
        Raises:
            TableError: none of the set's products has a vector, the two tables do not fit, or query ids that name two queries.
        """
        self.name, self.dim, self.digest = name, items.dim, items.encoder or items.digest
        self.made_by = f"vectors brought along (table {items.digest})"
        self._items, self._queries, self._bench = items, queries, bench
        if not (items.rows(bench.gallery["item_id"].to_numpy()) >= 0).any():
            raise TableError(
                f"{name}: none of the {bench.gallery.height:,} products of {bench.name} has a vector; ids must be the set's item_id"
            )
        if queries is None:
            return
        if queries.dim != items.dim:
            raise TableError(
                f"{name}: items have dim {items.dim} and queries {queries.dim}: embed both with one encoder"
            )
        ids = [frame["query_id"] for kind, frame in bench.queries.items() if kind != "product"]
        if ids and pl.concat(ids).is_duplicated().any():
            raise TableError(
                f"{name}: {bench.name} numbers the queries of each type anew, so a table of queries is ambiguous; leave it out"
            )

    def items(self, kind: ItemType) -> Vectors | NotMeasured:
        if kind != "both":
            return NotMeasured("brought vectors: one of each product")
        return self._lookup(self._items, self._bench.gallery["item_id"], "items")

    def with_others_pictures(self) -> Vectors | NotMeasured:
        return NotMeasured("brought vectors: one of each product")

    def labelled(self, kind: LabelledType, rows: np.ndarray) -> Vectors | NotMeasured:
        return NotMeasured("brought vectors: none of products without the texts that hold labels")

    def queries(self, kind: QueryType, shown: Shown = "both") -> Vectors | NotMeasured:
        if shown != "both":
            return NotMeasured("brought vectors: one of each product")
        frame = self._bench.queries[kind]
        if kind == "product":
            if frame["query_item_id"].null_count() == frame.height:
                return NotMeasured(
                    "brought vectors: the products that are queries are not in the gallery"
                )
            return self._lookup(self._items, frame["query_item_id"].fill_null(-1), "items")
        if self._queries is None:
            return NotMeasured("brought vectors: none of queries")
        return self._lookup(self._queries, frame["query_id"], "queries")

    def labels(self, texts: list[str]) -> Vectors | NotMeasured:
        return NotMeasured("brought vectors: none of the labels' texts")

    def _lookup(self, table: EmbeddingTable, ids: pl.Series, what: str) -> Vectors | NotMeasured:
        vectors, present = table.lookup(ids.to_numpy())
        rows = np.flatnonzero(present)
        if not rows.size:
            return NotMeasured(f"brought vectors: none of these {what}")
        return unit_vectors(rows, vectors[rows], f"{self.name}, {what}")


def unit_vectors(rows: np.ndarray, vectors: np.ndarray, where: str) -> Vectors:
    """Rows brought to unit length, their lengths kept.

    Raises:
        TableError: a vector that is all zeros or not finite.
    """
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    bad = ~np.isfinite(norms) | (norms == 0)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise TableError(
            f"{where}: the vector of row {rows[at]} is all zeros or not finite; leave it out of the table"
        )
    return Vectors(rows, (vectors / norms[:, None]).astype(np.float32), norms)


def _reads_no(modality: str) -> NotMeasured:
    return NotMeasured("it reads no pictures" if modality == "image" else "it reads no text")
