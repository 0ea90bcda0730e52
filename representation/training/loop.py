"""The loop of both stages: steps, schedule, processes, checkpoints, going on, divergence, signals, log. What a step does is the stage's (`stage.py`).

With `resume_every` an interrupted training that is started again goes on from its last save in `OUT.resume`, to the same bits on a processor. Several processes
(torchrun) train as one would with the same batch; the first alone writes. What a step draws by chance (dropout) depends on seed and step alone.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moon_rec.files import read_json
from moon_rec.kept import note_begins_again, note_done, note_kept
from moon_rec.outputs import check_output
from moon_rec.progress import progress, say
from moon_rec.seeds import seed_of
from moon_rec.shop import Shop
from moon_rec.signals import Finishing, finishing_steps
from representation.encoder import untrained_encoder
from representation.encoders.checkpoint import ENCODER
from representation.model.backbone import checkpoint_gradients
from representation.recipes.mark import RecipeMark
from representation.trainable import Trainable
from representation.training.compiling import check_speed, compile_layers
from representation.training.config import TrainingConfig
from representation.training.distributed import (
    SharedEncoder,
    is_main,
    mean_of_processes,
    rank,
    wait,
    world_size,
)
from representation.training.divergence import Divergence
from representation.training.loader import PrefetchingLoader
from representation.training.optimisation import (
    Log,
    descend,
    from_start,
    make_optimizer,
    training_mode,
    widen_trained,
)
from representation.training.output_places import Places, check_out, has_left_saves
from representation.training.stage import Batch, Found, Maker, Stage
from representation.training.state import (
    check_state,
    drop_state,
    load_state,
    mark_diverged,
    resume_folder,
    save_state,
    saved_step,
)
from representation.training.trained import check_trained_parts, choose_trained, rate_shares
from representation.training.training_log import TrainingLog


class Checkpoint(NamedTuple):
    """A saved encoder: its folder, and what it had seen: steps, real tokens on all sides, pairs."""

    path: Path
    step: int
    num_tokens: int
    num_pairs: int


def train(
    stage: Stage[Any, Any],
    shop: Shop,
    out: str | Path,
    config: TrainingConfig,
    start: str | Path | None = None,
    on_log: Log | None = None,
    overwrite: bool = False,
    inputs: Sequence[str | Path | None] = (),
    recipe: RecipeMark | None = None,
) -> list[Checkpoint]:
    """Train an encoder in the steps of `stage`, and save it at `out`.

    Args:
        start: an encoder's folder; None starts from `config.backbone`.
        on_log: told the figures of every `config.log_every`-th step, of grades, and before the first, as step 0, the stage's own. The log file has them, too.
        overwrite: replace encoders that stand at `out` and where checkpoints will be.
        inputs: further folders that are read, and so are not written over.
        recipe: that the settings are of; what is saved says so.

    Returns:
        The checkpoints in order of steps; the last is at `out`. Where this very training stands there whole, beside saves that it was ended before removing, these
        go, and nothing is trained.

    Raises:
        MoonRecError: `out`, or a checkpoint's folder that another training wrote, exists, and is no encoder or `overwrite` is false; the disk has too little room.
        EncoderError: the shop has nothing for the stage to learn before its cut, or `OUT.resume` is of a training with other settings.
        ConfigError: settings that change nothing with this encoder, such as those of a backbone beside a `start`.
    """
    about: dict[str, Any] = {"config": from_start(config, start), "start": None}
    about |= {"shop": shop.digest, **stage.reads()}
    stage.recipe = recipe
    inputs = (start, *inputs, shop.path)
    places = Places(Path(out), config, stage.log_file, overwrite)
    check_out(places.out, overwrite, inputs)
    encoder = (
        stage.open(start)
        if start is not None
        else untrained_encoder(shop, config.backbone, config.seed)
    )
    stage.check(encoder)
    check_trained_parts(encoder, config)
    check_speed(config, encoder)
    if start is not None:
        about["start"] = encoder.digest
    if not overwrite and has_left_saves(places.out):
        if made := places.made_before(about):
            return _tidied(places, made)
        check_output(places.out, ENCODER, overwrite, inputs=inputs)
    settings = config.model_dump(mode="json") | {"shop": shop.digest, "start": encoder.digest}
    settings |= stage.reads()
    check_state(resume_folder(out), settings)
    places.check_steps(about)
    stage.rebuild(encoder)
    places.check_size(encoder)
    batches = stage.prepare(encoder)
    log = TrainingLog(stage.log_file, about | stage.facts(), on_log if is_main() else None)
    return _Loop(stage, encoder, batches, config, places, log, settings).go()


def _tidied(places: Places, made: Sequence[Path]) -> list[Checkpoint]:
    """What a training that was ended after its last step and before its last removal has made, once that is done."""
    note_done()
    folder = resume_folder(places.out)
    if is_main():
        say(f"{places.out} is whole, its training had ended; what it went on from is removed: {folder}")  # fmt: skip
    drop_state(folder)
    logs = [read_json(path / places.log_file) for path in made]
    counts = [(log["step"], log["num_tokens"], log["num_pairs"]) for log in logs]
    return [Checkpoint(path, *each) for path, each in zip(made, counts, strict=True)]


def ready_to_train(encoder: Trainable, config: TrainingConfig) -> None:
    """Make the weights that `config` trains ready, in place: chosen, adapters among them, float32, states computed anew on the way back."""
    choose_trained(encoder, config)
    widen_trained(encoder.module)
    if config.gradient_checkpointing:
        checkpoint_gradients(encoder.module)
    if config.compile_layers:
        compile_layers(encoder.module)


class _Loop:
    """One training, on one of its processes."""

    def __init__(
        self,
        stage: Stage[Any, Any],
        encoder: Trainable,
        batches: Maker[Any],
        config: TrainingConfig,
        places: Places,
        log: TrainingLog,
        settings: dict[str, Any],
    ) -> None:
        self.stage, self.encoder, self.batches = stage, encoder, batches
        self.config, self.places, self.log, self.settings = config, places, log, settings
        self.folder = resume_folder(places.out)
        ready_to_train(encoder, config)
        stage.begin(encoder)
        self.shared = SharedEncoder(encoder, config.sharding, stage.work(encoder))
        self.divergence = Divergence(config.learning_rate, encoder.device, self._diverged)
        self.last: dict[str, float] = {}
        trained = [each for each in self.shared.named_parameters() if each[1].requires_grad]
        self.parameters: list[tuple[str, Tensor]] = [*trained, *stage.parameters()]
        self.optimizer = make_optimizer(
            self.parameters, config, rate_shares(encoder, trained, config.layer_rate_decay)
        )
        self.checkpoints: list[Checkpoint] = []

    def go(self) -> list[Checkpoint]:
        config = self.config
        self.log.tell(0, self.stage.numbers_before())
        first = self._resume()
        with (
            torch.random.fork_rng(devices=[]),
            training_mode(self.encoder.module, config) as dtype,
            progress(self.stage.title, config.steps) as bar,
            PrefetchingLoader(
                self.batches, config.steps, first, device=self.encoder.device
            ) as loader,
            finishing_steps(bool(config.resume_every) and world_size() == 1) as ending,
        ):
            bar.advance(first)
            if not first:
                self._grade(0)
            for step, batch in enumerate(loader, first):
                found, rate = self._train(batch, step, dtype)
                bar.advance(note=self._note(batch, step + 1, found, rate))
                self._grade(step + 1)
                if step + 1 < config.steps or ending.is_asked:
                    self._keep(step + 1, ending)
        if is_main() and self.last:
            self.stage.warn(self.last, self.encoder)
        self._save(config.steps)
        note_done()
        drop_state(self.folder)
        return self.checkpoints

    def _resume(self) -> int:
        """How many steps are done already."""
        found = load_state(self.folder, self.parameters, self.optimizer, self.settings)
        every = self.config.resume_every
        note_begins_again("no step is saved yet" if every else "resume_every is not set")
        # noted for as long as the process runs: of the loop itself it would keep encoder and optimiser
        note_kept(self.folder, partial(saved_step, self.folder, self.config.steps))
        if found is None:
            return 0
        self.stage.load_state_dict(found.others)
        self.log.take_up(found.log["log"])
        if found.lowered_from is not None:
            self.log.lowered(found.step, found.lowered_from)
        self.checkpoints = [
            Checkpoint(Path(path), *counts) for path, *counts in found.log["checkpoints"]
        ]
        say(f"going on after step {found.step:,} of {self.config.steps:,}, from {self.folder}")
        return found.step

    def _train(self, batch: Batch, step: int, dtype: torch.dtype) -> tuple[Found, float]:
        """One step; gives the learning rate it took, too."""
        torch.manual_seed(seed_of(self.config.seed, "dropout", step, rank()))
        self.optimizer.zero_grad(set_to_none=True)
        found = self.stage.backward(batch, step, self.shared, dtype)
        rate = descend(self.optimizer, found.loss, step, self.config, self.divergence.look)
        self.stage.after_update()
        self.log.count(batch)
        return found, rate

    def _note(self, batch: Batch, step: int, found: Found, rate: float) -> str | None:
        if step % self.config.log_every and step != self.config.steps:
            return None
        numbers = {
            "loss": mean_of_processes(found.loss).item(),
            "learning_rate": rate,
            "num_tokens": float(self._num_tokens()),
            **self.stage.numbers(found),
        }
        self.divergence.check(step - 1, numbers["loss"])
        self.last = numbers
        self.log.note(step, batch.label, numbers)
        kind = f" ({batch.label})" if batch.label else ""
        return f"loss {numbers['loss']:.3f}{kind}"

    def _grade(self, step: int) -> None:
        """The stage's own figures of the encoder where they are due; draws and weights stay as they are."""
        if not self.stage.is_graded(step):
            return
        encoder = self.shared.whole()
        if is_main():
            assert encoder is not None
            encoder.module.eval()
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self.log.grade(step, self.stage.grade(encoder))
            self.encoder.module.train()
        wait()

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
        others = self.stage.state_dict()
        save_state(self.folder, step, self.parameters, self.optimizer, others, log, self.settings)

    def _save(self, step: int) -> None:
        self.divergence.check_weights(step - 1, self.parameters)
        path = self.places.of_step(step)
        checkpoint = Checkpoint(path, step, self._num_tokens(), self.log.num_pairs)
        encoder = self.shared.whole()
        if is_main():
            assert encoder is not None
            vars(encoder).pop("digest", None)  # of earlier weights
            is_last = path == self.places.out
            log = partial(self.log.write, step=step, num_tokens=checkpoint.num_tokens)
            overwrite = self.places.overwrite or not is_last
            encoder.save_pretrained(path, overwrite, beside=log, recipe=self.stage.recipe)
            note_kept(path, "whole" if is_last else "an encoder", goes_on=False)
        wait()
        self.checkpoints.append(checkpoint)

    def _num_tokens(self) -> int:
        """Of all processes, which must all call."""
        own = torch.tensor(self.log.num_tokens, dtype=torch.float64, device=self.encoder.device)
        return round(mean_of_processes(own).item() * world_size())

    def _diverged(self) -> str:
        """Leave word beside the save that the training diverged after it; gives how to go on."""
        if self.folder.is_dir():
            if is_main():
                mark_diverged(self.folder, self.config.learning_rate)
            return f"{self.folder} keeps the last good step: give the same command"
        kept = [str(each.path) for each in self.checkpoints]
        if kept:
            return f"{', '.join(kept)} stay: name the last as --start, or begin again,"
        return "nothing was kept: begin again"
