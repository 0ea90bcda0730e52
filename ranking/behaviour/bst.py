"""BST: a transformer over the past, read by the target (Chen et al. 2019, "Behavior Sequence Transformer").

    x_t = W_t e_t + pos(0),  x_b = W_b e_b + pos(place of b)
    block: s = LN(x + MultiHead(x)),  LN(s + leaky_relu(s W_1 + b_1) W_2 + b_2)
    interest = [target's last state, mean of the behaviours' last states]

Notable choices
- The paper puts the target into the sequence, so every behaviour attends to it and the whole transformer
  runs once a target. Here behaviours attend to each other only and are computed once a request; the target
  attends to them and to itself with the same weights. With one block (the paper's best) the target's own
  state is the paper's. `target_in_sequence=True` lets behaviours see the target too, at `targets` times the cost.
- The paper concatenates the states of all of its 20 places; here those of behaviours are averaged, for
  histories have any length. It is what the mean sees, not the target's state, that this changes.
- Places are counted, newest first, where the paper takes the time since. Its dropout is left out.
- Attention among behaviours is quadratic in time, not in memory; more than `max_length` are refused.

Ours -> the paper's: `num_blocks` -> b, `num_heads` -> h (8), `hidden_dim` -> d.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moon_rec.errors import ConfigError
from moon_rec.masking import masked_mean
from ranking.behaviour.dien import refuse_longer
from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target


class BST(BehaviourModule):
    """A transformer over each sequence.

    Args:
        target_dim: width of the target's ID embedding.
        behaviour_dims: width of each sequence's ID embeddings.
        hidden_dim: width of the states.
        num_heads: of each block; divides `hidden_dim`.
        num_blocks: of each transformer.
        target_in_sequence: whether behaviours see the target.
        max_length: most behaviours of a request that are read, and places with an embedding of their own.

    Raises:
        ConfigError: heads that do not divide the width.
    """

    def __init__(
        self,
        target_dim: int,
        behaviour_dims: Sequence[int],
        hidden_dim: int = 32,
        num_heads: int = 8,
        num_blocks: int = 1,
        target_in_sequence: bool = False,
        max_length: int = 1000,
    ):
        super().__init__()
        if hidden_dim % num_heads:
            raise ConfigError(
                f"BST's width {hidden_dim} is no multiple of its {num_heads} heads: take another width"
            )
        self.transformers = nn.ModuleList(
            _Transformer(target_dim, dim, hidden_dim, num_heads, num_blocks, max_length)
            for dim in behaviour_dims
        )
        self.max_length, self.target_in_sequence = max_length, target_in_sequence
        width = hidden_dim * len(behaviour_dims)
        self.target_dim = width * (1 + target_in_sequence)
        self.request_dim = width * (not target_in_sequence)

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """States of targets `(batch, targets, ...)` and mean states of behaviours; zeros without a past.

        Raises:
            RankingError: a history longer than `max_length`.
        """
        states, means = [], [target.ids.new_zeros(len(target.ids), 0)]
        for transformer, sequence in zip(self.transformers, sequences, strict=True):
            refuse_longer(sequence.mask.shape[1], self.max_length, "BST")
            state, mean = transformer(target.ids, sequence, self.target_in_sequence)
            states.append(state)
            (states if self.target_in_sequence else means).append(mean)
        return Interest(torch.cat(states, dim=-1), torch.cat(means, dim=-1))


class _Transformer(nn.Module):
    """One sequence."""

    def __init__(
        self,
        target_dim: int,
        behaviour_dim: int,
        hidden_dim: int,
        num_heads: int,
        num_blocks: int,
        max_length: int,
    ):
        super().__init__()
        self.of_target = nn.Linear(target_dim, hidden_dim, bias=False)
        self.of_behaviour = nn.Linear(behaviour_dim, hidden_dim, bias=False)
        self.positions = nn.Parameter(torch.randn(1 + max_length, hidden_dim) * 0.02)
        self.blocks = nn.ModuleList(_Block(hidden_dim, num_heads) for _ in range(num_blocks))

    def forward(
        self, target: Tensor, behaviours: Behaviours, together: bool
    ) -> tuple[Tensor, Tensor]:
        """Target's states `(batch, targets, hidden_dim)` and behaviours' mean.

        The mean is `(batch, hidden_dim)`, or `(batch, targets, hidden_dim)` where each target is read
        together with the behaviours.
        """
        if together:
            return self._together(target, behaviours)
        asker, past = self._embed(target, behaviours)
        mask = behaviours.mask
        for block in self.blocks:
            assert isinstance(block, _Block)
            asker, past = block.ask(asker, past, mask), block(past, mask)
        mean = masked_mean(past, mask, dim=1)
        return asker * mask.any(dim=1)[:, None, None].to(asker.dtype), mean

    def _together(self, target: Tensor, behaviours: Behaviours) -> tuple[Tensor, Tensor]:
        asker, past = self._embed(target, behaviours)
        batch, targets, dim = asker.shape
        past = past[:, None].expand(-1, targets, -1, -1)
        states = torch.cat([asker[:, :, None], past], dim=2).flatten(0, 1)
        mask = behaviours.mask.repeat_interleave(targets, dim=0)
        whole = nn.functional.pad(mask, (1, 0), value=True)
        for block in self.blocks:
            states = block(states, whole)
        mean = masked_mean(states[:, 1:], mask, dim=1)
        state = states[:, 0] * mask.any(dim=1, keepdim=True).to(states.dtype)
        return state.view(batch, targets, dim), mean.view(batch, targets, dim)

    def _embed(self, target: Tensor, behaviours: Behaviours) -> tuple[Tensor, Tensor]:
        newer = behaviours.mask.cumsum(dim=1).flatten().index_select(0, behaviours.places)
        events = self.of_behaviour(behaviours.ids) + self.positions.index_select(0, newer)
        return self.of_target(target) + self.positions[0], behaviours.pad(events)


class _Block(nn.Module):
    """Attention and a feed-forward layer, each with a residual and a layer norm after it."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.query, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.wide, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.num_heads = num_heads

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Each state reads all real ones: `(batch, length, dim)`, mask `(batch, length)`."""
        if not states.shape[1]:
            return states
        query, (key, value) = self._heads(self.query(states)), self._keys(states)
        # a request without a past reads its first padded place: finite, and left out by the caller
        nobody = ~mask.any(dim=1, keepdim=True)
        readable = torch.cat([mask[:, :1] | nobody, mask[:, 1:]], dim=1)[:, None, None]
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=readable)
        return self._finish(states, found)

    def ask(self, asker: Tensor, past: Tensor, mask: Tensor) -> Tensor:
        """Each asker `(batch, targets, dim)` reads the past and itself, and no other asker."""
        query = self._heads(self.query(asker))
        keys, values = self._keys(past)
        own_key, own_value = self._keys(asker)
        query = query * query.shape[-1] ** -0.5
        logits = query @ keys.transpose(-1, -2)
        logits = logits.masked_fill(~mask[:, None, None], torch.finfo(logits.dtype).min)
        own = (query * own_key).sum(dim=-1, keepdim=True)
        weights = torch.softmax(torch.cat([own, logits], dim=-1), dim=-1)
        found = weights[..., :1] * own_value + weights[..., 1:] @ values
        return self._finish(asker, found)

    def _heads(self, values: Tensor) -> Tensor:
        """`(batch, length, dim)` -> `(batch, heads, length, dim / heads)`."""
        return values.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _keys(self, states: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self.key_value(states).chunk(2, dim=-1)
        return self._heads(key), self._heads(value)

    def _finish(self, states: Tensor, found: Tensor) -> Tensor:
        states = self.norm_attention(states + self.out(found.transpose(1, 2).flatten(2)))
        hidden = nn.functional.leaky_relu(self.wide(states))
        return self.norm_forward(states + self.narrow(hidden))
