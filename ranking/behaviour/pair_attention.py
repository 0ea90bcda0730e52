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
        requests: `(pieces,)`. rows: `(pieces, length)` of the events; one past the last where padded.
    """

    requests: Tensor
    rows: Tensor


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
    pieces = cut(lengths, places, events.shape[1] + 1)
    device = events.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        target, shift, events = target.to(dtype), shift.to(dtype), events.to(dtype)
        unit = Unit(*(weight.to(dtype) for weight in unit))
    with torch.autocast(device, enabled=False):
        return _Attention.apply(target, shift, events, *unit, pieces)  # type: ignore[return-value]


def cut(lengths: Tensor, places: int, matrix_places: int = 1) -> list[Piece]:
    """Pieces of at most `places` places each (one request of one behaviour at least), longest first.

    Args:
        lengths: `(batch,)` behaviours of each request.
        matrix_places: how many places a request's matrix costs; no piece has more of those either.
    """
    places = max(places, 1)
    sizes = lengths.cpu().numpy()
    first, requests = np.cumsum(sizes) - sizes, np.arange(sizes.size)
    if sizes.max(initial=0) > places:
        number = -(-sizes // places)
        requests = np.repeat(requests, number)
        before = np.arange(requests.size) - np.repeat(np.cumsum(number) - number, number)
        first = first[requests] + before * places
        sizes = np.minimum(sizes[requests] - before * places, places)
    order = np.argsort(-sizes, kind="stable")
    first, requests, sizes = first[order], requests[order], sizes[order]
    found, start, num_events = [], 0, int(lengths.sum())
    while start < sizes.size and sizes[start] > 0:
        end = start + max(places // max(int(sizes[start]), matrix_places), 1)
        within = np.arange(sizes[start])
        rows = np.where(
            within < sizes[start:end, None], first[start:end, None] + within, num_events
        )
        pair = (torch.from_numpy(array).to(lengths.device) for array in (requests[start:end], rows))
        found.append(Piece(*pair))
        start = end
    return found


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
        pieces: list[Piece],
    ) -> Tensor:
        num_events, dim = events.shape
        known = events.new_zeros(num_events + 1, dim + 1)
        known[:-1, :-1], known[:-1, -1] = events, 1
        unit = Unit(of_product, of_behaviour, out, out_bias)
        interest = target.new_zeros(*target.shape[:2], dim + 1)
        for piece in pieces:
            behaviours, _, hidden = _hidden(target, shift, known, unit, piece)
            weights = _weights(hidden, unit, target.shape[1])
            sums = torch.bmm(weights.transpose(1, 2), behaviours)
            interest.index_add_(0, piece.requests, sums)
        ctx.save_for_backward(target, shift, known, *unit)
        ctx.pieces = pieces
        return interest[..., :-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        target, shift, known, *weights = ctx.saved_tensors
        unit, num_targets, dim = Unit(*weights), target.shape[1], target.shape[2]
        gradient = torch.nn.functional.pad(gradient, (0, 1))
        of_target, of_shift = torch.zeros_like(target), torch.zeros_like(shift)
        of_known = torch.zeros_like(known)
        of_unit = [torch.zeros_like(weight) for weight in unit]
        product, behaviour, out, out_bias = of_unit
        for requests, rows in ctx.pieces:
            behaviours, matrix, hidden = _hidden(target, shift, known, unit, Piece(requests, rows))
            pair_weights = _weights(hidden, unit, num_targets)
            asked = gradient.index_select(0, requests)
            of_weights = torch.bmm(behaviours, asked.transpose(1, 2))
            out += hidden.view(-1, out.numel()).t().mv(of_weights.reshape(-1))
            out_bias += of_weights.sum()
            by_pair = hidden.view(*of_weights.shape, -1)
            spread = of_weights[..., None].expand_as(by_pair)
            # the gradient of relu, over the hidden layer itself: what `out` multiplies comes after
            torch.ops.aten.threshold_backward(spread, by_pair, 0, grad_input=by_pair)
            of_matrix = torch.bmm(behaviours.transpose(1, 2), hidden).view(matrix.shape) * unit.out
            matrix *= unit.out
            of_behaviours = torch.bmm(pair_weights, asked)
            of_behaviours += torch.bmm(hidden, matrix.flatten(2).transpose(1, 2))
            of_known.index_copy_(0, rows.view(-1), of_behaviours.view(-1, dim + 1))
            of_shift.index_add_(0, requests, of_matrix[:, -1])
            of_pairs = of_matrix[:, :-1]
            behaviour += of_pairs.sum(dim=(0, 2)).t()
            transposed = target.index_select(0, requests).transpose(1, 2)[..., None]
            product += (of_pairs * transposed).sum(dim=(0, 2)).t()
            of_ids = (of_pairs * unit.of_product.t()[None, :, None]).sum(dim=-1)
            of_target.index_add_(0, requests, of_ids.transpose(1, 2))
        return of_target, of_shift, of_known[:-1, :-1], *of_unit, None


def _hidden(
    target: Tensor, shift: Tensor, known: Tensor, unit: Unit, piece: Piece
) -> tuple[Tensor, Tensor, Tensor]:
    """A piece's behaviours `(pieces, length, dim + 1)`, its targets as matrices `(pieces, dim + 1, targets,
    hidden)`, and the hidden layer of its pairs `(pieces, length, targets * hidden)`."""
    behaviours = known.index_select(0, piece.rows.view(-1)).view(*piece.rows.shape, -1)
    asking = target.index_select(0, piece.requests)
    pieces, num_targets, dim = asking.shape
    matrix = target.new_empty(pieces, dim + 1, num_targets, shift.shape[-1])
    torch.addcmul(
        unit.of_behaviour.t()[None, :, None],
        asking.transpose(1, 2)[..., None],
        unit.of_product.t()[None, :, None],
        out=matrix[:, :-1],
    )
    matrix[:, -1] = shift.index_select(0, piece.requests)
    return behaviours, matrix, torch.bmm(behaviours, matrix.flatten(2)).relu_()


def _weights(hidden: Tensor, unit: Unit, num_targets: int) -> Tensor:
    """`(pieces, length, targets)`; what padded places get is multiplied by their zeros."""
    flat = hidden.view(-1, unit.out.numel()).mv(unit.out) + unit.out_bias
    return flat.view(*hidden.shape[:2], num_targets)
