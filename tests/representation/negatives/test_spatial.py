"""Two processes that gather their items against one process that holds everything: loss and gradients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.nn import functional

from representation.losses import infonce
from representation.negatives import gather
from tests.stopping import wait_for

ROWS = (3, 5)
"""Rows of each rank, unequal on purpose."""


def whole_batch():
    generator = torch.Generator().manual_seed(0)
    batch, dim = sum(ROWS), 6
    inputs = torch.randn(2, batch, dim, generator=generator)
    weights = torch.randn(dim, dim, generator=generator).requires_grad_()
    spu_ids = torch.randint(0, 5, (batch,), generator=generator)
    return inputs, weights, spu_ids


def loss_of(queries, items, spu_ids, rows):
    """InfoNCE of some queries against everyone's items, siblings of the positive blocked."""
    blocked = spu_ids[rows, None] == spu_ids
    blocked[torch.arange(len(rows)), rows] = False
    return infonce(queries, items, 0.1, blocked, positives=rows)


def embed(inputs, weights):
    return functional.normalize(inputs @ weights, dim=-1)


def work(rank, folder):
    """One rank: its rows of the batch, the loss over gathered items, gradients of weights and of its own items."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    inputs, weights, spu_ids = whole_batch()
    own = torch.arange(sum(ROWS)).split(ROWS)[rank]
    queries, items = (embed(side[own], weights) for side in inputs)
    items.retain_grad()
    everyone = gather(items)
    loss = loss_of(queries, everyone, spu_ids, own)
    # the mean over all queries, from means over unequal parts
    share = loss * len(own) / sum(ROWS)
    share.backward()
    dist.all_reduce(weights.grad)
    found = {
        "loss": share.detach(),
        "weights": weights.grad,
        "items": items.grad,
        "everyone": everyone.detach(),
    }
    save_file(found, f"{folder}/{rank}.safetensors")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes on gloo found."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    other = subprocess.Popen([sys.executable, __file__, "1", str(folder)], env=environment)
    try:
        wait_for((folder / "ready").exists, other)
        work(0, folder)  # the first of them is this one: its libraries are loaded
        assert other.wait(timeout=60) == 0
    finally:
        other.kill()
        other.wait()
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


def test_two_processes_are_one(ranks):
    inputs, weights, spu_ids = whole_batch()
    queries, items = (embed(side, weights) for side in inputs)
    items.retain_grad()
    loss = loss_of(queries, items, spu_ids, torch.arange(sum(ROWS)))
    loss.backward()
    assert weights.grad is not None and items.grad is not None
    total = ranks[0]["loss"] + ranks[1]["loss"]
    torch.testing.assert_close(total, loss.detach(), rtol=1e-6, atol=1e-6)
    for found in ranks:
        torch.testing.assert_close(found["everyone"], items.detach(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found["weights"], weights.grad, rtol=1e-5, atol=1e-6)
    of_items = torch.cat([found["items"] for found in ranks])
    torch.testing.assert_close(of_items, items.grad, rtol=1e-5, atol=1e-6)


def test_one_process_is_itself():
    vectors = torch.randn(4, 3)
    assert gather(vectors) is vectors


if __name__ == "__main__":
    Path(sys.argv[2], "ready").touch()
    work(int(sys.argv[1]), sys.argv[2])
