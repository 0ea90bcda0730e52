"""What stays as it is while `benchmarks.title_to_picture` trains: frozen towers' outputs, words, colours, pictures; computed once, piece by piece, and kept.

Towers run in batches, in bfloat16 where the processor multiplies it: their outputs differ from the library's in the third digit, and what is measured by less than its interval.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from PIL import ImageOps
from torch import Tensor

from benchmarks.title_towers import CHUNK, FRAME, LateBlocks, make_views
from moon_rec.files import atomic_file
from moon_rec.progress import progress
from moon_rec.seeds import generator, seed_of
from moon_rec.shop.pictures import decode
from representation.encoders.locked import LockedEncoder
from representation.model.pixels import square

HELD_OUT, VALIDATION = 2_000, 1_000
PIECE, BATCH = 2_048, 32


class Split(NamedTuple):
    """Places of products: trained on, for choosing, held out."""

    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray


def split_of(
    products: int, seed: int, held_out: int = HELD_OUT, validation: int = VALIDATION
) -> Split:
    """Products by chance: the last to be held out."""
    order = generator(seed, "title to picture").permutation(products)
    cut = products - held_out
    return Split(order[: cut - validation], order[cut - validation : cut], order[cut:])


class Features:
    """Of a shop's products with a picture, in the order of `items`; each is computed when it is first asked for.

    Attributes:
        seconds: what each took on the processor; what was there from an earlier run took what that run noted.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        items: pl.DataFrame,
        titles: list[str],
        pair: LockedEncoder,
    ) -> None:
        self._options, self._images, self._titles, self.pair = options, items["image"], titles, pair
        self.seconds: dict[str, float] = {}

    def texts(self) -> np.ndarray:
        """The text tower's outputs `(products, width)`."""
        ids = self.pair.tokens(self._titles, "item", "title")

        def of(first: int, end: int) -> np.ndarray:
            order = first + np.argsort([len(row) for row in ids[first:end]], kind="stable")
            found = np.empty((end - first, self.pair.text.dim), np.float32)
            for part in np.split(order, range(BATCH, len(order), BATCH)):
                with self._autocast():
                    of_part = self.pair._of_texts([ids[row] for row in part])
                found[part - first] = of_part.float().cpu().numpy()
            return found

        return self._pieces(f"text-{self._options.text}", of)

    def pictures(self) -> np.ndarray:
        """The vision tower's outputs `(products, width)` of squares."""

        def of(first: int, end: int) -> np.ndarray:
            found = []
            for start in range(first, end, BATCH):
                with self._autocast():
                    of_part = self.pair._of_squares(self._squares(start, min(start + BATCH, end), self.pair.image_size))  # fmt: skip
                found.append(of_part.float().cpu().numpy())
            return np.concatenate(found)

        return self._pieces(f"vision-{self._options.vision}-{self.pair.image_size}", of)

    def colours(self) -> np.ndarray:
        """Mean colours of an 8 x 8 grid, in [-1, 1] `(products, 192)`."""

        def of(first: int, end: int) -> np.ndarray:
            squares = self._squares(first, end, 64)
            cells = squares.reshape(-1, 8, 8, 8, 8, 3).mean(axis=(2, 4)) / 127.5 - 1
            return cells.reshape(len(cells), -1).astype(np.float32)

        return self._pieces("colours", of)

    def frames(self) -> np.ndarray:
        """Pictures of `FRAME`, white around those of another shape, `(products, *FRAME, 3)` uint8."""

        return self._pieces("frames", self._frames)

    def views(self, count: int, size: tuple[int, int]) -> list[np.ndarray]:
        """Early states of the plain frames and of `count - 1` altered views."""
        found = []
        model = self.pair.vision.to(memory_format=torch.channels_last)
        for view in range(count):

            def of(first: int, end: int, view: int = view) -> np.ndarray:
                seed = seed_of(self._options.seed, "view", view, first) if view else None
                return make_views(model, self._frames(first, end), size, self.pair.config, seed)

            found.append(self._pieces(f"early-{size[0]}x{size[1]}-{self._options.seed}-{view}", of))
        return found

    def outputs(
        self, late: LateBlocks, views: list[np.ndarray], size: tuple[int, int]
    ) -> list[np.ndarray]:
        """What untrained late blocks make of each view, in float16."""
        found = []
        for view, states in enumerate(views):

            def of(first: int, end: int, states: np.ndarray = states) -> np.ndarray:
                with self._autocast():
                    parts = torch.from_numpy(states[first:end]).split(CHUNK)
                    return torch.cat([late(part) for part in parts]).half().numpy()

            found.append(self._pieces(f"late-{size[0]}x{size[1]}-{self._options.seed}-{view}", of))
        return found

    def words(self, train: np.ndarray) -> Any:
        """TF-IDF of words and pairs of words `(products, words)`, sparse; the words are those of the products trained on."""
        found = vectorizer(min_df=2)
        found.fit([self._titles[row] for row in train])
        return found.transform(self._titles).tocsr()

    def _frames(self, first: int, end: int) -> np.ndarray:
        pictures = [decode(one) for one in self._images[first:end]]
        return np.stack(
            [np.asarray(ImageOps.pad(one, (FRAME[1], FRAME[0]), color="white")) for one in pictures]
        )

    def _squares(self, first: int, end: int, side: int) -> np.ndarray:
        return np.stack([square(decode(one), side) for one in self._images[first:end]])

    def _autocast(self) -> Any:
        enabled = self._options.precision == "bfloat16"
        return torch.autocast(self.pair.device.type, torch.bfloat16, enabled=enabled)

    @torch.no_grad()
    def _pieces(self, name: str, of: Callable[[int, int], np.ndarray]) -> np.ndarray:
        found, self.seconds[name] = pieces(self._options.work, name, len(self._titles), of)
        return found


def pieces(
    work: Path, name: str, products: int, of: Callable[[int, int], np.ndarray]
) -> tuple[np.ndarray, float]:
    """Rows in files of `PIECE`, those that are there taken up; and the processor seconds that all took, those of earlier runs included."""
    work.mkdir(parents=True, exist_ok=True)
    found, seconds = [], 0.0
    with progress(name, products) as bar:
        for first in range(0, products, PIECE):
            file, end = work / f"{name}-{first:08d}.npz", min(first + PIECE, products)
            if not file.is_file():
                start = time.process_time()
                rows = of(first, end)
                with atomic_file(file) as temporary, open(temporary, "wb") as out:
                    np.savez(out, rows=rows, seconds=time.process_time() - start)
            held = np.load(file, allow_pickle=False)
            found.append(held["rows"])
            seconds += float(held["seconds"])
            bar.advance(end - first)
    return np.concatenate(found), seconds


def vectorizer(**settings: Any) -> Any:
    """TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"[^\s]+", **settings
    )


def bag(matrix: Any, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Places, offsets and weights of some rows, as `embedding_bag` takes them."""
    part = matrix[rows]
    places, offsets = (torch.from_numpy(each.astype(np.int64)) for each in (part.indices, part.indptr[:-1]))  # fmt: skip
    weights = torch.from_numpy(part.data.astype(np.float32))
    return places.to(device), offsets.to(device), weights.to(device)
