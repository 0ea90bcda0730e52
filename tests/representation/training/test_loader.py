"""The loader gives what `Batches` makes, in order, and leaves no thread behind whatever happens."""

import threading
import time

import pytest
import torch

from moon_rec.errors import ShopError
from representation.posttraining.augmentation import AugmentationConfig
from representation.posttraining.batches import Batches
from representation.posttraining.mixture import TABLE_2
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule
from representation.training.loader import PrefetchingLoader


class Numbers:
    """Makes the step's own number; raises at step `bad`; notes what it made."""

    def __init__(self, bad=None, pause=0.0):
        self.bad, self.pause, self.made = bad, pause, []

    def make(self, step):
        time.sleep(self.pause)
        if step == self.bad:
            raise ShopError(f"picture of step {step} is broken")
        self.made.append(step)
        return step


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_in_order_from_any_step(ahead):
    for first in (0, 4, 7, 9):
        loader = PrefetchingLoader(Numbers(), 7, first, ahead)
        assert len(loader) == len(list(range(first, 7)))
        assert list(loader) == list(range(first, 7))
    assert not threads()


@pytest.mark.parametrize("ahead", [0, 2])
def test_errors_come_where_their_batch_would(ahead):
    loader = iter(PrefetchingLoader(Numbers(bad=3), 7, ahead=ahead))
    assert [next(loader) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ShopError, match="picture of step 3 is broken"):
        next(loader)
    assert not threads()


def test_never_more_ahead_than_asked():
    numbers = Numbers()
    loader = PrefetchingLoader(numbers, 100, ahead=2)
    taken = iter(loader)
    for step in range(4):
        assert next(taken) == step
        time.sleep(0.05)
        assert len(numbers.made) <= step + 1 + 2 + 1  # those taken, those waiting, one in hand
    assert len(numbers.made) > 4
    loader.close()
    loader.close()
    assert not threads() and len(numbers.made) < 100


def test_an_error_of_the_step_stops_the_thread():
    with (
        pytest.raises(ZeroDivisionError),
        PrefetchingLoader(Numbers(pause=0.01), 100, ahead=2) as loader,
    ):
        for step in loader:
            1 / (step - 2)
    assert not threads()


def test_work_is_done_while_the_step_runs():
    """Ten batches of 20 ms beside ten steps of 20 ms take the time of one and a bit, not of two."""
    started = time.monotonic()
    for _ in PrefetchingLoader(Numbers(pause=0.02), 10, ahead=2):
        time.sleep(0.02)
    beside = time.monotonic() - started
    started = time.monotonic()
    for _ in PrefetchingLoader(Numbers(pause=0.02), 10, ahead=0):
        time.sleep(0.02)
    assert beside < 0.8 * (time.monotonic() - started)


def test_same_bits_as_without_it(little_shop, encoder, known):
    plan = Schedule(
        logged_pairs(little_shop), own_pairs(little_shop), dict(TABLE_2), {"image": 0.5}, 20, 8, 0
    )
    wanted = Batches(little_shop, encoder, plan, known, AugmentationConfig())
    batches = Batches(little_shop, encoder, plan, known, AugmentationConfig())
    for step, batch in enumerate(PrefetchingLoader(batches, 20, 5, ahead=2), 5):
        alone = wanted.make(step)
        assert batch.kind == alone.kind and torch.equal(batch.blocked, alone.blocked)
        for side in ("queries", "items"):
            one, other = getattr(batch, side), getattr(alone, side)
            assert torch.equal(one.token_ids, other.token_ids)
            assert one.pixels is None or torch.equal(one.pixels, other.pixels)


def test_torch_uses_one_core_in_the_thread_and_as_many_as_before_beside_it(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    class Threads:
        def make(self, step):
            return torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert list(PrefetchingLoader(Threads(), 2, ahead=2)) == [1, 1]
        assert torch.get_num_threads() == 3
        monkeypatch.setattr("os.cpu_count", lambda: 4)
        assert list(PrefetchingLoader(Threads(), 2)) == [1, 1]
        monkeypatch.setattr("os.cpu_count", lambda: 3)
        assert list(PrefetchingLoader(Threads(), 2)) == [3, 3]
        assert list(PrefetchingLoader(Threads(), 2, ahead=0)) == [3, 3]
    finally:
        torch.set_num_threads(before)
