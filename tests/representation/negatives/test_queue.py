"""The queue against a plain list of everything pushed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec.errors import EncoderError
from moon_rec.torch_seeds import torch_generator
from representation.negatives import NegativeQueue

DIM = 3


def entries(first, count):
    """Entries named by their number: id n has vector (n, n, n) and SPU n + 1000."""
    ids = torch.arange(first, first + count)
    return ids[:, None].float().expand(count, DIM), ids, ids + 1000


def filled(queue, sizes):
    """Push lots of these sizes, one a step; gives (id, step) of everything in order."""
    history = []
    for step, size in enumerate(sizes):
        queue.push(*entries(len(history), size), step)
        history += [(len(history) + place, step) for place in range(size)]
    return history


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.lists(st.integers(0, 15), max_size=8),
    st.one_of(st.none(), st.integers(1, 4)),
    st.integers(0, 20),
)
def test_draws_the_last_and_young_without_replacement(length, sizes, max_age, count):
    queue = NegativeQueue(length, DIM, max_age)
    history, now = filled(queue, sizes), len(sizes)
    held = history[max(0, len(history) - length) :]
    assert len(queue) == len(held)
    young = {
        number: now - step for number, step in held if max_age is None or now - step <= max_age
    }
    drawn = queue.draw(count, now, torch_generator(0, "test"))
    ids = drawn.item_ids.tolist()
    assert len(ids) == len(set(ids)) == min(count, len(young))
    assert drawn.ages.tolist() == [young[number] for number in ids]
    assert drawn.spu_ids.tolist() == [number + 1000 for number in ids]
    assert torch.equal(drawn.vectors, drawn.item_ids[:, None].float().expand(-1, DIM))
    ages = drawn.ages.tolist()
    assert drawn.max_age == max(ages, default=0)
    assert drawn.mean_age == pytest.approx(sum(ages) / len(ages) if ages else 0.0)


def test_every_entry_is_as_likely():
    queue = NegativeQueue(20, DIM, None)
    filled(queue, [20])
    generator, counts, draws = torch_generator(0, "test"), torch.zeros(20), 2000
    for _ in range(draws):
        counts[queue.draw(5, 1, generator).item_ids] += 1
    # binomial with p = 5/20: six standard deviations of 2000 draws
    assert (counts / draws - 0.25).abs().max() < 6 * (0.25 * 0.75 / draws) ** 0.5


def test_entries_take_no_gradient_and_do_not_change_with_what_was_pushed():
    queue = NegativeQueue(4, DIM, None)
    vectors = torch.ones(2, DIM, requires_grad=True)
    queue.push(vectors, torch.arange(2), torch.arange(2), step=0)
    with torch.no_grad():
        vectors.mul_(5)
    drawn = queue.draw(2, 0, torch_generator(0, "test"))
    assert not drawn.vectors.requires_grad and (drawn.vectors == 1).all()


def test_saved_and_loaded_it_draws_the_same():
    sizes = [4, 7, 2, 5]
    queue, copy = NegativeQueue(10, DIM, 3), NegativeQueue(10, DIM, 3)
    filled(queue, sizes)
    state = queue.state_dict()
    queue.push(*entries(100, 3), 4)  # after saving: must not show in the state
    copy.load_state_dict(state)
    copy.push(*entries(100, 3), 4)
    for step in (4, 5, 7):
        one, other = (
            each.draw(4, step, torch_generator(0, "test", step)) for each in (queue, copy)
        )
        assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_refuses_what_makes_no_sense():
    with pytest.raises(EncoderError, match="queue length = 0"):
        NegativeQueue(0, DIM)
    with pytest.raises(EncoderError, match="max_age = 0"):
        NegativeQueue(5, DIM, 0)
    with pytest.raises(EncoderError, match="saved queue holds 5 x 3, wanted 6 x 3"):
        NegativeQueue(6, DIM).load_state_dict(NegativeQueue(5, DIM).state_dict())
