"""Trained projections of two frozen towers into one space: their settings, their weights, their rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from moon_rec.bounds import Share
from moon_rec.config import Config, Rules
from representation.model.prompt import RICHER_ALONE, Richness

MOST_SIDE = 224
"""Of a picture, where nothing else is asked for."""
Width = Annotated[int, Field(ge=1, le=65_536)]
Channel = Annotated[float, Field(ge=-10, le=10)]
Channels = tuple[Channel, Channel, Channel]


class LockedConfig(Config):
    """What a locked pair needs besides its towers and projections.

    Attributes:
        dim: width of a vector.
        hidden: of a projection's hidden layer; 0: it is linear.
        image_size: side of a picture, in pixels.
        image_mean, image_std: of the channels: what pixels in [0, 1] are normalised by.
        text_weight: of the words' unit vector in the mean with the picture's.
        item_text, with_price: what is said of a product, see `prompt.product_texts`; cut to the length that the text tower reads.
    """

    dim: Width = 256
    hidden: Annotated[int, Field(ge=0, le=65_536)] = 0
    image_size: Annotated[int, Field(ge=1, le=4_096)] = MOST_SIDE
    image_mean: Channels = (0.5, 0.5, 0.5)
    image_std: Channels = (0.5, 0.5, 0.5)
    text_weight: Share = 0.5
    item_text: Richness = "richer"
    with_price: bool = False

    counts_when: ClassVar[Rules] = {"with_price": RICHER_ALONE}


class Projections(nn.Module):
    """From each tower's outputs into the common space."""

    def __init__(self, text_dim: int, vision_dim: int, config: LockedConfig) -> None:
        super().__init__()
        self.text = _projection(text_dim, config)
        self.vision = _projection(vision_dim, config)


def _projection(width: int, config: LockedConfig) -> nn.Module:
    if not config.hidden:
        return nn.Linear(width, config.dim)
    return nn.Sequential(
        nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.dim)
    )


@dataclass
class LockedRows:
    """Prepared rows of a locked pair: towers' outputs.

    Attributes:
        words: `(rows, text width)`; None: none has words.
        has_words: `(rows,)` boolean.
        pictures: `(rows, vision width)`; None: none has a picture.
        num_tokens: of the words.
    """

    words: Tensor | None
    has_words: Tensor
    pictures: Tensor | None
    counts: Tensor

    def __len__(self) -> int:
        return len(self.has_words)

    @property
    def num_tokens(self) -> int:
        return int(self.counts.sum())

    def to(self, device: torch.device | str) -> "LockedRows":
        """The same rows on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def part(self, first: int, end: int) -> "LockedRows":
        """Some rows."""
        return self._each(lambda tensor: tensor[first:end])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "LockedRows":
        words = change(self.words) if self.words is not None else None
        pictures = change(self.pictures) if self.pictures is not None else None
        return LockedRows(words, change(self.has_words), pictures, change(self.counts))
