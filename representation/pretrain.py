"""Command: pretrain an encoder on questions about a shop's products.

python -m representation.pretrain SHOP --out ENCODER
"""

import sys
from pathlib import Path

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.shop import Shop


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m representation.pretrain",
        description="Pretrain a Qwen3-VL on questions about the products listed before the shop's cut (next-token prediction on the answers). For several processes put "
        "torchrun --nproc-per-node N -m in place of python -m.",
        example="python -m representation.pretrain demo/shop --out demo/pretrained --set steps=60 --set backbone.text_dim=64",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    add_overwrite_option(parser, "the encoder")
    parser.add_argument(
        "--start", type=Path, help="an encoder to start from instead of random weights"
    )
    add_config_options(parser)
    chosen = parser.parse_args(argv)
    from representation.encoders.checkpoint import ENCODER
    from representation.pretraining import PretrainConfig, pretrain
    from representation.training.distributed import is_main, processes

    with processes():
        config = load_config(PretrainConfig, chosen.config, chosen.settings)
        check_output(chosen.out, ENCODER, chosen.overwrite, inputs=(chosen.shop, chosen.start))
        shop = Shop.open(chosen.shop)
        path = pretrain(shop, chosen.out, config, chosen.start, overwrite=chosen.overwrite)
        if is_main():
            print(path)


if __name__ == "__main__":
    sys.exit(run(main))
