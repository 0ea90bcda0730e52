"""Old vectors follow the common motion of new ones."""

import torch
from torch.nn import functional

from moon_rec.torch_seeds import torch_generator
from representation.negatives.drift import Drift

DIM = 8


def batch(seed):
    return functional.normalize(torch.randn(6, DIM, generator=torch_generator(seed, "drift")))


def test_a_vector_is_shifted_by_what_the_mean_has_moved():
    drift, batches = Drift(DIM), [batch(step) for step in range(4)]
    for step, items in enumerate(batches[:3]):
        drift.note(items, step, oldest=0)
    old = torch.stack([batches[2][1], batches[0][3]])
    found = drift.follow(old, torch.tensor([2, 0]), batches[3])
    for vector, born, seen in zip(old, (2, 0), found, strict=True):
        moved = vector + batches[3].mean(dim=0) - batches[born].mean(dim=0)
        assert torch.allclose(seen, moved / moved.norm(), atol=1e-6)


def test_of_a_common_motion_nothing_is_left():
    """Before they are brought to unit length, vectors that all moved by the same step fall on themselves."""
    drift, items = Drift(DIM), batch(0)
    drift.note(items, 0, oldest=0)
    moved = items + torch.linspace(-1, 1, DIM)
    found = drift.follow(items, torch.zeros(6, dtype=torch.int64), moved)
    assert torch.allclose(found, functional.normalize(moved, dim=1), atol=1e-6)


def test_forgets_steps_that_nothing_is_left_of_and_takes_up_its_state():
    drift = Drift(DIM)
    for step in range(5):
        drift.note(batch(step), step, oldest=step - 1)
    state = drift.state_dict()
    assert state["mean_steps"].tolist() == [3, 4]
    again = Drift(DIM)
    again.load_state_dict(state)
    born, now = torch.tensor([4, 3]), batch(9)
    assert torch.equal(again.follow(batch(3)[:2], born, now), drift.follow(batch(3)[:2], born, now))
    assert not again.follow(torch.empty(0, DIM), torch.empty(0, dtype=torch.int64), now).numel()
