"""Where a post-training writes, looked at before it begins: `OUT`, `OUT-step-NNNNNN`, and the room for them and for `OUT.resume`."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from moon_rec.errors import MoonRecError
from moon_rec.files import read_json
from moon_rec.outputs import check_output, check_room
from representation.encoders.checkpoint import ENCODER
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.state import FREE, resume_folder
from representation.posttraining.training_log import LOG_FILE
from representation.trainable import Trainable

STEP_MAY_DIFFER = {*FREE, "learning_rate"}
"""Settings in which a step's folder may differ from the training that writes it anew: a training that diverged goes on with a lower rate."""
_FLOATS_KEPT = 3
"""Of a trained weight in `OUT.resume`: itself and AdamW's two moments."""


def step_folder(out: Path, step: int) -> Path:
    """Where the encoder is kept after `step` steps, beside `out`."""
    return out.with_name(f"{out.name}-step-{step:06d}")


def check_out(out: Path, overwrite: bool, inputs: Iterable[Path | str | None]) -> None:
    """Refuse a folder that stands at `out`, unless it may be what this training made before it was ended: saves to go on from are left beside it.

    Raises:
        MoonRecError: as `check_output`.
    """
    if overwrite or not has_left_saves(out):
        check_output(out, ENCODER, overwrite, inputs=inputs)


def has_left_saves(out: Path) -> bool:
    """Whether an encoder stands at `out` beside saves: between the two a training was ended, or it was to replace that encoder."""
    return not ENCODER.objection(out) and resume_folder(out).is_dir()


def made_before(out: Path, config: PosttrainConfig, about: Mapping[str, Any]) -> list[Path]:
    """The encoders of this very training in order of steps, where all of them stand; else nothing."""
    steps = sorted(step for step in config.checkpoint_steps if step < config.steps)
    found = [*(step_folder(out, step) for step in steps), out]
    return found if all(_is_own(path, about, FREE) for path in found) else []


def check_steps(
    out: Path, config: PosttrainConfig, about: Mapping[str, Any], overwrite: bool
) -> None:
    """Refuse a folder that stands where a checkpoint will be; one that this very training wrote, before it was stopped, is its own.

    Args:
        about: what the training's log says of it: its settings, start and shop.

    Raises:
        MoonRecError: as `check_output`.
    """
    for step in sorted(config.checkpoint_steps):
        path = step_folder(out, step)
        if step < config.steps:
            check_output(path, ENCODER, overwrite or _is_own(path, about, STEP_MAY_DIFFER))


def check_size(out: Path, config: PosttrainConfig, encoder: Trainable) -> None:
    """Refuse a disk with too little room for the encoders and, with `resume_every`, two saves.

    Raises:
        MoonRecError: as `check_room`.
    """
    weights = list(encoder.weights.parameters())
    whole = sum(one.numel() * one.element_size() for one in weights)
    size = whole * (1 + sum(step < config.steps for step in config.checkpoint_steps))
    if config.resume_every:
        trained = 0 if config.lora is not None else sum(one.numel() for one in weights)
        size += 2 * _FLOATS_KEPT * 4 * trained
    check_room(resume_folder(out), size)


def _is_own(path: Path, about: Mapping[str, Any], may_differ: Collection[str]) -> bool:
    try:
        found = read_json(path / LOG_FILE)
        return all(
            _kept(found[name], may_differ) == _kept(about[name], may_differ)
            for name in ("config", "start", "shop")
        )
    except (MoonRecError, OSError, KeyError, TypeError):
        return False


def _kept(value: Any, may_differ: Collection[str]) -> Any:
    """Without what may differ, as JSON gives it back."""
    if not isinstance(value, Mapping):
        return list(value) if isinstance(value, tuple) else value
    return {name: _kept(one, may_differ) for name, one in value.items() if name not in may_differ}
