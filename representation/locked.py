"""Command: put a frozen text encoder and a frozen vision tower together, with projections to be trained.

python -m representation.locked --text TEXT --vision VISION --out ENCODER
"""

import sys
from pathlib import Path

from moon_rec.command import Parser, add_config_options, run, seed_number
from moon_rec.config import load_config
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.locked")
    options = _parser().parse_args(argv)
    from representation.encoders.checkpoint import ENCODER
    from representation.encoders.locked import locked_pair
    from representation.encoders.projections import LockedConfig

    check_output(options.out, ENCODER, options.overwrite, inputs=(options.text, options.vision))
    given = load_config(LockedConfig, options.config, options.settings).changed()
    encoder = locked_pair(options.text, options.vision, seed=options.seed, **given)
    encoder.save_pretrained(options.out, options.overwrite)
    trained = sum(one.numel() for one in encoder.module.parameters())
    say(
        f"projections are random: train them with python -m representation.posttrain SHOP --start {options.out} --out ENCODER"
    )
    print(
        f"{options.out}  {encoder.dim} wide, pictures of {encoder.image_size} x {encoder.image_size}, {trained:,} weights to train, {encoder.digest}"
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.locked",
        description="Make an encoder of two towers that stay as they are, one of texts and one of pictures, and of projections into one space, which "
        "representation.posttrain trains in minutes on a processor.",
        example="python -m representation.locked --text demo/starters/minilm --vision demo/starters/efficientnet-lite0 --out demo/locked --set image_size=96",
    )
    parser.add_argument(
        "--text", type=Path, required=True, help="a text encoder's folder or name on the hub"
    )
    parser.add_argument(
        "--vision", type=Path, required=True, help="a vision tower's folder or name on the hub"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    parser.add_argument("--seed", type=seed_number, default=0, help="of the projections")
    add_overwrite_option(parser, "the encoder")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
