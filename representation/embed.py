"""The whole catalogue and all queries to embedding tables, shard by shard.

A shard is written as soon as it is computed, so a killed run loses at most one; memory holds a thousand rows with their pictures and one shard's vectors,
whatever the catalogue's size. Shards lie in `OUT/.items-shards-<digest>`, named by all that decides a vector (encoder, shop, modality), and go away when the
table stands. A row that gets no vector is counted and told, never guessed at.

    python -m representation.embed SHOP --encoder ENCODER --out OUT
"""

import sys
from argparse import Namespace
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from moon_rec.command import Parser, count, positive, run
from moon_rec.embedding_table import EmbeddingTable, Kind, Precision
from moon_rec.errors import EncoderError, TableError
from moon_rec.files import atomic_file, digest_of
from moon_rec.kept import note_kept
from moon_rec.outputs import check_output, check_room
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.options import add_shop
from moon_rec.shop.own_ids import Kind as IdKind
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.schema import FILES, columns_of
from moon_rec.table_writer import table_bytes
from moon_rec.texts import has_text
from moon_rec.vector_checks import TABLE
from moon_rec.vector_pairs import add_precision
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
    from representation.encoders.frame_inputs import all_it_reads

    if shard_size < 1 or batch_size < 1:
        raise EncoderError(
            f"shard_size {shard_size} and batch_size {batch_size} must be at least 1"
        )
    job = _Job(encoder, shop, Path(out), precision, shard_size, leave_out)
    job.check()
    seen = modality or all_it_reads(encoder)
    why = ["without a picture"] * (seen == "image") + ["with a broken picture"] * leave_out
    items = job.table(
        _Part(
            "items" if seen == "both" else f"items by {seen}",
            kind="items",
            source="items",
            key="item_id",
            picture="image",
            kept=pl.col("image").is_not_null() if seen == "image" else pl.lit(True),
            reads_pictures=seen != "text",
            left_out="products " + " or ".join(why),
        ),
        lambda frame: encoder.encode_items(frame, seen, batch_size, progress=False),
    )
    queries = job.table(
        _Part(
            "queries",
            kind="queries",
            source="searches",
            key="search_id",
            picture="query_image",
            kept=_readable(encoder),
            reads_pictures="image" in encoder.modalities,
            left_out="searches with nothing in them that the encoder reads"
            + " or with a broken picture" * leave_out,
        ),
        lambda frame: encoder.encode_queries(frame, batch_size, progress=False),
    )
    return items, queries


def _readable(encoder: Encoder) -> pl.Expr:
    """True where a search has something that the encoder reads."""
    has = {"text": has_text("query_text"), "image": pl.col("query_image").is_not_null()}
    return reduce(pl.Expr.__or__, [has[name] for name in sorted(encoder.modalities & has.keys())])


@dataclass(frozen=True)
class _Part:
    """What of a shop becomes one table.

    Attributes:
        name: as messages call it.
        kind, source: of the table, and of the shop's table that it is made of; key, picture: columns of that.
        kept: true where a row gets a vector; left_out: what the other rows are called.
    """

    name: str
    kind: Kind
    source: str
    key: str
    picture: str
    kept: pl.Expr
    reads_pictures: bool
    left_out: str


