"""How another each column is in test than in train: the population stability index, and what chance alone would make of it.

    index = sum over bins of (q - p) ln(q / p),   p = (train rows + 1/2) / (all train rows + bins / 2),   q the same of test

(the symmetric divergence of Jeffreys 1946; as the stability index of scorecards, with the bounds .1 and .25: Siddiqi 2006, Credit Risk Scorecards; a half row
a bin keeps it finite). Notable choices
- Numbers are binned by the tenths of train, so that a number that train often has is a bin's upper edge; texts and truths by the `MOST_VALUES` most frequent values of train, all others
  together. Missing values are a bin.
- Rows of one user are alike, so chance is measured by users: the train rows of a user are one block, the test rows another; whole blocks change their period at random (`DRAWS` times), and
  the level is what 1 of 100 such draws goes beyond. Below `FEWEST_BLOCKS` users in a period there is none. What a single day does to all users is no chance by this measure.
- A column drifts where the index is beyond chance and at least `MODERATE`. An index beyond chance and below that is a difference too small to matter.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from moon_rec.seeds import generator
from moon_rec.shop.description.results import ColumnDrift, DriftBin, Verdict

LARGE, MODERATE = 0.25, 0.1
DRAWS = 199
FEWEST_BLOCKS = 20
TENTHS = np.arange(1, 10) / 10
MOST_VALUES = 20
MISSING, OTHERS = "missing", "all others"
DEFINITION = (
    "Population stability index between train and test, sum over bins of (q - p) ln(q / p). Bins of numbers are the tenths of train, of texts the "
    f"{MOST_VALUES} most frequent values of train and all others; missing values are a bin. Chance: what 1 of 100 draws goes beyond that move "
    f"whole users' rows between the periods at random ({DRAWS} draws). Large: beyond chance and at least {LARGE}; moderate: at least {MODERATE}; "
    "slight: beyond chance, but smaller; not shown: within chance. Large and moderate count as drift."
)


@dataclass(frozen=True)
class Blocks:
    """Rows of train and test, and whose they are.

    Attributes:
        users: `(rows,)` user ids.
        is_test: `(rows,)`; the others are train rows.
    """

    users: np.ndarray
    is_test: np.ndarray

    @cached_property
    def of_row(self) -> np.ndarray:
        """`(rows,)`: the block (user and period) of each row, from 0."""
        user = np.unique(self.users, return_inverse=True)[1].astype(np.int64)
        return np.unique(2 * user + self.is_test, return_inverse=True)[1].ravel()

    @cached_property
    def in_test(self) -> np.ndarray:
        """`(blocks,)`: whether a block is of test."""
        found = np.zeros(self.of_row.max(initial=-1) + 1, dtype=bool)
        found[self.of_row] = self.is_test
        return found

    @cached_property
    def drawn(self) -> np.ndarray:
        """`(draws, blocks)`: which blocks are of test in each draw; no draws where there are too few of either."""
        num_test = int(self.in_test.sum())
        if min(num_test, len(self.in_test) - num_test) < FEWEST_BLOCKS:
            return np.zeros((0, len(self.in_test)), dtype=bool)
        random = generator(0, "drift")
        return np.stack([random.permutation(self.in_test) for _ in range(DRAWS)])


def column_drift(table: str, column: str, values: pl.Series, blocks: Blocks) -> ColumnDrift:
    """The drift of one column.

    Args:
        values: one a row of `blocks`: numbers, truths or texts.
    """
    kind = "numeric" if values.dtype.is_numeric() else "categorical"
    bins, labels = (_tenths if kind == "numeric" else _most_frequent)(values, ~blocks.is_test)
    train, test = (
        np.bincount(bins[rows], minlength=len(labels)) for rows in (~blocks.is_test, blocks.is_test)
    )
    kept = train + test > 0
    index = chance = None
    if train.sum() and test.sum():
        index = float(stability_index(train[kept], test[kept]))
        chance = _chance(bins, len(labels), kept, blocks)
    return ColumnDrift(
        table=table,
        column=column,
        kind=kind,
        index=index,
        chance=chance,
        verdict=verdict(index, chance),
        train_rows=int(train.sum()),
        test_rows=int(test.sum()),
        bins=tuple(
            DriftBin(label=label, train=one / max(train.sum(), 1), test=other / max(test.sum(), 1))
            for label, one, other, is_kept in zip(labels, train, test, kept, strict=True)
            if is_kept
        ),
    )


def stability_index(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The index of counts `(..., bins)`; see the module."""
    bins = train.shape[-1]
    p = (train + 0.5) / (train.sum(-1, keepdims=True) + bins / 2)
    q = (test + 0.5) / (test.sum(-1, keepdims=True) + bins / 2)
    return ((q - p) * np.log(q / p)).sum(-1)


def verdict(index: float | None, chance: float | None) -> Verdict:
    """What the index says; see `DEFINITION`."""
    if index is None or chance is None:
        return "cannot be told"
    if index <= chance:
        return "not shown"
    return "large" if index >= LARGE else "moderate" if index >= MODERATE else "slight"


def _chance(bins: np.ndarray, num_bins: int, kept: np.ndarray, blocks: Blocks) -> float | None:
    """The 99 % point of the index under draws of blocks."""
    if not len(blocks.drawn):
        return None
    cells = np.bincount(blocks.of_row * num_bins + bins, minlength=len(blocks.in_test) * num_bins)
    cells = cells.reshape(-1, num_bins)[:, kept].astype(np.float32)
    total = cells.sum(0, dtype=np.float64)
    found = []
    for some in np.array_split(blocks.drawn, -(-blocks.drawn.size // 4_000_000)):
        test = (some.astype(np.float32) @ cells).astype(np.float64)
        found.append(stability_index(total - test, test))
    return float(np.quantile(np.concatenate(found), 0.99, method="higher"))


def _tenths(values: pl.Series, is_train: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The bin of each value and the bins' labels; the last is that of missing values."""
    numbers = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(numbers)
    train = numbers[known & is_train]
    edges = np.unique(np.quantile(train, TENTHS, method="inverted_cdf")) if len(train) else train
    bins = np.where(known, np.searchsorted(edges, numbers, "left"), len(edges) + 1)
    named = [f"{edge:.4g}" for edge in edges]
    if not named:
        return bins, ["any number", MISSING]
    between = [f"over {low} to {high}" for low, high in itertools.pairwise(named)]
    return bins, [f"to {named[0]}", *between, f"over {named[-1]}", MISSING]


def _most_frequent(values: pl.Series, is_train: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """As `_tenths`, of texts and truths."""
    texts = values.cast(pl.String)
    counts = texts.filter(pl.Series(is_train)).drop_nulls().value_counts(name="rows")
    counts = counts.sort("rows", texts.name, descending=[True, False]).head(MOST_VALUES)
    labels = counts[texts.name].to_list()
    places = pl.DataFrame({"text": counts[texts.name], "place": np.arange(len(labels))})
    found = texts.to_frame("text").join(places, on="text", how="left", maintain_order="left")
    place = pl.when(pl.col("text").is_null()).then(len(labels) + 1)
    bins = found.select(place.otherwise(pl.col("place").fill_null(len(labels)))).to_series()
    return bins.cast(pl.Int64).to_numpy(), [*labels, OTHERS, MISSING]
