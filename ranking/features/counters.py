"""Counters: how often an item, a user, a category, a brand was shown before an impression, and how often it was clicked.

The strong baseline of a CTR model without content: whoever serves a shop has such counts, so what content adds is measured over them.

Notable choices
- **Causal by construction.** A row sees the impressions whose time lies strictly before its request's first moment: never its own
  label, never those of its request or of the same instant, never later ones. Ties in time therefore tell nothing.
- **Rolling or frozen.** `rolling`: a test row sees what was shown in the test period before it, as a feature store that follows the log
  would serve it. `frozen`: after the cut all rows see the counts as they were at the cut. The same look-up, at another moment.
- **Twelve numbers.** For item, user, category, brand, user x category, user x brand: the logarithm of 1 + impressions, and the smoothed
  click rate (positives + prior * rate of all) / (impressions + prior), `rate of all` = (positives + 1) / (impressions + 2) of the whole log
  before that moment. What is not known (no brand, an item outside the catalogue) has no impressions.
- The log is read once and sorted by key and time; a count is a binary search, as in `moon_rec.shop.history`. Memory: 16 bytes a row of the
  log and key. Impressions of other files are counted for as of their time by the same arrays.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import polars as pl

from moon_rec.lookup import rows_of
from moon_rec.shop import Shop
from moon_rec.shop.history import microseconds
from ranking.features.vocabulary import UNKNOWN, Vocabulary

if TYPE_CHECKING:
    from ranking.features.feature_config import FeatureConfig

CounterKind = Literal["rolling", "frozen", "none"]
COUNTER_KINDS: tuple[CounterKind, ...] = get_args(CounterKind)
KEYS = ("item", "user", "category", "brand", "user_category", "user_brand")
COUNTER_COLUMNS = tuple(f"counter_{key}_{what}" for key in KEYS for what in ("shown", "rate"))
"""Of the frame that `Counters.beside` gives."""
NO_KEY = -1

_SAID: dict[CounterKind, str] = {
    "rolling": "counters rolling (a row counts all impressions before it, those of its own period too)",
    "frozen": "counters frozen at the cut (nothing shown later is counted)",
    "none": "no counters",
}


def counters_said(kind: CounterKind, before: str = "") -> str:
    """What the counters beside an AUC were, in words."""
    return before + _SAID[kind]


@dataclass(frozen=True, repr=False)
class _Counts:
    """Impressions and positives of one kind of key, by time.

    Attributes:
        values: `(groups,)` distinct keys, ascending.
        starts: `(groups,)` first row of each.
        places: `(rows,)` group * (moments + 1) + rank of the time, ascending.
        positives: `(rows + 1,)` how many of the rows before are positive.
    """

    values: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    positives: np.ndarray

    @classmethod
    def of(
        cls, keys: np.ndarray, ranks: np.ndarray, labels: np.ndarray, num_moments: int
    ) -> "_Counts":
        """Of the rows of a log; those with `NO_KEY` count for nothing."""
        known = keys != NO_KEY
        values, groups = np.unique(keys[known], return_inverse=True)
        places = groups * (num_moments + 1) + ranks[known]
        order = np.argsort(places, kind="stable")
        places = places[order]
        starts = np.searchsorted(places, np.arange(values.size) * (num_moments + 1))
        return cls(values, starts, places, np.append(0, np.cumsum(labels[known][order])))

    def before(
        self, keys: np.ndarray, ranks: np.ndarray, num_moments: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Impressions and positives of each key at times below each rank, `(rows,)` each."""
        if self.values.size == 0:
            nothing = np.zeros(keys.size, dtype=np.int64)
            return nothing, nothing
        groups = rows_of(self.values, keys)
        is_known = groups >= 0
        starts = self.starts[groups]
        ends = np.searchsorted(self.places, groups * (num_moments + 1) + ranks)
        shown = np.where(is_known, ends - starts, 0)
        clicked = np.where(is_known, self.positives[ends] - self.positives[starts], 0)
        return shown, clicked


