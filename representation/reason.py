"""Command: train an encoder to write attributes for retrieval, by rewards and by contrast.

python -m representation.reason SHOP --start PRETRAINED --out ENCODER
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moon_rec.command import Parser, add_config_options, run, seed_number
from moon_rec.config import load_config
from moon_rec.files import read_json
from moon_rec.outputs import add_overwrite_option
from moon_rec.progress import say
from moon_rec.shop import Shop
from representation.recipes.option import add_recipe_option, chosen_recipe, recipe_mark
from representation.training.tracking import add_track_option, tracked, tracker_of

if TYPE_CHECKING:
    from representation.reasoning import ReasonConfig
    from representation.reasoning.train import Grade


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m representation.reason",
        description="Train an encoder to write a product's attributes before it embeds it: roll-outs are rewarded for right, well-formed attributes and for vectors that find "
        "the search they answer (GRPO), vectors learn by contrast in the same loss. What is saved writes by itself wherever products are embedded.",
        example="python -m representation.reason demo/shop --start demo/pretrained --out demo/reasoned --set steps=20 --set batch_size=16",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument(
        "--start", type=Path, required=True, help="a pretrained encoder, which answers already"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    add_overwrite_option(parser, "the encoder and its checkpoints")
    parser.add_argument(
        "--graded",
        type=seed_number,
        default=100,
        metavar="PRODUCTS",
        help="how many of the products listed from the cut on are written about, and rewarded as in training, before and after, and every grade_every steps; 0: none",
    )
    add_recipe_option(parser, "reasoning")
    add_track_option(parser)
    add_config_options(
        parser,
        kind="representation.reasoning:ReasonConfig",
        first={
            "steps": "updates of the weights",
            "batch_size": "searches, each with a product, a step",
            "group_size": "roll-outs of a product",
            "learning_rate": "of AdamW, at its highest",
            "kl_weight": "how strongly it stays near to where it starts",
            "resume_every": "steps after which an interrupted training can go on",
        },
    )
    chosen = parser.parse_args(argv)
    from representation.pretraining.grading import grades_as_lines
    from representation.reasoning import ReasonConfig, grading, held_out, reason
    from representation.reasoning.train import LOG_FILE
    from representation.training.output_places import check_out

    recipe = chosen_recipe(chosen, "reasoning")
    config = load_config(ReasonConfig, chosen.config, chosen.settings, base=recipe)
    check_out(chosen.out, chosen.overwrite, inputs=(chosen.shop, chosen.start))
    mark = recipe_mark(chosen, "reasoning", config)
    tracker = tracker_of(chosen)
    shop = Shop.open(chosen.shop)
    with tracked(tracker, "reasoning", LOG_FILE, chosen, config, shop, mark) as on_log:
        grade = _grade(shop, config, chosen.graded) if chosen.graded else None
        made = reason(shop, chosen.out, config, chosen.start, on_log, chosen.overwrite, grade, mark)
    grades = read_json(made[-1].path / LOG_FILE).get("grades", [])
    for line in grades_as_lines(grades, grading.DEFINITIONS | held_out.DEFINITIONS):
        say(line)
    for checkpoint in made:
        print(checkpoint.path)


def _grade(shop: Shop, config: "ReasonConfig", num_products: int) -> "Grade | None":
    """All that is told of held-out products; None where there is none to tell it of."""
    from representation.reasoning.grading import WritingGrader
    from representation.reasoning.held_out import HeldOutRewards

    graders = [
        WritingGrader.of(shop, num_products, config.seed),
        HeldOutRewards.of(shop, config, num_products),
    ]
    there = [each for each in graders if each is not None]
    if not there:
        return None
    return lambda encoder: {name: of for each in there for name, of in each(encoder).items()}


if __name__ == "__main__":
    sys.exit(run(main))
