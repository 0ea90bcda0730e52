"""A training as a run of a tracking store."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moon_rec.files import read_json

if TYPE_CHECKING:
    from moon_rec.shop import Shop
    from moon_rec.tracking import Tracker
    from representation.recipes.mark import RecipeMark
    from representation.training.config import TrainingConfig
    from representation.training.optimisation import Log


def add_track_option(parser: argparse.ArgumentParser) -> None:
    """`--track`."""
    parser.add_argument("--track", metavar="URI", help="log the training to this MLflow store")


def tracker_of(chosen: argparse.Namespace) -> "Tracker | None":
    """The tracking store of `--track`, the first process's alone; an address that can never work is refused before anything is read."""
    if not chosen.track or os.environ.get("RANK", "0") != "0":
        return None
    from moon_rec.tracking import Tracker

    return Tracker(chosen.track)


@contextmanager
def tracked(
    tracker: "Tracker | None",
    kind: str,
    log_file: str,
    chosen: argparse.Namespace,
    config: "TrainingConfig",
    shop: "Shop",
    recipe: "RecipeMark | None" = None,
) -> Iterator["Log | None"]:
    """A run of the tracking store for the block, or nothing; the log file becomes its artifact.

    Args:
        kind: of run.
        chosen: the command's `out` and `start`.
        recipe: that the settings are of; tags of the run.
    """
    from representation.encoder import ABOUT_FILE
    from representation.training.optimisation import from_start

    if tracker is None:
        yield None
        return
    reads = {"shop": shop.digest}
    if chosen.start is not None:
        about = chosen.start / ABOUT_FILE
        reads["start"] = read_json(about).get("digest", "") if about.exists() else ""
    params, tags = from_start(config, chosen.start), None if recipe is None else recipe.labels()
    with tracker.run(chosen.out.name, kind, params, reads, tags=tags) as run:
        yield lambda step, numbers: run.log(numbers, step)
        run.artifact(chosen.out / log_file)
