"""A shop's tables -> the arrays a ranker reads: requests with their rows, catalogue, histories.

Notable choices
- **Vocabularies, price edges and context scales come from train rows alone** (`Preparation`): items,
  users, categories and brands of train impressions (items also of events before the cut), query texts of train searches. Anything else is
  unknown (row 0), so to a model of ids a new item is an unknown id: that is what cold means to it.
- **A ranker's preparation makes tables of any other shop or later period**, with the ranker's rows.
- Validation and test histories reach up to the moment of serving; nothing is learnt from them.
- **Position** is only known once the list has been ranked, so it is no feature by default. With
  `use_position=True` training sees it (standardised logarithm) and scoring fixes it at the train mean.
- **Counters** (`counters`) stand beside the context columns, scaled by train rows as these are, on by default.
- **Context columns** are named one by one; outcomes are refused, and so is a column that alone tells the train labels
  nearly perfectly, for it is known only after the click (`context.refuse_answers`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moon_rec.errors import RankingError
from moon_rec.files import digest_of
from moon_rec.shop import Shop
from moon_rec.shop.non_click_recipe import NonClickRecipe
from ranking.features.counters import CounterKind, Counters, with_counters
from ranking.features.feature_config import PERIODS, FeatureConfig, Period
from ranking.features.impressions import read_period
from ranking.features.preparation import Preparation
from ranking.features.requests import Catalogue, RequestReader, Requests
from ranking.features.vocabulary import Vocabulary

__all__ = [
    "HISTORY_FEATURES",
    "ITEM_FEATURES",
    "PERIODS",
    "Catalogue",
    "FeatureConfig",
    "Period",
    "RankingTables",
    "Requests",
    "read_features",
]

ITEM_FEATURES = ("item", "category", "brand", "price")
HISTORY_FEATURES = ("item", "category", "brand")
"""Of those, what a past item is read by."""


def read_features(names: Sequence[str], num_embeddings: Mapping[str, int]) -> list[str]:
    """Those of an item's features that a ranker reads. A category or brand that training never saw is none:
    its table would have the one row of what is unknown, at the full price in every pair."""
    unseen = {name for name in ("category", "brand") if num_embeddings[name] == 1}
    return [name for name in names if name not in unseen]


@dataclass(frozen=True, repr=False)
class RankingTables:
    """What rankers of one shop are trained and scored on; built once, shared by all of them.

    Attributes:
        preparation: what was learnt of train rows; a ranker refuses tables of another.
        items, queries: catalogues with features `item, category, brand, price` and `query`.
        history_events: `(events,)` rows of `items`; query_events: `(events,)` rows of `queries`.
        periods: train, validation and test.
        digest: 16 hex digits of shop and preparation; shop: of the shop alone, empty where there is none.
        non_clicks: how the shop's non-clicks were sampled, None where they were observed.
    """

    preparation: Preparation
    items: Catalogue
    queries: Catalogue
    history_events: np.ndarray
    query_events: np.ndarray
    periods: dict[Period, Requests]
    digest: str
    shop: str = ""
    non_clicks: NonClickRecipe | None = None

    @classmethod
    def build(
        cls,
        shop: Shop,
        config: FeatureConfig | None = None,
        preparation: Preparation | None = None,
    ) -> "RankingTables":
        """Read a shop.

        Args:
            shop: whose impressions become periods.
            config: what to read; left out where `preparation` is given.
            preparation: a ranker's, to read this shop as the ranker's own; None learns one from the train
                period. With one given a period may be empty.

        Raises:
            RankingError: a period without impressions, a train period of one class, a context column
                that is missing or not numeric, rows that `impressions.read_period` refuses.
        """
        if preparation is not None and config is not None and config != preparation.config:
            raise RankingError(
                "config differs from the preparation's; leave it out, or train a ranker with it"
            )
        given = preparation is not None
        config = preparation.config if preparation else config or FeatureConfig()
        frames = {period: read_period(shop, config, period, given) for period in PERIODS}
        counters = Counters.of(shop, config)
        frames = {period: with_counters(counters, frame) for period, frame in frames.items()}
        preparation = preparation or Preparation.fit(shop, config, frames["train"])
        reader = RequestReader.of(shop, preparation)
        periods: dict[Period, Requests] = {
            period: reader.read(frames[period], in_training=period == "train") for period in PERIODS
        }
        return cls.of(shop, reader, periods)

    @classmethod
    def of(
        cls, shop: Shop, reader: RequestReader, periods: dict[Period, Requests]
    ) -> "RankingTables":
        """Tables of requests that `reader` read of the shop."""
        return cls(
            preparation=reader.preparation,
            items=reader.items,
            queries=reader.queries,
            history_events=reader.items.rows(reader.clicks.item_ids),
            query_events=reader.queries.rows(reader.past_searches.item_ids),
            periods=periods,
            digest=digest_of([shop.digest, reader.preparation.digest]),
            shop=shop.digest,
            non_clicks=shop.non_clicks,
        )

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {requests.num_rows:,}" for name, requests in self.periods.items())
        return f"RankingTables({rows} rows, digest {self.digest})"

    @property
    def config(self) -> FeatureConfig:
        """Settings of the features."""
        return self.preparation.config

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """Name -> values known from train (user, item, category, brand, query)."""
        return self.preparation.vocabularies

    @property
    def num_embeddings(self) -> dict[str, int]:
        """Feature -> rows of its embedding table."""
        return self.preparation.num_embeddings

    @property
    def num_context(self) -> int:
        """Numeric columns of context."""
        return self.preparation.num_context

    @property
    def counters(self) -> CounterKind:
        """Which counters are read."""
        return self.preparation.counters

    @property
    def has_searches(self) -> bool:
        """Whether the shop that the preparation was learnt from has searches at all."""
        return self.preparation.has_searches
