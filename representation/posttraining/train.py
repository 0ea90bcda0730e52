"""Stage two: contrastive learning on shoppers' behaviour.

Attention is bidirectional, vectors are mean-pooled, and all weights are trained (MOON technical report, post-training), or low-rank adapters of them. What the loss
compares is `step.py`'s; which of the report's parts are used is the settings', by default its first part: InfoNCE over in-batch negatives, at every Matryoshka
width. Choices of ours, since the report is silent: the temperature is learned from .07 (never below .01), the loss goes from query to item only as in the paper's
formula, and each step is of one kind of pairs.

With `resume_every` an interrupted training that is started again goes on from its last save in `OUT.resume`, to the same bits on a processor; curation is done anew,
from the same start. Several processes (torchrun) train as one would with the same batch; the first alone writes.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from moon_rec.errors import EncoderError
from moon_rec.files import read_json
from moon_rec.kept import note_begins_again, note_done, note_kept
from moon_rec.outputs import check_output
from moon_rec.progress import progress, say
from moon_rec.seeds import seed_of
from moon_rec.shop import Shop
from moon_rec.signals import Finishing, finishing_steps
from representation.encoder import open_trainable, untrained_encoder
from representation.encoders.checkpoint import ENCODER
from representation.model.backbone import checkpoint_gradients
from representation.posttraining.config import PosttrainConfig, refuse_idle
from representation.posttraining.loader import PrefetchingLoader
from representation.posttraining.momentum import MomentumEncoder
from representation.posttraining.pair_batch import PairBatch
from representation.posttraining.places import (
    check_out,
    check_size,
    check_steps,
    has_left_saves,
    made_before,
    step_folder,
)
from representation.posttraining.preparation import Prepared, prepare
from representation.posttraining.state import (
    check_state,
    drop_state,
    load_state,
    mark_diverged,
    resume_folder,
    save_state,
    saved_step,
)
from representation.posttraining.step import ContrastiveStep, Outcome
from representation.posttraining.training_log import LOG_FILE, TrainingLog
from representation.trainable import Trainable
from representation.training.distributed import (
    SharedEncoder,
    average_gradients,
    is_main,
    mean_of_processes,
    rank,
    wait,
    world_size,
)
from representation.training.divergence import Divergence, warn_of_chance, warn_of_collapse
from representation.training.optimisation import (
    Log,
    descend,
    from_start,
    make_optimizer,
    training_mode,
    widen_trained,
)

__all__ = ["LOG_FILE", "Checkpoint", "posttrain"]


class Checkpoint(NamedTuple):
    """A saved encoder: its folder, and what it had seen: steps, real tokens on all sides, pairs."""

    path: Path
    step: int
    num_tokens: int
    num_pairs: int


def posttrain(
    shop: Shop,
    out: str | Path,
    config: PosttrainConfig,
    start: str | Path | None = None,
    on_log: Log | None = None,
    vectors: str | Path | None = None,
    overwrite: bool = False,
) -> list[Checkpoint]:
    """Train on the pairs of the log before the cut, and save the encoder at `out`.

    Args:
        start: an encoder's folder, as a rule the pretrained one; None starts from `config.backbone`.
        on_log: told loss, accuracy within the batch, temperature, negatives and their ages every `config.log_every` steps, and before the first, as step 0, what
            curation did; all of it is also in `out/posttraining_log.json`.
        vectors: folder of `representation.embed` with the vectors that curation measures likeness by; None: computed with the encoder that training starts from.
        overwrite: replace encoders that stand at `out` and where checkpoints will be.

    Returns:
        The checkpoints in order of steps; the last is at `out`. Where this very training stands there whole, beside saves that it was ended before removing, these
        go, and nothing is trained.

    Raises:
        MoonRecError: `out`, or a checkpoint's folder that another training wrote, exists, and is no encoder or `overwrite` is false.
        EncoderError: the log before the cut has no pairs, or `OUT.resume` is of a training with other settings.
        ConfigError: settings that change nothing with this encoder: those of a backbone beside a `start`, of widths where it has one.
    """
    about: dict[str, Any] = {
        "config": from_start(config, start),
        "start": None,
        "shop": shop.digest,
    }
    out = Path(out)
    inputs = (start, vectors, shop.path)
    check_out(out, overwrite, inputs)
    encoder = (
        open_trainable(start)
        if start is not None
        else untrained_encoder(shop, config.backbone, config.seed)
    )
    refuse_idle(config, encoder.widths)
    if start is not None:
        about["start"] = encoder.digest
    if not overwrite and has_left_saves(out):
        if made := made_before(out, config, about):
            return _tidied(out, made)
        check_output(out, ENCODER, overwrite, inputs=inputs)
    settings = config.model_dump(mode="json") | {"shop": shop.digest, "start": encoder.digest}
    check_state(resume_folder(out), settings)
    check_steps(out, config, about, overwrite)
    check_size(out, config, encoder)
    prepared = prepare(shop, config, encoder, vectors, rank(), world_size())
    _refuse_few_pairs(config, prepared)
    log = TrainingLog(about, prepared.curated, on_log if is_main() else None)
    return _Run(encoder, prepared, config, out, log, settings, overwrite).go()


def _tidied(out: Path, made: Sequence[Path]) -> list[Checkpoint]:
    """What a training that was ended after its last step and before its last removal has made, once that is done."""
    note_done()
    folder = resume_folder(out)
    if is_main():
        say(f"{out} is whole, its training had ended; what it went on from is removed: {folder}")
    drop_state(folder)
    logs = [read_json(path / LOG_FILE) for path in made]
    counts = [(log["step"], log["num_tokens"], log["num_pairs"]) for log in logs]
    return [Checkpoint(path, *each) for path, each in zip(made, counts, strict=True)]


def _refuse_few_pairs(config: PosttrainConfig, prepared: Prepared) -> None:
    """Every process needs a pair of every batch."""
    fewest = min(
        config.batch_size, *(rows.height for rows in prepared.batches.schedule.pairs.values())
    )
    if fewest < world_size():
        raise EncoderError(
            f"a batch of {fewest} pairs cannot be shared by {world_size()} processes; start at most {fewest}"
        )


class _Run:
    """The state of one training, on one of its processes."""

    def __init__(
        self,
        encoder: Trainable,
        prepared: Prepared,
        config: PosttrainConfig,
        out: Path,
        log: TrainingLog,
        settings: dict[str, Any],
        overwrite: bool,
    ) -> None:
        self.encoder, self.batches, self.config, self.out = encoder, prepared.batches, config, out
        self.settings, self.log, self.overwrite = settings, log, overwrite
        if config.lora is not None:
            encoder.adapt(config.lora, config.seed)
        widen_trained(encoder.weights)
        if config.gradient_checkpointing:
            checkpoint_gradients(encoder.weights)
        self.slow = None
        if config.momentum and config.has_queue:
            self.slow = MomentumEncoder(encoder, config.momentum)
        self.shared = SharedEncoder(encoder, config.sharding)
        self.step = ContrastiveStep(
            config, encoder.widths, prepared.known, encoder.device, world_size()
        )
        self.divergence = Divergence(config.learning_rate, encoder.device, self._diverged)
        self.last: dict[str, float] = {}
        self.parameters = self._trained()
        self.optimizer = make_optimizer(self.parameters, config)
        self.checkpoints: list[Checkpoint] = []

    def go(self) -> list[Checkpoint]:
        config = self.config
        first = self._resume()
        with (
            torch.random.fork_rng(devices=[]),
            training_mode(self.encoder.weights, config) as dtype,
            progress("post-train", config.steps) as bar,
            PrefetchingLoader(self.batches, config.steps, first) as loader,
            finishing_steps(bool(config.resume_every) and world_size() == 1) as ending,
        ):
            bar.advance(first)
            for step, batch in enumerate(loader, first):
                outcome, rate = self._train(batch, step, dtype)
                bar.advance(note=self._note(batch, step + 1, outcome, rate))
                if step + 1 < config.steps or ending.is_asked:
                    self._keep(step + 1, ending)
        self._warn()
        self._save(config.steps)
        note_done()
        drop_state(resume_folder(self.out))
        return self.checkpoints

    def _trained(self) -> list[tuple[str, torch.Tensor]]:
        named = [each for each in self.shared.named_parameters() if each[1].requires_grad]
        if self.step.learns_temperature:
            named.append(("log_temperature", self.step.log_temperature))
        return named

    def _resume(self) -> int:
        """How many steps are done already."""
        folder = resume_folder(self.out)
        found = load_state(folder, self.parameters, self.optimizer, self.settings)
        every = self.config.resume_every
        note_begins_again("no step is saved yet" if every else "resume_every is not set")
        note_kept(folder, lambda: saved_step(folder, self.config.steps))
        if found is None:
            return 0
        if self.step.past is not None:
            self.step.past.load_state_dict(found.others)
        if self.slow is not None:
            self.slow.load_state_dict(found.others)
        self.log.take_up(found.log["log"])
        if found.lowered_from is not None:
            self.log.lowered(found.step, found.lowered_from)
        self.checkpoints = [
            Checkpoint(Path(path), *counts) for path, *counts in found.log["checkpoints"]
        ]
        say(f"going on after step {found.step:,} of {self.config.steps:,}, from {folder}")
        return found.step

    def _keep(self, step: int, ending: Finishing) -> None:
        """The encoder where a checkpoint is due, and all that going on needs where that is, or where a signal asks to end."""
        if step in self.config.checkpoint_steps:
            self._save(step)
        every = self.config.resume_every
        ending.is_saving = ending.is_asked
        if every and (step % every == 0 or ending.is_asked):
            self._save_state(step)
        if ending.is_asked:
            ending.stop()

    def _save_state(self, step: int) -> None:
        """All that going on after `step` steps needs."""
        self.divergence.check_weights(step - 1, self.parameters)
        log = {
            "log": self.log.state(self._num_tokens()),
            "checkpoints": [[str(path), *counts] for path, *counts in self.checkpoints],
        }
        others = self.step.past.state_dict() if self.step.past is not None else {}
        others |= self.slow.state_dict() if self.slow is not None else {}
        folder = resume_folder(self.out)
        save_state(folder, step, self.parameters, self.optimizer, others, log, self.settings)

    def _train(self, batch: PairBatch, step: int, dtype: torch.dtype) -> tuple[Outcome, float]:
        """One step; what it draws by chance (dropout) depends on the step alone."""
        torch.manual_seed(seed_of(self.config.seed, "dropout", step, rank()))
        self.optimizer.zero_grad(set_to_none=True)
        slow = self.slow.embed if self.slow is not None else None
        outcome = self.step.backward(
            batch, step, self.shared.embed, dtype, self.shared.context_of_last, slow
        )
        average_gradients([self.step.log_temperature])
        rate = descend(self.optimizer, outcome.loss, step, self.config, self.divergence.look)
        if self.slow is not None:
            self.slow.follow()
        self.log.count(batch)
        return outcome, rate

    def _note(self, batch: PairBatch, step: int, outcome: Outcome, rate: float) -> str | None:
        if step % self.config.log_every and step != self.config.steps:
            return None
        numbers = {
            "loss": mean_of_processes(outcome.loss).item(),
            "batch_accuracy": mean_of_processes(outcome.right).item(),
            **self.step.numbers(),
            "learning_rate": rate,
            "num_tokens": float(self._num_tokens()),
            **outcome.numbers(),
            "mean_cosine": mean_of_processes(outcome.likeness).item(),
        }
        self.divergence.check(step - 1, numbers["loss"])
        self.last = numbers
        self.log.note(step, batch.kind.name, numbers)
        return f"loss {numbers['loss']:.3f} ({batch.kind.name})"

    def _num_tokens(self) -> int:
        """Of all processes, which must all call."""
        own = torch.tensor(self.log.num_tokens, dtype=torch.float64, device=self.encoder.device)
        return round(mean_of_processes(own).item() * world_size())

    def _diverged(self) -> str:
        """Leave word beside the save that the training diverged after it; gives how to go on."""
        folder = resume_folder(self.out)
        if folder.is_dir():
            if is_main():
                mark_diverged(folder, self.config.learning_rate)
            return f"{folder} keeps the last good step: give the same command"
        kept = [str(each.path) for each in self.checkpoints]
        if kept:
            return f"{', '.join(kept)} stay: name the last as --start, or begin again,"
        return "nothing was kept: begin again"

    def _warn(self) -> None:
        """Of what ended with finite figures and learnt nothing."""
        if not is_main() or not self.last:
            return
        warn_of_collapse(self.last["mean_cosine"])
        config = self.config
        if config.loss == "infonce" and not config.triplet_weight:
            warn_of_chance(self.last["loss"], math.log1p(self.last["negatives"]))

    def _save(self, step: int) -> None:
        self.divergence.check_weights(step - 1, self.parameters)
        is_last = step == self.config.steps
        path = self.out if is_last else step_folder(self.out, step)
        checkpoint = Checkpoint(path, step, self._num_tokens(), self.log.num_pairs)
        encoder = self.shared.whole()
        if is_main():
            assert encoder is not None
            vars(encoder).pop("digest", None)  # of earlier weights
            log = partial(self.log.write, step=step, num_tokens=checkpoint.num_tokens)
            encoder.save_pretrained(path, overwrite=self.overwrite or not is_last, beside=log)
            note_kept(path, "whole" if is_last else "an encoder", goes_on=False)
        wait()
        self.checkpoints.append(checkpoint)
