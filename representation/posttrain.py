"""Command: post-train an encoder on what shoppers searched for and then engaged with.

python -m representation.posttrain SHOP --start PRETRAINED --out ENCODER --preset broad
python -m representation.posttrain SHOP --start ENCODER --out REFINED --preset refinement
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from moon_rec.files import read_json
from moon_rec.outputs import add_overwrite_option
from moon_rec.shop import Shop

if TYPE_CHECKING:
    from moon_rec.tracking import Tracker
    from representation.posttraining import PosttrainConfig
    from representation.training.optimisation import Log


def main(argv: list[str] | None = None) -> None:
    """The command."""
    chosen = _parser().parse_args(argv)
    from representation.posttraining import PosttrainConfig, posttrain
    from representation.posttraining.places import check_out
    from representation.training.distributed import is_main, processes

    with ExitStack() as stack:
        stack.enter_context(processes())
        preset = [f"preset={chosen.preset}"] if chosen.preset else []
        config = load_config(PosttrainConfig, chosen.config, [*preset, *chosen.settings])
        if chosen.vectors is not None and not (config.curation and config.curation.hardest_query):
            raise ConfigError(
                f"--vectors {chosen.vectors} changes nothing: only curation.hardest_query reads them; set curation, or leave them out"
            )
        check_out(chosen.out, chosen.overwrite, inputs=(chosen.shop, chosen.start))
        # an address that can never work is refused before anything is read
        tracker = _tracker(chosen)
        shop = Shop.open(chosen.shop)
        on_log = None
        if tracker is not None:
            on_log = stack.enter_context(_tracked(tracker, chosen, config, shop))
        checkpoints = posttrain(
            shop, chosen.out, config, chosen.start, on_log, chosen.vectors, chosen.overwrite
        )
        if is_main():
            for checkpoint in checkpoints:
                print(
                    f"{checkpoint.path}  step {checkpoint.step:,}, {checkpoint.num_pairs:,} pairs, {checkpoint.num_tokens:,} tokens"
                )


def _tracker(chosen: argparse.Namespace) -> "Tracker | None":
    """The tracking store, the first process's alone."""
    if not chosen.track or os.environ.get("RANK", "0") != "0":
        return None
    from moon_rec.tracking import Tracker

    return Tracker(chosen.track)


@contextmanager
def _tracked(
    tracker: "Tracker", chosen: argparse.Namespace, config: "PosttrainConfig", shop: Shop
) -> Iterator["Log"]:
    """A run of the tracking store for the block; the log file becomes its artifact."""
    from representation.encoder import ABOUT_FILE
    from representation.posttraining.train import LOG_FILE
    from representation.training.optimisation import from_start

    reads = {"shop": shop.digest}
    if chosen.start is not None:
        about = chosen.start / ABOUT_FILE
        reads["start"] = read_json(about).get("digest", "") if about.exists() else ""
    settings = from_start(config, chosen.start)
    run_of = tracker.run(chosen.out.name, "posttraining", settings, reads)
    with run_of as tracked:
        yield lambda step, numbers: tracked.log(numbers, step)
        tracked.artifact(chosen.out / LOG_FILE)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.posttrain",
        description="Post-train an encoder contrastively on (query, engaged product) pairs of the shop's log before its cut. For several processes put "
        "torchrun --nproc-per-node N -m in place of python -m. With resume_every set, an interrupted training continues when the command is run again.",
        example="python -m representation.posttrain demo/shop --start demo/pretrained --out demo/posttrained --preset broad --set steps=60 --set batch_size=64",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument(
        "--start",
        type=Path,
        help="the encoder's folder to start from, usually the pretrained one; default: random weights",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    add_overwrite_option(parser, "the encoder and its checkpoints")
    parser.add_argument(
        "--preset",
        choices=("broad", "refinement"),
        help="settings of the MOON report's first or second part of post-training; --set overrides them",
    )
    parser.add_argument(
        "--vectors",
        type=Path,
        metavar="DIR",
        help="folder of representation.embed, for curation; default: computed with the encoder of --start",
    )
    parser.add_argument("--track", metavar="URI", help="log the training to this MLflow store")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
