"""Train a ranker: `python -m ranking.train SHOP --out DIR --content cube --items DIR --queries DIR`.

Notable choices
- One epoch by default: rankers with id tables overfit from the second on (papers.md, section 6). With
  more, the epoch of the best validation AUC is kept.
- Dense weights by AdamW, tables by row-wise Adagrad; both rates fall linearly to a tenth.
- All randomness (weights, shuffling, hidden ids) follows from `RankerConfig.seed`.
"""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from moon_rec.progress import progress, say
from moon_rec.seeds import seed_of
from moon_rec.shop import Shop
from ranking.config import RankerConfig
from ranking.content import ContentStores
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.model import InputSizes, Ranker
from ranking.optimiser import RowWiseAdagrad
from ranking.trained import TrainedRanker, content_stores, predict, threads

__all__ = ["RankerConfig", "TrainedRanker", "train_ranker"]

FINAL_RATE = 0.1


def train_ranker(
    tables: RankingTables,
    config: RankerConfig | None = None,
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
    description: str = "train",
) -> TrainedRanker:
    """Train a ranker on the tables' train period.

    Args:
        tables: what `RankingTables.build` gives.
        config: of model and training.
        items, queries: frozen vectors by item_id and search_id; wanted exactly by `content="cube"`
            (queries may be None: the branches of queries are then left out).
        description: stands before the progress bar.

    Raises:
        RankingError: vectors that are missing, not wanted, or do not fit.
    """
    config = config or RankerConfig()
    content = content_stores(tables, config, items, queries)
    sizes = input_sizes(tables, content)
    with threads(config.num_threads):
        model = new_ranker(tables, sizes, config)
        started = time.perf_counter()
        validation = _fit(model, tables, config, content, description)
        seconds = time.perf_counter() - started
    return TrainedRanker(
        model=model.eval(),
        config=config,
        preparation=tables.preparation,
        sizes=sizes,
        tables_digest=tables.digest,
        items=items,
        queries=queries,
        validation_auc=tuple(validation),
        rows_per_second=config.epochs * tables.periods["train"].num_rows / seconds,
    )


def input_sizes(tables: RankingTables, content: ContentStores | None) -> InputSizes:
    """What the shapes of a ranker over these inputs are."""
    return InputSizes(
        num_embeddings=dict(tables.num_embeddings),
        num_context=tables.num_context,
        history_length=tables.config.history_length,
        query_history_length=tables.config.query_history_length,
        has_searches=tables.has_searches,
        content_dim=content.dim if content is not None else 0,
        has_query_content=content is not None and content.queries is not None,
    )


def new_ranker(tables: RankingTables, sizes: InputSizes, config: RankerConfig) -> Ranker:
    """An untrained ranker whose weights depend on the seed alone; torch's global stream is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.seed, "ranker weights"))
        return Ranker(sizes, config, click_rate=float(tables.periods["train"].labels.mean()))


class _Optimisers:
    """AdamW for dense weights and row-wise Adagrad for tables, under one falling rate."""

    def __init__(self, model: Ranker, config: RankerConfig, num_rows: int):
        dense = [weight for weight in model.dense_parameters() if weight.requires_grad]
        self.dense = torch.optim.AdamW(
            dense, config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        tables = [table for table in model.tables.modules() if isinstance(table, nn.Embedding)]
        self.tables = RowWiseAdagrad(tables, config.embedding_learning_rate)
        self.config, self.num_rows, self.done = config, num_rows, 0

    def step(self, loss: Tensor, num_rows: int) -> None:
        """One update; `num_rows` more rows are then done, which sets the next rate."""
        factor = 1 - (1 - FINAL_RATE) * self.done / self.num_rows
        self.dense.param_groups[0]["lr"] = self.config.learning_rate * factor
        self.tables.learning_rate = self.config.embedding_learning_rate * factor
        self.dense.zero_grad(set_to_none=True)
        self.tables.zero_grad()
        loss.backward()
        self.dense.step()
        self.tables.step()
        self.done += num_rows


def _fit(
    model: Ranker,
    tables: RankingTables,
    config: RankerConfig,
    content: ContentStores | None,
    description: str,
) -> list[float]:
    """Train in place; with several epochs, leave the weights of the best on validation."""
    loader = Loader(tables, "train", config.batch_size, content, config.seed, config.unknown_rate)
    num_rows = loader.requests.num_rows * config.epochs
    optimisers = _Optimisers(model, config, num_rows)
    found: list[float] = []
    best: dict[str, Tensor] = {}
    with progress(description, total=num_rows) as bar:
        for epoch in range(config.epochs):
            model.train()
            for batch in loader.epoch(epoch):
                loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels)
                optimisers.step(loss, batch.num_rows)
                bar.advance(batch.num_rows)
            if config.epochs > 1:
                found.append(_validation_auc(model, tables, content))
                if found[-1] == max(found):
                    best = {name: value.clone() for name, value in model.state_dict().items()}
    if not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise RankingError(
            "training diverged (weights are not finite): lower learning_rate "
            f"{config.learning_rate} or embedding_learning_rate {config.embedding_learning_rate}"
        )
    if best:
        model.load_state_dict(best)
    return found


def _validation_auc(model: Ranker, tables: RankingTables, content: ContentStores | None) -> float:
    requests = tables.periods["validation"]
    loader = Loader(tables, "validation", 4096, content)
    return auc(requests.labels, predict(model, loader))


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m ranking.train",
        description="Train a CTR ranker on a shop's train period: DIN on ids, or CUBE on ids and vectors.",
        example="python -m ranking.train demo/shop --content cube --items demo/encoder/items "
        "--queries demo/encoder/queries --out demo/cube --set epochs=1",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the ranker to")
    parser.add_argument(
        "--content", choices=("none", "cube"), default=None, help="default: cube with --items"
    )
    parser.add_argument("--items", type=Path, help="embedding table of the items")
    parser.add_argument("--queries", type=Path, help="embedding table of the searches")
    parser.add_argument(
        "--feature",
        dest="features",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the features, such as history_length=50; may be given again",
    )
    add_config_options(parser)
    given = parser.parse_args(argv)
    content = given.content or ("cube" if given.items else "none")
    config = load_config(RankerConfig, given.config, [f"content={content!r}", *given.settings])
    features = load_config(FeatureConfig, None, given.features)
    items = EmbeddingTable.open(given.items) if given.items else None
    queries = EmbeddingTable.open(given.queries) if given.queries else None
    if given.out.exists():
        raise RankingError(f"{given.out} exists already; remove it or name another folder")
    tables = RankingTables.build(Shop.open(given.shop), features)
    ranker = train_ranker(tables, config, items, queries)
    ranker.save(given.out)
    say(
        f"{given.out}: {ranker.rows_per_second:,.0f} rows/s; score it with python -m ranking.evaluate"
    )


if __name__ == "__main__":
    sys.exit(run(main))
