"""A shop's tables -> the arrays a ranker reads: requests with their rows, catalogue, histories.

Notable choices
- **Rows are grouped by request.** Impressions of a request share user, query and histories, so these
  are kept (and later embedded) once a request. Candidates are padded to the longest request of a batch,
  so requests longer than `max_candidates` are cut into several with the same history; by default at
  the length where padding and repeated histories together cost least on the train rows.
- **Histories are never copied.** Each request holds `(start, end)` into one array of events a kind,
  sorted by user and time. They hold what the user did strictly before the *first* impression of the
  request, so a click in a request never informs its neighbours. Validation and test histories reach
  up to the moment of serving; nothing is learnt from them.
- **Vocabularies, price edges and context scales come from train rows alone**: items, users,
  categories and brands of train impressions, query texts of train searches. Anything else is unknown
  (row 0), so to a model of ids a new item is an unknown id: that is what cold means to it.
- **Position** is only known once the list has been ranked, so it is no feature by default. With
  `use_position=True` training sees it (standardised logarithm) and scoring fixes it at the train mean.
- **Context columns** are named one by one: a column that is known only after the click would leak.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from pydantic import Field

from moon_rec.config import Config
from moon_rec.errors import RankingError
from moon_rec.files import digest_of
from moon_rec.lookup import rows_of
from moon_rec.shop import Shop
from moon_rec.shop.history import Histories, microseconds
from ranking.vocabulary import Vocabulary

Period = Literal["train", "validation", "test"]
PERIODS: tuple[Period, ...] = get_args(Period)
LONGEST_CUT = 64
SHARED_COST = 1.0
ITEM_FEATURES = ("item", "category", "brand", "price")


class FeatureConfig(Config):
    """What a ranker reads of a shop."""

    label: Literal["clicked", "carted", "purchased"] = "clicked"
    history_kind: Literal["clicked", "carted", "purchased"] = "clicked"
    history_length: int = Field(default=50, ge=0, description="newest behaviours kept of a user")
    query_history_length: int = Field(
        default=20, ge=0, description="newest past searches kept of a user"
    )
    num_price_buckets: int = Field(
        default=10, ge=1, description="quantiles of the train items' prices"
    )
    min_query_count: int = Field(
        default=2, ge=1, description="train searches a query text needs for an id"
    )
    cold_below: int = Field(default=1, ge=1, description="cold: fewer train impressions than this")
    context: tuple[str, ...] = ()
    use_position: bool = False
    max_candidates: int | None = Field(
        default=None, ge=1, description="longer requests are cut; None: where it costs least"
    )


@dataclass(frozen=True)
class Catalogue:
    """Everything known of items (or searches) by row; a last row stands for "none of these".

    Attributes:
        ids: `(items,)` int64, ascending.
        features: name -> `(items + 1,)` int64 vocabulary rows; the last is all unknown.
    """

    ids: np.ndarray
    features: dict[str, np.ndarray]

    @property
    def nothing(self) -> int:
        """The row that stands for no such item."""
        return self.ids.size

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Row of each id, `nothing` where there is none."""
        return rows_of(self.ids, ids, missing=self.nothing)


@dataclass(frozen=True)
class Requests:
    """The requests of one period, in order of time; rows are those of request 0, then 1, ...

    Attributes:
        request_ids, user_ids: `(requests,)` raw ids. users: their vocabulary rows.
        queries: `(requests,)` rows of the query catalogue.
        history_starts, history_ends: `(requests,)` into `RankingTables.history_events`, oldest first.
        query_starts, query_ends: the same into `RankingTables.query_events`.
        offsets: `(requests + 1,)`; the rows of request r are `offsets[r]:offsets[r + 1]`.
        items: `(rows,)` rows of the item catalogue. labels: `(rows,)` float32 of 0 and 1.
        context: `(rows, num_context)` float32, standardised.
        is_cold: `(rows,)`.
    """

    request_ids: np.ndarray
    user_ids: np.ndarray
    users: np.ndarray
    queries: np.ndarray
    history_starts: np.ndarray
    history_ends: np.ndarray
    query_starts: np.ndarray
    query_ends: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    context: np.ndarray
    is_cold: np.ndarray

    @property
    def num_rows(self) -> int:
        """Impressions of the period."""
        return self.items.size

    def row_requests(self) -> np.ndarray:
        """Request of each row, `(rows,)`."""
        return np.repeat(np.arange(self.request_ids.size), np.diff(self.offsets))


