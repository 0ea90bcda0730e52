"""Triplet loss against a literal loop and against pytorch-metric-learning, value and gradient."""

import pytest
import torch

from representation.losses import triplet


def drawn(draw):
    negatives = draw(12, seed=2).detach().reshape(4, 3, 5).requires_grad_()
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    return draw(4), draw(4, seed=1), negatives, mask


def test_equals_the_formula(draw):
    *sides, mask = drawn(draw)
    queries, positives, negatives = (side.detach() for side in sides)
    losses = [
        max(0.0, float(queries[row] @ (negatives[row, place] - positives[row])) + 0.3)
        for row in range(4)
        for place in range(3)
        if mask[row, place]
    ]
    found = triplet(queries, positives, negatives, margin=0.3, mask=mask)
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert 0 < sum(loss > 0 for loss in losses) < len(losses)


def test_equals_pytorch_metric_learning(draw):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    queries, positives, negatives, mask = drawn(draw)
    rows, places = mask.nonzero(as_tuple=True)
    reference = losses.TripletMarginLoss(
        margin=0.3, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer()
    )
    # their references are the positives, then all negatives
    items = torch.cat([positives, negatives.flatten(0, 1)])
    theirs = reference(queries, indices_tuple=(rows, rows, 4 + 3 * rows + places), ref_emb=items)
    ours = triplet(queries, positives, negatives, margin=0.3, mask=mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    sides = (queries, positives, negatives)
    for side, one, other in zip(
        sides, torch.autograd.grad(ours, sides), torch.autograd.grad(theirs, sides), strict=True
    ):
        # theirs scales its vectors to unit length itself, so its gradient has no part along them
        tangent = one - (one * side).sum(dim=-1, keepdim=True) * side
        torch.testing.assert_close(tangent, other, rtol=1e-4, atol=1e-5)


def test_nothing_real_is_a_loss_of_zero(draw):
    queries, positives, negatives, mask = drawn(draw)
    negatives = torch.full_like(negatives, torch.nan)  # what padding holds must not matter
    loss = triplet(queries, positives, negatives, margin=0.3, mask=torch.zeros_like(mask))
    assert loss.item() == 0.0
    for gradient in torch.autograd.grad(loss, (queries, positives)):
        assert (gradient == 0).all()


def test_bfloat16_vectors_are_scored_in_float32(draw):
    queries, positives, negatives, mask = drawn(draw)
    rounded = [side.detach().bfloat16() for side in (queries, positives, negatives)]
    plain = triplet(*[side.float() for side in rounded], margin=0.3, mask=mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(triplet(*rounded, margin=0.3, mask=mask), plain)
