"""DIN's weighted sum over pairs of target and behaviour, in pieces that fit a processor's cache.

    interest(t) = sum_b a(e_b, e_t) e_b,    a = out . relu(P (e_b * e_t) + B e_b + T e_t + bias)

Notable choices
- For one target the first layer is linear in e_b: `P (e_b * e_t) + B e_b = (P diag(e_t) + B) e_b`. So for
  long histories a target is first turned into a matrix, and its pairs are one matrix product: no pair is
  written out as `e_b * e_t`, and nothing of a request is copied to its pairs. For short ones the matrix
  costs more than the pairs, which are then written out, the shares of e_b and e_t computed once.
- The hidden layer is made a few requests at a time, small enough for the processor's cache, and made
  again in the backward pass instead of kept, unless all of it is small: memory does not grow with the
  number of pairs, and on a CPU it is twice as fast as one large product. A long history is cut into pieces, whose sums add up.
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
KEPT_VALUES = 2**23
"""Hidden values of a whole batch that are kept for the backward pass: 32 MB of float32."""


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
        sums, room, kept = [], _Room(known), []
        num_places = sum(piece.rows.numel() for piece in plan.pieces)
        keeps = num_places * math.prod(shift.shape[1:]) <= KEPT_VALUES and any(ctx.needs_input_grad)
        for piece in plan.pieces:
            layer = _layer(target, shift, known, unit, piece, _Room(known) if keeps else room)
            if keeps:
                kept.append(layer)
            weights = _weights(layer.hidden, unit)
            sums.append(torch.bmm(weights.transpose(1, 2), layer.behaviours))
        ctx.save_for_backward(target, shift, known, *unit)
        ctx.plan, ctx.kept = plan, kept
        return _by_request(sums, plan, known.new_zeros(*target.shape[:2], dim + 1))[..., :-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        target, shift, known, *weights = ctx.saved_tensors
        unit = Unit(*weights)
        of_unit = Unit(*(torch.zeros_like(weight) for weight in unit))
        gradient = torch.nn.functional.pad(gradient, (0, 1))
        of_targets, of_shifts, of_events, room = [], [], [], _Room(known)
        kept, ctx.kept = ctx.kept, []
        for number, piece in enumerate(ctx.plan.pieces):
            layer = kept[number] if kept else _layer(target, shift, known, unit, piece, room)
            hidden, behaviours = layer.hidden, layer.behaviours
            pair_weights = _weights(hidden, unit)
            asked = gradient.index_select(0, piece.requests)
            of_weights = torch.bmm(behaviours, asked.transpose(1, 2))
            of_unit.out.add_(hidden.flatten(0, 2).t().mv(of_weights.flatten()))
            of_unit.out_bias.add_(of_weights.sum())
            spread = of_weights[..., None].expand_as(hidden)
            # the gradient of relu, over the hidden layer itself: what `out` multiplies comes after
            torch.ops.aten.threshold_backward(spread, hidden, 0, grad_input=hidden)
            of_event, of_target, of_shift = layer.backward(of_unit)
            of_event.baddbmm_(pair_weights, asked[..., :-1])
            of_events.append(of_event.flatten(0, 1))
            of_targets.append(of_target)
            of_shifts.append(of_shift)
        found = torch.cat([known[:0, :-1], *of_events]).index_select(0, ctx.plan.event_places)
        of_target = _by_request(of_targets, ctx.plan, torch.zeros_like(target))
        of_shift = _by_request(of_shifts, ctx.plan, torch.zeros_like(shift))
        return of_target, of_shift, found, *of_unit, None


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


class _Layer:
    """A piece's hidden layer, by either of two ways; `backward` is called once its gradient stands in `hidden`.

    Attributes:
        behaviours: `(requests, length, dim + 1)`, the last a one; zeros where padded.
        target: `(requests, targets, dim)`. shift: `(requests, targets, hidden)`.
        hidden: `(requests, length, targets, hidden)`.
    """

    def __init__(self, target: Tensor, shift: Tensor, behaviours: Tensor, unit: Unit, room: _Room):
        self.target, self.shift, self.behaviours = target, shift, behaviours
        self.unit, self.room = unit, room
        shape = (*behaviours.shape[:2], *shift.shape[1:])
        self.hidden = room.take("hidden", shape)

    def scaled(self, weight: Tensor) -> Tensor:
        """A weight `(hidden, ...)` times `out`, which the gradient in `hidden` leaves out."""
        return weight * self.unit.out[:, None]

    def backward(self, of_unit: Unit) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of behaviours, target and shift; those of the unit's weights are added to `of_unit`."""
        raise NotImplementedError


