"""What `benchmarks.title_to_picture` and `benchmarks.held_out_photos` train by: one step of InfoNCE both ways, and a state that a stopped run goes on from."""

import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from moon_rec.files import atomic_file
from representation.losses import infonce


def numbered(values: Sequence[Hashable]) -> Tensor:
    """A number for each value, equal for equal ones: products of one title, or of one picture, are no negatives of each other."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return torch.tensor([numbers[value] for value in values])


def step_both_ways(
    optimizer: torch.optim.Optimizer,
    queries: Tensor,
    items: Tensor,
    same: Tensor,
    log_temperature: Tensor,
) -> Tensor:
    """One step of training on unit vectors `(rows, dim)` of queries and their items; its loss."""
    loss = both_ways(queries, items, same, log_temperature)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def saved_state(file: Path, parts: dict[str, Any], done: dict[str, Any]) -> None:
    """Write what is needed to go on: `parts` have a `state_dict`, `done` is plain."""
    tensors: dict[str, Tensor] = {}
    held = {"parts": {name: one.state_dict() for name, one in parts.items()}, "done": done}
    plain = json.dumps(_without_tensors(held, tensors))
    with atomic_file(file) as temporary:
        save_file(tensors, temporary, {"plain": plain})


def held_in(file: Path) -> dict[str, Any]:
    """What `saved_state` wrote: `parts` and `done`."""
    with safe_open(file, "pt") as found:
        return _with_tensors(json.loads(found.metadata()["plain"]), found.get_tensor)


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Nested dictionaries (whose keys may be numbers) and lists as JSON has them; tensors are put into `tensors`, their names in their places."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"pairs": [[key, _without_tensors(one, tensors)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        return [_without_tensors(one, tensors) for one in value]
    return value


def _with_tensors(value: Any, tensor: Callable[[str], Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensor(value["tensor"])
        return {key: _with_tensors(one, tensor) for key, one in value["pairs"]}
    return [_with_tensors(one, tensor) for one in value] if isinstance(value, list) else value


def taken_up(file: Path, parts: dict[str, Any]) -> dict[str, Any] | None:
    """What `saved_state` wrote as `done`, its parts loaded; None: no such file."""
    if not file.is_file():
        return None
    held = held_in(file)
    for name, one in parts.items():
        one.load_state_dict(held["parts"][name])
    return held["done"]


def both_ways(queries: Tensor, items: Tensor, same: Tensor, log_temperature: Tensor) -> Tensor:
    """InfoNCE both ways; rows of one number in `same` are no negatives of each other."""
    blocked = same[:, None] == same[None]
    blocked.fill_diagonal_(False)
    known: dict[str, Any] = {
        "blocked": blocked,
        "positives": torch.arange(len(same), device=same.device),
        "temperature": log_temperature.exp().clamp(min=0.01),
    }
    return (infonce(queries, items, **known) + infonce(items, queries, **known)) / 2
