"""What a training step costs, in steps of a baseline timed in the same minute.

Machines drift and are shared, so all rankers take some steps in turn, round after round, and each round gives a
ratio; the median is told with the least and the most. Loading the batch is part of a step.
"""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.progress import progress
from ranking.batch import Batch
from ranking.config import RankerConfig
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.search_unit import search_options
from ranking.trained import threads
from ranking.training import prepare
from ranking.training.trainer import LocalTrainer

ROUNDS, STEPS, WARM_UP = 7, 10, 3


@dataclass(frozen=True)
class StepCost:
    """Of one ranker.

    Attributes:
        ratio: to the baseline, median over rounds; low, high: least and most.
        milliseconds: of a step, median over rounds: of this machine at that time.
        rows: impressions a step.
    """

    ratio: float
    low: float
    high: float
    milliseconds: float
    rows: float


def step_costs(
    tables: RankingTables,
    configs: Mapping[str, RankerConfig],
    items: EmbeddingTable | None,
    queries: EmbeddingTable | None,
    baseline: str,
    rounds: int = ROUNDS,
    steps: int = STEPS,
) -> dict[str, StepCost]:
    """Time some steps of every ranker in turn.

    Args:
        configs: name -> configuration; `baseline` is one of the names.
        items, queries: vectors, for those that read them.
    """
    seconds = {name: np.zeros(rounds) for name in configs}
    rows = {name: np.zeros(rounds) for name in configs}
    with threads(configs[baseline].num_threads), progress("cost of a step", rounds) as bar:
        running = {
            name: _steps(tables, config, *((items, queries) if config.reads_vectors else ()))
            for name, config in configs.items()
        }
        for one in running.values():
            _take(one, WARM_UP)
        for number in range(rounds):
            for name, one in running.items():
                seconds[name][number], rows[name][number] = _take(one, steps)
            bar.advance()
    costs = {}
    for name in configs:
        ratios = (seconds[name] / rows[name]) / (seconds[baseline] / rows[baseline])
        middle = 1000 * float(np.median(seconds[name])) / steps
        spread = float(np.median(ratios)), float(ratios.min()), float(ratios.max())
        costs[name] = StepCost(*spread, middle, float(rows[name].mean()) / steps)
    return costs


def _take(running: Iterator[int], steps: int) -> tuple[float, int]:
    """Seconds of some steps, and their rows."""
    started = time.perf_counter()
    rows = sum(itertools.islice(running, steps))
    return time.perf_counter() - started, rows


def _steps(
    tables: RankingTables,
    config: RankerConfig,
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
) -> Iterator[int]:
    """Endless training steps; gives the rows of each when it is done."""
    model, content, _ = prepare(tables, config, items, queries)
    trainer = LocalTrainer(model, config)
    search = search_options(tables, config, content)
    loader = Loader(
        tables, "train", config.batch_size, content, config.seed, config.unknown_rate, **search
    )
    sizes: list[int] = []

    def batches() -> Iterator[Batch]:
        for epoch in itertools.count():
            for batch in loader.epoch(epoch):
                sizes.append(batch.num_rows)
                yield batch

    losses: Iterator[Tensor] = trainer.steps(batches())
    for place, _ in enumerate(losses):
        yield sizes[place]
