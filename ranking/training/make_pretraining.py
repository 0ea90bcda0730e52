"""MAKE's first step: the content model alone, for several epochs, before it joins the id model.

"Multimodal representations need several epochs where ids overfit after one" (arXiv 2407.19467): so the
content model learns clicks from frozen vectors only, as long as validation gains, and is then trained on
together with the ids. The paper's optimiser and rates are not known; these are the ranker's own.

Notable choices
- It runs where the ranker is trained. Ranks share its batches as they share the ranker's: each takes its
  requests of a batch, and all step by the mean gradient.
- Where the training is written down, so is this, in a file of its own: `content-model.safetensors`. It stays
  until the folder goes, so that a training killed before its first checkpoint does not begin from nothing.
"""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from moon_rec.errors import MoonRecError, RankingError, first_line
from moon_rec.files import atomic_file
from moon_rec.kept import note_kept
from moon_rec.mapped_tensors import stored_tensors
from moon_rec.progress import Bar, progress, say
from ranking.config import RankerConfig
from ranking.content import ContentStores
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.model import Ranker
from ranking.prefetch import prefetched
from ranking.training.checkpoint import CONTENT_MODEL, Checkpoints, Position
from ranking.training.devices import rank, world_size
from ranking.training.optimiser import DenseOptimiser, rate_factor
from ranking.training.trainer import DivergedError, mean_loss

SCORING_ROWS = 4096


def pretrain_content_model(
    model: Ranker,
    tables: RankingTables,
    config: RankerConfig,
    content: ContentStores,
    device: torch.device | str = "cpu",
    checkpoints: Checkpoints | None = None,
    training: Position | None = None,
) -> list[float]:
    """Train the content model of `model` in place; its best epoch on validation is kept. All ranks call it together.

    Args:
        device: to train on; the model comes back to the CPU.
        checkpoints: where and how often to write it down, and whether to go on from there.
        training: the start of the training that this belongs to: its digest and rates.

    Returns:
        The validation AUC of the content model after each epoch.

    Raises:
        RankingError: a content model of another training in the folder of checkpoints.
        DivergedError: scores that are no numbers.
    """
    begins = replace(training or Position(""), validation=[])
    found = _Pretraining(model, tables, config, content, torch.device(device), checkpoints, begins)
    found.run()
    return found.position.validation


def refuse_other_content_model(checkpoints: Checkpoints, wanted: Position) -> None:
    """Look at what a folder holds before anything is trained.

    Raises:
        RankingError: a content model that is of another training, or there is one and none is wanted.
    """
    path = checkpoints.folder / CONTENT_MODEL
    if not path.exists():
        return
    if not checkpoints.resume:
        raise RankingError(
            f"{path} is of an unfinished training; go on from it with --resume, or remove the folder"
        )
    found = _read_position(path)
    if (found.digest, found.rates) != (wanted.digest, wanted.rates):
        raise RankingError(
            f"{path} is of a training with other settings, tables or vectors; resume with the same ones, or remove "
            "the folder"
        )


