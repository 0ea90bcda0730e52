"""Where a training writes, looked at before it begins: `OUT`, `OUT-step-NNNNNN`, and the room for them and for `OUT.resume`."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moon_rec.errors import MoonRecError
from moon_rec.files import read_json
from moon_rec.outputs import check_output, check_room
from representation.encoders.checkpoint import ENCODER
from representation.trainable import Trainable
from representation.training.config import TrainingConfig
from representation.training.state import FREE, resume_folder
from representation.training.trained import num_trained

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


@dataclass(frozen=True)
class Places:
    """The folders of one training.

    Attributes:
        log_file: beside each encoder, by which a training knows its own.
        overwrite: encoders that stand there may be replaced.
    """

    out: Path
    config: TrainingConfig
    log_file: str
    overwrite: bool

    def of_step(self, step: int) -> Path:
        """Where the encoder goes after `step` steps."""
        return self.out if step == self.config.steps else step_folder(self.out, step)

    def made_before(self, about: Mapping[str, Any]) -> list[Path]:
        """The encoders of this very training in order of steps, where all of them stand; else nothing."""
        found = [*map(self.of_step, self._steps()), self.out]
        return found if all(self._is_own(path, about, FREE) for path in found) else []

    def check_steps(self, about: Mapping[str, Any]) -> None:
        """Refuse a folder that stands where a checkpoint will be; one that this very training wrote, before it was stopped, is its own.

        Args:
            about: what the training's log says of it: its settings, start and shop.

        Raises:
            MoonRecError: as `check_output`.
        """
        for path in map(self.of_step, self._steps()):
            is_own = self._is_own(path, about, STEP_MAY_DIFFER)
            check_output(path, ENCODER, self.overwrite or is_own)

    def check_size(self, encoder: Trainable) -> None:
        """Refuse a disk with too little room for the encoders and, with `resume_every`, two saves.

        Raises:
            MoonRecError: as `check_room`.
        """
        weights = list(encoder.module.parameters())
        whole = sum(one.numel() * one.element_size() for one in weights)
        size = whole * (1 + len(self._steps()))
        if self.config.resume_every:
            size += 2 * _FLOATS_KEPT * 4 * num_trained(encoder, self.config)
        check_room(resume_folder(self.out), size)

    def _steps(self) -> list[int]:
        """After which an encoder is saved besides the last."""
        return sorted(step for step in self.config.checkpoint_steps if step < self.config.steps)

    def _is_own(self, path: Path, about: Mapping[str, Any], may_differ: Collection[str]) -> bool:
        try:
            found = read_json(path / self.log_file)
            return all(
                _kept(found.get(name), may_differ) == _kept(about.get(name), may_differ)
                for name in ("config", "start", "shop", "pairs")
            )
        except (MoonRecError, OSError, KeyError, TypeError):
            return False


def _kept(value: Any, may_differ: Collection[str]) -> Any:
    """Without what may differ, as JSON gives it back."""
    if not isinstance(value, Mapping):
        return list(value) if isinstance(value, tuple) else value
    return {name: _kept(one, may_differ) for name, one in value.items() if name not in may_differ}
