"""Matryoshka against a literal sum, and against sentence-transformers' loss over its own InfoNCE."""

from functools import partial

import pytest
import torch
from torch.nn import functional

from representation.losses import circle, infonce, matryoshka

WIDTHS = (4, 8, 16)


def vectors():
    generator = torch.Generator().manual_seed(1)
    queries, items = torch.randn(2, 5, 16, generator=generator)
    return queries.requires_grad_(), items.requires_grad_()


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 5.0)])
def test_is_the_weighted_mean_over_prefixes(weights):
    queries, items = vectors()
    objective = partial(infonce, temperature=0.1)
    found = matryoshka(objective, queries, items, WIDTHS, weights)
    parts = [
        objective(
            functional.normalize(queries[:, :width], dim=-1),
            functional.normalize(items[:, :width], dim=-1),
        ).item()
        for width in WIDTHS
    ]
    shares = weights or (1.0, 1.0, 1.0)
    wanted = sum(share * part for share, part in zip(shares, parts, strict=True)) / sum(shares)
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_each_width_may_have_a_loss_of_its_own():
    queries, items = vectors()
    losses = [partial(infonce, temperature=0.1), partial(infonce, temperature=0.5), circle]
    found = matryoshka(losses, queries, items, WIDTHS, (1.0, 2.0, 5.0))
    parts = [
        matryoshka(loss, queries, items, (width,))
        for loss, width in zip(losses, WIDTHS, strict=True)
    ]
    torch.testing.assert_close(found, (parts[0] + 2 * parts[1] + 5 * parts[2]) / 8)


def test_one_full_width_is_the_plain_loss():
    queries, items = vectors()
    plain = infonce(functional.normalize(queries, dim=-1), functional.normalize(items, dim=-1), 0.1)
    assert matryoshka(
        partial(infonce, temperature=0.1), queries, items, (16,)
    ).item() == pytest.approx(plain.item())


def test_equals_sentence_transformers():
    """Its MatryoshkaLoss sums over the widths, with weights of 1; cosine scores times `scale` are ours over the temperature."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.losses import (
        MatryoshkaLoss,
        MultipleNegativesRankingLoss,
    )

    class Passes(torch.nn.Module):
        def forward(self, features):
            return {"sentence_embedding": features["vectors"]}

        def get_sentence_embedding_dimension(self):
            return 16

        get_embedding_dimension = get_sentence_embedding_dimension

    model = Passes()
    queries, items = vectors()
    inner = MultipleNegativesRankingLoss(model, scale=10.0)  # type: ignore[arg-type]
    reference = MatryoshkaLoss(model, inner, matryoshka_dims=list(WIDTHS))  # type: ignore[arg-type]
    features = [{"vectors": queries}, {"vectors": items}]
    theirs = reference(features, torch.arange(5)) / len(WIDTHS)
    ours = matryoshka(partial(infonce, temperature=0.1), queries, items, WIDTHS)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(ours, (queries, items)),
        torch.autograd.grad(theirs, (queries, items)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
