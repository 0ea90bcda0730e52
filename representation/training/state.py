"""What a training needs to go on where it was stopped, in `OUT.resume/step-00000100/`: safetensors and JSON, nothing else.

Batches, views, negatives and dropout of a step are drawn from the seed and the step alone, so the sampler has no state but the step. What remains is the trained
weights, the optimiser's moments, the queue and the log. A training that goes on from there ends with the same bits, on a processor with as many threads.
Notable choices:
- A save appears whole under a name of its own, then earlier ones go: a kill at any moment leaves one to go on from.
- Tensors are saved whole, whatever number of processes held them, so another number may go on.
- Weights that are not trained (under LoRA) are those of the encoder that training started from, and are not saved.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from moon_rec.code_version import differing
from moon_rec.errors import EncoderError, MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.outputs import OutputKind, atomic_folder, json_with, remove_folder
from moon_rec.progress import say
from moon_rec.temporaries import sweep
from representation.training.distributed import is_main, own_part, wait, whole_tensors
from representation.version import made_by

FORMAT_VERSION = 1
DIVERGED = "diverged.json"
SAVE = OutputKind(
    "a training's save",
    "state.json",
    json_with("format_version", "step", "settings"),
    tuple(f"{name}.safetensors" for name in ("weights", "optimiser", "others")),
)
FREE = ("resume_every", "num_threads", "log_every", "checkpoint_steps", "scratch_gb")
"""Settings that may differ from those of the save: they do not decide what is learnt."""

Named = Sequence[tuple[str, Tensor]]
"""Trained parameters with their names, as the optimiser was given them."""


class Resumed(NamedTuple):
    """Where a training goes on: after `step` steps, with what `save_state` was given as `others` and `log`."""

    step: int
    others: dict[str, Tensor]
    log: Any
    lowered_from: float | None = None
    """The save's learning rate, where a lower one is taken after a divergence."""


def resume_folder(out: str | Path) -> Path:
    """`OUT.resume`, beside where the encoder is to be."""
    return Path(out).with_name(f"{Path(out).name}.resume")


def save_state(
    folder: Path,
    step: int,
    parameters: Named,
    optimizer: torch.optim.Optimizer,
    others: Mapping[str, Tensor],
    log: Any,
    settings: Mapping[str, Any],
) -> None:
    """Save after `step` steps; earlier saves in `folder` go. All processes call, the first writes.

    Args:
        others: further tensors, the same on all processes.
        log: anything JSON can hold.
        settings: what a training that goes on must agree with: all that decides what is learnt.
    """
    weights = whole_tensors(dict(parameters))
    moments = whole_tensors(
        {
            f"{name}/{key}": value
            for name, parameter in parameters
            for key, value in optimizer.state.get(parameter, {}).items()
        }
    )
    if is_main():
        with atomic_folder(folder / f"step-{step:08d}", SAVE, overwrite=True) as inside:
            for name, tensors in (("weights", weights), ("optimiser", moments), ("others", others)):
                kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
                save_file(kept, inside / f"{name}.safetensors")
            about = {
                "format_version": FORMAT_VERSION,
                "step": step,
                "log": log,
                "made_by": made_by(),
            }
            write_json(inside / "state.json", about | {"settings": _flat(settings)})
        (folder / DIVERGED).unlink(missing_ok=True)
        for path in _own(folder):
            if path.name != f"step-{step:08d}":
                remove_folder(path, SAVE)
    wait()


