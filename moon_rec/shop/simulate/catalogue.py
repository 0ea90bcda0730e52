"""A catalogue to put shoppers over: item rows, the traits that shoppers care for, pictures and photos.

A trait is seen in the picture, in the text or in both; shoppers' tastes and the nearness of two products are over all traits, so neither modality
is idle. `Catalogue` holds what both kinds (drawn and real) have; how a product is pictured is theirs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from PIL import Image

from moon_rec.shop.simulate.photos import Box

Seen = Literal["picture", "text", "both"]


@dataclass(frozen=True)
class Trait:
    """Something about a product that shoppers care for."""

    name: str
    values: tuple[str, ...]
    seen: Seen
    weight: float = 1.0
    """How much it counts, for tastes and for nearness, relative to the others."""


class Catalogue(ABC):
    """Products without times.

    Attributes:
        items: the columns of the items table but `image` and `listed_at`; ids ascend.
        traits: what shoppers care for; the first is the category.
        codes: (items, traits) int32, the value of each trait by its place in `Trait.values`.
        words: for each item, what a shopper would call it: the words of a search come from here.
    """

    source: str

    def __init__(
        self,
        items: pl.DataFrame,
        traits: tuple[Trait, ...],
        codes: np.ndarray,
        words: list[list[str]],
    ):
        assert codes.shape == (items.height, len(traits)) and len(words) == items.height
        self.items, self.traits, self.codes, self.words = (
            items,
            traits,
            codes.astype(np.int32),
            words,
        )
        self.item_ids = items["item_id"].to_numpy()
        self.spu_ids = items["spu_id"].to_numpy()
        self.prices = items["price"].to_numpy()

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def categories(self) -> np.ndarray:
        """(items,) int32, the code of the leaf category."""
        return self.codes[:, 0]

    @abstractmethod
    def shown(self, rows: np.ndarray) -> Iterator[tuple[bytes, Box | None]]:
        """The catalogue picture of each row, as bytes, and the true box of the product on it; None where nobody knows it."""

    def pictures(self, rows: np.ndarray) -> Iterator[bytes]:
        """The catalogue picture of each row, as bytes."""
        for data, _ in self.shown(rows):
            yield data

    @abstractmethod
    def products(self, rows: np.ndarray) -> Iterator[Image.Image]:
        """Each row's product cut from its ground, RGBA, for `photos.compose`."""
