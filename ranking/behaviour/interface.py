"""The interface of all behaviour modules, and what each of them promises.

Shapes: `batch` requests, `targets` candidates of a request (they share one user, query and past),
`length` behaviours (newest first), `dim` of ID embeddings, `content_dim` of frozen vectors.

After a search unit each row is a request of its own, with one target and the behaviours found for it:
the same modules read them.

Promises, held by the contract tests: an empty sequence gives a zero interest with finite gradients;
padding, of targets or of behaviours, changes nothing; no row reads another; a missing vector has no
part; half precision is finite.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ranking.unit_vectors import unit_vectors


@dataclass(frozen=True)
class Query:
    """The search that a request answers.

    Attributes:
        content: `(batch, content_dim)` unit vectors. has_content: `(batch,)`.
    """

    content: Tensor
    has_content: Tensor


@dataclass(frozen=True)
class Target:
    """The items to be scored.

    Attributes:
        ids: `(batch, targets, dim)` ID embeddings.
        content: `(batch, targets, content_dim)` unit vectors; has_content `(batch, targets)`.
        query: the search, None where the shop has none.
    """

    ids: Tensor
    content: Tensor | None = None
    has_content: Tensor | None = None
    query: Query | None = None


@dataclass(frozen=True)
class Behaviours:
    """One sequence of what a user did: items clicked, or searches made. Newest first.

    ID embeddings are jagged, for pairs of target and behaviour are where the time goes and most padded
    places are empty; frozen vectors are padded, for their cosines are one matrix product.

    Attributes:
        ids: `(events, dim)` ID embeddings of the real behaviours, request by request.
        mask: `(batch, length)`, True means real; `events` of them are.
        content: `(batch, length, content_dim)` unit vectors; has_content `(batch, length)`.
        is_stored: whether `content` is still as it is stored; modules are given `units()`.
    """

    ids: Tensor
    mask: Tensor
    content: Tensor | None = None
    has_content: Tensor | None = None
    is_stored: bool = False

    def units(self) -> "Behaviours":
        """The same with unit vectors, for modules to read."""
        if not self.is_stored or self.content is None:
            return self
        return replace(self, content=unit_vectors(self.content), is_stored=False)

    @cached_property
    def places(self) -> Tensor:
        """Place of each event in the flattened `(batch * length)` grid, `(events,)`."""
        return self.mask.flatten().nonzero().squeeze(-1)

    @cached_property
    def requests(self) -> Tensor:
        """Request of each event, `(events,)`."""
        return self.places.div(max(self.mask.shape[1], 1), rounding_mode="floor")

    @cached_property
    def padded_ids(self) -> Tensor:
        """`(batch, length, dim)`, zeros where not real."""
        return self.pad(self.ids)

    def pad(self, values: Tensor) -> Tensor:
        """Values of the events `(events, width)` as `(batch, length, width)`, zeros where not real."""
        grid = values.new_zeros(self.mask.numel(), values.shape[-1])
        return grid.index_copy_(0, self.places, values).view(*self.mask.shape, values.shape[-1])


class Interest(NamedTuple):
    """What a module made of the past.

    `per_target` is `(batch, targets, target_dim)`; `per_request`, `(batch, request_dim)`, is alike for
    all targets of a request and is therefore computed, and multiplied into the tower, once.
    `hidden[k]`, `(batch, targets, hidden_dims[k])`, joins what the tower's layer k gives, and `logit`,
    `(batch, targets)`, its last layer's input: a model within the model (MAKE) has them.
    """

    per_target: Tensor
    per_request: Tensor
    hidden: tuple[Tensor, ...] = ()
    logit: Tensor | None = None

    def joined(self) -> Tensor:
        """Both as `(batch, targets, target_dim + request_dim)`."""
        num_targets = self.per_target.shape[1]
        request = self.per_request[:, None, :].expand(-1, num_targets, -1)
        return torch.cat([self.per_target, request], dim=-1)


class BehaviourModule(nn.Module, ABC):
    """Reads one or several behaviour sequences from the point of view of each target.

    Attributes:
        target_dim, request_dim: widths of the interest.
        hidden_dims: widths of `Interest.hidden`. has_logit: whether there is an `Interest.logit`.
        bounds_memory: whether it reads ids alone, and long histories piece by piece by itself; see `slices`.
    """

    target_dim: int
    request_dim: int = 0
    hidden_dims: tuple[int, ...] = ()
    has_logit: bool = False
    bounds_memory: bool = False

    @abstractmethod
    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """The interest of each target in its request's sequences, in the order of construction."""
