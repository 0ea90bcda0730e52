"""Command: post-train an encoder on what shoppers searched for and then engaged with.

python -m representation.posttrain SHOP --start PRETRAINED --out ENCODER
"""

import sys
from pathlib import Path

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.shop import Shop


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m representation.posttrain",
        description="Post-train an encoder contrastively on (query, engaged product) pairs of the shop's log before its cut.",
        example="python -m representation.posttrain demo/shop --start demo/pretrained --out demo/posttrained --set steps=60 --set batch_size=64",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument(
        "--start",
        type=Path,
        help="an encoder's folder, as a rule the pretrained one; default: random weights",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the encoder; must not exist"
    )
    add_config_options(parser)
    chosen = parser.parse_args(argv)
    from representation.posttraining import PosttrainConfig, posttrain

    config = load_config(PosttrainConfig, chosen.config, chosen.settings)
    checkpoints = posttrain(Shop.open(chosen.shop), chosen.out, config, chosen.start)
    for checkpoint in checkpoints:
        print(
            f"{checkpoint.path}  step {checkpoint.step:,}, {checkpoint.num_pairs:,} pairs, {checkpoint.num_tokens:,} tokens"
        )


if __name__ == "__main__":
    sys.exit(run(main))
