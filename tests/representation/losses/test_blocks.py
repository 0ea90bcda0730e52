"""A loss by blocks of queries against the loss at once: value, gradient, and what is kept in memory."""

from functools import partial

import pytest
import torch

from representation.losses import Bank, by_blocks, circle, infonce, matryoshka
from tests.peak_memory import added_mib


@pytest.mark.parametrize("size", [1, 3, 10])
@pytest.mark.parametrize("name", ["infonce", "circle"])
@pytest.mark.parametrize("has_bank", [False, True])
def test_equals_the_loss_at_once(draw, size, name, has_bank):
    queries, items = draw(7, 16, dtype=torch.float64), draw(9, 16, seed=1, dtype=torch.float64)
    temperature = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    blocked = torch.zeros(7, 9, dtype=torch.bool)
    blocked[0, 3] = blocked[6, 1] = True
    positives = torch.tensor([1, 0, 2, 8, 4, 5, 6])
    bank = (
        Bank(draw(20, 16, seed=2).detach(), draw(7, 20, seed=3).detach() > 0.2)
        if has_bank
        else None
    )
    loss = partial(infonce, temperature=temperature) if name == "infonce" else circle
    leaves = (queries, items, temperature) if name == "infonce" else (queries, items)
    results = []
    for each in (loss, by_blocks(loss, size)):
        objective = partial(each, blocked=blocked, positives=positives)
        found = matryoshka(objective, queries, items, (4, 16), bank=bank)
        results.append([found, *torch.autograd.grad(found, leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_scores_are_not_kept(draw):
    """What autograd keeps grows with the batch, not with its square."""

    def kept(batch, loss):
        queries, items, sizes = draw(batch, 8), draw(batch, 8, seed=1), {}

        def note(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            found = loss(queries, items)  # held, or its graph is freed and addresses come back
        return sum(sizes.values()), found

    loss = partial(infonce, temperature=0.1)
    assert kept(256, loss)[0] > 256 * 256
    in_blocks = by_blocks(loss, 16)
    assert kept(256, in_blocks)[0] <= 4.1 * kept(64, in_blocks)[0] < 256 * 256


def test_memory_is_that_of_a_block():
    """Forward and backward, under the allocator's default settings: 8,192 rows have 256 MiB of scores."""
    before = """
        from functools import partial
        import torch
        from representation.losses import by_blocks, infonce, matryoshka
        queries, items = torch.nn.functional.normalize(torch.randn(2, 8192, 64), dim=2)
        queries, items = queries.requires_grad_(), items.requires_grad_()
        temperature = torch.tensor(0.07, requires_grad=True)
        def step(count):
            loss = by_blocks(partial(infonce, temperature=temperature), 64)
            matryoshka(loss, queries[:count], items[:count], (32, 64)).backward()
        step(256)
    """
    assert added_mib(before, "step(8192)") < 150
