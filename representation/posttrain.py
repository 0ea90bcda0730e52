"""Command: post-train an encoder on what shoppers searched for and then engaged with.

python -m representation.posttrain SHOP --start PRETRAINED --out ENCODER --preset broad
python -m representation.posttrain SHOP --start ENCODER --out REFINED --preset refinement
"""

import sys
from pathlib import Path

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from moon_rec.outputs import add_overwrite_option
from moon_rec.shop import Shop
from representation.recipes.option import add_recipe_option, chosen_recipe, recipe_mark
from representation.training.tracking import add_track_option, tracked, tracker_of


def main(argv: list[str] | None = None) -> None:
    """The command."""
    chosen = _parser().parse_args(argv)
    from representation.posttraining import PosttrainConfig, posttrain
    from representation.posttraining.teacher import check_teacher
    from representation.posttraining.train import LOG_FILE
    from representation.training.distributed import is_main, processes
    from representation.training.output_places import check_out

    with processes():
        preset = [f"preset={chosen.preset}"] if chosen.preset else []
        recipe = chosen_recipe(chosen, "posttraining")
        config = load_config(
            PosttrainConfig, chosen.config, [*preset, *chosen.settings], base=recipe
        )
        if chosen.vectors is not None and not (config.curation and config.curation.hardest_query):
            raise ConfigError(
                f"--vectors {chosen.vectors} changes nothing: only curation.hardest_query reads them; set curation, or leave them out"
            )
        check_teacher(config, chosen.teacher)
        if chosen.features is not None and chosen.features.is_file():
            raise ConfigError(
                f"--features {chosen.features} is a file; name a folder, which is made where there is none"
            )
        check_out(chosen.out, chosen.overwrite, inputs=(chosen.shop, chosen.start))
        mark = recipe_mark(chosen, "posttraining", config)
        tracker = tracker_of(chosen)
        shop = Shop.open(chosen.shop)
        with tracked(tracker, "posttraining", LOG_FILE, chosen, config, shop, mark) as on_log:
            checkpoints = posttrain(
                shop,
                chosen.out,
                config,
                chosen.start,
                on_log,
                chosen.vectors,
                chosen.overwrite,
                pairs=chosen.pairs,
                features=chosen.features,
                teacher=chosen.teacher,
                recipe=mark,
            )
        if is_main():
            for checkpoint in checkpoints:
                print(
                    f"{checkpoint.path}  step {checkpoint.step:,}, {checkpoint.num_pairs:,} pairs, {checkpoint.num_tokens:,} tokens"
                )


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
        help="the encoder's folder to start from: the pretrained one, a locked pair, or the plain folder of a dual or text encoder; default: random weights",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    add_overwrite_option(parser, "the encoder and its checkpoints")
    settings = parser.add_mutually_exclusive_group()
    add_recipe_option(settings, "posttraining")
    settings.add_argument(
        "--preset",
        choices=("broad", "refinement", "scl"),
        help="settings of the MOON report's first or second part of post-training, or of SCL; --set overrides them",
    )
    parser.add_argument(
        "--vectors",
        type=Path,
        metavar="DIR",
        help="folder of representation.embed, for curation; default: computed with the encoder of --start",
    )
    parser.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="folder for what frozen towers make of texts and pictures, computed once and taken up by later trainings; default: OUT.features for encoders of representation.locked, none for composed ones, whose tower must stay as it is (lora, or trained_parts without vision)",
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="DIR",
        help="folder of representation.curate: train on its pairs; default: on all of the log before the cut",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="DIR",
        help="folder of representation.embed or representation.bring with a larger model's vectors of this shop, for score_distillation and vector_distillation",
    )
    add_track_option(parser)
    add_config_options(
        parser,
        kind="representation.posttraining.config:PosttrainConfig",
        first={
            "steps": "updates of the weights",
            "batch_size": "pairs a step; the more, the harder the negatives",
            "learning_rate": "of AdamW, at its highest",
            "loss": "infonce or circle",
            "pairs": "log, or catalogue for a shop without searches",
            "resume_every": "steps after which an interrupted training can go on",
        },
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
