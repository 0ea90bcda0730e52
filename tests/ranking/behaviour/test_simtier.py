"""SimTier against MUSE's formula written out, and against a loop that counts."""

import math

import pytest
import torch

from ranking.behaviour import Behaviours, SimTier, Target
from ranking.behaviour.simtier import ceil_tier_counts, tier_counts


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def muse(cosines, embedding, eps=0.1):
    """`log(count + 1) * emb[slot]`, slot = ceil(10 cos) + 10 of 22; cosines `(rows, length)`, unmasked."""
    bias = int(1 / eps)
    slots = torch.ceil(cosines * (1 / eps)).to(torch.int32) + bias
    ranges = torch.arange(2 * bias + 2).reshape(1, -1, 1)
    times = (ranges == slots[:, None]).float().sum(dim=2, keepdim=True)
    return (torch.log(times + 1) * embedding[None]).flatten(1)


@pytest.mark.parametrize("embedding_dim", [1, 4])
def test_value_and_gradient_are_muses(embedding_dim):
    torch.manual_seed(0)
    module = SimTier([True], embedding_dim=embedding_dim)
    assert module.embedding.shape == (1, 22, embedding_dim)
    assert module.embedding.min() >= 0 and module.embedding.max() < 1
    batch, targets, length = 4, 3, 200
    mask = torch.ones(batch, length).bool()
    past = Behaviours(torch.zeros(batch * length, 2), mask, unit(batch, length, 3), mask)
    everywhere = torch.ones(batch, targets).bool()
    target = Target(torch.zeros(batch, targets, 2), unit(batch, targets, 3), everywhere)
    found = module(target, [past]).per_target
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    embedding = module.embedding.detach()[0].clone().requires_grad_()
    cosines = torch.einsum("btd,bld->btl", target.content, past.content)
    wanted = muse(cosines.flatten(0, 1), embedding).view_as(found)
    (wanted * weights).sum().backward()
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(module.embedding.grad[0], embedding.grad, atol=1e-5)


def test_only_known_behaviours_are_counted():
    torch.manual_seed(1)
    module = SimTier([True])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    has = torch.rand(3, 4) < 0.6
    past = Behaviours(torch.zeros(7, 2), mask, unit(3, 4, 3), has)
    target = Target(
        torch.zeros(3, 2, 2), unit(3, 2, 3), torch.tensor([[1, 0], [1, 1], [1, 1]]).bool()
    )
    found = module(target, [past]).per_target
    for request in range(3):
        for candidate in range(2):
            counts = torch.zeros(22)
            for place in range(4):
                known = mask[request, place] and has[request, place]
                if known and target.has_content[request, candidate]:
                    cosine = target.content[request, candidate] @ past.content[request, place]
                    counts[math.ceil(10 * float(cosine)) + 10] += 1
            wanted = (1 + counts).log() * module.embedding[0, :, 0]
            assert torch.allclose(found[request, candidate], wanted, atol=1e-6)


def test_tiers_are_open_below_and_closed_above_and_rounding_is_no_tier():
    cosines = torch.tensor([[-1.0000001, -1, -0.99, -0.05, 0, 0.05, 0.1, 0.9999999, 1, 1.0000001]])
    counts = ceil_tier_counts(cosines, torch.ones_like(cosines).bool(), 22)[0]
    wanted = torch.zeros(22)
    wanted[[0, 1, 10, 11, 20]] = torch.tensor([2.0, 1, 2, 2, 3])
    assert torch.equal(counts, wanted)


def test_equal_bins_hold_every_known_score_once():
    torch.manual_seed(2)
    scores, mask = torch.rand(5, 40) * 2 - 1, torch.rand(5, 40) < 0.5
    counts = tier_counts(scores, mask, 8)
    for row in range(5):
        wanted = torch.histc(scores[row][mask[row]], 8, -1, 1)
        assert torch.equal(counts[row], wanted)


def test_half_precision_counts_past_its_own_integers():
    scores = torch.full((1, 5000), 0.55, dtype=torch.bfloat16)
    everything = torch.ones_like(scores).bool()
    assert ceil_tier_counts(scores, everything, 22).max() == 5000
    assert tier_counts(scores, everything, 20).max() == 5000


def test_plain_counts_are_an_option():
    past = Behaviours(
        torch.zeros(3, 2),
        torch.ones(1, 3).bool(),
        torch.tensor([[[1.0], [1], [-1]]]),
        torch.ones(1, 3).bool(),
    )
    target = Target(torch.zeros(1, 1, 2), torch.ones(1, 1, 1), torch.ones(1, 1).bool())
    module = SimTier([True], 4, edges="equal", values="counts")
    assert module(target, [past]).per_target[0, 0].tolist() == [1, 0, 0, 2]
    logs = SimTier([True], 4, edges="equal", values="log")(target, [past]).per_target[0, 0]
    assert logs.tolist() == pytest.approx([math.log(2), 0, 0, math.log(3)])
