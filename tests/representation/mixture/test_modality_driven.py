"""MOON2.0's weights of objectives against loops over experts, objectives and rows, value and gradient."""

import math

import pytest
import torch

from representation.mixture import OBJECTIVES, ExpertsConfig, Gates, ObjectiveWeights

ROWS, EXPERTS = 5, 4


def learnt() -> ObjectiveWeights:
    made = ObjectiveWeights(EXPERTS)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        made.matrix.copy_(torch.randn(made.matrix.shape, generator=draws))
    return made


def gates() -> torch.Tensor:
    draws = torch.randn(ROWS, EXPERTS, generator=torch.Generator().manual_seed(1))
    return draws.softmax(dim=1).requires_grad_()


def shares_by_loop(matrix):
    rows = []
    for row in matrix:
        total = sum(value.exp() for value in row)
        rows.append([value.exp() / total for value in row])
    return rows


@pytest.mark.parametrize("objective", range(len(OBJECTIVES)))
def test_weights_of_objectives_against_a_loop(objective):
    weights, given = learnt(), gates()
    shares = shares_by_loop(weights.matrix)
    theirs = torch.zeros(())
    for row in given:
        for expert in range(EXPERTS):
            theirs = theirs + shares[expert][objective] * row[expert] / ROWS
    ours = weights(given, objective)
    torch.testing.assert_close(ours, theirs)
    of = [given, weights.matrix]
    for one, other in zip(
        torch.autograd.grad(ours, of), torch.autograd.grad(theirs, of), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_weights_of_all_objectives_sum_to_one():
    weights, given = learnt(), gates()
    total = sum(weights(given, objective) for objective in range(len(OBJECTIVES)))
    torch.testing.assert_close(total, torch.ones(()))
    new = ObjectiveWeights(EXPERTS)
    assert [new(given, objective).item() for objective in range(3)] == pytest.approx([1 / 3] * 3)


def test_sparsity_against_a_loop():
    weights = learnt()
    theirs = torch.zeros(())
    for row in shares_by_loop(weights.matrix):
        for share in row:
            theirs = theirs - share * share.log() / EXPERTS
    ours = weights.sparsity()
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(
        torch.autograd.grad(ours, weights.matrix),
        torch.autograd.grad(theirs, weights.matrix),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_sparsity_is_greatest_where_an_expert_serves_all_alike_and_nothing_where_it_serves_one():
    weights = ObjectiveWeights(EXPERTS)
    assert weights.sparsity().item() == pytest.approx(math.log(len(OBJECTIVES)))
    with torch.no_grad():
        weights.matrix[:, 1] = 200.0
    assert weights.sparsity().item() == pytest.approx(0, abs=1e-6)
    weights.sparsity().backward()
    assert torch.isfinite(weights.matrix.grad).all()


def test_gates_of_a_row_are_the_mean_over_tokens_and_layers():
    """By a loop over rows, layers and tokens; each row sums to one."""
    config, draws = ExpertsConfig(num_experts=EXPERTS, top_k=2), torch.Generator().manual_seed(3)
    tokens = torch.randn(ROWS, 2, 6, EXPERTS, generator=draws).softmax(dim=3)
    figures = torch.stack([tokens, (tokens > 0).float(), tokens], dim=3).sum(dim=2)
    found = Gates.of(figures.flatten(1), config).of_rows()
    for row in range(ROWS):
        for expert in range(EXPERTS):
            values = [tokens[row, layer, token, expert].item() for layer in range(2) for token in range(6)]  # fmt: skip
            assert found[row, expert].item() == pytest.approx(sum(values) / 12, rel=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(ROWS))