class _ByMatrix(_Layer):
    """Each target as a matrix: cheap pairs, dear targets. For long pieces."""

    def __init__(self, target: Tensor, shift: Tensor, behaviours: Tensor, unit: Unit, room: _Room):
        super().__init__(target, shift, behaviours, unit, room)
        width = behaviours.shape[-1]
        matrix = room.take("matrix", (len(target), width, *shift.shape[1:]))
        torch.addcmul(
            unit.of_behaviour.t()[None, :, None],
            target.transpose(1, 2)[..., None],
            unit.of_product.t()[None, :, None],
            out=matrix[:, :-1],
        )
        matrix[:, -1] = shift
        self.matrix = matrix
        torch.bmm(behaviours, matrix.flatten(2), out=self.hidden.flatten(2)).relu_()

    def backward(self, of_unit: Unit) -> tuple[Tensor, Tensor, Tensor]:
        unit, hidden = self.unit, self.hidden.flatten(2)
        num_targets, dim = self.target.shape[1:]
        of_matrix = self.room.take("of_matrix", self.matrix.shape)
        torch.bmm(self.behaviours.transpose(1, 2), hidden, out=of_matrix.flatten(2))
        of_shift = of_matrix[:, -1] * unit.out
        self.matrix.mul_(unit.out)
        of_event = torch.bmm(hidden, self.matrix[:, :-1].flatten(2).transpose(1, 2))
        # place by place of the embedding: (dim, requests * targets, hidden)
        by_place = of_matrix[:, :-1].transpose(0, 1).flatten(1, 2)
        target = self.target.flatten(0, 1).t()
        left = torch.stack([target, torch.ones_like(target)], dim=1)
        of_layer = torch.bmm(left, by_place) * unit.out
        of_unit.of_product.add_(of_layer[:, 0].t())
        of_unit.of_behaviour.add_(of_layer[:, 1].t())
        seen = torch.bmm(by_place, self.scaled(unit.of_product).t()[..., None])
        return of_event, seen.view(dim, -1, num_targets).permute(1, 2, 0), of_shift


class _ByProduct(_Layer):
    """Each pair's product written out: dear pairs, cheap targets. For short pieces."""

    def __init__(self, target: Tensor, shift: Tensor, behaviours: Tensor, unit: Unit, room: _Room):
        super().__init__(target, shift, behaviours, unit, room)
        self.events = behaviours[..., :-1].contiguous()
        own = self.events @ unit.of_behaviour.t()
        torch.add(own[:, :, None], shift[:, None], out=self.hidden)
        shape = (*self.hidden.shape[:3], target.shape[-1])
        self.product = room.take("product", shape)
        torch.mul(self.events[:, :, None], target[:, None], out=self.product)
        self.hidden.flatten(0, 2).addmm_(self.product.flatten(0, 2), unit.of_product.t()).relu_()

    def backward(self, of_unit: Unit) -> tuple[Tensor, Tensor, Tensor]:
        unit, pairs = self.unit, self.hidden.flatten(0, 2)
        of_unit.of_product.add_(self.scaled(pairs.t() @ self.product.flatten(0, 2)))
        of_product = torch.mm(
            pairs, self.scaled(unit.of_product), out=self.product.flatten(0, 2)
        ).view(self.product.shape)
        of_own = self.hidden.sum(dim=2)
        of_unit.of_behaviour.add_(self.scaled(of_own.flatten(0, 1).t() @ self.events.flatten(0, 1)))
        of_target = (of_product * self.events[:, :, None]).sum(dim=1)
        of_event = of_own @ self.scaled(unit.of_behaviour)
        of_event += of_product.mul_(self.target[:, None]).sum(dim=2)
        return of_event, of_target, self.hidden.sum(dim=1) * unit.out


def _layer(
    target: Tensor, shift: Tensor, known: Tensor, unit: Unit, piece: Piece, room: _Room
) -> _Layer:
    """The hidden layer of a piece, by the way that touches fewer numbers there."""
    behaviours = known.index_select(0, piece.rows.view(-1)).view(*piece.rows.shape, -1)
    dim, width = target.shape[-1], shift.shape[-1]
    is_long = piece.rows.shape[1] * (6 * dim + 4 * width) > 5 * dim * width
    way = _ByMatrix if is_long else _ByProduct
    asking = target.index_select(0, piece.requests)
    return way(asking, shift.index_select(0, piece.requests), behaviours, unit, room)


def _weights(hidden: Tensor, unit: Unit) -> Tensor:
    """`(requests, length, targets)`; what padded places get is multiplied by their zeros."""
    return (hidden.flatten(0, 2).mv(unit.out) + unit.out_bias).view(hidden.shape[:-1])
