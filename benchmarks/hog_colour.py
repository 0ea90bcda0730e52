"""Plain baselines for pictures: what shapes and colours are in them, without anything learnt.

Three parts, each at length 1:
- shape: HOG (Dalal and Triggs 2005) of the grey picture at 64x64: cells of 8x8, nine orientations, blocks of 2x2 cells;
- colour: a joint histogram of hue, saturation and value, eight bins each, of the whole picture;
- centre: the square root of that histogram (Hellinger) of the middle quarter of the picture.
Two baselines are made of them, each the mean of two cosines. `plain` is shape and colour. `centred` is shape and centre: it is told that the product is in the
middle, which clutter around it then no longer hides; it is the harder one to beat
(benchmarks/README.md has the others).
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
SHAPE_DIM = ((SIZE // CELL - BLOCK + 1) * BLOCK) ** 2 * ORIENTATIONS
COLOUR_DIM = BINS**3
DIM = SHAPE_DIM + 2 * COLOUR_DIM
BASELINES = {
    "HOG and colour (plain)": np.r_[: SHAPE_DIM + COLOUR_DIM],
    "HOG and colour (centred)": np.r_[:SHAPE_DIM, SHAPE_DIM + COLOUR_DIM : DIM],
}
"""Columns of `features` that each baseline takes."""
PICTURES_A_TASK = 64
PICTURES_A_ROUND = 4096
"""A pool reads all it is given at once; rounds keep the catalogue out of memory."""


def features(picture: Image.Image) -> np.ndarray:
    """Shape, colour and centre side by side of an RGB picture of any size, float32 `(2788,)`. One that is not square is set on a white square."""
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
    pixels = np.asarray(square.convert("HSV"))
    middle = slice(SIZE // 4, 3 * SIZE // 4)
    parts = (shape, _colours(pixels), np.sqrt(_colours(pixels[middle, middle])))
    return np.concatenate([_at_length_one(part) for part in parts]).astype(np.float32)


def _colours(pixels: np.ndarray) -> np.ndarray:
    bins = pixels.reshape(-1, 3).astype(np.int64) * BINS // 256
    cell = (bins[:, 0] * BINS + bins[:, 1]) * BINS + bins[:, 2]
    return np.bincount(cell, minlength=COLOUR_DIM).astype(np.float64)


def _at_length_one(part: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(part)
    return part / norm if norm > 0 else part  # an even picture has no shape


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
    """`features` of all items with a picture, float16; from the folder `cache` where they lie there for this shop, else left there."""
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
