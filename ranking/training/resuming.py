"""Which checkpoint a training goes on from, and what it is refused for."""

from collections.abc import Mapping
from pathlib import Path

from moon_rec.code_version import differing
from moon_rec.errors import RankingError
from moon_rec.progress import say
from ranking.training.checkpoint import Checkpoints, Position, load_state, read_position
from ranking.training.devices import rank
from ranking.training.make_pretraining import refuse_other_content_model
from ranking.training.trainer import Trainer
from ranking.version import made_by


def to_resume(checkpoints: Checkpoints | None, wanted: Position) -> Path | None:
    """The checkpoint to go on from, None to begin anew.

    Raises:
        RankingError: the newest one is of another training, or there is one and none is wanted.
    """
    if checkpoints is not None and checkpoints.anew and not checkpoints.resume:
        if rank() == 0:
            checkpoints.remove()  # the others do not look
        return None
    found = checkpoints.latest() if checkpoints is not None else None
    if checkpoints is not None and found is None:
        refuse_other_content_model(checkpoints, wanted)
    if checkpoints is None or found is None:
        return None
    if not checkpoints.resume:
        raise RankingError(
            f"{checkpoints.folder} holds the checkpoint {found.name} of an unfinished training; go on "
            "from it with --resume, or remove the folder"
        )
    position, diverged = read_position(found), checkpoints.diverged()
    is_same = position.digest == wanted.digest
    if diverged is not None and is_same and not _are_lower(wanted.rates, diverged):
        rates = ", ".join(f"{name} = {value:g}" for name, value in diverged.items())
        raise RankingError(
            f"{checkpoints.folder}: the training diverged with {rates}; resume with lower ones, or remove the folder"
        )
    if not is_same or (position.rates != wanted.rates and diverged is None):
        raise RankingError(
            f"{found} is of a training with other settings, tables or vectors; "
            "resume with the same ones, or remove the folder"
        )
    return found


def _are_lower(rates: Mapping[str, float], than: Mapping[str, float]) -> bool:
    """Whether none is higher, and one is lower."""
    return all(rates[name] <= than[name] for name in than) and dict(rates) != dict(than)


def resume(path: Path, trainer: Trainer, rates: dict[str, float]) -> Position:
    """Load the state of a checkpoint into `trainer` and give its position."""
    position = read_position(path)
    if position.best_epoch is not None:
        trainer.keep()
    load_state(path, trainer.state())
    if position.rates != rates:
        position.lowered.append({"step": position.step, "before": position.rates})
        position.rates = rates
    if rank() == 0:
        say(f"going on from {path}: {position.rows:,} rows done")
        if why := differing(position.made_by, made_by()):
            say(
                f"those rows were trained on with {why}; the bits may differ from a training in one go"
            )
    position.made_by = made_by()
    return position
