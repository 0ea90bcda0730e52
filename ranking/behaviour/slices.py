"""Long histories a few requests at a time, so that memory does not grow with all of them.

Notable choices
- No module lets one request read another (their contract), so the interests of slices of a batch are the
  interests of the batch, to rounding.
- What a slice computes is made again in the backward pass instead of kept. On a CPU that is no loss: a
  slice stays in the cache and in memory that the process has already, where a whole batch of histories
  of 10,000 needs pages that the system must first clear.
- Short histories go through in one piece, as before; so does what bounds its memory itself
  (`BehaviourModule.bounds_memory`).
- Frozen vectors are made float32 unit vectors slice by slice: of long histories only the stored form,
  half or a quarter as large, is ever whole.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Query, Target

PLACES, GPU_PLACES = 1 << 16, 1 << 22


def in_slices(
    module: BehaviourModule,
    target: Target,
    sequences: Sequence[Behaviours],
    places: int | None = None,
) -> Interest:
    """The interest of `module`, at most `places` behaviours (one request at least) at a time.

    Args:
        places: None for what suits the device.
    """
    if module.bounds_memory:
        return module(target, sequences)
    step = requests_at_a_time(target, sequences, places)
    starts = range(0, len(target.ids), step)
    if len(starts) <= 1:
        return module(target, [sequence.units() for sequence in sequences])
    # split, not indexed: the gradient of an index is as large as all ids, for every slice
    targets = target.ids.split(step)
    ids = [sequence.ids.split(_events(sequence, step)) for sequence in sequences]

    def read(number: int) -> Interest:
        # made anew each time: what a Behaviours caches must not outlive one pass
        part = slice(starts[number], starts[number] + step)
        of_part = [
            Behaviours(
                of_slices[number],
                sequence.mask[part],
                _part(sequence.content, part),
                _part(sequence.has_content, part),
                sequence.is_stored,
            ).units()
            for sequence, of_slices in zip(sequences, ids, strict=True)
        ]
        return module(_target(target, targets[number], part), of_part)

    def read_again(number: int) -> Interest:
        return checkpoint(read, number, use_reentrant=False, preserve_rng_state=False)  # type: ignore[return-value]

    reading = read_again if torch.is_grad_enabled() else read
    found = [reading(number) for number in range(len(starts))]
    logits = [interest.logit for interest in found if interest.logit is not None]
    return Interest(
        torch.cat([interest.per_target for interest in found]),
        torch.cat([interest.per_request for interest in found]),
        tuple(torch.cat(layers) for layers in zip(*(each.hidden for each in found), strict=True)),
        torch.cat(logits) if logits else None,
    )


def requests_at_a_time(
    target: Target, sequences: Sequence[Behaviours], places: int | None = None
) -> int:
    """How many requests a slice has; see `in_slices`."""
    if places is None:
        places = GPU_PLACES if target.ids.is_cuda else PLACES
    length = max(sequence.mask.shape[1] for sequence in sequences)
    return max(1, places // max(length, 1))


def _events(sequence: Behaviours, step: int) -> list[int]:
    """How many events each slice of `step` requests has."""
    return [int(part.sum()) for part in sequence.mask.split(step)]


def _target(target: Target, ids: Tensor, part: slice) -> Target:
    query = target.query
    if query is not None:
        query = Query(query.content[part], query.has_content[part])
    return Target(ids, _part(target.content, part), _part(target.has_content, part), query)


def _part(values: Tensor | None, part: slice) -> Tensor | None:
    return None if values is None else values[part]
