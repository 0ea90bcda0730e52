"""DIEN against its equations, step by step in time."""

import pytest
import torch

from moon_rec.errors import RankingError
from ranking.behaviour import DIEN, Behaviours, Target


def literal(evolution, target, events):
    """One target `(dim,)` and the real events `(length, dim)`, oldest first."""
    gru, hidden = evolution.gru, evolution.hidden_dim
    state, states = torch.zeros(hidden).double(), []
    for event in events:
        given = gru.weight_ih_l0 @ event + gru.bias_ih_l0
        known = gru.weight_hh_l0 @ state + gru.bias_hh_l0
        reset = torch.sigmoid(given[:hidden] + known[:hidden])
        keep = torch.sigmoid(given[hidden : 2 * hidden] + known[hidden : 2 * hidden])
        new = torch.tanh(given[2 * hidden :] + reset * known[2 * hidden :])
        state = keep * state + (1 - keep) * new
        states.append(state)
    logits = torch.stack([evolution.match(target) @ state for state in states])
    memory = torch.zeros(hidden).double()
    for state, weight in zip(states, torch.softmax(logits, 0), strict=True):
        reset, update, candidate = evolution.of_state(state).split(hidden)
        of_reset, of_update, of_candidate = evolution.of_memory(memory).split(hidden)
        update = weight * torch.sigmoid(update + of_update)
        new = torch.tanh(candidate + torch.sigmoid(reset + of_reset) * of_candidate)
        memory = (1 - update) * memory + update * new
    return memory


def drawn(mask, dim=3, targets=2):
    ids = torch.randn(int(mask.sum()), dim).double().requires_grad_()
    return Target(torch.randn(len(mask), targets, 4).double()), Behaviours(ids, mask)


def test_it_is_the_equations_with_the_oldest_first():
    torch.manual_seed(0)
    module = DIEN(4, [3], 5).double()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]]).bool()
    target, past = drawn(mask)
    found = module(target, [past]).per_target
    newest_first = torch.split(past.ids, mask.sum(dim=1).tolist())
    for request in (0, 1, 3):
        for candidate in range(2):
            wanted = literal(
                module.evolutions[0], target.ids[request, candidate], newest_first[request].flip(0)
            )
            assert torch.allclose(found[request, candidate], wanted, atol=1e-12)
    assert not found[2].any()


@pytest.mark.parametrize("segment", [1, 2, 3, 7])
def test_segments_change_neither_value_nor_gradient(segment):
    torch.manual_seed(1)
    whole = DIEN(4, [3], 5).double()
    pieces = DIEN(4, [3], 5, segment=segment).double()
    pieces.load_state_dict(whole.state_dict())
    target, past = drawn(torch.rand(3, 7) < 0.8)
    results = []
    for module in (whole, pieces):
        found = module(target, [past]).per_target
        gradients = torch.autograd.grad(found.sin().sum(), [past.ids, *module.parameters()])
        results.append((found, *gradients))
    for one, two in zip(*results, strict=True):
        assert torch.allclose(one, two, atol=1e-12)


def test_a_history_too_long_is_refused_with_the_way_out():
    module = DIEN(4, [3], 5, max_length=6)
    mask = torch.ones(1, 7).bool()
    with pytest.raises(
        RankingError, match="at most 6 behaviours, these histories have up to 7"
    ) as caught:
        module(Target(torch.zeros(1, 1, 4)), [Behaviours(torch.zeros(7, 3), mask)])
    assert "\n" not in str(caught.value)
