"""What a ranker's forward takes: whole requests, their candidates padded to the batch's most.

Dimensions: `batch` requests, `candidates` of a request, `length` behaviours, `rows` impressions (all
real candidates of the batch, request by request), `dim` of the frozen vectors.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

# building a KeyedJaggedTensor makes torch log once that `is_fx_tracing` has a successor: TorchRec's to mend
logging.getLogger("torch.fx._symbolic_trace").addFilter(
    lambda record: "is_fx_tracing" not in record.getMessage()
)

Self = TypeVar("Self", bound="_Movable")


class _Movable:
    """Frozen dataclasses of tensors (and of such dataclasses) that move as one."""

    def to(self: Self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same on `device`."""
        return self._each(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self: Self) -> Self:
        """The same in page-locked memory, for copies to a GPU that do not wait."""
        return self._each(lambda value: value.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Tell the GPU's allocator that `stream` too reads these tensors (TorchRec's pipeline asks for it)."""
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None:
                value.record_stream(stream)

    def _each(self: Self, change: Callable[[Any], Any]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        changed = {name: change(value) for name, value in values.items() if value is not None}
        return replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True)
class ContentBatch(_Movable):
    """Frozen vectors of a batch, as they are stored (float32, float16 or int8), and which of them exist.

    Attributes:
        targets: `(batch, candidates, dim)`; has_target `(batch, candidates)`.
        history: `(batch, length, dim)`; has_history `(batch, length)`; newest first.
        query: `(batch, dim)`; has_query `(batch,)`; None for a shop without searches.
        past_queries: `(batch, length, dim)`; has_past_query `(batch, length)`; likewise.
        searched: `(rows, found, dim)`; has_searched `(rows, found)`; None without a search unit.
    """

    targets: Tensor
    has_target: Tensor
    history: Tensor
    has_history: Tensor
    query: Tensor | None = None
    has_query: Tensor | None = None
    past_queries: Tensor | None = None
    has_past_query: Tensor | None = None
    searched: Tensor | None = None
    has_searched: Tensor | None = None


@dataclass(frozen=True)
class Batch(_Movable):
    """A batch of requests.

    Attributes:
        ids: vocabulary rows, one jagged list a request and key. Of the request: `user`, `query` (none
            or one). Of its candidates: `item, category, brand, price`. Of its behaviours, newest
            first: `history_item, history_category, history_brand`; `past_query`. Semantic ids, where
            there are any, are named `code_0, ...` and `history_code_0, ...`. With a search unit also
            `searched_item, searched_category, ...`: what was found for the rows of a request, row after
            row, as one list a request (a KeyedJaggedTensor has one stride); `searched_mask` tells the rows.
        candidate_mask: `(batch, candidates)`.
        history_mask, past_query_mask: `(batch, length)`.
        candidate_rows: `(rows,)` place of each row in the flattened `(batch * candidates)` grid.
        request_rows: `(rows,)` request of each row within the batch.
        labels: `(rows,)` float32.
        context: `(rows, num_context)`.
        table_rows: `(rows,)` row of each in the period's tables.
        content: vectors, None for a ranker of ids only.
        loss_weight: `()`, of the batch's mean loss in the mean over ranks; None stands for 1.
        searched_mask: `(rows, found)`, None without a search unit.
    """

    ids: KeyedJaggedTensor
    candidate_mask: Tensor
    history_mask: Tensor
    past_query_mask: Tensor
    candidate_rows: Tensor
    request_rows: Tensor
    labels: Tensor
    context: Tensor
    table_rows: Tensor
    content: ContentBatch | None = None
    loss_weight: Tensor | None = None
    searched_mask: Tensor | None = None
    searched_mask: Tensor | None = None

    @property
    def num_rows(self) -> int:
        """Impressions in the batch."""
        return self.labels.shape[0]
