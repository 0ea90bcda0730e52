"""Non-clicks for a log that has positives alone: who saw what and passed it by is not known, so it is drawn.

Notable choices
- Every positive gets `num_negatives` slots, each filled in one of three ways: uniformly among the items listed by then, in
  proportion to the positives so far (strictly before), or uniformly among the items of the positive's own category listed by
  then. No single way is right: popular ones alone make every new product a positive, uniform ones alone make popularity tell
  nearly everything (Krichene and Rendle 2020 show how far a sample's way moves what is measured on it).
- A draw that may not be is drawn again, in the same way, so a slot keeps its way's distribution over what is allowed. After
  `ROUNDS` rounds the slots still empty (a way may have nothing to draw from) are filled uniformly from the list of all that
  is allowed, which always ends; where nothing is allowed, a slot stays empty. Both are counted, never hidden.
- Nothing after a moment plays a part in that moment's draws but one thing, `excluded = "ever"`: an item that the user engages
  with later is no non-click. `"before"` gives that up to be exact in time, `"request"` allows what the user had before, too. Where
  users come back to the same items, the first two make "had it before" the mark of a positive: `non_click_probe` tells.
- Slots are drawn in the order of time, user, request and item, and each round has a stream of its own: the order of the file
  changes nothing, and nor, but for `"ever"`, does what comes later.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import polars as pl
import pydantic

from moon_rec.bounds import Seed, Share
from moon_rec.config import Config
from moon_rec.errors import ShopError
from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from moon_rec.shop.non_click_recipe import NonClickRecipe, ProbeAuc

ROUNDS = 12
"""Times that a slot is drawn anew in its own way before it is filled from the list of what is allowed."""
UNIFORM, POPULAR, CATEGORY = 0, 1, 2
Excluded = Literal["request", "before", "ever"]


class NonClickConfig(Config):
    """How non-clicks are drawn.

    Attributes:
        num_negatives: a positive.
        popular_share: of them in proportion to the positives so far.
        category_share: of them from the positive's own category; the rest uniformly.
        excluded: never what is positive in the same request; nor what the user engaged with `before`, nor `ever`.
        seed: of the draws.
    """

    num_negatives: int = pydantic.Field(default=4, ge=1, le=100)
    popular_share: Share = 0.5
    category_share: Share = 0.0
    excluded: Excluded = "ever"
    seed: Seed = 0

    @pydantic.model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.popular_share + self.category_share > 1 + 1e-9:
            raise ValueError(
                f"popular_share {self.popular_share} and category_share {self.category_share} are more than 1 together; lower one"
            )
        return self

    def recipe(self, probe: Estimate | None = None) -> NonClickRecipe:
        """The sampling as the manifest has it, with what a probe made of it."""
        auc = None if probe is None else ProbeAuc(probe.value, probe.low, probe.high)
        return NonClickRecipe("moon_rec", self.num_negatives, self.rules, self.seed, auc)

    @property
    def rules(self) -> str:
        """Among what is drawn, how, and what is never drawn, in words."""
        uniform = 1 - self.popular_share - self.category_share
        ways = [
            f"{share:.0%} {how}"
            for share, how in (
                (self.popular_share, "by positives so far"),
                (self.category_share, "from the same category"),
                (uniform, "uniformly"),
            )
            if share > 1e-9
        ]
        never = {
            "request": "never a positive of the same request",
            "before": "never what the user engaged with before",
            "ever": "never what the user ever engaged with",
        }[self.excluded]
        return f"among items listed by then, {', '.join(ways)}; {never}"


@dataclass(frozen=True)
class NonClicks:
    """What was drawn.

    Attributes:
        rows: request_id, user_id, item_id, time of each non-click and `positive`, the row of the positives given that it was drawn for; in
            the order of time, user, positive and slot.
        num_wanted: slots that there were.
        num_listed: slots filled from the list of what is allowed, after `ROUNDS` draws in their own way.
        num_empty: slots for which nothing is allowed.
    """

    rows: pl.DataFrame
    num_wanted: int
    num_listed: int
    num_empty: int

    def told(self) -> str:
        """Counts in words."""
        return (
            f"{self.rows.height:,} non-clicks sampled for {self.num_wanted:,} places; {self.num_listed:,} of them uniformly "
            f"from all that was allowed, {self.num_empty:,} places left empty, for nothing was"
        )


def sample_non_clicks(
    positives: pl.DataFrame,
    items: pl.DataFrame,
    config: NonClickConfig | None = None,
    engaged: pl.DataFrame | None = None,
) -> NonClicks:
    """Draw non-clicks for the positives of a log.

    Args:
        positives: request_id, user_id, item_id (all Int64), time; one row a request and item.
        items: item_id, listed_at, and category where `category_share` is above 0.
        engaged: user_id, item_id, time of all that users engaged with, where that is more than the positives.

    Raises:
        ShopError: an item of the log that is not among the items, or listed after it was engaged with.
    """
    config = config or NonClickConfig()
    positives = positives.with_row_index("positive").sort(
        "time", "user_id", "request_id", "item_id"
    )
    draw = _Draw(positives, items, config, positives if engaged is None else engaged)
    drawn, num_listed = draw.run()
    place, slot_code = np.flatnonzero(drawn >= 0), drawn[drawn >= 0]
    of_positive = place // config.num_negatives
    rows = positives.select("request_id", "user_id", "time", "positive")[of_positive]
    rows = rows.with_columns(item_id=pl.Series(draw.item_ids[slot_code], dtype=pl.Int64))
    return NonClicks(
        rows=rows.select("request_id", "user_id", "item_id", "time", "positive"),
        num_wanted=drawn.size,
        num_listed=num_listed,
        num_empty=int((drawn < 0).sum()),
    )


class _Draw:
    """Items as codes in the order of listing, so "listed by then" is "a code below"."""

    def __init__(
        self,
        positives: pl.DataFrame,
        items: pl.DataFrame,
        config: NonClickConfig,
        engaged: pl.DataFrame,
    ):
        self.config = config
        by_listing = items.sort("listed_at", "item_id")
        self.item_ids = by_listing["item_id"].to_numpy()
        self.num_items = len(self.item_ids)
        codes = by_listing.select("item_id").with_row_index("code").cast({"code": pl.Int64})
        code = _joined(positives, codes, "item_id", "code")
        times = _micros(positives["time"])
        listed = np.searchsorted(_micros(by_listing["listed_at"]), times, side="right")
        _check(positives, code, listed)
        slots = config.num_negatives
        self.num_listed = np.repeat(listed, slots)
        before = np.searchsorted(times, times, side="left")
        self.num_before, self.codes_by_time = np.repeat(before, slots), code
        request = _numbered(positives["request_id"])
        self.request = np.repeat(request, slots)
        self.taken = np.unique(request * self.num_items + code)
        self._know_users(positives, engaged, codes, times)
        self._know_categories(by_listing, code)

    def _know_users(
        self, positives: pl.DataFrame, engaged: pl.DataFrame, codes: pl.DataFrame, times: np.ndarray
    ) -> None:
        """Sorted keys of what users engaged with, and when first."""
        users = positives.select("user_id").unique().sort("user_id").with_row_index("user")
        users = users.cast({"user": pl.Int64})
        user = _joined(positives, users, "user_id", "user")
        self.user = np.repeat(user, self.config.num_negatives)
        self.time = np.repeat(times, self.config.num_negatives)
        known = engaged.join(users, on="user_id").join(codes, on="item_id")
        keys = known["user"].to_numpy() * self.num_items + known["code"].to_numpy()
        order = np.lexsort((_micros(known["time"]), keys))
        self.pairs, first = np.unique(keys[order], return_index=True)
        self.first_time = _micros(known["time"])[order][first]

    def _know_categories(self, by_listing: pl.DataFrame, code: np.ndarray) -> None:
        """Codes by category, in the order of listing within each."""
        if self.config.category_share == 0:
            return
        if "category" not in by_listing.columns:
            raise ShopError(
                "category_share is above 0, but the items have no category: set it to 0"
            )
        category = by_listing["category"].rank("dense").fill_null(0).to_numpy().astype(np.int64)
        self.by_category = np.lexsort((np.arange(self.num_items), category))
        keys = category[self.by_category] * self.num_items + self.by_category
        own = np.repeat(category[code], self.config.num_negatives)
        self.category_start = np.searchsorted(keys, own * self.num_items)
        end = np.searchsorted(keys, own * self.num_items + self.num_listed)
        self.num_in_category = end - self.category_start

    def run(self) -> tuple[np.ndarray, int]:
        """A code for each slot, -1 where none is allowed; and how many were taken from the list of the allowed."""
        number, seed = self.request.size, self.config.seed
        share = generator(seed, "ways of non-clicks").random(number)
        popular, category = self.config.popular_share, self.config.category_share
        ways = np.where(
            share < popular, POPULAR, np.where(share < popular + category, CATEGORY, UNIFORM)
        )
        drawn = np.full(number, -1, np.int64)
        waiting = np.arange(number)
        for turn in range(ROUNDS):
            if not waiting.size:
                break
            draw = generator(seed, "non-clicks", turn).random(number)[waiting]
            found = self._candidates(waiting, ways[waiting], draw)
            accepted = self._accept(waiting, found)
            drawn[waiting[accepted]] = found[accepted]
            waiting = waiting[~accepted]
        return drawn, self._fill(waiting, drawn)

    def _candidates(self, slots: np.ndarray, ways: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """A code for each slot, drawn in its way; -1 where that has nothing to draw from."""
        found = np.full(slots.size, -1, np.int64)
        for way, count in ((UNIFORM, self.num_listed), (POPULAR, self.num_before)):
            own = np.flatnonzero((ways == way) & (count[slots] > 0))
            place = (draw[own] * count[slots[own]]).astype(np.int64)
            found[own] = place if way == UNIFORM else self.codes_by_time[place]
        own = np.flatnonzero(ways == CATEGORY)
        if own.size:
            of = slots[own]
            place = (draw[own] * self.num_in_category[of]).astype(np.int64)
            found[own] = self.by_category[self.category_start[of] + place]
        return found

    def _accept(self, slots: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Which draws stand: allowed, and the first of their request; they are taken from then on."""
        keys = self.request[slots] * self.num_items + found
        good = (found >= 0) & ~_among(keys, self.taken) & ~self._is_engaged(slots, found)
        where = np.flatnonzero(good)
        fresh, first = np.unique(keys[where], return_index=True)
        accepted = np.zeros(slots.size, bool)
        accepted[where[first]] = True
        self.taken = _merged(self.taken, fresh)
        return accepted

    def _is_engaged(self, slots: np.ndarray, codes: np.ndarray) -> np.ndarray:
        if self.config.excluded == "request" or not self.pairs.size:
            return np.zeros(slots.size, bool)
        keys = self.user[slots] * self.num_items + codes
        place = np.minimum(np.searchsorted(self.pairs, keys), self.pairs.size - 1)
        known = self.pairs[place] == keys
        if self.config.excluded == "ever":
            return known
        return known & (self.first_time[place] < self.time[slots])

    def _fill(self, slots: np.ndarray, drawn: np.ndarray) -> int:
        """Fill what is left, request by request, from the list of the allowed; how many were filled."""
        filled = 0
        slots = slots[np.argsort(self.request[slots], kind="stable")]
        ends = np.flatnonzero(np.diff(self.request[slots], append=-1))
        for own in np.split(slots, ends[:-1] + 1) if slots.size else []:
            codes = np.arange(self.num_listed[own].min())
            of = np.full(codes.size, own[0])
            allowed = ~_among(self.request[of] * self.num_items + codes, self.taken)
            codes = codes[allowed & ~self._is_engaged(of, codes)]
            random = generator(self.config.seed, "non-clicks from the list", int(own[0]))
            chosen = random.permutation(codes)[: own.size]
            drawn[own[: chosen.size]] = chosen
            filled += chosen.size
        return filled