@dataclass(frozen=True)
class _Job:
    """One encoder over one shop's tables."""

    encoder: Encoder
    shop: Shop
    out: Path
    precision: Precision
    shard_size: int
    leave_out: bool

    def check(self) -> None:
        """Both places, before the first vector is computed; raises what `table` would, hours later."""
        size, dim = 0, self.encoder.dim
        for kind, source in (("items", "items"), ("queries", "searches")):
            path = self.out / kind
            if path.exists():
                self._kept(path)
                continue
            check_output(path, TABLE)
            rows = pq.read_metadata(self.shop.path / FILES[source]).num_rows
            size += rows * (8 + 4 * dim) + table_bytes(rows, dim, self.precision)  # shards first
        check_room(self.out / "items", size)

    def table(self, part: _Part, encode: Encode) -> EmbeddingTable:
        """The table `out/kind`: kept, finished from shards, or computed."""
        from representation.core_region.crops import box_columns, boxes_told

        path, file = self.out / part.kind, self.shop.path / FILES[part.source]
        made_of = [self.encoder.digest, self.shop.digest, part.name, self.shard_size, made_by()]
        folder = path.with_name(f".{part.kind}-shards-{digest_of(made_of)}")
        if path.exists():
            table = self._kept(path)
            Shards(folder, file, part.key, [], self.shard_size).drop()  # of a run killed here
            say(f"{path} stands already: kept")
            return table
        others = sorted(set(path.parent.glob(f".{part.kind}-shards-*")) - {folder})
        if others and not folder.exists():
            say(
                f"{part.name}: the shards in {others[0]} are not taken up: made with another encoder, shop, size of shards, code or libraries"
            )
        unread = set() if part.reads_pictures else {part.picture}
        there = set(pq.read_schema(file).names) - unread
        columns = [column for column in columns_of(part.source) if column in there]
        columns += box_columns(there)
        shards = Shards(folder, file, part.key, columns, self.shard_size)
        picture = part.picture if self.leave_out and part.picture in columns else None
        with boxes_told(getattr(self.encoder, "cut", None)):  # a class of one's own has none
            shards.write(part.name, part.kept, encode, self.encoder.dim, picture)
        table = shards.join(path, self.encoder, self.shop.digest, self.precision, part.kind)
        note_kept(path, "whole")
        num_left_out = pq.read_metadata(file).num_rows - len(table)
        if num_left_out:
            say(f"{part.name}: {num_left_out:,} left out ({part.left_out})")
        return table

    def _kept(self, path: Path) -> EmbeddingTable:
        table = EmbeddingTable.open(path)
        same = (table.encoder, table.shop) == (self.encoder.digest, self.shop.digest)
        if not same or str(table.vectors.dtype) != self.precision:
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
    add_shop(parser)
    about = (
        "an encoder's folder: one of moon_rec, or a Hugging Face folder or name of a supported kind"
    )
    parser.add_argument("--encoder", required=True, help=about)
    parser.add_argument("--out", type=Path, required=True, help="folder for the two tables")
    about = "what of a product is encoded; default: all that the encoder reads"
    parser.add_argument("--modality", choices=("both", "text", "image"), default=None, help=about)
    add_precision(parser)
    parser.add_argument("--batch-size", type=count, default=256, help="rows per forward pass")
    about = "rows per shard; an interrupted run loses at most one shard"
    parser.add_argument("--shard-size", type=count, default=4096, help=about)
    about = "of each picture's tokens the share that goes on, those attended to most, in products and searches alike: faster, at some recall"
    parser.add_argument("--keep-picture-tokens", type=positive, default=1.0, metavar="SHARE", help=about)  # fmt: skip
    about = "first layers of the language model whose attention says which tokens are kept"
    parser.add_argument("--pruning-layers", type=count, default=1, metavar="LAYERS", help=about)
    about = "file of representation.write, or of your own (item_id, written): what an encoder that reasons embeds behind, instead of writing itself"
    parser.add_argument("--written", type=Path, metavar="FILE", help=about)
    about = "name and leave out rows whose picture cannot be decoded, instead of stopping"
    parser.add_argument("--leave-out", action="store_true", help=about)
    chosen = parser.parse_args(argv)
    for kind in ("items", "queries"):
        if (chosen.out / kind).exists():
            EmbeddingTable.open(chosen.out / kind)  # kept where it is of this encoder and shop
        else:
            check_output(chosen.out / kind, TABLE)
    from representation.encoder import open_encoder  # torch and transformers, after the arguments

    shop = Shop.open(chosen.shop)
    encoder = open_encoder(chosen.encoder)
    if chosen.written is not None:
        encoder = _behind_written(encoder, shop, chosen)
    encoder = _pruned(encoder, chosen)
    items, queries = embed_shop(
        encoder,
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


def _pruned(encoder: Encoder, chosen: Namespace) -> Encoder:
    """The encoder with pictures pruned as the options say.

    Raises:
        EncoderError: options that nothing reads, or that the encoder cannot follow.
    """
    keep, layers = chosen.keep_picture_tokens, chosen.pruning_layers
    if keep == 1:
        if layers != 1:
            raise EncoderError(
                f"--pruning-layers {layers} changes nothing: all of a picture's tokens are kept; leave it out or give --keep-picture-tokens"
            )
        return encoder
    from representation.encoder import ProductEncoder

    if not isinstance(encoder, ProductEncoder):
        raise EncoderError(
            f"--keep-picture-tokens {keep:g}: {chosen.encoder} has no language model that reads a picture's tokens; leave it out"
        )
    return encoder.with_pruned_pictures(keep, layers)


def _behind_written(encoder: Encoder, shop: Shop, chosen: Namespace) -> Encoder:
    """The encoder that embeds behind what `--written` holds.

    Raises:
        EncoderError: an encoder that writes nothing, a file that is none of its, or that lacks a product.
    """
    from representation.encoders.frame_inputs import all_it_reads
    from representation.reasoning.encoder import ReasoningEncoder
    from representation.reasoning.written import WrittenAttributes

    if not isinstance(encoder, ReasoningEncoder):
        raise EncoderError(
            f"--written changes nothing: {chosen.encoder} writes nothing before it embeds (representation.reason); leave it out"
        )
    written = WrittenAttributes.open(chosen.written, encoder.digest)
    written.check(chosen.modality or all_it_reads(encoder))
    ids = shop.items.select("item_id")
    if chosen.modality == "image":
        ids = shop.items.filter(pl.col("image").is_not_null()).select("item_id")
    written.of(ids.collect()["item_id"].to_list())  # refused here, not hours later
    return encoder.with_written(written)


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
