"""Checkpoints of a training: tensors as safetensors, each rank its shards; the position as JSON.

Notable choices
- `torch.distributed.checkpoint` writes and reads, so what N ranks wrote loads on any other number: each
  reads the slices it holds. Its safetensors storage is used: nothing is pickled.
- A checkpoint is a folder `step-<n>` that appears whole: it is written under another name and renamed, and
  older ones go only then. Killed at any moment, a training has its last whole checkpoint.
- Several ranks need a folder they all see.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from moon_rec.errors import MoonRecError, RankingError, first_line
from moon_rec.files import read_json, write_json
from moon_rec.mapped_tensors import WEIGHTS, stored_tensors
from moon_rec.outputs import OutputKind, json_with, refuse_taken, remove_folder
from moon_rec.temporaries import put_in_place, remove, settle, sweep
from ranking.training.devices import rank

FORMAT_VERSION = 1
POSITION, DIVERGED = "position.json", "diverged.json"
CONTENT_MODEL = "content-model.safetensors"
"""MAKE's content model on its way, see `make_pretraining`."""
_ANEW = "remove it to start anew"
CHECKPOINT = OutputKind(
    "a training's checkpoint",
    POSITION,
    json_with("format_version", "digest", "step"),
    ("*.safetensors", "model.safetensors.index.json", ".metadata"),
)


@dataclass
class Position:
    """How far a training is.

    Attributes:
        digest: of settings but the rates, tables and vectors; a checkpoint of others is refused.
        rates: the learning rates by their settings' names; others are refused, but for lower ones after a divergence.
        lowered: where they were lowered so: `step`, and the rates `before`.
        epoch, batch: the next batch is that of that epoch.
        step: batches done in all.
        rows: impressions done in all, which the learning rates follow.
        validation: AUC after each epoch that is done.
        made_by: the code and libraries that wrote it.
    """

    digest: str
    epoch: int = 0
    batch: int = 0
    step: int = 0
    rows: int = 0
    validation: list[float] = field(default_factory=list)
    made_by: dict[str, str] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    lowered: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best_epoch(self) -> int | None:
        """The first epoch of the highest AUC so far."""
        if not self.validation:
            return None
        return self.validation.index(max(self.validation))


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a training is written down.

    Attributes:
        folder: is made where it does not exist.
        every: steps between two checkpoints.
        resume: go on from the newest checkpoint of `folder`, where there is one.
        anew: those of an earlier training go, where `resume` is not set.
    """

    folder: Path
    every: int = 1000
    resume: bool = False
    anew: bool = False

    def latest_step(self) -> str:
        """In words, "" where there is none."""
        latest = self.latest()
        return f"step {int(latest.name.removeprefix('step-')):,}" if latest else ""

    def latest(self) -> Path | None:
        """The newest checkpoint."""
        found = sorted(self.folder.glob("step-*/" + POSITION))
        return found[-1].parent if found else None

    def mark_diverged(self, rates: Mapping[str, float]) -> None:
        """The training diverged after its newest checkpoint, with these rates: lower ones may go on from it."""
        if rank() == 0:
            write_json(self.folder / DIVERGED, dict(rates))

    def diverged(self) -> dict[str, float] | None:
        """The rates with which it diverged after its newest checkpoint."""
        path = self.folder / DIVERGED
        return read_json(path) if path.exists() else None

    def save(self, state: Mapping[str, Tensor], position: Position) -> Path:
        """Write a checkpoint; all ranks call it at the same step.

        Args:
            state: plain or sharded tensors by name.
        """
        path = self.folder / f"step-{position.step:09d}"
        partial = self.folder / f".step-{position.step:09d}.partial"
        if rank() == 0:
            remove(partial)  # of a training that was killed: nobody else writes there
            partial.mkdir(parents=True)
        _barrier()
        writer = HuggingFaceStorageWriter(path=str(partial), save_distributed=True)
        with _alone_quietly():
            save(dict(state), storage_writer=writer, no_dist=not dist.is_initialized())
        if rank() == 0:
            write_json(partial / POSITION, {"format_version": FORMAT_VERSION} | asdict(position))
            settle(partial)
            refuse_taken(path, CHECKPOINT, overwrite=True)
            put_in_place(partial, path)
            remove(partial)
            (self.folder / DIVERGED).unlink(missing_ok=True)
            for older in self._own():
                if older != path:
                    remove_folder(older, CHECKPOINT)
        _barrier()
        return path

    def remove(self) -> None:
        """Remove all checkpoints, once the training is done, and the folder, unless others put something there."""
        for path in self._own():
            remove_folder(path, CHECKPOINT)
        for partial in self.folder.glob(
            ".step-*"
        ):  # half written, or half removed by a process that was killed
            remove(partial)
        sweep(self.folder)
        for name in (DIVERGED, CONTENT_MODEL):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _own(self) -> list[Path]:
        found = sorted(self.folder.glob("step-*"))
        return [path for path in found if not CHECKPOINT.objection(path)]


def read_position(path: Path) -> Position:
    """The position of a checkpoint.

    Raises:
        RankingError: none there, or of another version.
    """
    try:
        about = read_json(path / POSITION)
    except MoonRecError as error:
        raise RankingError(f"no checkpoint at {path}: {error}") from None
    if not isinstance(about, dict):
        raise RankingError(f"{path / POSITION} is a {type(about).__name__}, no position; {_ANEW}")
    version = about.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise RankingError(
            f"{path / POSITION}: format_version {version!r}, wanted {FORMAT_VERSION}"
        )
    counts = ("epoch", "batch", "step", "rows")
    is_sound = about.keys() <= {one.name for one in fields(Position)} and all(
        type(about.get(name, 0)) is int and about.get(name, 0) >= 0 for name in counts
    )
    validation, made_by = about.get("validation", []), about.get("made_by", {})
    is_sound &= isinstance(about.get("digest"), str) and isinstance(made_by, dict)
    is_sound &= isinstance(validation, list) and all(
        isinstance(one, int | float) for one in validation
    )
    if not is_sound:
        raise RankingError(f"{path / POSITION} says no position of a training; {_ANEW}")
    return Position(**about)


def load_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Read a checkpoint's tensors into those of `state`, plain or sharded, whoever wrote them.

    Raises:
        RankingError: a tensor that the checkpoint has not, or of another shape.
    """
    for file in sorted(path.glob("*.safetensors")):
        try:
            stored_tensors(file, WEIGHTS)  # damaged headers, before torch reads them
        except (MoonRecError, OSError) as error:
            raise RankingError(f"{first_line(error)}; {_ANEW}") from None
    reader = HuggingFaceStorageReader(path=str(path))
    try:
        sizes = {
            name: tuple(found.size)
            for name, found in reader.read_metadata().state_dict_metadata.items()
            if isinstance(found, TensorStorageMetadata)
        }
    except Exception as error:  # torch reads metadata of a stranger's file with any error
        raise RankingError(f"{path} is no checkpoint: {first_line(error)[:160]}; {_ANEW}") from None
    for name, tensor in state.items():
        if sizes.get(name) != tuple(tensor.size()):
            raise RankingError(
                f"{path}: {name} has shape {sizes.get(name)}, wanted {tuple(tensor.size())}; it is the "
                "checkpoint of another ranker"
            )
    with _alone_quietly():
        load(dict(state), storage_reader=reader, no_dist=not dist.is_initialized())


@contextmanager
def _alone_quietly() -> Iterator[None]:
    """Without torch's remark that a process without a group saves and loads by itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()
