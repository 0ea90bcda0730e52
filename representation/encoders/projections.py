"""Trained projections of two frozen towers into one space: their settings, their weights, their rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from moon_rec.bounds import Share
from moon_rec.config import Config, Rules
from representation.model.prompt import RICHER_ALONE, Richness

MOST_SIDE = 224
"""Of a picture, where nothing else is asked for."""
OF_A_WORD = 0.05
"""Standard deviation of a word's vector before training."""
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)
"""Odd numbers that mix bits when multiplied by: Knuth's 2**64 / golden ratio, and one of xxHash's primes."""
Width = Annotated[int, Field(ge=1, le=65_536)]
Channel = Annotated[float, Field(ge=-10, le=10)]
Channels = tuple[Channel, Channel, Channel]


class LockedConfig(Config):
    """What a locked pair needs besides its towers and projections.

    Attributes:
        dim: width of a vector.
        hidden: of a projection's hidden layer; 0: it is linear.
        words: rows of a trained table of tokens and of pairs of neighbours, which are found by a hash and whose vectors are added to the projected text: what a
            frozen text tower leaves out, such as a shop's brands; 0: none.
        image_size: side of a picture, in pixels.
        image_mean, image_std: of the channels: what pixels in [0, 1] are normalised by.
        text_weight: of the words' unit vector in the mean with the picture's.
        item_text, with_price: what is said of a product, see `prompt.product_texts`; cut to the length that the text tower reads.
    """

    dim: Width = 256
    hidden: Annotated[int, Field(ge=0, le=65_536)] = 0
    words: Annotated[int, Field(ge=0, le=4_194_304)] = 0
    image_size: Annotated[int, Field(ge=1, le=4_096)] = MOST_SIDE
    image_mean: Channels = (0.5, 0.5, 0.5)
    image_std: Channels = (0.5, 0.5, 0.5)
    text_weight: Share = 0.5
    item_text: Richness = "richer"
    with_price: bool = False

    counts_when: ClassVar[Rules] = {"with_price": RICHER_ALONE}


class Projections(nn.Module):
    """From each tower's outputs into the common space; and the table of words, where there is one."""

    def __init__(self, text_dim: int, vision_dim: int, config: LockedConfig) -> None:
        super().__init__()
        self.text = _projection(text_dim, config)
        self.vision = _projection(vision_dim, config)
        self.words = nn.Embedding(config.words, config.dim) if config.words else None
        if self.words is not None:
            nn.init.normal_(self.words.weight, std=OF_A_WORD)

    def of_texts(self, states: Tensor, places: Tensor | None) -> Tensor:
        """Vectors `(rows, dim)` of the text tower's outputs `(rows, width)` and of the words' places `(rows, most)`, -1 behind the last."""
        found = self.text(states)
        if self.words is None or places is None:
            return found
        is_there = places >= 0
        summed = (self.words(places.clamp(min=0)) * is_there[..., None]).sum(dim=1)
        return found + summed / is_there.sum(dim=1, keepdim=True).clamp(min=1).sqrt()


def word_places(tokens: Sequence[Sequence[int]], words: int) -> Tensor:
    """Places in a table of `words` rows of each text's tokens and pairs of neighbours `(texts, most)`, -1 behind the last."""
    found = []
    for ids in tokens:
        one = np.asarray(ids, dtype=np.uint64)
        pairs = (one[:-1] + np.uint64(1)) * _FACTORS[1] + one[1:] + np.uint64(1)
        hashed = np.concatenate([one, pairs]) * _FACTORS[0]  # modulo 2**64; its upper half is mixed
        found.append(
            torch.from_numpy(((hashed >> np.uint64(32)) % np.uint64(words)).astype(np.int64))
        )
    return torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=-1)


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
        places: of the words in the trained table, `(rows, most)`; None: there is no table.
    """

    words: Tensor | None
    has_words: Tensor
    pictures: Tensor | None
    counts: Tensor
    places: Tensor | None = None

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
        places = change(self.places) if self.places is not None else None
        return LockedRows(words, change(self.has_words), pictures, change(self.counts), places)
