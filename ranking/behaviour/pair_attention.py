"""DIN's weighted sum over pairs of target and behaviour, in pieces that fit a processor's cache.

    interest(t) = sum_b a(e_b, e_t) e_b,    a = out . relu(P (e_b * e_t) + B e_b + T e_t + bias)

Notable choices
- For one target the first layer is linear in e_b: `P (e_b * e_t) + B e_b = (P diag(e_t) + B) e_b`. So a
  target is first turned into a matrix, and its pairs are one matrix product: no pair is ever written out
  as `e_b * e_t`, and nothing of a request is copied to its pairs.
- The hidden layer is made a few requests at a time, small enough for the processor's cache, and made
  again in the backward pass instead of kept: memory does not grow with the number of pairs, and on a
  CPU it is twice as fast as one large product. A long history is cut into pieces, whose sums add up.
- Requests of alike length go together, so that hardly any padding is computed.

The same value and gradient as the formula written out, to rounding; differentiable once.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CACHED_VALUES = 2**19
"""Hidden values at a time on a CPU: 2 MB of float32."""
GPU_VALUES = 2**26


class Piece(NamedTuple):
    """Requests of alike length.

    Attributes:
        requests: `(requests,)`. rows: `(requests, length)` of the events; one past the last where padded.
    """

    requests: Tensor
    rows: Tensor


class Plan(NamedTuple):
    """All pieces, and where in them everything is: a gather brings results home faster than a scatter.

    Attributes:
        pieces: longest first.
        event_places: `(events,)` of each event in the pieces' rows, one after the other.
        request_places: `(batch,)` of each request in the pieces' requests, one after the other; one past
            the last for a request without events; None where a request is in several pieces.
    """

    pieces: list[Piece]
    event_places: Tensor
    request_places: Tensor | None


class Unit(NamedTuple):
    """Weights of an activation unit, `dim` -> `hidden` -> 1.

    Attributes:
        of_product, of_behaviour: `(hidden, dim)`. out: `(hidden,)`. out_bias: `(1,)`.
    """

    of_product: Tensor
    of_behaviour: Tensor
    out: Tensor
    out_bias: Tensor


def attended(
    target: Tensor,
    shift: Tensor,
    events: Tensor,
    lengths: Tensor,
    unit: Unit,
    values_at_a_time: int | None = None,
) -> Tensor:
    """The interest of every target in its request's behaviours, `(batch, targets, dim)`.

    Args:
        target: `(batch, targets, dim)`. shift: `(batch, targets, hidden)`, what the target alone adds to
            the hidden layer, bias included.
        events: `(events, dim)`, request by request; lengths: `(batch,)`, how many each request has.
        values_at_a_time: hidden values held at once; None for what suits the device.
    """
    if values_at_a_time is None:
        values_at_a_time = GPU_VALUES if events.is_cuda else CACHED_VALUES
    places = values_at_a_time // max(shift.shape[1] * shift.shape[2], 1)
    plan = cut(lengths, places, events.shape[1] + 1)
    device = events.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        target, shift, events = target.to(dtype), shift.to(dtype), events.to(dtype)
        unit = Unit(*(weight.to(dtype) for weight in unit))
    with torch.autocast(device, enabled=False):
        return _Attention.apply(target, shift, events, *unit, plan)  # type: ignore[return-value]


def cut(lengths: Tensor, places: int, matrix_places: int = 1) -> Plan:
    """Pieces of at most `places` places each (one request of one behaviour at least), longest first.

    Args:
        lengths: `(batch,)` behaviours of each request.
        matrix_places: how many places a request's matrix costs; no piece has more of those either.
    """
    places = max(places, 1)
    sizes = lengths.cpu().numpy()
    num_events, batch = int(sizes.sum()), sizes.size
    first, requests = np.cumsum(sizes) - sizes, np.arange(batch)
    is_split = sizes.max(initial=0) > places
    if is_split:
        number = -(-sizes // places)
        requests = np.repeat(requests, number)
        before = np.arange(requests.size) - np.repeat(np.cumsum(number) - number, number)
        first = first[requests] + before * places
        sizes = np.minimum(sizes[requests] - before * places, places)
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    first, requests, sizes = first[order], requests[order], sizes[order]
    found, start = [], 0
    while start < sizes.size:
        end = start + max(places // max(int(sizes[start]), matrix_places), 1)
        within = np.arange(sizes[start])
        rows = np.where(
            within < sizes[start:end, None], first[start:end, None] + within, num_events
        )
        found.append((requests[start:end], rows))
        start = end
    event_places = np.empty(num_events + 1, dtype=np.int64)
    in_turn = np.concatenate([rows.ravel() for _, rows in found]) if found else np.empty(0, int)
    event_places[in_turn] = np.arange(in_turn.size)
    request_places = np.full(batch, requests.size)
    request_places[requests] = np.arange(requests.size)
    device = lengths.device

    def moved(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    pieces = [Piece(moved(of), moved(rows)) for of, rows in found]
    return Plan(pieces, moved(event_places[:-1]), None if is_split else moved(request_places))


class _Attention(torch.autograd.Function):
    """`attended`, piece by piece. Events carry a one as a last column, which the shift is multiplied by."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        target: Tensor,
        shift: Tensor,
        events: Tensor,
        of_product: Tensor,
        of_behaviour: Tensor,
        out: Tensor,
        out_bias: Tensor,
        plan: Plan,
    ) -> Tensor:
        num_events, dim = events.shape
        known = events.new_empty(num_events + 1, dim + 1)
        known[:-1, :-1], known[:-1, -1], known[-1] = events, 1, 0
        unit = Unit(of_product, of_behaviour, out, out_bias)
        sums, room = [], _Room(known)
        for piece in plan.pieces:
            behaviours, _, hidden = _hidden(target, shift, known, unit, piece, room)
            weights = _weights(hidden, unit, target.shape[1])
            sums.append(torch.bmm(weights.transpose(1, 2), behaviours))
        ctx.save_for_backward(target, shift, known, *unit)
        ctx.plan = plan
        return _by_request(sums, plan, known.new_zeros(*target.shape[:2], dim + 1))[..., :-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        target, shift, known, *weights = ctx.saved_tensors
        unit, num_targets, dim = Unit(*weights), target.shape[1], target.shape[2]
        gradient = torch.nn.functional.pad(gradient, (0, 1))
        of_targets, of_shifts, of_events, room = [], [], [], _Room(known)
        of_unit = [torch.zeros_like(weight) for weight in unit]
        product, behaviour, out, out_bias = of_unit
        for piece in ctx.plan.pieces:
            behaviours, matrix, hidden = _hidden(target, shift, known, unit, piece, room)
            pair_weights = _weights(hidden, unit, num_targets)
            asked = gradient.index_select(0, piece.requests)
            of_weights = torch.bmm(behaviours, asked.transpose(1, 2))
            out += hidden.view(-1, out.numel()).t().mv(of_weights.reshape(-1))
            out_bias += of_weights.sum()
            by_pair = hidden.view(*of_weights.shape, -1)
            spread = of_weights[..., None].expand_as(by_pair)
            # the gradient of relu, over the hidden layer itself: what `out` multiplies comes after
            torch.ops.aten.threshold_backward(spread, by_pair, 0, grad_input=by_pair)
            of_matrix = room.take("of_matrix", matrix.flatten(2).shape)
            torch.bmm(behaviours.transpose(1, 2), hidden, out=of_matrix)
            of_matrix = of_matrix.view(matrix.shape)
            matrix *= unit.out
            of_behaviours = torch.bmm(pair_weights, asked[..., :-1])
            of_behaviours.baddbmm_(hidden, matrix[:, :-1].flatten(2).transpose(1, 2))
            of_events.append(of_behaviours.view(-1, dim))
            of_shifts.append(of_matrix[:, -1] * unit.out)
            # place by place of the embedding: (dim, requests * targets, hidden)
            by_place = of_matrix[:, :-1].transpose(0, 1).flatten(1, 2)
            asking = target.index_select(0, piece.requests).flatten(0, 1).t()
            left = torch.stack([asking, torch.ones_like(asking)], dim=1)
            of_layer = torch.bmm(left, by_place) * unit.out
            product += of_layer[:, 0].t()
            behaviour += of_layer[:, 1].t()
            seen = torch.bmm(by_place, (unit.of_product * unit.out[:, None]).t()[..., None])
            of_targets.append(seen.view(dim, -1, num_targets).permute(1, 2, 0))
        of_target = _by_request(of_targets, ctx.plan, torch.zeros_like(target))
        of_shift = _by_request(of_shifts, ctx.plan, torch.zeros_like(shift))
        of_known = torch.cat([known[:0, :-1], *of_events]).index_select(0, ctx.plan.event_places)
        return of_target, of_shift, of_known, *of_unit, None


def _by_request(parts: list[Tensor], plan: Plan, zeros: Tensor) -> Tensor:
    """What the pieces found, request by request; in place of `zeros`, which have the wanted shape."""
    if plan.request_places is None:
        return zeros.index_add_(
            0, torch.cat([piece.requests for piece in plan.pieces]), torch.cat(parts)
        )
    return torch.cat([*parts, zeros[:1]]).index_select(0, plan.request_places)


class _Room:
    """Memory that piece after piece is computed in: fresh pages cost a CPU as much as the arithmetic."""

    def __init__(self, like: Tensor):
        self._like, self._taken = like, {}

    def take(self, name: str, shape: Sequence[int]) -> Tensor:
        """An uninitialised tensor, in the place of the last of that name."""
        size = math.prod(shape)
        if name not in self._taken or self._taken[name].numel() < size:
            self._taken[name] = self._like.new_empty(size)
        return self._taken[name][:size].view(shape)


def _hidden(
    target: Tensor, shift: Tensor, known: Tensor, unit: Unit, piece: Piece, room: _Room
) -> tuple[Tensor, Tensor, Tensor]:
    """A piece's behaviours `(pieces, length, dim + 1)`, its targets as matrices `(pieces, dim + 1, targets,
    hidden)`, and the hidden layer of its pairs `(pieces, length, targets * hidden)`."""
    behaviours = known.index_select(0, piece.rows.view(-1)).view(*piece.rows.shape, -1)
    asking = target.index_select(0, piece.requests)
    pieces, num_targets, dim = asking.shape
    matrix = room.take("matrix", (pieces, dim + 1, num_targets, shift.shape[-1]))
    torch.addcmul(
        unit.of_behaviour.t()[None, :, None],
        asking.transpose(1, 2)[..., None],
        unit.of_product.t()[None, :, None],
        out=matrix[:, :-1],
    )
    matrix[:, -1] = shift.index_select(0, piece.requests)
    flat = matrix.flatten(2)
    hidden = room.take("hidden", (*piece.rows.shape, flat.shape[-1]))
    return behaviours, matrix, torch.bmm(behaviours, flat, out=hidden).relu_()


def _weights(hidden: Tensor, unit: Unit, num_targets: int) -> Tensor:
    """`(pieces, length, targets)`; what padded places get is multiplied by their zeros."""
    flat = hidden.view(-1, unit.out.numel()).mv(unit.out) + unit.out_bias
    return flat.view(*hidden.shape[:2], num_targets)
