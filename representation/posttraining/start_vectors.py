"""Vectors of the products and searches that pairs name, under the encoder that a training starts from: what curation measures likeness with.

Computed for the pairs' rows alone, piece by piece, so memory holds one piece's pictures; several processes share the work and all get the same vectors. Where
`representation.embed` has embedded the shop already, its folder serves instead.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import torch

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import EncoderError
from moon_rec.progress import progress, say
from moon_rec.shop import Shop
from moon_rec.vector_pairs import check_pair
from representation.core_region.crops import box_columns
from representation.negatives.spatial import gather
from representation.posttraining.mixture import QueryKind
from representation.trainable import Trainable
from representation.training.distributed import share_of

PIECE = 4096
"""Rows read at once."""


def start_vectors(
    shop: Shop,
    encoder: Trainable,
    pairs: Mapping[QueryKind, pl.DataFrame],
    rank: int = 0,
    world_size: int = 1,
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Vectors of all items and of all searches of `pairs`.

    Args:
        pairs: with the columns of `posttraining.pairs.COLUMNS`.
        rank, world_size: which of how many processes this is; all must call.

    Returns:
        Table of items by item_id, table of searches by search_id.
    """
    every = pl.concat(
        [frame.select("search_id", "query_item_id", "item_id") for frame in pairs.values()]
    )
    item_ids = np.union1d(
        every["item_id"].to_numpy(), every["query_item_id"].drop_nulls().to_numpy()
    )
    of_search = every.filter(pl.col("query_item_id").is_null())["search_id"]
    search_ids = of_search.unique().sort().to_numpy()
    share = rank, world_size
    items = _table(shop, encoder, "item_id", item_ids, share)
    return items, _table(shop, encoder, "search_id", search_ids, share)


def stored_vectors(
    shop: Shop, folder: str | Path, encoder: Trainable
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """The tables that `representation.embed` left at `folder`; says so where they are of another encoder than the training starts from.

    Raises:
        EncoderError, TableError: as `open_vectors`.
    """
    items, queries = open_vectors(shop, folder)
    for name, table in (("items", items), ("queries", queries)):
        if table.encoder != encoder.digest:
            say(
                f"{Path(folder) / name} is of encoder {table.encoder or 'unknown'}, training starts from {encoder.digest}: pairs are curated by the former"
            )
    return items, queries


def open_vectors(shop: Shop, folder: str | Path) -> tuple[EmbeddingTable, EmbeddingTable]:
    """The tables of items and of searches at `folder`; says what they cover.

    Raises:
        EncoderError: `folder` holds no two tables.
        TableError: a table that cannot be opened, or does not go with the shop or with the other.
    """
    paths = [Path(folder) / name for name in ("items", "queries")]
    if missing := [path for path in paths if not path.is_dir()]:
        raise EncoderError(
            f"no vectors at {missing[0]}; make them with python -m representation.embed SHOP --encoder ENCODER --out {folder}"
        )
    items, queries = (EmbeddingTable.open(path) for path in paths)
    say(f"{folder}: {check_pair(shop, items, queries)}")
    return items, queries


def _table(
    shop: Shop, encoder: Trainable, key: str, ids: np.ndarray, share: tuple[int, int]
) -> EmbeddingTable:
    """Of the products or the searches of `ids`."""
    box = box_columns(shop.searches.collect_schema().names())
    searches = shop.searches.select("search_id", "query_text", "query_image", *box)
    rows, encode = shop.items, encoder.encode_items
    if key == "search_id":
        rows, encode = searches, encoder.encode_queries
    vectors = np.empty((len(ids), encoder.dim), dtype=np.float32)
    name = key.removesuffix("_id").replace("search", "query")
    with progress(f"embed for curation, by {name}", len(ids)) as bar:
        for first in range(0, len(ids), PIECE):
            piece = ids[first : first + PIECE]
            own = piece[share_of(len(piece), *share)]
            frame = rows.filter(pl.col(key).is_in(own)).sort(key).collect(engine="streaming")
            found = np.empty((0, encoder.dim), np.float32)
            if len(own):
                found = encode(frame, progress=False)
            everyone = gather(torch.from_numpy(found).to(encoder.device))
            vectors[first : first + len(piece)] = everyone.cpu().numpy()
            bar.advance(len(piece))
    return EmbeddingTable.from_arrays(
        ids, vectors, widths=encoder.widths, encoder=encoder.digest, shop=shop.digest
    )
