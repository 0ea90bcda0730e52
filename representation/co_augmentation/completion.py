"""What a product lacks, made of what it has: a title for its picture, a picture for its title.

The words of a product without any are those of a model that sees, where one is at hand, else the title of the product whose picture is nearest. A picture for words is that of the product whose words are
nearest: no generator here paints from words, and where no other product has a picture there is none.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from representation.co_augmentation.written import WrittenTitles
from representation.interface import Encoder
from representation.search.exact import top_rows


class NearestProduct:
    """A `Completion` by the nearest product of an encoder that reads both; an item is encoded once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._kept: dict[tuple[str, int], np.ndarray] = {}

    def titles(self, lacking: pl.DataFrame, known: pl.DataFrame) -> list[str | None]:
        """See `Completion.titles`: that of the product with the nearest picture."""
        return self._of_nearest(lacking, known, "image", "title")

    def pictures(self, lacking: pl.DataFrame, known: pl.DataFrame) -> list[bytes | None]:
        """See `Completion.pictures`: that of the product with the nearest words."""
        return self._of_nearest(lacking, known, "text", "image")

    def _of_nearest(
        self, lacking: pl.DataFrame, known: pl.DataFrame, by: Literal["text", "image"], column: str
    ) -> list:
        if not known.height or not lacking.height:
            return [None] * lacking.height
        nearest = top_rows(self._vectors(lacking, by), self._vectors(known, by), 1)[:, 0]
        return known[column].gather(pl.Series(nearest)).to_list()

    def _vectors(self, frame: pl.DataFrame, by: Literal["text", "image"]) -> np.ndarray:
        ids = frame["item_id"].to_list()
        new = frame.filter(pl.Series([(by, one) not in self._kept for one in ids]))
        if new.height:
            found = self._encoder.encode_items(new, by, progress=False)
            self._kept.update({(by, one): row for one, row in zip(new["item_id"], found, strict=True)})  # fmt: skip
        return np.stack([self._kept[by, one] for one in ids])


class WrittenWords(NearestProduct):
    """A `Completion` whose titles a model writes; pictures are the nearest product's."""

    def __init__(self, encoder: Encoder, writer: WrittenTitles) -> None:
        super().__init__(encoder)
        self._writer = writer
        self._said: dict[int, str] = {}

    def titles(self, lacking: pl.DataFrame, known: pl.DataFrame) -> list[str | None]:
        """See `Completion.titles`; None where nothing is written."""
        ids: Sequence[int] = lacking["item_id"].to_list()
        new = lacking.filter(pl.Series([one not in self._said for one in ids], dtype=pl.Boolean))
        said = self._writer.for_pictures(new)
        self._said.update(zip(new["item_id"], said, strict=True))
        return [self._said[one] or None for one in ids]