@dataclass(frozen=True, repr=False)
class RankingTables:
    """What rankers of one shop are trained and scored on; built once, shared by all of them.

    Attributes:
        items, queries: catalogues with features `item, category, brand, price` and `query`.
        history_events: `(events,)` rows of `items`; query_events: `(events,)` rows of `queries`.
        periods: train, validation and test.
        vocabularies: name -> values known from train (users, items, categories, brands, queries).
        num_embeddings: feature -> rows of its embedding table.
        digest: 16 hex digits of shop and settings; a ranker refuses tables of another.
    """

    config: FeatureConfig
    items: Catalogue
    queries: Catalogue
    history_events: np.ndarray
    query_events: np.ndarray
    periods: dict[Period, Requests]
    vocabularies: dict[str, Vocabulary]
    num_embeddings: dict[str, int]
    num_context: int
    digest: str

    @classmethod
    def build(cls, shop: Shop, config: FeatureConfig | None = None) -> "RankingTables":
        """Read a shop.

        Raises:
            RankingError: a period without impressions, a train period of one class, a context column
                that is missing or not numeric.
        """
        config = config or FeatureConfig()
        frames = {period: _read_period(shop, config, period) for period in PERIODS}
        train = frames["train"]
        if train[config.label].n_unique() < 2:
            raise RankingError(
                f"{shop.path}: all {train.height} train impressions have {config.label} = "
                f"{train[config.label][0]}; a ranker needs both"
            )
        searches = shop.searches.select("search_id", "time", "query_text").collect()
        vocabularies = {
            "user": Vocabulary.of(train["user_id"]),
            "query": _query_vocabulary(shop, searches, config),
        }
        items = _item_catalogue(shop, train, config, vocabularies)
        queries = _query_catalogue(searches, vocabularies["query"])
        clicks, past = Histories.of(shop, kind=config.history_kind), Histories.of_searches(shop)
        scales = _context_scales(train, config)
        cut = config.max_candidates or _cheapest_cut(np.diff(_request_bounds(train)))
        reader = _PeriodReader(
            config, cut, items, queries, clicks, past, searches, scales, vocabularies
        )
        counts = items_counts(items, train)
        num_embeddings = {name: vocabulary.num_rows for name, vocabulary in vocabularies.items()}
        num_embeddings["price"] = config.num_price_buckets + 1
        return cls(
            config=config,
            items=items,
            queries=queries,
            history_events=items.rows(clicks.item_ids),
            query_events=queries.rows(past.item_ids),
            periods={period: reader.read(frames[period], period, counts) for period in PERIODS},
            vocabularies=vocabularies,
            num_embeddings=num_embeddings,
            num_context=len(scales),
            digest=digest_of([shop.digest, config.digest()]),
        )

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {requests.num_rows:,}" for name, requests in self.periods.items())
        return f"RankingTables({rows} rows, digest {self.digest})"

    @property
    def has_searches(self) -> bool:
        """Whether the shop has searches at all."""
        return self.queries.ids.size > 0


def items_counts(items: Catalogue, train: pl.DataFrame) -> np.ndarray:
    """Train impressions of each catalogue row, `(items + 1,)`."""
    return np.bincount(items.rows(train["item_id"].to_numpy()), minlength=items.nothing + 1)


def _read_period(shop: Shop, config: FeatureConfig, period: Period) -> pl.DataFrame:
    """Impressions of a period, requests in order of their first time, rows by item: no file order."""
    schema = shop.impressions.collect_schema()
    for name in config.context:
        if name not in schema or not (schema[name].is_numeric() or schema[name] == pl.Boolean):
            found = schema.get(name, "absent")
            raise RankingError(f"context column {name!r} of impressions is {found}: wanted numbers")
    columns = ["request_id", "search_id", "user_id", "item_id", "time", "position", config.label]
    columns = list(dict.fromkeys([*columns, *config.context]))
    frame = shop.in_period(shop.impressions.select(columns), period).collect()
    if frame.height == 0:
        raise RankingError(
            f"{shop.path}: no impression in the {period} period; move cut_time or test_time"
        )
    frame = frame.with_columns(start=pl.col("time").min().over("request_id", "user_id"))
    return frame.sort("start", "request_id", "user_id", "search_id", "item_id", nulls_last=False)


def _query_vocabulary(shop: Shop, searches: pl.DataFrame, config: FeatureConfig) -> Vocabulary:
    texts = shop.in_period(searches, "train").select("query_text").collect()["query_text"]
    return Vocabulary.of(texts, config.min_query_count)


def _item_catalogue(
    shop: Shop,
    train: pl.DataFrame,
    config: FeatureConfig,
    vocabularies: dict[str, Vocabulary],
) -> Catalogue:
    """Catalogue rows of all items; adds the vocabularies of item, category and brand."""
    frame = shop.items.select("item_id", "category", "brand", "price").collect().sort("item_id")
    seen = frame.join(train.select("item_id").unique(), on="item_id", how="semi")
    vocabularies["item"] = Vocabulary.of(seen["item_id"])
    vocabularies["category"] = Vocabulary.of(seen["category"])
    vocabularies["brand"] = Vocabulary.of(seen["brand"])
    columns = {"item": "item_id", "category": "category", "brand": "brand"}
    features = {name: vocabularies[name].rows(frame[column]) for name, column in columns.items()}
    prices, known = frame["price"].to_numpy(), seen["price"].drop_nulls().to_numpy()
    steps = np.linspace(0, 1, config.num_price_buckets + 1)[1:-1]
    edges = np.quantile(known, steps) if known.size else np.zeros(0)
    features["price"] = np.where(np.isnan(prices), 0, np.searchsorted(edges, prices, "right") + 1)
    return Catalogue(frame["item_id"].to_numpy().copy(), _with_nothing(features))


