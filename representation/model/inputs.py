"""What a backbone is given: a batch of rows of tokens, and the pictures they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Inputs:
    """A batch for the backbone.

    Attributes:
        token_ids: `(batch, length)` int64, padded on the right.
        mask: `(batch, length)`, True where a token is real.
        pixels: `(pictures, ...)`, what the backbone's layout makes of pictures, in row order, as many entries of each row that has a picture; None without pictures.
        roles: `(batch, length)`, which tokens go to guided experts (`mixture.guided`); None: none.
        words: `(batch, length)`, True at tokens of a product's or a search's own words, where fusion reads them (`Composer`); None: there are none.
        seen: in place of `pixels`, what a frozen tower made of these pictures (`Backbone.tower_states`), each `(pictures, ...)`; empty: the tower is still to be run.
    """

    token_ids: Tensor
    mask: Tensor
    pixels: Tensor | None = None
    roles: Tensor | None = None
    seen: Sequence[Tensor] = ()
    words: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mask)

    @property
    def num_tokens(self) -> int:
        """Real tokens, those of pictures included."""
        return int(self.mask.sum())

    def part(self, first: int, end: int) -> "Inputs":
        """Some rows of a batch in which all have a picture of their own, or none has."""

        def of_rows(pictures: Tensor) -> Tensor:
            each, left = divmod(len(pictures), len(self))
            assert not left
            return pictures[each * first : each * end]

        pixels = of_rows(self.pixels) if self.pixels is not None else None
        roles, words = (
            each[first:end] if each is not None else None for each in (self.roles, self.words)
        )
        seen = [of_rows(kept) for kept in self.seen]
        return Inputs(self.token_ids[first:end], self.mask[first:end], pixels, roles, seen, words)

    def to(self, device: torch.device | str) -> "Inputs":
        """The same batch on `device`."""
        pixels, roles, words = (
            each.to(device) if each is not None else None
            for each in (self.pixels, self.roles, self.words)
        )
        seen = [each.to(device) for each in self.seen]
        ids, mask = self.token_ids.to(device), self.mask.to(device)
        return Inputs(ids, mask, pixels, roles, seen, words)
