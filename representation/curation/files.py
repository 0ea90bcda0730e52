"""A folder of pairs: one Parquet file a kind of query, and `curation.json` that says where they come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import polars as pl

from moon_rec.errors import EncoderError, MoonRecError, first_line
from moon_rec.files import read_json, write_json
from moon_rec.outputs import OutputKind, atomic_folder, json_with
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.recorded import difference, record, recorded_files
from moon_rec.shop import Shop
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shown import visible

if TYPE_CHECKING:
    from representation.posttraining.mixture import QueryKind

ABOUT = "curation.json"
_AGAIN = "curate the shop's pairs again"
PAIRS = OutputKind(
    "a curation",
    ABOUT,
    json_with("shop", "config", "pairs"),
    tuple(f"{kind}.parquet" for kind in ("text", "image", "title+image", "richer-text+image")),
)


def write_pairs(
    path: Path | str,
    pairs: "Mapping[QueryKind, pl.DataFrame]",
    about: dict[str, Any],
    overwrite: bool = False,
) -> None:
    """Write the folder, atomically."""
    with atomic_folder(path, PAIRS, overwrite) as folder:
        for kind, frame in pairs.items():
            frame.write_parquet(folder / f"{kind}.parquet")
        write_json(folder / ABOUT, {**about, "files": record(folder, ABOUT)})


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
    about = read_curation(folder)
    of_shop = about["shop"]["digest"]
    if of_shop != shop.digest:
        raise EncoderError(
            f"{folder} holds pairs of shop {visible(of_shop)[:40]}, this shop is {shop.digest}: curate this shop's pairs"
        )
    found = {kind: folder / f"{kind}.parquet" for kind in get_args(QueryKind)}
    return {kind: _pairs(file) for kind, file in found.items() if file.is_file()}


def read_curation(folder: Path) -> dict[str, Any]:
    """What `curation.json` says, its files held against the digests that it records.

    Raises:
        EncoderError: it cannot be read, names no shop, or a file was changed.
    """
    try:
        about = read_json(folder / ABOUT)
        shop = about.get("shop") if isinstance(about, dict) else None
        if not isinstance(shop, dict) or not isinstance(shop.get("digest"), str):
            raise EncoderError(f"{folder / ABOUT} names no shop by its digest; {_AGAIN}")
        files = recorded_files(about, folder / ABOUT)
        why = difference(folder, ABOUT, files, lambda name: name.endswith(".parquet"))
    except (MoonRecError, OSError) as error:
        raise EncoderError(first_line(error)) from None
    if why:
        raise EncoderError(why)
    return about


def _pairs(file: Path) -> pl.DataFrame:
    """The pairs of a file: two columns of ids, whatever else it holds."""
    refuse_bombs(file, EncoderError)
    try:
        return pl.read_parquet(file)
    except UNREADABLE as error:
        raise EncoderError(
            f"{file} cannot be read as Parquet: {first_line(error)}; {_AGAIN}"
        ) from None
