"""The whole catalogue and all queries to embedding tables, shard by shard.

A shard is written as soon as it is computed, so a killed run loses at most one; memory holds a thousand rows with their pictures and one shard's vectors,
whatever the catalogue's size. Shards lie in `OUT/.items-shards-<digest>`, named by all that decides a vector (encoder, shop, modality), and go away when the
table stands. A row that gets no vector is counted and told, never guessed at.

    python -m representation.embed SHOP --encoder ENCODER --out OUT
"""

import sys
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from moon_rec.command import Parser, count, run
from moon_rec.embedding_table import EmbeddingTable, Kind, Precision
from moon_rec.errors import EncoderError, TableError
from moon_rec.files import atomic_file, digest_of
from moon_rec.kept import note_kept
from moon_rec.outputs import check_output, check_room
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import Kind as IdKind
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.schema import FILES, columns_of
from moon_rec.table_writer import table_bytes
from moon_rec.texts import has_text
from moon_rec.vector_checks import TABLE
from representation.encoders.frame_inputs import all_it_reads
from representation.interface import Encoder, Modality
from representation.storage.shards import Encode, Shards
from representation.version import made_by


def embed_shop(
    encoder: Encoder,
    shop: Shop,
    out: str | Path,
    modality: Modality | None = None,
    precision: Precision = "float32",
    batch_size: int = 256,
    shard_size: int = 4096,
    leave_out: bool = False,
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Encode every product and every query of a shop, before and after the cut: computing vectors learns nothing.

    Args:
        encoder: any encoder; see `representation.interface`.
        out: folder for the tables `items` (by item_id) and `queries` (by search_id). A table of the same encoder and shop that stands there is kept.
        modality: what of a product is shown to the encoder; `image` leaves out products without a picture. None: all that it reads.
        shard_size: rows a shard.
        leave_out: name and leave out a row whose picture cannot be decoded, instead of stopping there.

    Returns:
        Table of items, table of queries. Searches with nothing in them that the encoder reads have no vector.

    Raises:
        TableError: `out` holds a table of another encoder, shop or precision.
        ShopError: a picture that cannot be decoded, unless `leave_out`.
        EncoderError: a modality that the encoder does not read, or vectors that are not of unit length.
    """
    if shard_size < 1 or batch_size < 1:
        raise EncoderError(
            f"shard_size {shard_size} and batch_size {batch_size} must be at least 1"
        )
    job = _Job(encoder, shop, Path(out), precision, shard_size, leave_out)
    job.check()
    seen = modality or all_it_reads(encoder)
    why = ["without a picture"] * (seen == "image") + ["with a broken picture"] * leave_out
    left_out = "products " + " or ".join(why)
    items = job.table(
        "items",
        "items" if seen == "both" else f"items by {seen}",
        pl.col("image").is_not_null() if seen == "image" else pl.lit(True),
        lambda frame: encoder.encode_items(frame, seen, batch_size, progress=False),
        _Part("item_id", "image", hidden=("image",) if seen == "text" else (), left_out=left_out),
    )
    queries = job.table(
        "queries",
        "queries",
        _readable(encoder),
        lambda frame: encoder.encode_queries(frame, batch_size, progress=False),
        _Part(
            "search_id",
            "query_image",
            hidden=() if "image" in encoder.modalities else ("query_image",),
            left_out="searches with nothing in them that the encoder reads"
            + " or with a broken picture" * leave_out,
        ),
    )
    return items, queries


def _readable(encoder: Encoder) -> pl.Expr:
    """True where a search has something that the encoder reads."""
    has = {
        "text": has_text("query_text"),
        "image": pl.col("query_image").is_not_null(),
    }
    return reduce(pl.Expr.__or__, [has[name] for name in sorted(encoder.modalities & has.keys())])


@dataclass(frozen=True)
class _Part:
    """A table's key, its pictures, the columns that need not be read, and what rows without a vector are called."""

    key: str
    picture: str
    hidden: tuple[str, ...]
    left_out: str


class _Job:
    """One encoder over one shop's tables."""

    def __init__(
        self,
        encoder: Encoder,
        shop: Shop,
        out: Path,
        precision: Precision,
        shard_size: int,
        leave_out: bool,
    ) -> None:
        self._encoder, self._shop, self._out = encoder, shop, out
        self._precision: Precision = precision
        self._shard_size, self._leave_out = shard_size, leave_out

    def check(self) -> None:
        """Both places, before the first vector is computed; raises what `table` would, hours later."""
        size = 0
        for kind, file in (("items", "items"), ("queries", "searches")):
            path = self._out / kind
            if path.exists():
                self._kept(path)
                continue
            check_output(path, TABLE)
            rows, dim = (
                pq.read_metadata(self._shop.path / FILES[file]).num_rows,
                self._encoder.dim,
            )
            size += rows * (8 + 4 * dim) + table_bytes(rows, dim, self._precision)  # shards first
        check_room(self._out / "items", size)

    def table(
        self, kind: Kind, name: str, kept: pl.Expr, encode: Encode, part: _Part
    ) -> EmbeddingTable:
        """The table `out/kind`: kept, finished from shards, or computed."""
        path = self._out / kind
        source = {"items": "items", "queries": "searches"}[kind]
        file = self._shop.path / FILES[source]
        made_of = digest_of(
            [self._encoder.digest, self._shop.digest, name, self._shard_size, made_by()]
        )
        folder = path.with_name(f".{kind}-shards-{made_of}")
        if path.exists():
            table = self._kept(path)
            Shards(folder, file, part.key, [], self._shard_size).drop()  # of a run killed here
            say(f"{path} stands already: kept")
            return table
        others = sorted(set(path.parent.glob(f".{kind}-shards-*")) - {folder})
        if others and not folder.exists():
            say(
                f"{name}: the shards in {others[0]} are not taken up: made with another encoder, shop, size of shards, code or libraries"
            )
        present = pq.read_schema(file).names
        columns = [
            column
            for column in columns_of(source)
            if column in present and column not in part.hidden
        ]
        shards = Shards(folder, file, part.key, columns, self._shard_size)
        picture = part.picture if self._leave_out and part.picture in columns else None
        shards.write(name, kept, encode, self._encoder.dim, picture)
        table = shards.join(path, self._encoder, self._shop.digest, self._precision, kind)
        note_kept(path, "whole")
        num_left_out = pq.read_metadata(file).num_rows - len(table)
        if num_left_out:
            say(f"{name}: {num_left_out:,} left out ({part.left_out})")
        return table

    def _kept(self, path: Path) -> EmbeddingTable:
        table = EmbeddingTable.open(path)
        same = (table.encoder, table.shop) == (self._encoder.digest, self._shop.digest)
        if not same or str(table.vectors.dtype) != self._precision:
            raise TableError(
                f"{path} holds a table of encoder {table.encoder}, shop {table.shop}, {table.vectors.dtype}; name another folder"
            )
        return table


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.embed")
    parser = Parser(
        prog="python -m representation.embed",
        description="Encode all products and queries of a shop into the embedding tables OUT/items and OUT/queries. Run it again to resume after an interruption.",
        example="python -m representation.embed demo/shop --encoder demo/posttrained --out demo/tables",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument(
        "--encoder",
        required=True,
        help="an encoder's folder: one of moon_rec, or a Hugging Face folder or name of a supported kind",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the two tables")
    parser.add_argument(
        "--modality",
        choices=("both", "text", "image"),
        default=None,
        help="what of a product is encoded; default: all that the encoder reads",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="precision of the stored vectors",
    )
    parser.add_argument("--batch-size", type=count, default=256, help="rows per forward pass")
    parser.add_argument(
        "--shard-size",
        type=count,
        default=4096,
        help="rows per shard; an interrupted run loses at most one shard",
    )
    parser.add_argument(
        "--leave-out",
        action="store_true",
        help="name and leave out rows whose picture cannot be decoded, instead of stopping",
    )
    chosen = parser.parse_args(argv)
    for kind in ("items", "queries"):
        if (chosen.out / kind).exists():
            EmbeddingTable.open(chosen.out / kind)  # kept where it is of this encoder and shop
        else:
            check_output(chosen.out / kind, TABLE)
    from representation.encoder import open_encoder  # torch and transformers, after the arguments

    shop = Shop.open(chosen.shop)
    items, queries = embed_shop(
        open_encoder(chosen.encoder),
        shop,
        chosen.out,
        chosen.modality,
        chosen.precision,
        chosen.batch_size,
        chosen.shard_size,
        chosen.leave_out,
    )
    print(f"{len(items):,} items and {len(queries):,} queries, {items.dim} wide, at {chosen.out}")
    tables: tuple[tuple[str, IdKind, EmbeddingTable], ...]
    tables = ("items", "item", items), ("queries", "search", queries)
    for name, kind, table in tables:
        path = _write_own_ids(chosen.out / OWN_IDS / f"{name}.parquet", shop, kind, table)
        if path is not None:
            print(f"your own ids of its rows, in their order: {path}")


OWN_IDS = "own_ids"
"""Folder beside the tables of a shop that keeps its user's own ids."""


def _write_own_ids(path: Path, shop: Shop, kind: IdKind, table: EmbeddingTable) -> Path | None:
    """The user's ids of a table's rows (`id` as in the table, `own`), row by row; None where the shop's ids are the user's."""
    names = OwnNames.of(shop.path, kind)
    if not names.is_kept:
        return None
    ids = pl.Series("id", table.ids)
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as temporary:
        pl.DataFrame([ids, names.own(ids).alias("own")]).write_parquet(temporary)
    return path


if __name__ == "__main__":
    sys.exit(run(main))
