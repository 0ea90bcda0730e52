"""Ranking tables of random ids, made directly: what the speed benchmarks read, with no shop behind them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from ranking.features import Catalogue, FeatureConfig, RankingTables, Requests
from ranking.features.preparation import Preparation
from ranking.features.vocabulary import Vocabulary

ITEM_ALONE: Mapping[str, int] = {"user": 0, "item": 100_000, "category": 0, "brand": 0, "price": 0}
"""Known values a feature in the setting of docs/log.md: one id an item, as target and as behaviour."""
ALL_FEATURES: Mapping[str, int] = {
    "user": 20_000,
    "item": 100_000,
    "category": 1_000,
    "brand": 5_000,
    "price": 10,
}


def synthetic_tables(
    num_requests: int,
    candidates: int = 1,
    lengths: tuple[int, int] = (10, 50),
    num_values: Mapping[str, int] = ITEM_ALONE,
    seed: int = 0,
) -> RankingTables:
    """Tables whose train period holds `num_requests` requests of `candidates` rows, histories of random length.

    Args:
        lengths: shortest and longest history.
        num_values: feature -> known values; 0 leaves only "unknown".
    """
    random = np.random.default_rng(seed)
    num_items = num_values["item"]
    features = {
        name: np.append(_values(random, num_values[name], num_items, name == "item"), 0)
        for name in ("item", "category", "brand", "price")
    }
    items = Catalogue(np.arange(1, num_items + 1), features)
    sizes = random.integers(lengths[0], lengths[1] + 1, num_requests)
    ends = np.cumsum(sizes)
    num_rows = num_requests * candidates
    nothing = np.zeros(num_requests, dtype=np.int64)
    users = random.integers(0, num_values["user"] + 1, num_requests)
    shown = random.integers(0, num_items, num_rows)
    requests = Requests(
        request_ids=np.arange(num_requests),
        user_ids=users,
        users=users,
        queries=nothing,
        history_starts=ends - sizes,
        history_ends=ends,
        query_starts=nothing,
        query_ends=nothing,
        offsets=np.arange(num_requests + 1) * candidates,
        item_ids=items.ids[shown],
        items=shown,
        labels=(random.random(num_rows) < 0.1).astype(np.float32),
        context=np.zeros((num_rows, 0), dtype=np.float32),
        is_cold=np.zeros(num_rows, dtype=bool),
    )
    vocabularies = {
        name: Vocabulary(pl.Series(np.arange(1, count + 1), dtype=pl.Int64))
        for name, count in num_values.items()
        if name != "price"
    }
    vocabularies["query"] = Vocabulary(pl.Series([], dtype=pl.String))
    preparation = Preparation(
        config=FeatureConfig(
            counters="none",
            history_length=lengths[1],
            num_price_buckets=max(num_values["price"], 1),
        ),
        vocabularies=vocabularies,
        item_counts=np.zeros(num_items + 1, dtype=np.int64),
        user_counts=np.zeros(vocabularies["user"].num_rows, dtype=np.int64),
        price_edges=np.zeros(0),
        context=(),
        max_candidates=candidates,
        has_searches=False,
    )
    return RankingTables(
        preparation=preparation,
        items=items,
        queries=Catalogue(np.zeros(0, dtype=np.int64), {"query": np.zeros(1, dtype=np.int64)}),
        history_events=random.integers(0, num_items, int(ends[-1])),
        query_events=np.zeros(0, dtype=np.int64),
        periods={"train": requests, "validation": requests, "test": requests},
        digest="synthetic",
    )


def one_row_a_request(tables: RankingTables) -> RankingTables:
    """The same rows, each a request of its own: what `FeatureConfig.max_candidates=1` makes of a shop."""
    requests = tables.periods["train"]
    owners = requests.row_requests()
    per_request = (
        "request_ids",
        "user_ids",
        "users",
        "queries",
        "history_starts",
        "history_ends",
        "query_starts",
        "query_ends",
    )
    cut = replace(
        requests,
        offsets=np.arange(requests.num_rows + 1),
        **{name: getattr(requests, name)[owners] for name in per_request},
    )
    return replace(tables, periods=dict.fromkeys(tables.periods, cut))


def random_vectors(num_items: int, dim: int = 128, seed: int = 0) -> EmbeddingTable:
    """Vectors of the synthetic items."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(num_items, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddingTable.from_arrays(np.arange(1, num_items + 1), vectors)


def _values(random: np.random.Generator, count: int, num_items: int, is_own: bool) -> np.ndarray:
    if is_own:
        return np.arange(1, num_items + 1)
    return (
        random.integers(1, count + 1, num_items) if count else np.zeros(num_items, dtype=np.int64)
    )