def _check(positives: pl.DataFrame, code: np.ndarray, listed: np.ndarray) -> None:
    if (code < 0).any():
        item = positives["item_id"][int(np.argmax(code < 0))]
        raise ShopError(
            f"item {item} of the log is not among the items: add it, or leave its rows out"
        )
    late = code >= listed
    if late.any():
        row = positives.row(int(np.argmax(late)), named=True)
        raise ShopError(
            f"item {row['item_id']} is engaged with at {row['time']}, before it is listed: list it when it was first seen"
        )


def _joined(left: pl.DataFrame, right: pl.DataFrame, on: str, value: str) -> np.ndarray:
    """A value by key, -1 where there is none."""
    found = left.select(on).join(right, on=on, how="left", maintain_order="left")
    return found[value].fill_null(-1).to_numpy()


def _numbered(ids: pl.Series) -> np.ndarray:
    return (ids.rank("dense").to_numpy() - 1).astype(np.int64)


def _micros(times: pl.Series) -> np.ndarray:
    return times.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()


def _among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether each key is among those that are known, which ascend."""
    if not known.size:
        return np.zeros(keys.size, bool)
    return known[np.minimum(np.searchsorted(known, keys), known.size - 1)] == keys


def _merged(known: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Both, ascending; they share no key."""
    return np.insert(known, np.searchsorted(known, fresh), fresh)
