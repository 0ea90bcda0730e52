"""Further positives of a query in the batch: told from negatives alone, against a literal loop and the library that owns the formula."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional

from representation.losses import Bank, by_blocks, infonce, matryoshka

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def literal(queries, items, temperature, siblings, blocked):
    """One query and one positive at a time."""
    total = 0.0
    for row, query in enumerate(queries.tolist()):
        scores = [
            math.exp(sum(a * b for a, b in zip(query, item, strict=True)) / temperature)
            for item in items.tolist()
        ]
        positives = [at for at in range(len(items)) if at == row or siblings[row, at]]
        negatives = [at for at in range(len(items)) if at not in positives and not blocked[row, at]]
        against = sum(scores[at] for at in negatives)
        each = [-math.log(scores[at] / (scores[at] + against)) for at in positives]
        total += sum(each) / len(each)
    return total / len(queries)


def test_equals_a_literal_loop(draw):
    queries, items = draw(5), draw(7, seed=1)
    siblings = torch.zeros(5, 7, dtype=torch.bool)
    siblings[0, 3] = siblings[0, 6] = siblings[4, 1] = True
    blocked = siblings.clone()
    blocked[2, 4] = True
    found = infonce(queries, items, 0.2, blocked, siblings=siblings).item()
    assert found == pytest.approx(literal(queries, items, 0.2, siblings, blocked), rel=1e-5)
    assert found != pytest.approx(infonce(queries, items, 0.2, blocked).item(), rel=1e-3)


def test_equals_pytorch_metric_learning(draw):
    """NTXentLoss: each positive pair against the negatives of its anchor; here every query has two, so that both means agree."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    raw = draw(6).detach().requires_grad_(), draw(6, seed=1).detach().requires_grad_()
    theirs = losses.NTXentLoss(temperature=0.1)(
        raw[0], LABELS, ref_emb=raw[1], ref_labels=LABELS.clone()
    )
    siblings = (LABELS[:, None] == LABELS[None]) & ~torch.eye(6, dtype=torch.bool)
    units = [functional.normalize(each, dim=1) for each in raw]  # as theirs does
    ours = infonce(*units, 0.1, siblings, siblings=siblings)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(ours, raw), torch.autograd.grad(theirs, raw), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_without_siblings_it_is_the_plain_loss(draw):
    queries, items = draw(5, dtype=torch.float64), draw(8, seed=1, dtype=torch.float64)
    bank = Bank(draw(9, seed=2).detach(), torch.zeros(5, 9, dtype=torch.bool))
    none = torch.zeros(5, 8, dtype=torch.bool)
    for given in (None, bank):
        plain = infonce(queries, items, 0.1, bank=given)
        torch.testing.assert_close(infonce(queries, items, 0.1, bank=given, siblings=none), plain)


def test_by_blocks_with_a_bank_and_widths(draw):
    queries, items = draw(7, 16, dtype=torch.float64), draw(9, 16, seed=1, dtype=torch.float64)
    bank = Bank(draw(20, 16, seed=2).detach(), draw(7, 20, seed=3).detach() > 0.2)
    siblings = torch.zeros(7, 9, dtype=torch.bool)
    siblings[0, 3] = siblings[6, 8] = True
    results = []
    for loss in (
        partial(infonce, temperature=0.1),
        by_blocks(partial(infonce, temperature=0.1), 3),
    ):
        objective = partial(loss, blocked=siblings, siblings=siblings)
        found = matryoshka(objective, queries, items, (4, 16), bank=bank)
        results.append([found, *torch.autograd.grad(found, (queries, items))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_query_without_negatives_has_loss_and_gradient_zero(draw):
    queries, items = draw(2), draw(2, seed=1)
    all_alike = torch.ones(2, 2, dtype=torch.bool)
    loss = infonce(queries, items, 0.1, all_alike, siblings=all_alike)
    assert loss.item() == 0.0
    for gradient in torch.autograd.grad(loss, (queries, items)):
        assert (gradient == 0).all()
