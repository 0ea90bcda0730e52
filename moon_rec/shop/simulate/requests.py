"""Requests: who asks when and for what, which items are shown in which order, and what is clicked, carted and bought.

Everything here is arrays over a chunk of requests. Notable choices
- A shopper wants a product: of some listed ones, popular ones more often, the one that suits them best, with noise. After a search it is usually
  shown; a request without a search is for what interests them, and relevance plays no part in its clicks.
- The other slots hold near products, ones of the same category, the newest and popular ones. The shop ranks by relevance and popularity, with noise.
- Clicks are drawn independently with the true probability. A click is bought with a probability for the wanted product, its siblings, and
  others by nearness, solved on a pilot so that the planned shares come out (`Purchases`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from moon_rec.seeds import generator
from moon_rec.shop.simulate.catalogue import Catalogue
from moon_rec.shop.simulate.config import SimulationConfig
from moon_rec.shop.simulate.listing import Listing
from moon_rec.shop.simulate.shoppers import Shoppers

NUM_CONSIDERED = 40
"""Listed products of which a shopper wants one."""

WANTS_TASTE, WANTS_PRICE = 2.0, 0.5
SHARE_NEAR, SHARE_CATEGORY = 0.35, 0.25
"""Of the slots that hold neither the wanted product nor siblings; `share_new` go to new ones, the rest to popular ones."""

MICROSECONDS = 86_400_000_000
BROWSE, IMAGE, TEXT, BOTH = range(4)
PILOT_REQUESTS = 4_096
MOST_BOUGHT = 0.95
"""No click is bought with a higher probability."""


@dataclass(frozen=True)
class Requests:
    """A chunk of requests; `slots` is the request size, and `shown` is false where there was no item left to show."""

    kind: np.ndarray
    """(requests,) BROWSE, IMAGE, TEXT or BOTH."""
    users: np.ndarray
    """(requests,) rows of shoppers."""
    wanted: np.ndarray
    """(requests,) item rows."""
    searched_at: np.ndarray
    """(requests,) int64 microseconds from the start of the shop."""
    shown_at: np.ndarray
    rows: np.ndarray
    """(requests, slots) item rows, in the order shown."""
    shown: np.ndarray
    logit: np.ndarray
    """(requests, slots) of a click, but for the bias."""
    likeness: np.ndarray
    """(requests, slots) to the wanted product, 0 to 1."""

    @property
    def is_search(self) -> np.ndarray:
        """(requests,)"""
        return self.kind != BROWSE


@dataclass(frozen=True)
class Purchases:
    """Probability that a clicked item is bought."""

    wanted: float
    sibling: float
    near: float
    """Times likeness to the fourth, for other items after a search."""


class World:
    """Catalogue, listing and shoppers, with the constants solved on a pilot: `bias` of clicks and `purchases`."""

    def __init__(self, catalogue: Catalogue, config: SimulationConfig):
        self.catalogue, self.config = catalogue, config
        self.listing, self.shoppers = Listing(catalogue, config), Shoppers(catalogue, config)
        self.spus = catalogue.spu_ids
        self.relevance_mean, self.relevance_scale = 0.0, 1.0
        rng = generator(config.seed, "pilot")
        times = np.sort(rng.random(PILOT_REQUESTS))
        pilot = self.requests(times, rng)
        relevance = _relevance(pilot.likeness)[pilot.is_search[:, None] & pilot.shown]
        if relevance.size:
            self.relevance_mean, self.relevance_scale = (
                float(relevance.mean()),
                max(float(relevance.std()), 1e-6),
            )
        pilot = self.requests(times, rng)
        self.bias = _bias(pilot.logit[pilot.shown], config.click_rate)
        self.purchases = self._solve_purchases(pilot)

    def requests(self, when: np.ndarray, rng: np.random.Generator) -> Requests:
        """Requests at sorted moments `when`, in shares of the shop's time."""
        config, count = self.config, len(when)
        searched_at = _clock(when, config.days)
        days = searched_at / MICROSECONDS
        shares = np.array([config.share_image, config.share_text, config.share_both]) * (
            1 - config.share_browse
        )
        kind = np.searchsorted(
            np.cumsum([config.share_browse, *shares[:-1]]), rng.random(count), side="right"
        )
        shown_at = self._shown_at(searched_at, kind, rng)
        users = self.shoppers.draw(count, rng)
        wanted = self._wanted(users, days, rng)
        rows = self._candidates(wanted, days, kind != BROWSE, rng)
        rows, shown = _distinct(rows, config.request_size)
        likeness = self.shoppers.likeness(rows, wanted)
        relevance = (_relevance(likeness) - self.relevance_mean) / self.relevance_scale
        score = (
            0.8 * relevance
            + 0.3 * self.listing.popularity[rows]
            + config.noise * rng.gumbel(size=rows.shape)
        )
        order = np.argsort(np.where(shown, -score, np.inf), axis=1, kind="stable")
        rows, shown, likeness, relevance = (
            np.take_along_axis(x, order, axis=1) for x in (rows, shown, likeness, relevance)
        )
        logit = self._logit(users, rows, days, np.where((kind != BROWSE)[:, None], relevance, 0.0))
        return Requests(kind, users, wanted, searched_at, shown_at, rows, shown, logit, likeness)

    def click_probability(self, requests: Requests) -> np.ndarray:
        """(requests, slots) the truth."""
        return 1.0 / (1.0 + np.exp(-(requests.logit + self.bias)))

    def purchase_probability(self, requests: Requests) -> np.ndarray:
        """(requests, slots) that a click is followed by a purchase."""
        is_wanted, is_sibling = self._tiers(requests)
        near = np.minimum(self.purchases.near * requests.likeness**4, MOST_BOUGHT)
        searched = np.where(
            is_wanted, self.purchases.wanted, np.where(is_sibling, self.purchases.sibling, near)
        )
        return np.where(requests.is_search[:, None], searched, self.config.browse_purchase)

    def _shown_at(
        self, searched_at: np.ndarray, kind: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """A second or some after the search, but never in a later period than it."""
        shown_at = searched_at + np.where(
            kind == BROWSE, 0, rng.integers(300_000, 4_000_000, len(kind))
        )
        for border in (
            self.config.days - self.config.test_days - self.config.validation_days,
            self.config.days - self.config.test_days,
        ):
            crosses = (searched_at < border * MICROSECONDS) & (shown_at >= border * MICROSECONDS)
            shown_at = np.where(crosses, searched_at, shown_at)
        return shown_at

    def _wanted(self, users: np.ndarray, days: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        considered = self.listing.popular(np.repeat(days[:, None], NUM_CONSIDERED, axis=1), rng)
        assert (considered >= 0).all(), "some items are listed from the start"
        utility = WANTS_TASTE * self.shoppers.taste(users, considered, days)
        utility = utility + WANTS_PRICE * self.shoppers.price_fit(users, considered)
        best = np.argmax(utility + self.config.noise * rng.gumbel(size=considered.shape), axis=1)
        return considered[np.arange(len(users)), best]

    def _candidates(
        self, wanted: np.ndarray, days: np.ndarray, is_search: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """(requests, 2 x slots) item rows in the order of preference, -1 for none; repeats are left to `_distinct`."""
        config, listing = self.config, self.listing
        cells = 2 * config.request_size
        anchor, time = (
            np.repeat(wanted[:, None], cells, axis=1),
            np.repeat(days[:, None], cells, axis=1),
        )
        shares = np.cumsum([SHARE_NEAR, SHARE_CATEGORY, config.share_new])
        draw = rng.random(anchor.shape)
        new = listing.newest_of_category(anchor, time, rng)
        any_new = listing.newest(time, rng)
        new = np.where((new < 0) | (rng.random(anchor.shape) < 0.5), any_new, new)
        choices = [listing.near(anchor, time, rng), listing.of_category(anchor, time, rng), new]
        rows = np.select(
            [draw < share for share in shares], choices, default=listing.popular(time, rng)
        )
        first = rng.random((len(wanted), 3))
        siblings = listing.sibling(anchor[:, :2], time[:, :2], rng)
        lead = np.concatenate([wanted[:, None], siblings], axis=1)
        chance = np.array([config.share_wanted_shown, 0.6, 0.3])
        lead = np.where(is_search[:, None] & (first < chance), lead, -1)
        return np.concatenate([lead, rows], axis=1)

    def _logit(
        self, users: np.ndarray, rows: np.ndarray, days: np.ndarray, relevance: np.ndarray
    ) -> np.ndarray:
        config, shoppers = self.config, self.shoppers
        places = np.log2(1.0 + np.arange(config.request_size))
        logit = config.taste_strength * shoppers.taste(users, rows, days).astype(np.float64)
        logit += config.relevance_strength * relevance
        logit += config.price_strength * shoppers.price_fit(users, rows)
        logit += config.quality_strength * shoppers.quality[rows]
        logit += config.popularity_strength * self.listing.popularity[rows]
        logit += config.shopper_strength * shoppers.eagerness[users][:, None]
        return logit - config.position_strength * (places - places.mean()) / places.std()

    def _tiers(self, requests: Requests) -> tuple[np.ndarray, np.ndarray]:
        wanted = requests.wanted[:, None]
        is_wanted = requests.rows == wanted
        return is_wanted, (self.spus[requests.rows] == self.spus[wanted]) & ~is_wanted

    def _solve_purchases(self, pilot: Requests) -> Purchases:
        """Per-click probabilities that give the planned shares; what siblings cannot give goes to near products."""
        config = self.config
        search = pilot.is_search[:, None] & pilot.shown
        if not search.any():
            return Purchases(0.0, 0.0, 0.0)
        clicks = self.click_probability(pilot) * search / pilot.is_search.sum()
        is_wanted, is_sibling = self._tiers(pilot)
        of_wanted, of_siblings = clicks[is_wanted].sum(), clicks[is_sibling].sum()
        others = ~is_wanted & ~is_sibling & search
        of_others, fourth = clicks[others], pilot.likeness[others] ** 4
        can_give = (of_wanted, of_siblings + of_others.sum())
        shares = (config.buys_wanted, config.buys_sibling + config.buys_near)
        limits = [
            MOST_BOUGHT * clicks / max(share, 1e-9)
            for clicks, share in zip(can_give, shares, strict=True)
        ]
        total = min(config.purchases_per_search, *limits)
        bought_siblings = min(total * config.buys_sibling, MOST_BOUGHT * of_siblings)
        bought_near = total * shares[1] - bought_siblings
        return Purchases(
            wanted=float(total * config.buys_wanted / max(of_wanted, 1e-9)),
            sibling=float(bought_siblings / max(of_siblings, 1e-9)),
            near=_rising(
                lambda near: (of_others * np.minimum(near * fourth, MOST_BOUGHT)).sum(),
                bought_near,
                0.0,
                1e4,
            ),
        )


def _clock(when: np.ndarray, days: int) -> np.ndarray:
    """Shares of the shop's time as microseconds; evenings are busier than nights, order is kept."""
    time = when * days
    part = time - np.floor(time)
    return np.floor(
        (np.floor(time) + part + 0.5 * np.sin(2 * np.pi * part) / (2 * np.pi)) * MICROSECONDS
    ).astype(np.int64)


def _relevance(likeness: np.ndarray) -> np.ndarray:
    """Grows faster near the wanted product itself."""
    return likeness**2


def _distinct(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` distinct rows of each line, and which of them are there; 0 stands where one is not."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    repeat = np.concatenate(
        [np.zeros((len(rows), 1), bool), ordered[:, 1:] == ordered[:, :-1]], axis=1
    )
    is_first = np.empty_like(repeat)
    np.put_along_axis(is_first, order, ~repeat & (ordered >= 0), axis=1)
    kept = np.argsort(~is_first, axis=1, kind="stable")[:, :count]
    shown = np.take_along_axis(is_first, kept, axis=1)
    return np.where(shown, np.take_along_axis(rows, kept, axis=1), 0), shown


def _bias(logits: np.ndarray, rate: float) -> float:
    """The number to add to logits so that the mean probability is `rate`."""
    return _rising(lambda bias: (1 / (1 + np.exp(-(logits + bias)))).mean(), rate, -30.0, 30.0)


def _rising(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a rising function takes the value `wanted`, by bisection between `low` and `high`."""
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return 0.5 * (low + high)
