"""What one measurement of this library's rows a second is: loading, steps on ready batches, the whole loop."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from moon_rec.embedding_table import EmbeddingTable
from ranking.batch import Batch
from ranking.config import RankerConfig
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.trained import content_stores, threads
from ranking.training.course import input_sizes, new_ranker, train_ranker
from ranking.training.trainer import LocalTrainer

Clock = Callable[[], float]


@dataclass(frozen=True)
class Bench:
    """One ranker on one set of tables.

    Attributes:
        clock: seconds; `time.perf_counter`, or `time.process_time` on a machine that others use too.
    """

    tables: RankingTables
    config: RankerConfig
    items: EmbeddingTable | None = None
    clock: Clock = time.perf_counter

    @property
    def num_rows(self) -> int:
        """Train rows."""
        return self.tables.periods["train"].num_rows

    def loading(self) -> float:
        """Rows a second of one shuffled epoch that is loaded and thrown away."""
        started = self.clock()
        rows = sum(batch.num_rows for batch in self._loader().epoch())
        return rows / (self.clock() - started)

    def whole_loop(self) -> float:
        """Rows a second of `train_ranker`, its set-up left out."""
        if self.clock is time.perf_counter:
            return train_ranker(self.tables, self.config, self.items).rows_per_second
        return self._rows_per_second(self._loader().epoch())

    def ready_batches(self) -> float:
        """Rows a second of the same steps on batches that were made before."""
        return self._rows_per_second(list(self._loader().epoch()))

    def _rows_per_second(self, batches: list[Batch] | Iterator[Batch]) -> float:
        content = content_stores(self.tables, self.config, self.items, None)
        with threads(self.config.num_threads):
            model = new_ranker(self.tables, input_sizes(self.tables, content), self.config)
            trainer = LocalTrainer(model, self.config)
            started = self.clock()
            for _ in trainer.steps(batches):
                pass
            return self.num_rows / (self.clock() - started)

    def _loader(self) -> Loader:
        config = self.config
        content = content_stores(self.tables, config, self.items, None)
        return Loader(
            self.tables, "train", config.batch_size, content, config.seed, config.unknown_rate
        )
