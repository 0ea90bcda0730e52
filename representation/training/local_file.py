"""A file that the processes of one machine share, which is gone with them, however they end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import torch.distributed as dist

from moon_rec.errors import MoonRecError
from representation.training.distributed import rank, wait, world_size

Made = TypeVar("Made")


def local_rank() -> int:
    """This process's number among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", rank())) if world_size() > 1 else 0


def local_size() -> int:
    """How many processes of this training its machine has."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size())) if world_size() > 1 else 1


def shared_file(make: Callable[[], tuple[Path, Made]], mode: str) -> tuple[BinaryIO, Made]:
    """A file that the first process of this machine makes, open in all of them, and what else `make` gave; all call. It loses its name when all have opened it.

    Args:
        make: makes the file; what it raises of ours is raised in all processes.
        mode: as of `open`.
    """
    local = local_rank()
    made: tuple[Path, Made] | None = None
    failed: MoonRecError | None = None
    if local == 0:
        try:
            made = make()
        except MoonRecError as error:
            failed = error
    if world_size() > 1:
        everyone: list = [None] * world_size()
        dist.all_gather_object(everyone, (made, failed))
        made, failed = everyone[rank() - local]  # ranks of a machine follow one another
    if failed is not None:
        raise failed
    assert made is not None
    path, rest = made
    try:
        file = path.open(mode, buffering=0)
        wait()
    finally:
        if local == 0:
            path.unlink()
    return file, rest  # type: ignore[return-value]
