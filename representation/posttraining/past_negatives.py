"""Temporal negatives of a training: queues of past items, one for each form of item, and what a batch may use of them.

MOON's Fig. 3c shows one queue, fed by in-batch and by hard negatives. How it goes with batches of several forms is not public. Here each form of item (`image`,
`title+image` ...) that the mixture trains has a queue of its own: were a batch of pictures compared with past texts, the form of an item alone would tell most negatives. A form that is
seldom trained fills its queue more slowly. Old vectors are brought to where the encoder's lie now (`negatives/drift.py`), unless `queue_drift` is `kept`.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from moon_rec.torch_seeds import torch_generator
from representation.losses.bank import Bank
from representation.negatives.drift import Drift
from representation.negatives.known_positives import KnownPositives
from representation.negatives.queue import Drawn, NegativeQueue
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.mixture import ItemKind
from representation.posttraining.pair_batch import PairBatch

QUEUE_PER_DRAW = 2
"""Entries a queue holds for each one that a step draws, unless `queue_length` says otherwise."""


class Past(NamedTuple):
    """What a step draws: a bank with its mask on the encoder's device, the mask as it was made, and the entries."""

    bank: Bank
    blocked: np.ndarray
    drawn: Drawn


class PastNegatives:
    """The queues of a training.

    Args:
        known: what is never a negative of a query.
        dim: width of a vector.
        device: where the vectors are.
    """

    def __init__(
        self, config: PosttrainConfig, known: KnownPositives, dim: int, device: torch.device
    ) -> None:
        self._config, self._known, self._device = config, known, device
        length = config.queue_length or QUEUE_PER_DRAW * config.num_past
        self.queues: dict[ItemKind, NegativeQueue] = {
            kind: NegativeQueue(length, dim, config.max_age, device) for kind in config.items
        }
        self.drifts: dict[ItemKind, Drift] = {}
        if config.queue_drift == "mean":
            self.drifts = {kind: Drift(dim, device) for kind in self.queues}

    def draw(self, batch: PairBatch, items: Tensor, num_in_batch: int, step: int) -> Past | None:
        """Negatives for what a batch with `num_in_batch` negatives of its own lacks, or all (`queue_term`); None where there are none.

        Known positives of a query, its own positive among them, are masked. All processes draw the same.

        Args:
            items: `(batch, dim)` vectors of the batch's items, of all processes.
        """
        of_batch = 0 if self._config.queue_term == "alone" else num_in_batch
        count = self._config.num_used - of_batch
        if count <= 0:
            return None
        random = torch_generator(self._config.seed, "queue", step)
        drawn = self.queues[batch.kind.item].draw(count, step, random)
        if not len(drawn.item_ids):
            return None
        if self.drifts:
            born = step - drawn.ages
            vectors = self.drifts[batch.kind.item].follow(drawn.vectors, born, items)
            drawn = drawn._replace(vectors=vectors)
        blocked = self._known.blocked(batch.own_rows, drawn.item_ids.numpy(), drawn.spu_ids.numpy())
        mask = torch.from_numpy(blocked).to(self._device)
        return Past(Bank(drawn.vectors, mask), blocked, drawn)

    def push(self, batch: PairBatch, items: Tensor, hard: Tensor | None, step: int) -> None:
        """Put in the items of a step: `(batch, dim)` of all processes, and `(batch * count, dim)` of their hard negatives."""
        queue = self.queues[batch.kind.item]
        queue.push(items, batch.item_ids, batch.spu_ids, step)
        if self.drifts:
            self.drifts[batch.kind.item].note(items, step, queue.oldest)
        if hard is not None and batch.hard is not None:
            is_real = batch.hard.mask.reshape(-1)
            vectors = hard[is_real.to(hard.device)]
            ids, spu_ids = batch.hard.ids.reshape(-1), batch.hard.spu_ids.reshape(-1)
            queue.push(vectors, ids[is_real], spu_ids[is_real], step)

    def state_dict(self) -> dict[str, Tensor]:
        """All queues' tensors, as `<form>/<name>`; queues that hold nothing are left out."""
        return {
            f"{kind}/{name}": value
            for kind, queue in self.queues.items()
            if len(queue)
            for name, value in {**queue.state_dict(), **self._drift_state(kind)}.items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up `state_dict()`."""
        for kind, queue in self.queues.items():
            own = {
                name.partition("/")[2]: value
                for name, value in state.items()
                if name.startswith(f"{kind}/")
            }
            if own:
                queue.load_state_dict(own)
                if self.drifts:
                    self.drifts[kind].load_state_dict(own)

    def _drift_state(self, kind: ItemKind) -> dict[str, Tensor]:
        return self.drifts[kind].state_dict() if self.drifts else {}
