"""Residual enhancement against a loop over tokens, value and gradient in float64, and what it leaves alone."""

import pytest
import torch

from representation.fusion import Detail, ResidualEnhancement, ResidualEnhancementConfig
from representation.fusion.evened import LEAST_SQUARE

BATCH, LENGTH, DIM, RANK = 2, 4, 6, 4


def block(tokens="all") -> ResidualEnhancement:
    made = ResidualEnhancement(DIM, ResidualEnhancementConfig(rank=RANK, tokens=tokens)).double()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(torch.randn(value.shape, generator=draws).double())
    return made


def given():
    """The second row has two tokens of padding; the second and third of the first are a picture's."""
    draws = torch.Generator().manual_seed(1)
    states, first = torch.randn(2, BATCH, LENGTH, DIM, generator=draws).double()
    mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    mask[1, 2:] = False
    is_picture = torch.zeros_like(mask)
    is_picture[0, 1:3] = True
    return states, Detail(first, mask, is_picture)


def by_loop(made, states, detail):
    enhanced = detail.mask if made.config.tokens == "all" else detail.is_picture
    rows = []
    for state, start, real in zip(
        states.reshape(-1, DIM), detail.first.reshape(-1, DIM), enhanced.reshape(-1), strict=True
    ):
        first, deep = (one / ((one**2).sum() / DIM + LEAST_SQUARE).sqrt() for one in (start, state))
        inner = made.down.weight @ first
        given = made.up.weight @ (inner / (1 + (-inner).exp()))
        gate = 1 / (1 + (-(made.gate.weight @ torch.cat([first, deep]) + made.gate.bias)).exp())
        rows.append(state + gate * given if real else state)
    return torch.stack(rows).reshape(states.shape)


@pytest.mark.parametrize("tokens", ["all", "picture"])
def test_enhancement_against_a_loop(tokens):
    found = []
    for way in (lambda made, *each: made(*each), by_loop):
        made, (states, detail) = block(tokens), given()
        out = way(made, states.requires_grad_(), detail._replace(first=detail.first.requires_grad_()))  # fmt: skip
        out.square().sum().backward()
        found.append([out, states.grad, detail.first.grad, *(one.grad for one in made.parameters())])  # fmt: skip
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tokens", ["all", "picture"])
def test_enhancement_leaves_other_tokens_alone(tokens):
    states, detail = given()
    made = block(tokens)(states, detail)
    enhanced = detail.mask if tokens == "all" else detail.is_picture
    assert torch.equal(made[~enhanced], states[~enhanced])
    assert (made[enhanced] != states[enhanced]).any(dim=1).all()


def test_at_the_start_states_stay():
    states, detail = given()
    made = ResidualEnhancement(DIM, ResidualEnhancementConfig(rank=RANK)).double()
    assert torch.equal(made(states, detail), states)
