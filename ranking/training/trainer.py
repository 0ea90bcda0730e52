"""What a training loop asks of the side that computes: one process here, many in `distributed.py`.

All that a step changes is in `state`: live tensors by name, so a checkpoint is saved from it and loaded
into it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor

from moon_rec.errors import RankingError
from ranking.batch import Batch
from ranking.config import RankerConfig
from ranking.loader import Loader
from ranking.model import Ranker
from ranking.trained import predict
from ranking.training.optimiser import DenseOptimiser, RowWiseAdagrad

FINITE_ROWS = 1 << 18


class DivergedError(RankingError):
    """A training whose loss or weights are no numbers any more."""


class Trainer(ABC):
    """Trains a ranker and scores with it."""

    def __init__(self) -> None:
        self.best: dict[str, Tensor] = {}

    @abstractmethod
    def set_rate(self, factor: float) -> None:
        """From the next step on, learn at that share of the configured rates."""

    @abstractmethod
    def steps(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """Take one step a batch and give its loss `()`."""

    @abstractmethod
    def predict(self, loader: Loader) -> np.ndarray:
        """Click probabilities of the loader's period, float64 `(rows,)`, on every rank."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """The live weights, named as in `Ranker.state_dict`."""

    @abstractmethod
    def optimiser_state(self) -> dict[str, Tensor]:
        """The live state of the optimisers: `dense.<weight>.<part>`, `tables.<table>.accumulator`."""

    @abstractmethod
    def whole(self) -> Ranker | None:
        """The trained ranker in one piece on the CPU; None on all ranks but the first."""

    def state(self) -> dict[str, Tensor]:
        """All that training goes on from."""
        state = {f"model.{name}": value for name, value in self.weights().items()}
        state |= {f"best.{name}": value for name, value in self.best.items()}
        return state | {f"optimiser.{name}": v for name, v in self.optimiser_state().items()}

    def keep(self) -> None:
        """Remember the weights as the best so far."""
        self.best = {name: value.detach().clone() for name, value in self.weights().items()}

    @torch.no_grad()
    def restore_best(self) -> None:
        """Go back to the weights remembered, if any."""
        for name, value in self.weights().items():
            if name in self.best:
                local(value).copy_(local(self.best[name]))

    def first_bad(self, losses: Tensor) -> int | None:
        """Place of the first loss `(steps,)` that is no number on any rank, None where all are numbers; all ranks ask together."""
        steps = len(losses)
        places = torch.arange(steps, device=losses.device)
        first = torch.where(torch.isfinite(losses), steps, places).min()
        if dist.is_initialized():
            dist.all_reduce(first, dist.ReduceOp.MIN)
        found = int(first)
        return found if found < steps else None

    def is_finite(self) -> bool:
        """Whether all weights are numbers; asked of some rows at a time, for a table may be most of the memory.

        A sum is a number only where all that it adds are, and is ten times as quick as a look at each.
        """
        return all(
            bool(torch.isfinite(rows.sum())) or bool(torch.isfinite(rows).all())
            for value in self.weights().values()
            for rows in torch.atleast_1d(local(value)).split(FINITE_ROWS)
        )


def local(value: Tensor) -> Tensor:
    """This rank's part of a plain or sharded tensor; a rank without a part has an empty one."""
    shards = getattr(value, "local_shards", None)
    if shards is None:
        return value
    found = shards()
    assert len(found) <= 1, "a table has one shard a rank: row-wise or table-wise"
    return found[0].tensor if found else torch.empty(0)


class LocalTrainer(Trainer):
    """One process on a CPU, the same bits each time."""

    def __init__(self, model: Ranker, config: RankerConfig):
        super().__init__()
        self.model, self._config = model, config
        named = dict(model.named_parameters())
        self._dense = DenseOptimiser(
            {name: weight for name, weight in named.items() if not name.startswith("tables.")},
            config,
        )
        self._table_names = list(model.tables.embeddings)
        tables = [table for table in model.tables.modules() if isinstance(table, nn.Embedding)]
        assert len(tables) == len(self._table_names)
        self._tables = RowWiseAdagrad(tables, config.embedding_learning_rate)
        configs = model.tables.embedding_configs()
        self._features = [list(table.feature_names) for table in configs]
        assert [table.name for table in configs] == self._table_names

    def set_rate(self, factor: float) -> None:
        self._dense.set_rate(factor)
        self._tables.learning_rate = self._config.embedding_learning_rate * factor

    def steps(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        self.model.train()
        for batch in batches:
            looked_up = self._look_up(batch)
            loss = mean_loss(self.model.logits(batch, looked_up), batch)
            self._dense.zero_grad()
            loss.backward()
            self._dense.step()
            self._update_tables(batch, looked_up)
            yield loss.detach()

    def _look_up(self, batch: Batch) -> dict[str, JaggedTensor]:
        """What the tables hold for a batch, cut off from them: gradients end here, lookup by lookup, and
        are summed row by row once (autograd would first join sparse gradients of features that share a table)."""
        with torch.no_grad():
            found = self.model.tables(batch.ids)
        return {
            name: JaggedTensor(values=each.values().requires_grad_(), lengths=each.lengths())
            for name, each in found.items()
        }

    def _update_tables(self, batch: Batch, looked_up: Mapping[str, JaggedTensor]) -> None:
        rows = batch.ids.to_dict()
        for number, names in enumerate(self._features):
            read = [name for name in names if looked_up[name].values().grad is not None]
            if read:
                gradients = [looked_up[name].values().grad for name in read]
                places = torch.cat([rows[name].values() for name in read])
                self._tables.update(number, places, torch.cat(gradients))  # type: ignore[arg-type]

    def predict(self, loader: Loader) -> np.ndarray:
        return predict(self.model, loader)

    def weights(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def optimiser_state(self) -> dict[str, Tensor]:
        state = {f"dense.{name}": value for name, value in self._dense.state().items()}
        names = (f"tables.{name}.accumulator" for name in self._table_names)
        return state | dict(zip(names, self._tables.accumulators, strict=True))

    def whole(self) -> Ranker:
        return self.model


def mean_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean log loss of a batch's rows, in float32, times the batch's weight among the ranks' `()`."""
    loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), batch.labels)
    return loss if batch.loss_weight is None else loss * batch.loss_weight
