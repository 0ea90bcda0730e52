"""Shoppers: what they like, pay and tend to click, and the true logit of a click.

Notable choices
- A shopper's liking for every value of every trait is normal, half of its variance shared by a segment of shoppers, half their own. A shopper cares for
  some traits more than for others.
- Tastes drift: the liking at time t is cos(a) first + sin(a) last, where a grows evenly to `drift` quarter turns on the last day, so its variance stays.
- Quality is an item's own, seen by shoppers and by nobody else.
"""

import numpy as np

from moon_rec.seeds import generator
from moon_rec.shop.simulate.catalogue import Catalogue
from moon_rec.shop.simulate.config import SimulationConfig

NUM_SEGMENTS = 10
SEGMENT_SHARE = 0.7
"""Share of the variance of tastes that a segment's shoppers have in common."""

CARE_SHAPE = 0.6
"""Of the gamma distribution of how much a shopper cares for each trait: under 1, for a few traits much and for others little."""

ACTIVITY_SPREAD = 0.8
"""Deviation of the logarithm of how many requests shoppers make."""


class Shoppers:
    """Arrays are (users,) unless said otherwise; a user's row is their id minus one.

    Attributes:
        segment: which segment they belong to.
        price_level: the standardised price (within a category) that they like best.
        eagerness: standard normal, how much they tend to click.
        activity: cumulative shares of the requests.
    """

    def __init__(self, catalogue: Catalogue, config: SimulationConfig):
        rng = generator(config.seed, "shoppers")
        self._codes, self._drift, self._days = catalogue.codes, config.drift, config.days
        sizes = [len(trait.values) for trait in catalogue.traits]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self._weights = np.array([trait.weight for trait in catalogue.traits])
        self.segment = rng.integers(NUM_SEGMENTS, size=config.num_users)
        cares = rng.gamma(CARE_SHAPE, 1.0, (config.num_users, len(sizes))) * self._weights
        cares /= np.sqrt((cares**2).sum(axis=1, keepdims=True))
        care = np.repeat(cares, sizes, axis=1).astype(np.float32)
        self._first, self._last = (care * _likings(self.segment, sum(sizes), rng) for _ in range(2))
        self.price_level = 0.8 * rng.standard_normal(config.num_users)
        self.eagerness = rng.standard_normal(config.num_users)
        self.activity = np.cumsum(rng.lognormal(0.0, ACTIVITY_SPREAD, config.num_users))
        self.activity /= self.activity[-1]
        self.price = _standard_price(catalogue)
        self.quality = generator(config.seed, "quality").standard_normal(len(catalogue))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count,) rows of shoppers, the active ones more often."""
        return np.minimum(
            np.searchsorted(self.activity, rng.random(count), side="right"), len(self.activity) - 1
        )

    def taste(self, users: np.ndarray, rows: np.ndarray, days: np.ndarray) -> np.ndarray:
        """(requests, slots) how well each item suits the shopper then, about standard normal.

        Args:
            users: (requests,) rows of shoppers.
            rows: (requests, slots) item rows.
            days: (requests,) days from the start.
        """
        angle = 0.5 * np.pi * self._drift * days / self._days
        then, now = (
            np.cos(angle).astype(np.float32)[:, None],
            np.sin(angle).astype(np.float32)[:, None],
        )
        total = np.zeros(rows.shape, dtype=np.float32)
        for trait, offset in enumerate(self._offsets):
            place = offset + self._codes[rows, trait]
            total += (
                then * self._first[users[:, None], place] + now * self._last[users[:, None], place]
            )
        return total

    def price_fit(self, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(requests, slots) how near the price is to what the shopper likes to pay; mean about 0, deviation about 1."""
        away = np.abs(self.price[rows] - self.price_level[users][:, None])
        return (1.02 - away) / 0.77

    def likeness(self, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """(requests, slots) weighted share of traits that each item has in common with the wanted one, 0 to 1."""
        same = self._codes[rows] == self._codes[wanted][:, None, :]
        return same @ (self._weights / self._weights.sum())


def _likings(segment: np.ndarray, num_values: int, rng: np.random.Generator) -> np.ndarray:
    """(users, values) float32, standard normal, in part shared by segments."""
    shared = rng.standard_normal((NUM_SEGMENTS, num_values), dtype=np.float32)[segment]
    own = rng.standard_normal((len(segment), num_values), dtype=np.float32)
    return np.float32(SEGMENT_SHARE**0.5) * shared + np.float32((1 - SEGMENT_SHARE) ** 0.5) * own


def _standard_price(catalogue: Catalogue) -> np.ndarray:
    """(items,) the logarithm of the price, standardised within the category."""
    logs, category = np.log(catalogue.prices), catalogue.categories
    count = np.maximum(np.bincount(category), 1)
    centred = logs - (np.bincount(category, logs) / count)[category]
    return centred / max(float(centred.std()), 1e-6)