@dataclass(frozen=True, repr=False)
class Counters:
    """The counts of a shop's log at any moment.

    Attributes:
        prior: impressions that the rate of all stands for in a smoothed rate.
        last: no moment later than this is looked at (the cut of frozen counters); None: each row's own.
    """

    prior: float
    last: int | None
    _moments: np.ndarray
    _counts: dict[str, _Counts]
    _users: np.ndarray
    _item_ids: np.ndarray
    _item_keys: dict[str, np.ndarray]

    @classmethod
    def of(cls, shop: Shop, config: "FeatureConfig") -> "Counters | None":
        """Read the shop's impressions; None where the settings ask for no counters."""
        if config.counters == "none":
            return None
        last = None
        log = shop.impressions.select("user_id", "item_id", "time", config.label)
        if config.counters == "frozen":
            last = int(microseconds(pl.Series([shop.cut_time]))[0])
            log = shop.in_period(log, "train")
        rows = log.collect()
        moments, ranks = np.unique(microseconds(rows["time"]), return_inverse=True)
        item_ids, item_keys = _item_keys(shop)
        found = cls(
            prior=config.counter_prior,
            last=last,
            _moments=moments,
            _counts={},
            _users=np.unique(rows["user_id"].to_numpy()),
            _item_ids=item_ids,
            _item_keys=item_keys,
        )
        labels = rows[config.label].cast(pl.Int64).to_numpy()
        for name, keys in found._keys(rows).items():
            found._counts[name] = _Counts.of(keys, ranks, labels, moments.size)
        return found

    def beside(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with `COUNTER_COLUMNS`, as of each row's `start` (see `impressions.in_requests`).

        Args:
            frame: with `user_id, item_id, start`.
        """
        times = microseconds(frame["start"])
        if self.last is not None:
            times = np.minimum(times, self.last)
        ranks, count = np.searchsorted(self._moments, times), self._moments.size
        keys = self._keys(frame)
        shown, positives = self._counts["all"].before(keys.pop("all"), ranks, count)
        rate = (positives + 1) / (shown + 2)
        columns = []
        for name, of_rows in keys.items():
            shown, positives = self._counts[name].before(of_rows, ranks, count)
            columns.append(np.log1p(shown))
            columns.append((positives + self.prior * rate) / (shown + self.prior))
        named = zip(COUNTER_COLUMNS, columns, strict=True)
        return frame.with_columns(pl.Series(name, values) for name, values in named)

    def _keys(self, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """The key of each row by kind, `(rows,)` int64, `NO_KEY` where there is none; `all`: one for all rows."""
        user_ids, item_ids = frame["user_id"].to_numpy(), frame["item_id"].to_numpy()
        items = rows_of(self._item_ids, item_ids)
        users = rows_of(self._users, user_ids)
        keys = {"all": np.zeros(frame.height, dtype=np.int64), "item": items, "user": users}
        for name, of_items in self._item_keys.items():
            keys[name] = np.where(items >= 0, of_items[items], NO_KEY)
        for name, of_items in self._item_keys.items():
            both = users * (of_items.max(initial=0) + 1) + keys[name]
            is_known = (users >= 0) & (keys[name] >= 0)
            keys[f"user_{name}"] = np.where(is_known, both, NO_KEY)
        return keys


def with_counters(counters: Counters | None, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the counters' columns, where there are any."""
    return frame if counters is None else counters.beside(frame)


def _item_keys(shop: Shop) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Ids of the catalogue, and by category and brand the number of each item's `(items,)`."""
    frame = shop.items.select("item_id", "category", "brand").collect().sort("item_id")
    keys = {}
    for name in ("category", "brand"):
        numbers = Vocabulary.of(frame[name]).rows(frame[name])
        keys[name] = np.where(numbers == UNKNOWN, NO_KEY, numbers)
    return frame["item_id"].to_numpy(), keys
