"""What a step of post-training is given: the inputs of a process's own pairs, and who is who in the whole batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl
import torch
from torch import Tensor

from representation.mixture.modality_driven import Objective
from representation.posttraining.mixture import PairKind
from representation.trainable import Rows


@dataclass
class HardItems:
    """Hard negatives of a batch, `count` to each of its pairs.

    Attributes:
        items: inputs of this process's own rows, `(own * count)` of them, pair by pair; where there is no hard negative the positive stands in.
        ids, spu_ids: `(batch, count)` int64, of all processes' rows; -1 where there is none.
        mask: `(batch, count)`, True where there is one.
        is_clicked: `(batch, count)`, True where it was clicked but not bought after the same search.
        blocked: `(own, batch * count)`, True where one, anyone's, is no negative of an own query; also where there is none.
    """

    items: Rows
    ids: Tensor
    spu_ids: Tensor
    mask: Tensor
    is_clicked: Tensor
    blocked: Tensor

    def to(self, device: torch.device) -> "HardItems":
        """With the inputs on `device`."""
        return replace(self, items=self.items.to(device))


@dataclass
class PairBatch:
    """A batch of one kind: the inputs of this process's own rows, and who is who in all of it.

    With one process `own` is the whole batch. An own query's positive is in the column of `positives`.

    Attributes:
        queries, items: inputs of the own rows.
        blocked: `(own, batch)`, True where an item is no negative of a query, never at the positive.
        rows: the pairs of the whole batch, see `pairs.logged_pairs`.
        item_ids, spu_ids, search_ids: `(batch,)` int64 of the whole batch.
        own: which rows of the batch are this process's.
        hard: hard negatives, where asked for.
        query_views: the own queries of words and picture by one of them alone, where asked for (`AlignmentConfig.query_views`).
        item_views: the own items by their picture alone and by their text alone, where asked for.
    """

    kind: PairKind
    queries: Rows
    items: Rows
    blocked: Tensor
    rows: pl.DataFrame
    item_ids: Tensor
    spu_ids: Tensor
    search_ids: Tensor
    own: slice
    hard: HardItems | None = None
    query_views: Mapping[Objective, Rows] = field(default_factory=dict)
    item_views: tuple[Rows, ...] = ()

    @property
    def query_sides(self) -> dict[Objective, int]:
        """Which of the sides are queries, by what they show; first the queries as the kind has them."""
        first = 2 if self.hard is None else 3
        found: dict[Objective, int] = {self.kind.shows: 0}
        found.update((name, first + place) for place, name in enumerate(self.query_views))
        return found

    def __len__(self) -> int:
        """Pairs of this process."""
        return self.own.stop - self.own.start

    def to(self, device: torch.device) -> "PairBatch":
        """With the inputs on `device`; who is who stays here, where negatives are drawn."""
        hard = self.hard.to(device) if self.hard is not None else None
        return replace(
            self,
            queries=self.queries.to(device),
            items=self.items.to(device),
            hard=hard,
            query_views={name: one.to(device) for name, one in self.query_views.items()},
            item_views=tuple(one.to(device) for one in self.item_views),
        )

    @property
    def sides(self) -> list[Rows]:
        """All that is embedded: queries, items, hard negatives where there are, views of queries, views of items."""
        hard = [] if self.hard is None else [self.hard.items]
        return [self.queries, self.items, *hard, *self.query_views.values(), *self.item_views]

    @property
    def label(self) -> str:
        """Its kind, for the log."""
        return self.kind.name

    @property
    def num_pairs(self) -> int:
        """Pairs of all processes together."""
        return len(self.item_ids)

    @property
    def own_rows(self) -> pl.DataFrame:
        """The pairs of this process."""
        return self.rows[self.own]

    @property
    def positives(self) -> Tensor:
        """`(own,)` int64: the column of each own query's item among the batch's."""
        return torch.arange(self.own.start, self.own.stop)

    @property
    def num_tokens(self) -> int:
        """Real tokens of the own rows, on both sides, of the hard negatives and of views."""
        return sum(side.num_tokens for side in self.sides)
