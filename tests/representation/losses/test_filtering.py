"""Dynamic sample filtering against a loop over triplets, and InfoNCE and circle loss that count samples unequally."""

import math

import pytest
import torch
from torch.nn import functional

from representation.losses import by_blocks, circle, infonce
from representation.losses.filtering import FilterConfig, confidence, filter_weights, margin_at

BATCH, DIM = 6, 5


def vectors(count, seed):
    draws = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, BATCH, DIM, generator=draws), dim=-1)


def test_filtering_against_a_loop():
    queries, positives, negatives = vectors(3, 0)
    config = FilterConfig(scale=3.0, first_margin=0.3, last_margin=-0.1)
    for step in (0, 4, 9):
        margin = 0.3 - 0.4 * step / 9
        assert margin_at(config, step, 10) == pytest.approx(margin)
        phi = confidence(queries, positives, negatives, config.scale, margin)
        weights = filter_weights(phi, config.threshold)
        for row in range(BATCH):
            right = sum(float(a * b) for a, b in zip(queries[row], positives[row], strict=True))
            wrong = sum(float(a * b) for a, b in zip(queries[row], negatives[row], strict=True))
            wanted = 1 / (1 + math.exp(-3.0 * (right - wrong - margin)))
            assert phi[row].item() == pytest.approx(wanted, rel=1e-5)
            assert weights[row].item() == pytest.approx(wanted if wanted < 0.6 else 1, rel=1e-5)
    assert 0 < int((weights < 1).sum()) < BATCH


def test_the_margin_of_one_step_and_beyond_the_last():
    config = FilterConfig()
    assert margin_at(config, 0, 1) == 0.2 and margin_at(config, 20, 10) == 0.0


def test_a_triplet_at_the_margin_is_half_sure_and_counts_half():
    queries = torch.tensor([[1.0, 0.0]])
    positives, negatives = torch.tensor([[0.8, 0.6]]), torch.tensor([[0.6, 0.8]])
    phi = confidence(queries, positives, negatives, 10.0, 0.2)
    assert phi.item() == pytest.approx(0.5) and filter_weights(phi, 0.6).item() == pytest.approx(0.5)  # fmt: skip
    assert filter_weights(phi, 0.4).item() == 1


def siblings():
    found = torch.zeros(BATCH, BATCH, dtype=torch.bool)
    found[1, 4] = found[4, 1] = True
    return {"siblings": found, "blocked": found}


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize(
    ("name", "more"), [("infonce", {}), ("infonce", siblings()), ("circle", {})]
)
def test_a_weighted_loss_is_the_mean_of_weighted_samples(name, more, blocks):
    """Each sample's own loss is that of its query alone; value and gradient."""
    queries, items = vectors(2, 1)
    weights = torch.tensor([1.0, 0.2, 0.5, 1.0, 0.0, 0.7])

    def loss(rows, given, **weighed):
        named = {key: value[rows] for key, value in more.items()}
        places = {"positives": torch.arange(BATCH)[rows]}
        if name == "circle":
            one = lambda *args, **kw: circle(*args, scale=8.0, **kw)  # noqa: E731
        else:
            one = lambda *args, **kw: infonce(*args, temperature=0.2, **kw)  # noqa: E731
        one = by_blocks(one, 4) if blocks else one
        return one(given[rows], items, **places, **named, **weighed)

    found = []
    for whole in (True, False):
        given = queries.clone().requires_grad_()
        if whole:
            value = loss(slice(None), given, weights=weights)
        else:
            value = sum(weights[row] * loss(slice(row, row + 1), given) for row in range(BATCH)) / BATCH  # fmt: skip
        value.backward()
        found.append((value.detach(), given.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)
    plain = loss(slice(None), queries)
    torch.testing.assert_close(loss(slice(None), queries, weights=torch.ones(BATCH)), plain)
