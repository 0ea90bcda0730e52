"""Settings of the simulated shop: how large it is, who searches how, and how strongly each cause of a click acts."""

from datetime import datetime, timedelta
from typing import ClassVar, Literal

import pydantic
from pydantic import Field

from moon_rec.bounds import Count, Seed, Share, Strength
from moon_rec.config import Config, CountsWhen, Rules

START = datetime(2025, 1, 1)
"""The first moment of every simulated shop (naive UTC)."""

DEFAULT_DRAWN_ITEMS = 2_500


_ASKED = CountsWhen(
    lambda config: config.share_browse < 1, "no request has a search; lower share_browse"
)


class SimulationConfig(Config):
    """A shop to simulate; the same settings give the same bytes.

    The logit of a click is a sum of causes, each standardised (mean about 0, deviation about 1 over random shoppers and
    items) and multiplied by its strength; `bias` is solved so that `click_rate` comes out:

        logit = bias + taste + relevance to the wanted product + price + quality + popularity + shopper - position

    Taste and relevance are in the content (some of it in the picture only, some in the text only); price is a column;
    quality, popularity, the shopper's eagerness and the position are in neither picture nor text. `noise` blurs what is
    wanted and how the shop ranks, never the truth.

    What the strengths below give, on simulated shops (boosted trees over counts of ids, then also over the true traits
    of what a shopper clicked before and of the wanted product; AUC on test impressions):

    | shop | truth | ids, all / cold | ids and content, all / cold | gain on cold items |
    |---|---|---|---|---|
    | drawn, the defaults | .845 | .701 / .658 | .763 / .723 | .065 [.045, .084] |
    | Myntra, 450,000 impressions | .846 | .714 / .691 | .785 / .762 | .071 [.061, .083] |

    Of the content, traits of the history alone gain .024 to .033 on cold items, and .042 to .063 on those of requests
    without a search; picture and text each carry part of it.
    """

    catalogue: Literal["drawn", "myntra"] = "drawn"
    """`drawn`: products drawn by the library. `myntra`: the real products, prices simulated."""
    num_items: Count | None = None
    """None: 2,500 drawn ones, or all of a real catalogue."""
    num_users: Count = 2_000
    """Shoppers."""
    num_requests: Count = 15_000
    """Pages shown to them."""
    request_size: int = Field(default=10, ge=2, le=10_000)
    """Impressions of a request; fewer where a shop has too few items to show."""
    days: int = Field(default=30, ge=3, le=36_500)
    """From the first request to the last."""
    validation_share: float = Field(default=0.1, gt=0.0, lt=0.5)
    """Share of the days, at the end of training, that choose; at least one day."""
    test_share: float = Field(default=0.2, gt=0.0, lt=0.5)
    """Share of the days, at the end, that are scored once; at least one day."""

    share_browse: Share = 0.3
    """Requests without a search; the rest have one, of these kinds (they sum to 1):"""
    share_image: Share = 0.45
    """by a photo alone,"""
    share_text: Share = 0.30
    """by words alone,"""
    share_both: Share = 0.25
    """or by both."""

    buys_wanted: Share = 0.60
    """Of purchases after a search: the wanted product itself (these three sum to 1),"""
    buys_sibling: Share = 0.15
    """another SKU of its SPU,"""
    buys_near: Share = 0.25
    """or one near it in its attributes."""
    purchases_per_search: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Items bought after one, on the mean."""
    browse_purchase: Share = 0.12
    """Purchases per click where nothing was searched."""
    share_carted: Share = 0.25
    """Clicked items that are carted but not bought."""

    click_rate: float = Field(default=0.12, gt=0.005, lt=0.6)
    """Clicks per impression, on the mean."""
    taste_strength: Strength = 1.1
    """Of how near an item is to its shopper's taste."""
    relevance_strength: Strength = 0.5
    """Of how near it is to the product wanted."""
    price_strength: Strength = 0.25
    """Of a low price, among its like."""
    quality_strength: Strength = 0.25
    """Of an item's quality, which nothing shows."""
    popularity_strength: Strength = 0.2
    """Of how well an item sells."""
    shopper_strength: Strength = 0.25
    """Of a shopper's eagerness to click."""
    position_strength: Strength = 0.2
    """Of how high on the page an item stands."""
    noise: Strength = 1.0
    """Scale of the noise in what a shopper wants and how the shop ranks; 0 is a shop that knows its shoppers."""
    drift: Share = 0.3
    """How far tastes turn from the first to the last day; 1 is a quarter turn: the first tastes are forgotten."""

    share_listed_later: Share = 0.4
    """Items that are listed while time runs; the others are there from the start."""
    share_new: Share = 0.14
    """Share of impressions given to the newest items, listed in the last `days * validation_share` days."""
    share_wanted_shown: Share = 0.92
    """Searches whose page shows the product wanted."""

    image_size: int = Field(default=64, ge=32, le=512)
    """Side of photos and of drawn catalogue pictures; a real catalogue's pictures stay as they are."""
    photo_difficulty: float = Field(default=1.0, ge=0.0, le=2.0)
    """0: an upright product on another ground; 1: turned up to 25 degrees, cropped, scaled and re-lit; 2: twice that."""
    clutter: Share = 1.0
    """How vivid the grounds of photos and of drawn catalogue pictures are: 1 as vivid as the products, 0 an even grey."""
    share_typos: Share = 0.15
    """Searches by words with a slip of the finger in them."""
    chunk: Count = 4_096
    """Requests simulated at a time: bounds memory, and is part of what the bytes depend on."""
    seed: Seed = 0
    """Of all that is drawn."""

    counts_when: ClassVar[Rules] = {
        **dict.fromkeys(
            ("share_image", "share_text", "share_both", "purchases_per_search"), _ASKED
        ),
        **dict.fromkeys(("buys_wanted", "buys_sibling", "buys_near", "share_wanted_shown"), _ASKED),
        "browse_purchase": CountsWhen(
            lambda config: config.share_browse > 0, "every request has a search; raise share_browse"
        ),
        "photo_difficulty": CountsWhen(
            lambda config: config.share_browse < 1 and config.share_text < 1,
            "no search has a photo; raise share_image or share_both",
        ),
        "share_typos": CountsWhen(
            lambda config: config.share_browse < 1 and config.share_image < 1,
            "no search has words; raise share_text or share_both",
        ),
    }

    @pydantic.model_validator(mode="after")
    def _shares_sum_to_one(self) -> "SimulationConfig":
        for names in (
            ("share_image", "share_text", "share_both"),
            ("buys_wanted", "buys_sibling", "buys_near"),
        ):
            total = sum(getattr(self, name) for name in names)
            if abs(total - 1.0) > 1e-6:
                raise ValueError(f"{' + '.join(names)} = {total:g}; they must sum to 1")
        if self.validation_days + self.test_days >= self.days:
            raise ValueError(
                f"days = {self.days} leaves none for training; raise days or lower the shares"
            )
        return self

    @property
    def validation_days(self) -> int:
        """Whole days of the validation period."""
        return max(round(self.days * self.validation_share), 1)

    @property
    def test_days(self) -> int:
        """Whole days of the test period."""
        return max(round(self.days * self.test_share), 1)

    @property
    def cut_time(self) -> datetime:
        """Train ends here."""
        return self.test_time - timedelta(days=self.validation_days)

    @property
    def test_time(self) -> datetime:
        """Validation ends here."""
        return START + timedelta(days=self.days - self.test_days)
