"""What writes and paints for co-augmentation, whatever is behind it: templates and scissors, a multimodal language model, an image-editing pipeline.

MOON2.0 has a multimodal language model write enriched titles from title, picture and entities, and another edit pictures by prompts for background, view and detail
(arXiv 2511.12449); both are in-house, and so are the prompts. Ours -> theirs: `TitleWriter.enriched` MLLM_text(T, I, E), `PicturePainter.expanded` MLLM_edit(I_m, T, prompt_k).
`Completion` is the same question asked of what is missing: a title for a picture, a picture for a title.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import polars as pl
from PIL import Image

from moon_rec.shop.pictures import decode
from representation.co_augmentation.config import PictureKind


@dataclass(frozen=True)
class Product:
    """A product as a generator is given it.

    Attributes:
        title: in normal form; "" where it has none.
        entities: that its title, category, attributes and description name, in their order.
        in_title: those of them that its title names.
        image: its encoded picture; None where it has none.
        box: where it is on its picture, `[x0, y0, x1, y1]` as the shop's column `core_box` says; None where that is not known.
    """

    item_id: int
    title: str
    entities: tuple[str, ...] = ()
    in_title: frozenset[str] = frozenset()
    image: bytes | None = None
    box: list[float] | None = None

    @cached_property
    def picture(self) -> Image.Image | None:
        """RGB; None where it has none.

        Raises:
            ShopError: bytes that are no picture.
        """
        if self.image is None:
            return None
        return decode(self.image, f"items.image of item {self.item_id}")

    @property
    def unsaid(self) -> tuple[str, ...]:
        """Entities that the title does not name."""
        return tuple(one for one in self.entities if one not in self.in_title)


class TitleWriter(Protocol):
    """Writes richer titles. What it writes of a product does not depend on the others of a call."""

    @property
    def about(self) -> dict[str, Any]:
        """What it is, as plain values: its name, and digests of what it reads."""
        ...

    def enriched(self, products: Sequence[Product]) -> list[str]:
        """A richer title of each, in normal form; "" where there is nothing to add."""
        ...


class PicturePainter(Protocol):
    """Makes further pictures of products. What it makes of a product does not depend on others."""

    @property
    def about(self) -> dict[str, Any]:
        """As `TitleWriter.about`."""
        ...

    def expanded(
        self, product: Product, kinds: Sequence[PictureKind]
    ) -> Mapping[PictureKind, Image.Image]:
        """RGB pictures of a product that has one, by kind; a kind that it cannot make is left out."""
        ...


class Completion(Protocol):
    """Gives products what they lack, from what they have; None where it cannot."""

    def titles(self, lacking: pl.DataFrame, known: pl.DataFrame) -> list[str | None]:
        """A title for each picture.

        Args:
            lacking: `item_id` and `image`, of products that have a picture and whose words are missing.
            known: columns of the items table, of products that have both, to learn from.
        """
        ...

    def pictures(self, lacking: pl.DataFrame, known: pl.DataFrame) -> list[bytes | None]:
        """An encoded picture for each title.

        Args:
            lacking: the columns of the items table but `image`.
            known: as of `titles`.
        """
        ...
