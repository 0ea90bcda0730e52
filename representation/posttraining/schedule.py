"""Which kind of pairs a step takes, and which pairs of that kind.

How the report interleaves its nine kinds is not public. Here each step draws its kind with the mixture's weights, and takes the next pairs of that kind in a
seeded order, epoch by epoch. Step s is the same whatever happened before it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.progress import say
from moon_rec.seeds import generator
from representation.posttraining.mixture import KINDS, ItemKind, PairKind, QueryKind


class Schedule:
    """Which kind and which rows of its pairs a step takes.

    Kinds without at least two pairs are left out, aloud, and their weight goes to the others in proportion.

    Args:
        pairs: of each form of query, as `pairs.logged_pairs` gives them.
        own: pairs of a product with itself, as `pairs.own_pairs` gives them.
        own_shares: of each batch of such queries, the share that comes from `own`; forms that are not named take none.
    """

    def __init__(
        self,
        pairs: dict[QueryKind, pl.DataFrame],
        own: pl.DataFrame,
        mixture: dict[str, float],
        own_shares: Mapping[QueryKind, float],
        steps: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._seed, self._batch_size = seed, batch_size
        self._own = {True: own.filter("has_image"), False: own}
        self._own_shares = own_shares
        self.pairs: dict[PairKind, pl.DataFrame] = {}
        weights, lack_pictures = [], False
        for name, weight in mixture.items():
            kind = KINDS[name]
            rows = pairs[kind.query]
            if "image" in kind.item:
                seen = rows.filter("has_image")
                lack_pictures |= weight > 0 and seen.height < rows.height
                rows = seen
            if weight > 0 and rows.height >= 2:
                self.pairs[kind] = rows
                weights.append(weight)
            elif weight > 0:
                say(f"no pairs of kind {name} before the cut: its weight goes to the other kinds")
        if not self.pairs:
            mend = (
                "products of the log's pairs have no picture, which its kinds show; set a mixture such as {'text->richer-text' = 1.0}"
                if lack_pictures
                else "set engagement to what the log has (clicked), or pairs=catalogue for a shop without searches"
            )
            raise EncoderError(
                f"there is no pair of any kind in the mixture before the cut; {mend}"
            )
        shares = np.array(weights) / sum(weights)
        drawn = generator(seed, "kinds").choice(len(shares), size=steps, p=shares)
        kinds = list(self.pairs)
        self.kinds = [kinds[number] for number in drawn]
        self._turns = np.zeros(steps, dtype=np.int64)
        for number in range(len(kinds)):
            is_kind = drawn == number
            self._turns[is_kind] = np.arange(is_kind.sum())
        self._own_turns = self._count_own_turns()
        self._orders: dict[str, tuple[int, np.ndarray]] = {}

    def rows(self, step: int) -> tuple[PairKind, pl.DataFrame]:
        """The kind and the pairs of a step, those of a product with itself last."""
        kind = self.kinds[step]
        num_own = self._num_own(kind)
        turn = int(self._turns[step])
        rows = self._next(kind.name, self.pairs[kind], turn, self._batch_size - num_own)
        if num_own:
            lot = self._next(*self._own_of(kind), int(self._own_turns[step]), num_own)
            rows = pl.concat([rows, lot])
        return kind, rows

    def used(self) -> Iterator[tuple[QueryKind, ItemKind, pl.DataFrame]]:
        """The pairs that the steps take, by forms of query and item; those of products with themselves apart."""
        turns = Counter(self.kinds)
        own_turns: Counter[str] = Counter()
        for kind in self.pairs:
            own_turns[self._own_of(kind)[0]] += turns[kind]
        for kind, pairs in self.pairs.items():
            num_own = self._num_own(kind)
            size = self._batch_size - num_own
            yield kind.query, kind.item, self._first(kind.name, pairs, turns[kind], size)
            if num_own:
                name, own = self._own_of(kind)
                yield kind.query, kind.item, self._first(name, own, own_turns[name], num_own)

    def _num_own(self, kind: PairKind) -> int:
        """How many pairs of a product with itself a batch of the kind has."""
        _, own = self._own_of(kind)
        return min(round(self._own_shares.get(kind.query, 0.0) * self._batch_size), own.height)

    def _own_of(self, kind: PairKind) -> tuple[str, pl.DataFrame]:
        """The products that are their own queries in batches of the kind, and the name of their order: of those with a picture where it shows one, else of all."""
        needs_picture = kind.query == "image" or "image" in kind.item
        return f"own {kind.query}, {needs_picture}", self._own[needs_picture]

    def _count_own_turns(self) -> np.ndarray:
        """Of each step, how many steps before it took pairs of the same products in the same order."""
        seen: Counter[str] = Counter()
        turns = np.zeros(len(self.kinds), dtype=np.int64)
        for step, kind in enumerate(self.kinds):
            name, _ = self._own_of(kind)
            turns[step] = seen[name]
            seen[name] += 1
        return turns

    def _first(self, name: str, pairs: pl.DataFrame, turns: int, size: int) -> pl.DataFrame:
        count = turns * min(size, pairs.height)
        return pairs if count >= pairs.height else pairs[self._order(name, 0, pairs.height)[:count]]

    def _next(self, name: str, pairs: pl.DataFrame, turn: int, size: int) -> pl.DataFrame:
        """The `turn`-th lot of `size` pairs in a seeded order, epoch by epoch; fewer where there are not as many."""
        size = min(size, pairs.height)
        places = np.arange(turn * size, (turn + 1) * size)
        epochs, places = np.divmod(places, pairs.height)
        rows = [
            self._order(name, int(epoch), pairs.height)[places[epochs == epoch]]
            for epoch in np.unique(epochs)
        ]
        return pairs[np.concatenate(rows)]

    def _order(self, name: str, epoch: int, count: int) -> np.ndarray:
        kept = self._orders.get(name)
        if kept is None or kept[0] != epoch:
            order = generator(self._seed, "pairs", name, epoch).permutation(count)
            kept = self._orders[name] = (epoch, order)
        return kept[1]
