"""DIEN: interests evolve, and a target follows those that lead to it (Zhou et al. 2019, "Deep Interest Evolution Network").

    h_b = GRU(e_b)                               interest states, oldest behaviour first
    a_b = softmax_b(h_b W e_t)
    g_b = AUGRU(h_b, a_b): a GRU whose update gate is a_b u_b;    interest(t) = last g

Notable choices
- The GRU does not know the target: it runs once a request. Only the AUGRU runs once a target, and its
  products with h_b are made once a request too.
- A place of padding has a_b = 0, so its update gate is shut and the state passes through it unchanged.
- The auxiliary loss of the paper (next behaviour against a sampled one) is left out: it would need sampled
  negatives in every batch.
- Over histories of more than `segment` steps, the backward pass computes the steps of a segment again
  instead of keeping them all: memory grows by one state a segment.
- One step after the other, the cost is linear in the length but slow; more than `max_length` behaviours are
  refused. A search unit, which finds some of them, or DIN is the way there.

Ours -> the paper's: `states` -> h, `weights` -> a, `behaviours` -> behaviour embeddings.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moon_rec.errors import RankingError
from moon_rec.masking import masked_softmax
from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target


class DIEN(BehaviourModule):
    """Interest evolution over each sequence.

    Args:
        target_dim: width of the target's ID embedding.
        behaviour_dims: width of each sequence's ID embeddings.
        hidden_dim: width of the states, and so of each sequence's interest.
        segment: steps whose values are kept at a time in the backward pass.
        max_length: most behaviours of a request that are read.
    """

    def __init__(
        self,
        target_dim: int,
        behaviour_dims: Sequence[int],
        hidden_dim: int = 32,
        segment: int = 128,
        max_length: int = 1000,
    ):
        super().__init__()
        self.evolutions = nn.ModuleList(
            _Evolution(target_dim, dim, hidden_dim, segment) for dim in behaviour_dims
        )
        self.max_length, self.target_dim = max_length, hidden_dim * len(behaviour_dims)

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """Last states of the sequences, concatenated: `(batch, targets, sequences * hidden_dim)`.

        Raises:
            RankingError: a history longer than `max_length`.
        """
        found = []
        for evolution, sequence in zip(self.evolutions, sequences, strict=True):
            refuse_longer(sequence.mask.shape[1], self.max_length, "DIEN")
            found.append(evolution(target.ids, sequence))
        return Interest(torch.cat(found, dim=-1), target.ids.new_zeros(len(target.ids), 0))


class _Evolution(nn.Module):
    """One sequence."""

    def __init__(self, target_dim: int, behaviour_dim: int, hidden_dim: int, segment: int):
        super().__init__()
        self.gru = nn.GRU(behaviour_dim, hidden_dim, batch_first=True)
        self.match = nn.Linear(target_dim, hidden_dim, bias=False)
        self.of_state = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.of_memory = nn.Linear(hidden_dim, 3 * hidden_dim, bias=False)
        self.segment, self.hidden_dim = segment, hidden_dim

    def forward(self, target: Tensor, behaviours: Behaviours) -> Tensor:
        """`(batch, targets, hidden_dim)`."""
        values, mask = in_time_order(behaviours)
        memory = target.new_zeros(*target.shape[:2], self.hidden_dim)
        if not mask.shape[1]:
            return memory
        states, _ = self.gru(values)
        logits = torch.bmm(self.match(target), states.transpose(1, 2))
        weights = masked_softmax(logits, mask[:, None, :])
        inputs = self.of_state(states)
        for start in range(0, mask.shape[1], self.segment):
            part = slice(start, start + self.segment)
            steps = (memory, inputs[:, part], weights[:, :, part])
            if mask.shape[1] > self.segment and torch.is_grad_enabled():
                memory = checkpoint(self._evolve, *steps, use_reentrant=False)
            else:
                memory = self._evolve(*steps)
        return memory

    def _evolve(self, memory: Tensor, inputs: Tensor, weights: Tensor) -> Tensor:
        """AUGRU over some steps.

        Args:
            memory: `(batch, targets, hidden_dim)` before them.
            inputs: `(batch, steps, 3 * hidden_dim)`: reset, update, candidate.
            weights: `(batch, targets, steps)`.
        """
        for given, weight in zip(inputs.unbind(1), weights.unbind(2), strict=True):
            of_reset, of_update, of_candidate = self.of_memory(memory).chunk(3, dim=-1)
            reset, update, candidate = given[:, None].chunk(3, dim=-1)
            candidate = torch.tanh(candidate + torch.sigmoid(reset + of_reset) * of_candidate)
            gate = weight[..., None] * torch.sigmoid(update + of_update)
            memory = memory + gate * (candidate - memory)
        return memory


def in_time_order(behaviours: Behaviours) -> tuple[Tensor, Tensor]:
    """Real behaviours oldest first, padding after them, as long as the longest.

    Returns:
        `(batch, steps, dim)` ID embeddings and `(batch, steps)` mask.
    """
    counts = behaviours.mask.sum(dim=1)
    steps = int(counts.max()) if len(counts) else 0
    mask = torch.arange(steps, device=counts.device) < counts[:, None]
    requests = behaviours.requests
    newer = behaviours.mask.cumsum(dim=1).flatten().index_select(0, behaviours.places)
    places = requests * steps + counts.index_select(0, requests) - newer
    dim = behaviours.ids.shape[-1]
    grid = behaviours.ids.new_zeros(mask.numel(), dim)
    return grid.index_copy_(0, places, behaviours.ids).view(*mask.shape, dim), mask


def refuse_longer(length: int, max_length: int, name: str) -> None:
    """Raise where a sequence model cannot read histories of this length.

    Raises:
        RankingError: it is longer than `max_length`.
    """
    if length > max_length:
        raise RankingError(
            f"{name} reads at most {max_length} behaviours, these histories have up to {length}: set a search "
            "unit (--set search=content), a shorter one (--feature history_length=200), or sequence=din"
        )
