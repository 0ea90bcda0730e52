"""Command: pretrain an encoder on questions about a shop's products.

python -m representation.pretrain SHOP --out ENCODER
"""

import sys
from pathlib import Path

from moon_rec.command import Parser, add_config_options, run, seed_number
from moon_rec.config import load_config
from moon_rec.files import read_json
from moon_rec.outputs import add_overwrite_option
from moon_rec.progress import say
from moon_rec.shop import Shop
from representation.recipes.option import add_recipe_option, chosen_recipe, recipe_mark
from representation.training.tracking import add_track_option, tracked, tracker_of


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m representation.pretrain",
        description="Pretrain a Qwen3-VL on questions about the products listed before the shop's cut (next-token prediction on the answers). For several processes put "
        "torchrun --nproc-per-node N -m in place of python -m. With resume_every set, an interrupted training continues when the command is run again.",
        example="python -m representation.pretrain demo/shop --out demo/pretrained --set steps=60 --set backbone.text_dim=64",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    add_overwrite_option(parser, "the encoder and its checkpoints")
    parser.add_argument(
        "--start", type=Path, help="an encoder to start from instead of random weights"
    )
    add_recipe_option(parser, "pretraining")
    parser.add_argument(
        "--graded",
        type=seed_number,
        metavar="PRODUCTS",
        help="how many of the products listed from the cut on are asked before and after, and every grade_every steps; 0: none; default: 100 where answers are learnt, else none",
    )
    parser.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="folder for what the vision tower makes of pictures, computed once and taken up by later trainings, where the tower stays as it is (lora, or trained_parts without vision); default: none",
    )
    add_track_option(parser)
    add_config_options(
        parser,
        kind="representation.pretraining:PretrainConfig",
        first={
            "steps": "updates of the weights",
            "batch_size": "questions a step",
            "learning_rate": "of AdamW, at its highest",
            "backbone.text_dim": "width of a backbone of random weights (without --start)",
            "backbone.text_layers": "and its layers",
            "resume_every": "steps after which an interrupted training can go on",
        },
    )
    chosen = parser.parse_args(argv)
    from representation.pretraining import PretrainConfig, pretrain
    from representation.pretraining.grading import Grader, grades_as_lines
    from representation.pretraining.train import LOG_FILE
    from representation.training.distributed import is_main, processes
    from representation.training.output_places import check_out

    with processes():
        recipe = chosen_recipe(chosen, "pretraining")
        config = load_config(PretrainConfig, chosen.config, chosen.settings, base=recipe)
        check_out(chosen.out, chosen.overwrite, inputs=(chosen.shop, chosen.start))
        mark = recipe_mark(chosen, "pretraining", config)
        tracker = tracker_of(chosen)
        shop = Shop.open(chosen.shop)
        with tracked(tracker, "pretraining", LOG_FILE, chosen, config, shop, mark) as on_log:
            count = 100 if config.objective == "answers" else 0
            count = count if chosen.graded is None else chosen.graded
            grade = Grader.of(shop, count, config.seed) if count else None
            made = pretrain(
                shop,
                chosen.out,
                config,
                chosen.start,
                on_log,
                chosen.overwrite,
                grade,
                features=chosen.features,
                recipe=mark,
            )
        if is_main():
            for line in grades_as_lines(read_json(made[-1].path / LOG_FILE).get("grades", [])):
                say(line)
            for checkpoint in made:
                print(checkpoint.path)


if __name__ == "__main__":
    sys.exit(run(main))
