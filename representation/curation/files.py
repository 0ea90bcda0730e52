"""A folder of pairs: one Parquet file a kind of query, and `curation.json` that says where they come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.files import read_json, write_json
from moon_rec.outputs import OutputKind, atomic_folder, json_with
from moon_rec.shop import Shop

if TYPE_CHECKING:
    from representation.posttraining.mixture import QueryKind

ABOUT = "curation.json"
PAIRS = OutputKind(
    "a curation",
    ABOUT,
    json_with("shop", "config", "pairs"),
    tuple(f"{kind}.parquet" for kind in ("text", "image", "title+image", "richer-text+image")),
)


def write_pairs(
    path: Path | str, pairs: "Mapping[QueryKind, pl.DataFrame]", about: dict[str, Any]
) -> None:
    """Write the folder, atomically; it must not exist."""
    with atomic_folder(path, PAIRS) as folder:
        for kind, frame in pairs.items():
            frame.write_parquet(folder / f"{kind}.parquet")
        write_json(folder / ABOUT, about)


def read_pairs(path: Path | str, shop: Shop) -> "dict[QueryKind, pl.DataFrame]":
    """Pairs by kind of query, as `write_pairs` wrote them; a kind without a file has none.

    Raises:
        EncoderError: no such folder, or pairs of another shop.
    """
    from representation.posttraining.mixture import QueryKind

    folder = Path(path)
    if not (folder / ABOUT).is_file():
        raise EncoderError(
            f"{folder} holds no {ABOUT}: make it with python -m representation.curate"
        )
    of_shop = read_json(folder / ABOUT)["shop"]["digest"]
    if of_shop != shop.digest:
        raise EncoderError(
            f"{folder} holds pairs of shop {of_shop}, this shop is {shop.digest}: curate this shop's pairs"
        )
    found = {kind: folder / f"{kind}.parquet" for kind in get_args(QueryKind)}
    return {kind: pl.read_parquet(file) for kind, file in found.items() if file.is_file()}
