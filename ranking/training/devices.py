"""Where a ranker is trained: the CPU, a GPU, or several processes of either."""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from moon_rec.errors import RankingError
from ranking.config import RankerConfig


def training_device(config: RankerConfig) -> torch.device:
    """The device of this process: `cpu`, or its own GPU.

    Raises:
        RankingError: `cuda` is asked for and there is none.
    """
    wanted = config.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RankingError("device is cuda, but torch finds no GPU; set device=cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def is_launched() -> bool:
    """Whether torchrun (or the like) started this process."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """A process group within the block: that of the launcher, or one of a single process.

    nccl between GPUs, gloo between CPUs. A group that exists already is used and left. The launcher's stays
    until the process ends: groups made and left in turn over one store can wait for each other for ever.
    """
    if dist.is_initialized():
        yield
        return
    options = {} if is_launched() else {"store": HashStore(), "rank": 0, "world_size": 1}
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, **options)
    if is_launched():
        atexit.register(_leave)
        yield
        return
    try:
        yield
    finally:
        dist.destroy_process_group()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, 0 where there is but one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1
