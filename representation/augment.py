"""Command: describe and show a shop's products in further ways, for training alone.

python -m representation.augment SHOP --out FOLDER --filter ENCODER
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.processes import refuse_many_processes
from moon_rec.shop import Shop
from representation.co_augmentation.config import AugmentConfig
from representation.co_augmentation.files import AUGMENTATION
from representation.recipes.option import add_recipe_option, chosen_recipe

if TYPE_CHECKING:
    from representation.co_augmentation.generator import TitleWriter


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.augment")
    chosen = _parser().parse_args(argv)
    recipe = chosen_recipe(chosen, "augmentation")
    config = load_config(AugmentConfig, chosen.config, chosen.settings, base=recipe)
    if chosen.generator == "model" and chosen.encoder is None:
        raise ConfigError(
            "--generator model writes titles by a language model that sees; name its folder with --encoder"
        )
    if chosen.encoder is not None and (chosen.generator != "model" or not config.titles):
        raise ConfigError(
            f"--encoder {chosen.encoder} changes nothing: only titles of --generator model are written by it; leave it out"
        )
    if chosen.filter is None and (config.threshold is not None or "quantile" in config.changed()):
        raise ConfigError(
            "threshold and quantile change nothing: only a filter scores pairs; name its encoder with --filter, or leave them out"
        )
    reads = (chosen.shop, chosen.encoder, chosen.filter, chosen.config)
    check_output(chosen.out, AUGMENTATION, chosen.overwrite, inputs=reads)
    shop = Shop.open(chosen.shop)
    from representation.co_augmentation.image_title_filter import ImageTitleFilter
    from representation.co_augmentation.make import augment
    from representation.encoder import open_encoder

    image_filter = None
    if chosen.filter is not None:
        image_filter = ImageTitleFilter(open_encoder(chosen.filter), str(chosen.filter))
    writer = None if chosen.encoder is None else _written_by(chosen.encoder)
    augment(shop, chosen.out, config, writer, None, image_filter, chosen.overwrite)
    print(f"written to {chosen.out}")


def _written_by(folder: Path) -> "TitleWriter":
    from representation.co_augmentation.written import WrittenTitles
    from representation.encoder import open_encoder

    return WrittenTitles(open_encoder(folder), str(folder))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.augment",
        description="Co-augmentation (MOON2.0), once and offline: enrich the titles of the products listed before the cut with the entities of their texts, show each product alone, on another ground, "
        "seen otherwise and from near, and keep the pairs of picture and title that belong together. Post-training takes the folder by the setting co_augmentation.folder; nothing reads it at test time.",
        example="python -m representation.augment demo/shop --out demo/augmented --filter demo/posttrained --set quantile=.2",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for titles, pictures and a sheet to look at"
    )
    add_overwrite_option(parser, "the co-augmentation")
    add_recipe_option(parser, "augmentation")
    parser.add_argument(
        "--generator",
        choices=("templates", "model"),
        default="templates",
        help="what writes titles: templates of entities, or the language model of --encoder; pictures are cut out of their ground with either (default: templates)",
    )
    parser.add_argument(
        "--encoder",
        type=Path,
        help="of --generator model: a Qwen-VL, a composed checkpoint, or an encoder pretrained here",
    )
    parser.add_argument(
        "--filter",
        type=Path,
        metavar="ENCODER",
        help="folder of an encoder of pictures and texts that scores picture against title: a CLIP, a SigLIP, one's own; default: all is kept",
    )
    add_config_options(
        parser,
        kind="representation.co_augmentation.config:AugmentConfig",
        first={
            "quantile": "of the filter's scores, what a pair must reach",
            "threshold": "a cosine that a pair must reach instead",
            "pictures": "kinds that are made",
            "titles": "whether titles are enriched",
        },
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
