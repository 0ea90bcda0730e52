"""Gradient-boosted trees on counters and plain features: what a shop without embeddings would serve, and the bar for those with.

Notable choices
- They read the numbers of a ranker's tables (`features.counters`, context), price, category and brand, and how long the user's past is: no
  id of a user or an item. With vectors they also read the cosines of the item with the query and with the past: content without a network.
- The validation period chooses when to stop; no row of test is seen. All rows are in memory, about 100 bytes each.
- Seeds differ by the features that each tree may split on.
- scikit-learn's histogram trees (its counterpart of LightGBM, Ke et al. 2017), on one thread: the same seed gives the same trees. They
  are not kept: scikit-learn has no format but pickle, which nothing here reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from moon_rec.progress import say
from moon_rec.shop import Shop
from ranking.batch import ContentBatch
from ranking.behaviour.interface import Behaviours, Target
from ranking.behaviour.similarity import similarities
from ranking.content import ContentStores
from ranking.features import FeatureConfig, Period, RankingTables
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.unit_vectors import unit_vectors

MOST_TREES, PATIENCE = 1_000, 20
LEARNING_RATE, LEAVES, LEAST_ROWS = 0.05, 15, 50
SHARE_OF_FEATURES = 0.5
"""That a split chooses among: what makes seeds differ."""
MOST_CATEGORIES = 254
"""That scikit-learn takes in a categorical feature: the most frequent ones of train rows; further ones are missing."""
BATCH_ROWS = 4_096
NEWEST = 5


@dataclass(frozen=True, repr=False)
class TrainedTrees:
    """Fitted trees, which score tables as a `TrainedRanker` does.

    Attributes:
        preparation_digest: of the tables that they read.
        items, queries: vectors whose cosines they read; None for none.
        num_trees: that the validation period chose. validation_auc: with those.
    """

    model: HistGradientBoostingClassifier
    preparation_digest: str
    items: EmbeddingTable | None
    queries: EmbeddingTable | None
    num_trees: int
    validation_auc: float

    def predict(self, tables: RankingTables, period: Period) -> np.ndarray:
        """Click probabilities of a period's rows, in the tables' order, float64 `(rows,)`.

        Raises:
            RankingError: tables of another preparation.
        """
        if tables.preparation.digest != self.preparation_digest:
            raise RankingError(
                f"the trees read tables of preparation {self.preparation_digest}, not {tables.preparation.digest}: build them with the same shop and features"
            )
        with threadpool_limits(1, "openmp"):
            return self.model.predict_proba(_columns(tables, period, self.items, self.queries))[
                :, 1
            ]


def train_trees(
    tables: RankingTables,
    seed: int = 0,
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
) -> TrainedTrees:
    """Fit trees on the train period; the validation period says how many.

    Args:
        seed: below 2^32.
        items, queries: frozen vectors, for trees that also read similarities.
    """
    labels = {period: tables.periods[period].labels for period in ("train", "validation")}
    # scikit-learn's annotations know but one of the types that these take
    options: dict[str, Any] = {"categorical_features": [0, 1], "early_stopping": True}
    model = HistGradientBoostingClassifier(
        learning_rate=LEARNING_RATE,
        max_iter=MOST_TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAST_ROWS,
        max_features=SHARE_OF_FEATURES,
        n_iter_no_change=PATIENCE,
        random_state=seed,
        **options,
    )
    held_out = _columns(tables, "validation", items, queries)
    train = _columns(tables, "train", items, queries)
    train[:, np.isnan(train).all(axis=0)] = 0  # scikit-learn fails on nothing; none is split on
    with threadpool_limits(1, "openmp"):
        model.fit(
            train,
            labels["train"],
            X_val=held_out,
            y_val=labels["validation"],
        )
        scores = model.predict_proba(held_out)[:, 1]
    return TrainedTrees(
        model=model,
        preparation_digest=tables.preparation.digest,
        items=items,
        queries=queries,
        num_trees=int(model.n_iter_),
        validation_auc=auc(labels["validation"], scores),
    )


def trees_on_counters(
    shop: Shop,
    features: FeatureConfig | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    period: Period = "test",
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
) -> dict[int, pl.DataFrame]:
    """Scores of a period by trees of several seeds, as `ranking.evaluate.score` gives a ranker's: seed -> one row an impression.

    Raises:
        RankingError: what `RankingTables.build` refuses.
    """
    from ranking.evaluate import score

    tables = RankingTables.build(shop, features)
    found = {}
    for seed in seeds:
        trees = train_trees(tables, seed, items, queries)
        say(
            f"trees, seed {seed}: {trees.num_trees} trees, validation AUC {trees.validation_auc:.4f}"
        )
        found[seed] = score(trees, tables, period)
    return found


def _columns(
    tables: RankingTables,
    period: Period,
    items: EmbeddingTable | None,
    queries: EmbeddingTable | None,
) -> np.ndarray:
    """What the trees read of a period's rows, `(rows, columns)` float32, NaN where there is nothing; category and brand first."""
    requests, catalogue = tables.periods[period], tables.items.features
    place = requests.row_requests()
    columns = [_frequent(tables, name)[requests.items] for name in ("category", "brand")]
    price = catalogue["price"][requests.items].astype(np.float32)
    columns.append(np.where(price == 0, np.nan, price))
    columns.append((requests.history_ends - requests.history_starts)[place])
    columns.append((requests.query_ends - requests.query_starts)[place])
    found = [np.stack(columns, axis=1).astype(np.float32), requests.context]
    if items is not None:
        found.append(_similarities(tables, period, ContentStores.of(tables, items, queries)))
    return np.concatenate(found, axis=1)


