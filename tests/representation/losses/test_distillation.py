"""What a teacher's scores and vectors ask of an encoder: literal formulas, gradients that go to the encoder alone, and both zero where it is the teacher."""

import math

import pytest
import torch

from representation.losses import score_distillation, vector_distillation


def literal(queries, items, wanted, temperature, left_out):
    total = 0.0
    for row in range(len(queries)):
        asked = [at for at in range(len(items)) if at == row or not left_out[row, at]]
        found = [
            math.exp(float(queries[row].detach() @ items[at].detach()) / temperature)
            for at in asked
        ]
        sought = [math.exp(float(wanted[row, at].detach()) / temperature) for at in asked]
        for own, other in zip(sought, found, strict=True):
            share, its = own / sum(sought), other / sum(found)
            total += share * math.log(share / its)
    return total / len(queries)


def test_scores_equal_a_literal_loop(draw):
    queries, items = draw(4, dtype=torch.float64), draw(6, seed=1, dtype=torch.float64)
    wanted = draw(4, 8, seed=2, dtype=torch.float64) @ draw(6, 8, seed=3, dtype=torch.float64).T
    left_out = torch.zeros(4, 6, dtype=torch.bool)
    left_out[0, 5] = left_out[3, 0] = left_out[1, 1] = (
        True  # (1, 1) is a positive: asked all the same
    )
    found = score_distillation(queries, items, wanted, 0.3, left_out=left_out)
    assert found.item() == pytest.approx(literal(queries, items, wanted, 0.3, left_out), rel=1e-9)


def test_the_teacher_itself_loses_nothing_and_takes_no_gradient(draw):
    queries, items = draw(4), draw(6, seed=1)
    wanted = queries @ items.T
    found = score_distillation(queries, items, wanted, 0.1)
    assert found.item() == pytest.approx(0.0, abs=1e-6)
    assert vector_distillation(items, items).item() == 0.0
    for gradient in torch.autograd.grad(found, (queries, items)):
        assert gradient.abs().max() < 1e-5


def test_descending_reaches_the_teachers_scores(draw):
    """Sixty steps of gradient descent on the divergence alone: order and shares are the teacher's."""
    queries, items = draw(4), draw(6, seed=1)
    wanted = (draw(4, seed=2) @ draw(6, seed=3).T).detach()
    first = score_distillation(queries, items, wanted, 0.2).item()
    moved = [queries.detach().clone().requires_grad_(), items.detach().clone().requires_grad_()]
    optimiser = torch.optim.Adam(moved, lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        score_distillation(*moved, wanted, 0.2).backward()
        optimiser.step()
    assert score_distillation(*moved, wanted, 0.2).item() < 0.02 * first


def test_vectors_are_twice_one_minus_the_cosine(draw):
    vectors, wanted = draw(5), draw(5, seed=1)
    cosine = (vectors * wanted).sum(1).mean().item()
    assert vector_distillation(vectors, wanted).item() == pytest.approx(2 - 2 * cosine, rel=1e-5)


def test_nobody_to_learn_from_is_zero_with_a_gradient(draw):
    queries, items = draw(3), draw(4, seed=1)
    none = score_distillation(queries[:0], items, torch.zeros(0, 4), 0.1)
    none = none + vector_distillation(items[:0], torch.zeros(0, 5))
    assert none.item() == 0.0
    none.backward()
