"""Late fusion against a loop over its formula, value and gradient."""

import math

import pytest
import torch
from torch.nn import functional

from representation.picture_focus import LateFusion, LateFusionConfig
from representation.picture_focus.late_fusion import seen_by_row

ROWS, TOWER, DIM = 4, 3, 2
HAS = torch.tensor([True, False, True, True])


def made(keep_state: bool) -> LateFusion:
    part = LateFusion(TOWER, DIM, LateFusionConfig(keep_state=keep_state)).double()
    draws = torch.Generator().manual_seed(1)
    for value in part.parameters():
        value.data.copy_(torch.randn(value.shape, generator=draws))
    return part


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(2)
    shapes = ((ROWS, DIM), (ROWS, TOWER))
    first, second = (torch.randn(shape, generator=draws).double() for shape in shapes)
    return first.requires_grad_(), second.requires_grad_()


def literal(part: LateFusion, vectors, seen) -> torch.Tensor:
    rows = []
    for b in range(ROWS):
        if not HAS[b]:
            rows.append(vectors[b])
            continue
        size = (sum(seen[b, i] ** 2 for i in range(TOWER)) / TOWER + 1e-6) ** 0.5
        v = [sum(part.picture.weight[d, i] * seen[b, i] / size for i in range(TOWER)) for d in range(DIM)]  # fmt: skip
        both = [*vectors[b], *v]
        row = []
        for d in range(DIM):
            logit = sum(part.gate.weight[d, i] * both[i] for i in range(2 * DIM))
            z = 1 / (1 + math.e ** (-logit))
            fused = z * vectors[b, d] + (1 - z) * v[d]
            row.append(fused + vectors[b, d] if part.config.keep_state else fused)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("keep_state", [True, False])
def test_late_fusion_is_its_formula_in_value_and_gradient(keep_state):
    part, given = made(keep_state), inputs()
    found, wanted = part(*given, HAS), literal(part, *given)
    torch.testing.assert_close(found, wanted)
    weight = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(3)).double()
    of = (*part.parameters(), *given)
    ours, theirs = (
        torch.autograd.grad((weight * each).sum(), of, retain_graph=True)
        for each in (found, wanted)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_a_row_without_a_picture_keeps_its_state_and_teaches_nothing():
    part, (vectors, seen) = made(True), inputs()
    found = part(vectors, seen, HAS)
    assert torch.equal(found[1], vectors[1])
    found[1].sum().backward()
    assert not seen.grad.any() and not any(value.grad.any() for value in part.parameters())


@pytest.mark.parametrize("keep_state", [True, False])
def test_at_the_start_a_vector_points_where_it_did_and_both_layers_learn(keep_state):
    part = LateFusion(TOWER, DIM, LateFusionConfig(keep_state=keep_state)).double()
    vectors, seen = inputs()
    found = functional.normalize(part(vectors, seen, HAS), dim=1)
    torch.testing.assert_close(found, functional.normalize(vectors, dim=1), rtol=0, atol=1e-12)
    (found * torch.arange(DIM)).sum().backward()
    assert part.picture.weight.grad.any()
    part.picture.weight.data.sub_(part.picture.weight.grad)
    part.zero_grad()
    functional.normalize(part(vectors, seen, HAS), dim=1)[:, 0].sum().backward()
    assert part.gate.weight.grad.any()


def test_what_a_row_has_seen_is_the_mean_of_its_pictures():
    states = torch.arange(4 * 2 * 3).reshape(4, 2, 3).float()
    found = seen_by_row(states, torch.tensor([1, 0, 2, 1]))
    wanted = [states[0].mean(0), torch.zeros(3), states[1:3].mean((0, 1)), states[3].mean(0)]
    torch.testing.assert_close(found, torch.stack(wanted))
