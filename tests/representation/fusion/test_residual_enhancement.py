"""Residual enhancement against a loop over tokens, value and gradient, and what it leaves alone."""

import torch

from representation.fusion import ResidualEnhancement

BATCH, LENGTH, DIM = 2, 3, 6


def block() -> ResidualEnhancement:
    made, draws = ResidualEnhancement(DIM, 4), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(torch.randn(value.shape, generator=draws))
    return made


def given():
    states, first = torch.randn(2, BATCH, LENGTH, DIM, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    mask[1, 1:] = False
    return states.clone(), first.clone(), mask


def by_loop(made, states, first, mask):
    eps, rows = torch.finfo(torch.float32).eps, []
    for state, start, real in zip(states.reshape(-1, DIM), first.reshape(-1, DIM), mask.reshape(-1), strict=True):  # fmt: skip
        detail, deep = (one / (one.square().mean() + eps).sqrt() for one in (start, state))
        inner = made.down.weight @ detail
        given = made.up.weight @ (inner / (1 + (-inner).exp()))
        gate = 1 / (1 + (-(made.gate.weight @ torch.cat([detail, deep]) + made.gate.bias)).exp())
        rows.append(state + gate * given if real else state)
    return torch.stack(rows).reshape(states.shape)


def test_enhancement_against_a_loop():
    found = []
    for way in (lambda made, *each: made(*each), by_loop):
        made, (states, first, mask) = block(), given()
        out = way(made, states.requires_grad_(), first.requires_grad_(), mask)
        out.square().sum().backward()
        found.append([out, states.grad, first.grad, *(one.grad for one in made.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_enhancement_leaves_padding_and_the_start_alone():
    states, first, mask = given()
    made = block()(states, first, mask)
    assert torch.equal(made[~mask], states[~mask]) and not torch.equal(made[mask], states[mask])
    assert torch.equal(ResidualEnhancement(DIM, 4)(states, first, mask), states)
