"""When items are listed, and fast draws of items that are listed by a time.

All draws take arrays of any shape and give item rows of the same shape, -1 where nothing fits. Items of an SPU are mostly listed together; one in
three later SKUs follows a few days after.
"""

import numpy as np

from moon_rec.seeds import generator
from moon_rec.shop.simulate.catalogue import Catalogue
from moon_rec.shop.simulate.config import SimulationConfig

NUM_NEIGHBOURS = 24
POPULARITY_SPREAD = 1.0
"""Deviation of the logarithm of how often items are shown."""


class Listing:
    """Times in days from the start of the shop; items there from the start have negative times.

    Attributes:
        listed: (items,) float64 days.
        popularity: (items,) float64, standard normal; how often an item is shown grows with its exponential.
        neighbours: (items, up to 24) int32, the products of the same category and another SPU that share most traits,
            nearest first, padded with -1.
    """

    def __init__(self, catalogue: Catalogue, config: SimulationConfig):
        rng = generator(config.seed, "listing")
        self._categories, self._spus = (
            catalogue.categories.astype(np.int64),
            _dense(catalogue.spu_ids),
        )
        self.listed = _listed(self._spus, config, rng)
        self.popularity = rng.standard_normal(len(catalogue))
        self.window = config.days * config.validation_share
        self._by_time = np.argsort(self.listed, kind="stable")
        self._sorted_times = self.listed[self._by_time]
        self._shown = np.cumsum(np.exp(POPULARITY_SPREAD * self.popularity[self._by_time]))
        self._span = 4.0 * config.days + 400.0
        self._by_category = np.lexsort((self.listed, self._categories))
        self._category_keys = self._keys(self._categories, self.listed)[self._by_category]
        self._category_start = np.searchsorted(
            self._categories[self._by_category], np.arange(self._categories.max() + 2)
        )
        self._by_spu = np.argsort(self._spus, kind="stable")
        self._spu_start = np.searchsorted(self._spus[self._by_spu], np.arange(self._spus.max() + 2))
        self.neighbours = _neighbours(catalogue, self._spus, rng)

    def popular(self, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Any listed item, popular ones more often."""
        count = np.searchsorted(self._sorted_times, times, side="right")
        total = np.where(count > 0, self._shown[np.maximum(count, 1) - 1], 0.0)
        drawn = np.searchsorted(self._shown, rng.random(times.shape) * total, side="right")
        return np.where(count > 0, self._by_time[np.minimum(drawn, np.maximum(count, 1) - 1)], -1)

    def newest(self, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Any item listed within the window before the time."""
        high = np.searchsorted(self._sorted_times, times, side="right")
        low = np.searchsorted(self._sorted_times, times - self.window, side="right")
        return _pick(self._by_time, low, high, rng)

    def of_category(
        self, rows: np.ndarray, times: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Any listed item of the category of `rows`."""
        category = self._categories[rows]
        high = np.searchsorted(self._category_keys, self._keys(category, times), side="right")
        return _pick(self._by_category, self._category_start[category], high, rng)

    def newest_of_category(
        self, rows: np.ndarray, times: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Any item of the category of `rows` listed within the window before the time."""
        category = self._categories[rows]
        high = np.searchsorted(self._category_keys, self._keys(category, times), side="right")
        low = np.searchsorted(
            self._category_keys, self._keys(category, times - self.window), side="right"
        )
        return _pick(self._by_category, np.maximum(low, self._category_start[category]), high, rng)

    def sibling(self, rows: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Another listed SKU of the SPU of `rows`."""
        spu = self._spus[rows]
        found = _pick(self._by_spu, self._spu_start[spu], self._spu_start[spu + 1], rng)
        return np.where((found != rows) & self.is_listed(found, times), found, -1)

    def near(self, rows: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A listed neighbour of `rows`, the nearest more often."""
        place = np.floor(self.neighbours.shape[1] * rng.random(rows.shape) ** 2).astype(np.int64)
        found = self.neighbours[rows, place]
        return np.where((found >= 0) & self.is_listed(found, times), found, -1)

    def is_listed(self, rows: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Whether each row is listed by the time."""
        return self.listed[rows] <= times

    def _keys(self, categories: np.ndarray, times: np.ndarray) -> np.ndarray:
        """One number that orders by category, then by time."""
        return categories * self._span + times


def _dense(ids: np.ndarray) -> np.ndarray:
    return np.unique(ids, return_inverse=True)[1]


def _listed(spus: np.ndarray, config: SimulationConfig, rng: np.random.Generator) -> np.ndarray:
    """(items,) days; those that are there from the start are -300 to 0 days old, whole seconds."""
    num_spus = int(spus.max()) + 1
    later = rng.random(num_spus) < config.share_listed_later
    listed = np.where(later, config.days * rng.random(num_spus), -300.0 * rng.random(num_spus))[
        spus
    ]
    follows = (rng.random(len(spus)) < 1 / 3) & (np.arange(len(spus)) != _first_rows(spus)[spus])
    listed = np.minimum(
        listed + follows * rng.exponential(0.1 * config.days, len(spus)), config.days - 1e-3
    )
    return np.floor(listed * 86_400) / 86_400


def _first_rows(spus: np.ndarray) -> np.ndarray:
    return np.unique(spus, return_index=True)[1]


def _pick(
    order: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A uniform entry of `order[low:high]`, -1 where that is empty."""
    place = low + np.floor((high - low) * rng.random(low.shape)).astype(np.int64)
    return np.where(high > low, order[np.clip(place, 0, len(order) - 1)], -1)


def _neighbours(catalogue: Catalogue, spus: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    found = np.full((len(catalogue), NUM_NEIGHBOURS), -1, dtype=np.int64)
    for category in np.unique(catalogue.categories):
        rows = np.flatnonzero(catalogue.categories == category)
        codes = catalogue.codes[rows]
        count = min(NUM_NEIGHBOURS, len(rows) - 1)
        for start in range(0, len(rows) if count > 0 else 0, 512):
            block = slice(start, start + 512)
            likeness = np.float32(1e-3) * rng.random(
                (len(codes[block]), len(rows)), dtype=np.float32
            )
            for k, trait in enumerate(catalogue.traits[1:], start=1):
                likeness += np.float32(trait.weight) * (codes[block, k, None] == codes[None, :, k])
            likeness[spus[rows[block], None] == spus[None, rows]] = -1.0
            best = np.argpartition(likeness, -count, axis=1)[:, -count:]
            value = np.take_along_axis(likeness, best, axis=1)
            order = np.argsort(-value, axis=1, kind="stable")
            ranked = np.where(
                np.take_along_axis(value, order, axis=1) >= 0,
                np.take_along_axis(best, order, axis=1),
                -1,
            )
            found[rows[block], :count] = np.where(ranked >= 0, rows[ranked], -1)
    return found
