"""What each user did strictly before a moment, as slices of one array.

Notable choices
- Events lie in one array sorted by user, then time (compressed sparse rows), so a history is a slice and a batch of
  histories is two integer arrays: nothing is copied until a loader asks for it.
- Ties in time are ordered by request, position and item, so the same shop gives the same array however its file is sorted.
- What a user did is what impressions say they engaged with and, where the shop has them, its `events`. An event of the user, item
  and moment of an impression that was engaged with is that act written twice, and counts once. At one moment impressions
  come first, then events by item.
- Strictly before: an event at the very moment of the impression, as of the same request, is not in its history.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.shop.engagement import Engagement, check_kind
from moon_rec.shop.shop import Shop


@dataclass(frozen=True)
class Histories:
    """All users' events, and the slice of them that precedes a moment.

    Attributes:
        item_ids: `(events,)` int64, what was engaged with; of searches, the search_ids.
        times: `(events,)` int64, microseconds since 1970, ascending within a user.
    """

    item_ids: np.ndarray
    times: np.ndarray
    _user_ids: np.ndarray
    _offsets: np.ndarray
    _moments: np.ndarray
    _keys: np.ndarray

    @classmethod
    def of(cls, shop: Shop, kind: Engagement = "clicked") -> "Histories":
        """Histories of the items that users clicked, carted or purchased, on impressions and in events, in all periods.

        Raises:
            ShopError: the kind is unknown.
        """
        check_kind(kind)
        order = ("user_id", "time", "request_id", "position", "item_id")
        acts = shop.impressions.filter(pl.col(kind)).select(order)
        if shop.events is not None:
            keys = ["user_id", "item_id", "time"]
            others = shop.events.filter(pl.col(kind)).select(keys).join(acts, on=keys, how="anti")
            acts = pl.concat([acts, others], how="diagonal")
        events = acts.sort(order, nulls_last=True).select("user_id", "time", "item_id")
        return cls.from_events(events.collect(engine="streaming"))

    @classmethod
    def of_searches(cls, shop: Shop) -> "Histories":
        """Histories of the users' searches, in all periods; `item_ids` are search_ids here."""
        events = shop.searches.select("user_id", "time", item_id="search_id")
        return cls.from_events(
            events.sort("user_id", "time", "item_id").collect(engine="streaming")
        )

    @classmethod
    def from_events(cls, events: pl.DataFrame) -> "Histories":
        """Histories of events `user_id`, `time`, `item_id` that are sorted by user and time."""
        times = microseconds(events["time"])
        user_ids, starts = np.unique(events["user_id"].to_numpy(), return_index=True)
        offsets = np.append(starts, events.height).astype(np.int64)
        moments = np.unique(times)
        users = np.repeat(np.arange(len(user_ids)), np.diff(offsets))
        keys = users * (len(moments) + 1) + np.searchsorted(moments, times)
        item_ids = events["item_id"].to_numpy()
        return cls(item_ids, times, user_ids, offsets, moments, keys)

    def before(
        self, user_ids: np.ndarray, times: np.ndarray, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The last `length` events of each user strictly before each time, newest last.

        Event `e` of user number `u` has key `u * (moments + 1) + rank of its time`: keys ascend, so one binary search over
        them finds all ends at once, exactly.

        Args:
            user_ids: `(batch,)` int64; a user without events has empty histories.
            times: `(batch,)` int64 microseconds, or datetime64.
            length: at most so many events, at least 0.

        Returns:
            starts, ends: `(batch,)` int64; history i is `item_ids[starts[i]:ends[i]]`.
        """
        times = np.asarray(times)
        if times.dtype.kind == "M":
            times = times.astype("datetime64[us]").astype(np.int64)
        user_ids = np.asarray(user_ids)
        if len(self._user_ids) == 0:
            nothing = np.zeros(len(user_ids), dtype=np.int64)
            return nothing, nothing.copy()
        users = np.searchsorted(self._user_ids, user_ids)
        users = np.minimum(users, len(self._user_ids) - 1)
        is_known = self._user_ids[users] == user_ids
        keys = users * (len(self._moments) + 1) + np.searchsorted(self._moments, times)
        ends = np.where(is_known, np.searchsorted(self._keys, keys), 0).astype(np.int64)
        first = np.where(is_known, self._offsets[users], 0)
        return np.maximum(first, ends - length), ends


def microseconds(times: pl.Series) -> np.ndarray:
    """Times of type Datetime("us") as int64 microseconds since 1970."""
    return times.cast(pl.Datetime("us")).to_physical().to_numpy()
