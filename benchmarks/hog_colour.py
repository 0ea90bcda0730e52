"""A plain baseline for pictures: what shapes and colours are in it, without anything learnt.

HOG (Dalal and Triggs 2005) of the grey picture at 64x64: cells of 8x8, nine orientations, blocks of 2x2 cells; beside it a joint histogram of hue, saturation and
value, eight bins each. Each part is brought to length 1 and both are put side by side, so their cosine is the mean of the two cosines. The variants
that were tried, and how much worse they are, stand in benchmarks/README.md.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from skimage.feature import hog

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.files import digest_of
from moon_rec.progress import progress, say
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode

SIZE, CELL, ORIENTATIONS, BLOCK, BINS = 64, 8, 9, 2, 8
SETTINGS = {"size": SIZE, "cell": CELL, "orientations": ORIENTATIONS, "block": BLOCK, "bins": BINS}
DIM = ((SIZE // CELL - BLOCK + 1) * BLOCK) ** 2 * ORIENTATIONS + BINS**3
PICTURES_A_TASK = 64
PICTURES_A_ROUND = 4096
"""A pool reads all it is given at once; rounds keep the catalogue out of memory."""


def features(picture: Image.Image) -> np.ndarray:
    """HOG and colours of an RGB picture of any size, float32 `(2276,)` at unit length. A picture that is not square is set on a white square."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side), (255, 255, 255))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    square = square.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    shape = hog(
        np.asarray(square.convert("L")),
        orientations=ORIENTATIONS,
        pixels_per_cell=(CELL, CELL),
        cells_per_block=(BLOCK, BLOCK),
        block_norm="L2-Hys",
    )
    bins = np.asarray(square.convert("HSV")).reshape(-1, 3).astype(np.int64) * BINS // 256
    cell = (bins[:, 0] * BINS + bins[:, 1]) * BINS + bins[:, 2]
    colour = np.bincount(cell, minlength=BINS**3).astype(np.float64)
    parts = [part / np.linalg.norm(part) if part.any() else part for part in (shape, colour)]
    both = np.concatenate(parts)
    return (both / np.linalg.norm(both)).astype(np.float32)


def features_of(
    pictures: Iterable[tuple[str, bytes]], total: int, description: str, workers: int = 2
) -> np.ndarray:
    """Features `(total, dim)` of pictures given as (name for errors, bytes), in order, with progress."""
    vectors = np.empty((total, DIM), dtype=np.float32)
    with progress(description, total) as bar:
        for row, vector in enumerate(_in_parallel(pictures, workers)):
            vectors[row] = vector
            bar.advance()
    return vectors


def item_features(shop: Shop, cache: Path | None = None, workers: int = 2) -> EmbeddingTable:
    """The baseline's vectors of all items with a picture, float16; from the folder `cache` where they lie there for this shop, else left there."""
    encoder = digest_of(SETTINGS)
    folder = cache / f"hog_colour_{shop.digest}_{encoder}" if cache else None
    if folder is not None and folder.exists():
        table = EmbeddingTable.open(folder)
        if (table.shop, table.encoder) != (shop.digest, encoder):
            raise TableError(f"{folder} holds vectors of another shop or setting; remove it")
        say(f"HOG and colours of {len(table):,} pictures from {folder}")
        return table
    with_picture = shop.items.filter(pl.col("image").is_not_null())
    ids = with_picture.select("item_id").collect()["item_id"].to_numpy()
    vectors = features_of(_pictures(with_picture), len(ids), "HOG and colours of items", workers)
    table = EmbeddingTable.from_arrays(
        ids, vectors, encoder=encoder, shop=shop.digest, precision="float16"
    )
    if folder is not None:
        table.save(folder)
    return table


def _pictures(frame: pl.LazyFrame) -> Iterator[tuple[str, bytes]]:
    """Row group by row group, so that memory does not hold the catalogue."""
    batches = frame.select("item_id", "image").collect_batches(maintain_order=True, chunk_size=1024)
    for batch in batches:
        for item, image in batch.iter_rows():
            yield f"items.image of item {item}", image


def _in_parallel(pictures: Iterable[tuple[str, bytes]], workers: int) -> Iterator[np.ndarray]:
    if workers <= 1:
        yield from map(_features_of_bytes, pictures)
        return
    rest = iter(pictures)
    with get_context("spawn").Pool(workers) as pool:
        while some := list(islice(rest, PICTURES_A_ROUND)):
            yield from pool.imap(_features_of_bytes, some, chunksize=PICTURES_A_TASK)


def _features_of_bytes(picture: tuple[str, bytes]) -> np.ndarray:
    name, data = picture
    return features(decode(data, name))