def _frequent(tables: RankingTables, name: str) -> np.ndarray:
    """Number of each catalogue row's category or brand among the most frequent of train rows, NaN for others `(items + 1,)`."""
    rows = tables.items.features[name]
    shown = np.bincount(rows[tables.periods["train"].items], minlength=tables.num_embeddings[name])
    shown[0] = 0  # unknown is none
    kept = np.argsort(-shown, kind="stable")[:MOST_CATEGORIES]
    numbers = np.full(shown.size, np.nan)
    numbers[kept] = np.arange(kept.size)
    numbers[shown == 0] = np.nan
    return numbers[rows]


def _similarities(tables: RankingTables, period: Period, stores: ContentStores) -> np.ndarray:
    """Cosines of each row's item with the query, and the newest, the most and the mean with past items and past queries; float32."""
    loader = Loader(tables, period, BATCH_ROWS, stores)
    found: np.ndarray | None = None
    for batch in loader.epoch():
        assert batch.content is not None
        masks = [batch.history_mask, batch.past_query_mask]
        values = _of_batch(batch.content, masks).flatten(0, 1)[batch.candidate_rows].numpy()
        if found is None:
            found = np.empty((loader.requests.num_rows, values.shape[1]), dtype=np.float32)
        found[batch.table_rows.numpy()] = values
    assert found is not None
    return found


def _of_batch(content: ContentBatch, masks: Sequence[Tensor]) -> Tensor:
    """`(batch, candidates, columns)`, NaN where there is nothing to compare."""
    ids = content.targets.new_zeros(*content.has_target.shape, 0, dtype=torch.float32)
    target = Target(ids, unit_vectors(content.targets), content.has_target)
    pairs = [(content.history, content.has_history, masks[0])]
    columns = []
    if content.query is not None and content.past_queries is not None:
        assert content.has_query is not None and content.has_past_query is not None
        pairs.append((content.past_queries, content.has_past_query, masks[1]))
        query = Behaviours(
            ids, content.has_query[:, None], unit_vectors(content.query)[:, None], content.has_query[:, None]
        )  # fmt: skip
        cosine, known = similarities(target, query)
        columns.append(cosine[..., 0].masked_fill(~known[..., 0], torch.nan))
    for vectors, present, mask in pairs:
        cosine, known = similarities(target, Behaviours(ids, mask, unit_vectors(vectors), present))
        columns += _summary(cosine, known)
    return torch.stack(columns, dim=-1)


def _summary(cosine: Tensor, known: Tensor) -> list[Tensor]:
    """Mean of the newest, mean and most of the known cosines `(batch, candidates, length)`, NaN for none."""
    newest = slice(0, NEWEST)
    means = [
        (values * real).sum(-1) / real.sum(-1)  # 0 / 0 is NaN: nothing is known
        for values, real in ((cosine[..., newest], known[..., newest]), (cosine, known))
    ]
    if cosine.shape[-1] == 0:
        return [*means, means[0]]
    most = cosine.masked_fill(~known, -torch.inf).amax(-1)
    return [*means, most.masked_fill(~known.any(-1), torch.nan)]
