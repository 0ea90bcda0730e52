"""DIN's pairs in pieces against the formula written out: value, gradient, and any size of piece."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ranking.behaviour.pair_attention import Unit, attended, cut


def draw(lengths: list[int], num_targets: int = 2, dim: int = 3, hidden: int = 5, seed: int = 0):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()

    batch = len(lengths)
    inputs = (
        normal(batch, num_targets, dim),
        normal(batch, num_targets, hidden),
        normal(sum(lengths), dim),
    )
    return inputs, Unit(normal(hidden, dim), normal(hidden, dim), normal(hidden), normal(1))


def literal(target: Tensor, shift: Tensor, events: Tensor, lengths: list[int], unit: Unit):
    """One pair after another, by torch's own autograd."""
    rows = []
    for request, past in enumerate(events.split(lengths)):
        for asking, own in zip(target[request], shift[request], strict=True):
            total = torch.zeros_like(asking)
            for event in past:
                sums = unit.of_product @ (event * asking) + unit.of_behaviour @ event + own
                total = total + (sums.clamp(min=0) @ unit.out + unit.out_bias) * event
            rows.append(total)
    return torch.stack(rows).view_as(target)


def gradients(value: Tensor, inputs: tuple, unit: Unit) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view_as(value)
    return torch.autograd.grad((value * weights).sum(), [*inputs, *unit])


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(sum),
    num_targets=st.integers(1, 3),
    dim=st.sampled_from([1, 3]),
    values=st.sampled_from([1, 7, 20, 60, 10**6]),
)
@settings(max_examples=40, deadline=None)
def test_value_and_gradient_are_the_formulas(
    lengths: list[int], num_targets: int, dim: int, values: int
):
    inputs, unit = draw(lengths, num_targets, dim)
    found = attended(*inputs, torch.tensor(lengths), unit, values_at_a_time=values)
    wanted = literal(*inputs, lengths, unit)
    assert torch.allclose(found, wanted, atol=1e-12)
    pairs = zip(gradients(found, inputs, unit), gradients(wanted, inputs, unit), strict=True)
    assert all(torch.allclose(mine, theirs, atol=1e-10) for mine, theirs in pairs)


def test_float32_in_pieces_is_whole_to_1e6():
    inputs, unit = draw([300, 0, 7, 120], num_targets=4, dim=8, hidden=16)
    inputs = tuple((value.detach() * 0.1).float().requires_grad_() for value in inputs)
    unit = Unit(*((value.detach() * 0.1).float().requires_grad_() for value in unit))
    lengths = torch.tensor([300, 0, 7, 120])
    whole = attended(*inputs, lengths, unit, values_at_a_time=10**9)
    pieces = attended(*inputs, lengths, unit, values_at_a_time=1000)
    assert torch.allclose(whole, pieces, atol=1e-6)
    pairs = zip(gradients(whole, inputs, unit), gradients(pieces, inputs, unit), strict=True)
    for one, other in pairs:
        assert (one - other).abs().max() <= 1e-6 * max(1.0, float(one.abs().max()))


def test_no_behaviour_at_all_is_no_interest_and_no_gradient():
    inputs, unit = draw([0, 0])
    found = attended(*inputs, torch.tensor([0, 0]), unit)
    assert found.shape == (2, 2, 3) and not found.any()
    assert not any(gradient.any() for gradient in gradients(found, inputs, unit))


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 50), st.integers(1, 20)
)
@settings(max_examples=60, deadline=None)
def test_every_event_is_in_one_piece_and_no_piece_is_larger_than_allowed(
    lengths: list[int], places: int, matrix_places: int
):
    seen = []
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    for requests, rows in cut(torch.tensor(lengths), places, matrix_places).pieces:
        assert rows.numel() <= places
        assert len(requests) == 1 or len(requests) * matrix_places <= places
        for request, of_request in zip(requests.tolist(), rows.tolist(), strict=True):
            real = [row for row in of_request if row < sum(lengths)]
            assert all(owner[row] == request for row in real)
            seen += real
    assert sorted(seen) == list(range(sum(lengths)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(dtype: torch.dtype):
    inputs, unit = draw([9, 3])
    exact = attended(*inputs, torch.tensor([9, 3]), unit)
    half = Unit(*(value.to(dtype) for value in unit))
    found = attended(*(value.to(dtype) for value in inputs), torch.tensor([9, 3]), half)
    assert found.dtype == dtype
    assert (found.double() - exact).abs().max() < 0.02 * exact.abs().max()


def test_autocast_computes_in_half_and_hands_back_full_gradients():
    inputs, unit = draw([9, 3])
    inputs = tuple(value.detach().float().requires_grad_() for value in inputs)
    unit = Unit(*(value.detach().float().requires_grad_() for value in unit))
    with torch.autocast("cpu", torch.bfloat16):
        found = attended(*inputs, torch.tensor([9, 3]), unit)
    assert found.dtype == torch.bfloat16
    found.float().sum().backward()
    assert all(value.grad is not None and value.grad.dtype == torch.float32 for value in inputs)