class _Pretraining:
    """Its state, live tensors by name, and its steps from a position on."""

    def __init__(
        self,
        model: Ranker,
        tables: RankingTables,
        config: RankerConfig,
        content: ContentStores,
        device: torch.device,
        checkpoints: Checkpoints | None,
        position: Position,
    ):
        self.model, self.config, self.device = model, config, device
        self.checkpoints, self.position = checkpoints, position
        self.module = model.content_model().to(device)
        self.weights = dict(self.module.named_parameters())
        # the formulas' plain form on a CPU, where it is as fast
        is_fused = device.type != "cpu"
        plain = config.model_copy(update={"clip_norm": None})
        self.optimiser = DenseOptimiser(self.weights, plain, is_fused)
        self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
        options: dict[str, Any] = {"rank": rank(), "world_size": world_size()}
        options["recent_length"] = config.recent_length if config.search != "none" else None
        self.train = Loader(tables, "train", config.batch_size, content, config.seed, **options)
        self.validation = Loader(tables, "validation", SCORING_ROWS, content, **options)

    def run(self) -> None:
        """Train to the end, from what is written down if there is anything."""
        self._resume()
        position, total = self.position, self.train.requests.num_rows * self.config.make_epochs
        shown = progress("MAKE: content model", total=total) if rank() == 0 else nullcontext()
        with shown as bar:
            if bar is not None:
                bar.advance(position.rows)
            while position.epoch < self.config.make_epochs:
                self._epoch(total, bar)
                position.validation.append(self._validation_auc())
                if position.validation[-1] == max(position.validation):  # of equal ones, the last
                    self._keep()
                position.epoch, position.batch = position.epoch + 1, 0
        self._save()
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.best[name])
                weight.grad = None
        self.module.to("cpu")

    def _epoch(self, total: int, bar: Bar | None) -> None:
        """The rest of the epoch the position is in."""
        position = self.position
        self.model.train()
        rows = self.train.batch_rows(position.epoch)[position.batch :].tolist()
        batches = prefetched(self.train.epoch(position.epoch, position.batch))
        for batch, batch_rows in zip(batches, rows, strict=True):
            moved = batch if self.device.type == "cpu" else batch.to(self.device)
            self.optimiser.set_rate(rate_factor(position.rows, total))
            loss = mean_loss(self.model.content_logits(moved), moved)
            self.optimiser.zero_grad()
            loss.backward()
            self._share_gradients()
            self.optimiser.step()
            position.batch, position.step = position.batch + 1, position.step + 1
            position.rows += batch_rows
            if bar is not None:
                bar.advance(batch_rows)
            if self.checkpoints is not None and position.step % self.checkpoints.every == 0:
                self._save()

    def _share_gradients(self) -> None:
        """The mean over ranks, whose losses carry their weights: the gradient of the whole batch."""
        if world_size() == 1:
            return
        for weight in self.weights.values():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            dist.all_reduce(weight.grad)
            weight.grad /= world_size()

    @torch.no_grad()
    def _validation_auc(self) -> float:
        self.model.eval()
        requests = self.validation.requests
        found = torch.zeros(requests.num_rows, dtype=torch.float64, device=self.device)
        for batch in self.validation.epoch():
            if batch.loss_weight is None or float(batch.loss_weight) > 0:
                moved = batch if self.device.type == "cpu" else batch.to(self.device)
                found[moved.table_rows] = self.model.content_logits(moved).double()
        if world_size() > 1:
            dist.all_reduce(found)  # each row was scored by one rank and is zero elsewhere
        self._look(found)
        return auc(requests.labels, found.cpu().numpy())

    def _look(self, *values: Tensor) -> None:
        """End where something is no number; ranks have the same, so all end.

        Raises:
            DivergedError: so it is.
        """
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise DivergedError(
                f"MAKE's content model diverged at step {self.position.step:,}, before the ranker's training; lower "
                f"learning_rate, now {self.config.learning_rate:g}"
            )

    def _keep(self) -> None:
        self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def _state(self) -> dict[str, Tensor]:
        state = {f"model.{name}": weight.detach() for name, weight in self.weights.items()}
        state |= {f"best.{name}": value for name, value in self.best.items()}
        return state | {f"optimiser.{n}": value for n, value in self.optimiser.state().items()}

    def _save(self) -> None:
        """Write all of it down, where the training is written down; ranks have the same, so the first does."""
        if self.checkpoints is None:
            return
        self._look(*self.weights.values())
        if rank() != 0:
            return
        path = self.checkpoints.folder / CONTENT_MODEL
        tensors = {name: value.cpu().contiguous() for name, value in self._state().items()}
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, {"position": json.dumps(asdict(self.position))})
        note_kept(path.parent, f"step {self.position.step:,} of MAKE's content model")

    def _resume(self) -> None:
        """Go on from what is written down, if that is wanted."""
        if self.checkpoints is None or not self.checkpoints.resume:
            return
        path = self.checkpoints.folder / CONTENT_MODEL
        refuse_other_content_model(self.checkpoints, self.position)
        if not path.exists():
            return
        _load(path, self._state())
        found = _read_position(path)
        self.position = replace(found, made_by=self.position.made_by)
        if rank() == 0:
            say(f"going on from {path}: step {found.step:,} of the content model")


def _read_position(path: Path) -> Position:
    """How far the content model at `path` is.

    Raises:
        RankingError: it is no such file.
    """
    try:
        stored_tensors(path, ("F32",))  # a damaged header, before anything is read by it
        with safe_open(path, framework="pt") as file:
            return Position(**json.loads((file.metadata() or {})["position"]))
    except (MoonRecError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise RankingError(f"{path} is no content model of a training: {why}; remove it") from None


@torch.no_grad()
def _load(path: Path, state: Mapping[str, Tensor]) -> None:
    """Read a file's tensors into those of `state`.

    Raises:
        RankingError: other tensors.
    """
    found = load_file(path)
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    if shapes != {name: tuple(value.shape) for name, value in state.items()}:
        raise RankingError(f"{path} is of another content model; remove it")
    for name, value in state.items():
        value.copy_(found[name])
