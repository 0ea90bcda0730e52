"""A device that is not there: its tensors compute on the CPU and refuse to meet the CPU's own, as a GPU's do.

torch's device type `lazy`, which needs no library, stands for it. What a GPU takes of the CPU (numbers, tensors of no dimension, copies) is
taken; fused and foreach operations want all tensors in one place.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

FAR = torch.device("lazy", 0)


class Far(Tensor):
    """A tensor on that device.

    Attributes:
        near: its numbers, on the CPU.
    """

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Far":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            layout=near.layout,
            device=FAR,
        )
        made.near = near
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.near})"

    def tolist(self) -> list[Any]:
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Sees what is made on that device, and what is brought there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    far = [isinstance(each, Far) for each in tensors]
    name = str(func)
    if any(far) and not all(far) and "copy_" not in name and "_to_copy" not in name:
        alone = [each for each in tensors if not isinstance(each, Far)]
        if any(each.ndim for each in alone) or "_fused_" in name or "_foreach_" in name:
            shapes = [(type(each).__name__, tuple(each.shape)) for each in tensors]
            raise RuntimeError(f"{name}: tensors on two devices: {shapes}")
    wanted = kwargs.get("device")
    is_far = any(far) if wanted is None else torch.device(wanted).type == FAR.type
    found = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    if "copy_." in name:
        return args[0]
    if not is_far:
        return found
    wrapped = tree_map(lambda each: Far(each) if isinstance(each, Tensor) else each, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _near(given: Any) -> Any:
    if isinstance(given, Far):
        return given.near
    is_far = isinstance(given, torch.device) and given.type == FAR.type
    return torch.device("cpu") if is_far else given


@contextmanager
def far_device() -> Iterator[torch.device]:
    """The device, within the block; torch is told that it has fused kernels, and that autocast is off there."""
    with pytest.MonkeyPatch.context() as patch, _Everywhere():
        patch.setattr(torch, "is_autocast_enabled", lambda *_: False)
        patch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
        optimisers = import_module("torch.optim.optimizer")  # torch.optim hides the name
        patch.setattr(optimisers, "_get_fused_kernels_supported_devices", lambda: ["cpu", FAR.type])
        yield FAR