def load_state(
    folder: Path, parameters: Named, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> Resumed | None:
    """Put weights and moments of the last save in `folder` where they were; None where there is no save. All processes call.

    Raises:
        EncoderError: saved with other settings or by another version, or files that cannot be read.
    """
    path = last_save(folder)
    if path is None:
        return None
    try:
        about = read_json(path / "state.json")
        lowered_from = refuse_other_settings(path, about, settings)
        weights, moments, others = (
            load_file(path / f"{name}.safetensors") for name in ("weights", "optimiser", "others")
        )
        _put_back(parameters, optimizer, weights, moments)
    except (SafetensorError, MoonRecError, OSError, KeyError, RuntimeError) as error:
        if isinstance(error, EncoderError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise EncoderError(
            f"{path} cannot be read ({reason}); remove {folder} to start anew"
        ) from None
    why = differing(about.get("made_by"), made_by())
    if why and is_main():
        say(f"{path} was saved with {why}; the bits may differ from those of a training in one go")
    return Resumed(about["step"], others, about["log"], lowered_from)


def last_save(folder: Path) -> Path | None:
    """The folder of the last save in `folder`; None where there is none."""
    return max((path.parent for path in folder.glob("step-*/state.json")), default=None)


def saved_step(folder: Path, steps: int) -> str:
    """How far the last save in `folder` is, in words; "" where there is none."""
    path = last_save(folder)
    return f"step {int(path.name.removeprefix('step-')):,} of {steps:,}" if path else ""


def drop_state(folder: Path) -> None:
    """Remove what `save_state` saved, once the training is done. All processes may call."""
    wait()
    if is_main() and folder.is_dir():
        for path in _own(folder):
            remove_folder(path, SAVE)
        sweep(folder)
        (folder / DIVERGED).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what others put there stays, and so does the folder
            folder.rmdir()


def _own(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("step-*")) if not SAVE.objection(path)]


def mark_diverged(folder: Path, learning_rate: float) -> None:
    """The training diverged after the last save in `folder`, with that rate: a lower one may go on from it."""
    write_json(folder / DIVERGED, {"learning_rate": learning_rate})


def check_state(folder: Path, settings: Mapping[str, Any]) -> None:
    """Say before anything is computed, not after, that the last save in `folder` cannot be gone on from.

    Raises:
        EncoderError: as `refuse_other_settings`, or a save that cannot be read.
    """
    path = last_save(folder)
    if path is None:
        return
    try:
        about = read_json(path / "state.json")
    except MoonRecError as error:
        raise EncoderError(f"{error}; remove {folder} to start anew") from None
    refuse_other_settings(path, about, settings)


def refuse_other_settings(
    path: Path, about: Mapping[str, Any], settings: Mapping[str, Any]
) -> float | None:
    """The save's learning rate where it diverged later and `settings` have a lower one, else None.

    Raises:
        EncoderError: `about`, a save's `state.json`, is of another version or of other settings; it names the first that differs. Or it diverged with this rate.
    """
    is_save = isinstance(about, Mapping) and isinstance(about.get("settings"), Mapping)
    if not is_save or not isinstance(about.get("step"), int) or "log" not in about:
        raise EncoderError(
            f"{path}: state.json is that of no save; remove {path.parent} to start anew"
        )
    if about.get("format_version") != FORMAT_VERSION:
        found = about.get("format_version")
        raise EncoderError(
            f"{path}: format_version {found!r}, wanted {FORMAT_VERSION}; remove {path.parent} to start anew"
        )
    saved, wanted = about["settings"], _flat(settings)
    lowered_from = _lowered_from(path.parent, saved, wanted)
    free = FREE if lowered_from is None else (*FREE, "learning_rate")
    for name in sorted(set(saved) | set(wanted)):
        if saved.get(name) != wanted.get(name) and name.rpartition(".")[2] not in free:
            raise EncoderError(
                f"{path} was saved with {name} = {saved.get(name)!r}, now it is {wanted.get(name)!r}; go on with the former, or remove {path.parent} to start anew"
            )
    return lowered_from


def _lowered_from(
    folder: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]
) -> float | None:
    if not (folder / DIVERGED).exists():
        return None
    diverged = read_json(folder / DIVERGED)["learning_rate"]
    if wanted["learning_rate"] >= diverged:
        raise EncoderError(
            f"{folder}: the training diverged with learning_rate = {diverged:g}; go on with a lower one, or remove {folder} to start anew"
        )
    return saved["learning_rate"]


@torch.no_grad()
def _put_back(
    parameters: Named,
    optimizer: torch.optim.Optimizer,
    weights: dict[str, Tensor],
    moments: dict[str, Tensor],
) -> None:
    of_name: dict[str, dict[str, Tensor]] = {}
    for key, value in moments.items():
        name, _, what = key.rpartition("/")
        of_name.setdefault(name, {})[what] = value
    for name, parameter in parameters:
        parameter.copy_(own_part(weights[name], parameter))
        if name in of_name:
            optimizer.state[parameter] = {
                what: own_part(value, parameter) if value.ndim else value.to(parameter.device)
                for what, value in of_name[name].items()
            }


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings under dotted names, values as JSON gives them back."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = list(value) if isinstance(value, tuple) else value
    return found
