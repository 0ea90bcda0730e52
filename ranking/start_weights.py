"""The start weights of a table: row by row the same, whoever holds which rows of it.

torch fills a tensor on the CPU with normal numbers from its stream in order, sixteen at a time. So blocks of rows, drawn one after the
other, are the rows of the whole, as long as each block but the last is a multiple of sixteen numbers and the last holds sixteen.
A rank that keeps some rows draws all, a block at a time, and keeps its own: the numbers are those of one process, and no table is
ever whole in memory.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

EMBEDDING_STD = 0.02
GROUP = 16
"""Numbers that torch makes together."""
BLOCK_NUMBERS = 1 << 20


class StartWeights:
    """What a table's `init_fn` is: fills it, or, where it is on the meta device, notes where its numbers begin.

    A table on the meta device is made by no one; `fill` gives rows of it their numbers later. torch's stream goes on after
    it as if it had been made.
    """

    def __init__(self) -> None:
        self._begin: Tensor | None = None
        self._shape = (0, 0)

    def __call__(self, weight: Tensor) -> Tensor:
        """Fill a whole table; of one noted before, whose rows are filled by `fill`, leave the part that is given."""
        if weight.is_meta:
            self._begin, self._shape = torch.get_rng_state(), (weight.shape[0], weight.shape[1])
            for _ in self._blocks():
                pass
        elif self._begin is None:
            nn.init.normal_(weight, std=EMBEDDING_STD)
        return weight

    @property
    def is_noted(self) -> bool:
        """Whether the table is on the meta device, and to be filled."""
        return self._begin is not None

    @torch.no_grad()
    def fill(self, part: Tensor, first: int) -> None:
        """Give rows of a noted table their numbers; torch's stream is left as it was.

        Args:
            part: `(rows, dim)` on any device, in place.
            first: which row of the table is the first of `part`.
        """
        assert self._begin is not None
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._begin)
            for start, block in self._blocks():
                low, high = max(start, first), min(start + len(block), first + len(part))
                if low < high:
                    part[low - first : high - first].copy_(block[low - start : high - start])
                if high == first + len(part):
                    return

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """First row and rows of each block, as torch's stream gives them now."""
        num_rows, dim = self._shape
        for start, end in _bounds(num_rows, dim):
            torch.empty(end - start, dim).normal_()  # an Embedding fills itself before it is filled
        for start, end in _bounds(num_rows, dim):
            yield start, torch.empty(end - start, dim).normal_(std=EMBEDDING_STD)


def _bounds(num_rows: int, dim: int) -> Iterator[tuple[int, int]]:
    """Rows of each block."""
    step, start = max(GROUP, BLOCK_NUMBERS // dim // GROUP * GROUP), 0
    while start < num_rows:
        end = start + step
        if (num_rows - end) * dim < GROUP:
            end = num_rows
        yield start, end
        start = end