def _query_catalogue(searches: pl.DataFrame, vocabulary: Vocabulary) -> Catalogue:
    searches = searches.sort("search_id")
    features = {"query": vocabulary.rows(searches["query_text"])}
    return Catalogue(searches["search_id"].to_numpy().copy(), _with_nothing(features))


def _with_nothing(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.append(rows, 0).astype(np.int64) for name, rows in features.items()}


def _context_scales(train: pl.DataFrame, config: FeatureConfig) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each context column over train rows."""
    names = [*config.context, *(["position"] if config.use_position else [])]
    scales = {}
    for name in names:
        values = _numbers(train, name)
        deviation = float(np.nanstd(values)) or 1.0
        scales[name] = (float(np.nanmean(values)), deviation)
    return scales


def _numbers(frame: pl.DataFrame, name: str) -> np.ndarray:
    values = frame[name].cast(pl.Float64).to_numpy()
    return np.log1p(np.maximum(values, 0)) if name == "position" else values


@dataclass(frozen=True)
class _PeriodReader:
    """What every period is read with."""

    config: FeatureConfig
    cut: int
    items: Catalogue
    queries: Catalogue
    clicks: Histories
    past_searches: Histories
    searches: pl.DataFrame
    scales: dict[str, tuple[float, float]]
    vocabularies: dict[str, Vocabulary]

    def read(self, frame: pl.DataFrame, period: Period, counts: np.ndarray) -> Requests:
        """Group a sorted frame into requests."""
        offsets = _request_bounds(frame, self.cut)
        first = frame[offsets[:-1]]
        user_ids = first["user_id"].to_numpy().copy()
        starts, ends = self.clicks.before(
            user_ids, microseconds(first["start"]), self.config.history_length
        )
        # the search that led here is the query, not a past behaviour
        times = first.join(
            self.searches.select("search_id", searched="time"),
            on="search_id",
            how="left",
            maintain_order="left",
        )
        before = times.select(pl.min_horizontal("start", "searched"))["start"]
        query_starts, query_ends = self.past_searches.before(
            user_ids, microseconds(before), self.config.query_history_length
        )
        items = self.items.rows(frame["item_id"].to_numpy())
        return Requests(
            request_ids=first["request_id"].to_numpy().copy(),
            user_ids=user_ids,
            users=self.vocabularies["user"].rows(first["user_id"]),
            queries=self.queries.rows(first["search_id"].fill_null(-1).to_numpy()),
            history_starts=starts,
            history_ends=ends,
            query_starts=query_starts,
            query_ends=query_ends,
            offsets=offsets,
            items=items,
            labels=frame[self.config.label].cast(pl.Float32).to_numpy().copy(),
            context=self._context(frame, period),
            is_cold=counts[items] < self.config.cold_below,
        )

    def _context(self, frame: pl.DataFrame, period: Period) -> np.ndarray:
        context = np.zeros((frame.height, len(self.scales)), dtype=np.float32)
        for column, (name, (mean, deviation)) in enumerate(self.scales.items()):
            if name == "position" and period != "train":
                continue
            context[:, column] = np.nan_to_num((_numbers(frame, name) - mean) / deviation)
        return context


def _request_bounds(frame: pl.DataFrame, cut: int | None = None) -> np.ndarray:
    """Where requests begin, and the end: at a new id, user or search, or after `cut` rows."""
    keys = frame.select("request_id", "user_id", pl.col("search_id").fill_null(-1)).to_numpy()
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    if cut is not None:
        first = np.flatnonzero(begins)
        place = np.arange(len(keys)) - np.repeat(first, np.diff(np.append(first, len(keys))))
        begins |= place % cut == 0
    return np.append(np.flatnonzero(begins), len(keys))


def _cheapest_cut(sizes: np.ndarray) -> int:
    """The length at which to cut requests, up to `LONGEST_CUT`: a piece of any length costs as many
    candidates as the cut, for it is padded to it, and `SHARED_COST` more for its history."""
    cuts = np.arange(1, min(LONGEST_CUT, int(sizes.max())) + 1)
    pieces = np.array([np.ceil(sizes / cut).sum() for cut in cuts])
    return int(cuts[np.argmin(pieces * (cuts + SHARED_COST))])
