"""Vectors of items and searches without anything learnt: the colours of their pictures and their words, as another team might bring them. An encoder of the demo.

Two halves side by side, each of unit length where there is something: the square root of a joint histogram of red, green and blue, four bins each (Hellinger), and words counted at
64 places that a checksum gives them.
"""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable, Kind
from moon_rec.progress import Bar, progress
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode

BINS, PLACES, SIDE = 4, 64, 32
NAME = "colours and words"
ROWS = 1_000


def bring_plain_vectors(shop: Shop, folder: Path) -> None:
    """Write the tables `folder/items` and `folder/queries`; those of an earlier call are replaced."""
    items = shop.items.select("item_id", picture="image", text="title")
    searches = shop.searches.select("search_id", picture="query_image", text="query_text")
    with progress("colours and words", _height(items) + _height(searches)) as bar:
        _write(items, "item_id", "items", folder, shop, bar)
        _write(searches, "search_id", "queries", folder, shop, bar)


def plain_vector(picture: bytes | None, text: str | None, name: str) -> np.ndarray:
    """`(BINS ** 3 + PLACES,)` float32; zeros where there is neither.

    Args:
        name: whose it is, for the error of a broken picture.
    """
    colours, words = np.zeros(BINS**3), np.zeros(PLACES)
    if picture is not None:
        pixels = np.asarray(decode(picture, name).resize((SIDE, SIDE)), dtype=np.int64)
        bins = pixels.reshape(-1, 3) * BINS // 256
        colours = np.sqrt(np.bincount(bins @ (BINS**2, BINS, 1), minlength=BINS**3))
    for word in re.findall(r"\w+", (text or "").lower()):
        words[zlib.crc32(word.encode()) % PLACES] += 1
    halves = [half / max(float(np.linalg.norm(half)), 1e-12) for half in (colours, words)]
    return np.concatenate(halves).astype(np.float32)


def _write(frame: pl.LazyFrame, key: str, kind: Kind, folder: Path, shop: Shop, bar: Bar) -> None:
    ids, vectors = [], []
    for part in _parts(frame):
        for one, picture, text in part.select(key, "picture", "text").iter_rows():
            ids.append(one)
            vectors.append(plain_vector(picture, text, f"{key} {one}"))
        bar.advance(len(part))
    stacked = np.stack(vectors)
    has = stacked.any(axis=1)
    EmbeddingTable.from_arrays(
        np.array(ids)[has], stacked[has], encoder=NAME, shop=shop.digest, kind=kind
    ).save(folder / kind, overwrite=True)


def _parts(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    for start in range(0, _height(frame), ROWS):
        yield frame.slice(start, ROWS).collect()


def _height(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())
