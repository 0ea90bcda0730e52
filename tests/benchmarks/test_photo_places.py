"""A photo against a picture place by place: the score as its formula says, the loss against InfoNCE of vectors, the states that it is of."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.pair_training import both_ways
from benchmarks.photo_places import Places, matched, matching_loss
from benchmarks.title_towers import LateBlocks, early_states
from tests.benchmarks.test_title_to_picture import model  # noqa: F401

SIDE, CHANNELS = 3, 5


@pytest.fixture
def places():
    torch.manual_seed(0)
    found = Places(torch.randn(6, SIDE**2, CHANNELS))
    torch.nn.init.normal_(found.moves)
    torch.nn.init.normal_(found.counts.weight)
    return found


@torch.no_grad()
def test_scores_are_the_formula_place_by_place(places):
    pictures, counts = places(torch.randn(4, SIDE**2, CHANNELS))
    photos, _ = places(torch.randn(2, SIDE**2, CHANNELS))
    scores = places.scores(photos, pictures, counts)
    moves = places.moves.view(2 * SIDE - 1, 2 * SIDE - 1)

    def moved(here: int, there: int) -> torch.Tensor:
        (row, column), (to_row, to_column) = divmod(here, SIDE), divmod(there, SIDE)
        return moves[to_row - row + SIDE - 1, to_column - column + SIDE - 1]

    for photo, picture in np.ndindex(2, 4):
        score = 0.0
        for here in range(SIDE**2):
            cosines = photos[photo] @ pictures[picture, here]
            best = max(float(cosines[there] + moved(here, there)) for there in range(SIDE**2))
            score += float(counts[picture, here]) * best
        assert float(scores[photo, picture]) == pytest.approx(score, abs=1e-5)


def test_of_one_place_the_loss_is_that_of_vectors():
    queries, items = functional.normalize(torch.randn(2, 7, CHANNELS), dim=-1)
    same, temperature = torch.tensor([0, 1, 2, 0, 3, 4, 4]), torch.tensor(0.1).log()
    expected = both_ways(queries, items, same, temperature)
    assert matching_loss(queries @ items.T, same, temperature).item() == pytest.approx(expected.item(), abs=1e-5)  # fmt: skip


@torch.no_grad()
def test_what_one_vector_does_not_find_is_not_found(places):
    states = torch.randn(12, SIDE**2, CHANNELS)
    vectors = functional.normalize(torch.randn(12, 4), dim=-1)
    kept = vectors, *(one.detach() for one in places(states))
    found = matched(places, kept, kept, torch.arange(12), torch.tensor(0.07).log(), 3)
    assert found["shortlist"] == {1: 1, 10: 1, 50: 1} and found["places"][10] == 1
    other = vectors.roll(6, 0), *kept[1:]
    lost = matched(places, other, kept, torch.arange(12), torch.tensor(0.07).log(), 1)
    assert lost["shortlist"] == lost["places"] == lost["both"] == {1: 0, 10: 0, 50: 0}


def test_places_are_the_towers_states(model):  # noqa: F811
    late = LateBlocks(model, (64, 64), 8)
    pictures = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        pooled, places = late.with_places(early_states(model, pictures, 8).float(), 3)
        expected = early_states(model, pictures, 11).float().view(2, 112, -1).transpose(1, 2)
    assert (
        places - expected
    ).abs().max() < 0.02 * expected.abs().max()  # states are kept in float16
    assert torch.equal(pooled, late(early_states(model, pictures, 8).float()))
