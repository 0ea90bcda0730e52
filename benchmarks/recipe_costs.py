"""What each recipe costs beside the plain encoder: weights, training, embedding; `python -m benchmarks.recipe_costs SHOP --start ENCODER --work DIR`.

All recipes go on from one encoder, in one process, in turn, round by round, so that a busy machine slows all of them alike; of the rounds the least is taken. Seconds are of the processor, the loader's
threads among them; with `--device cuda` they are the clock's, when the card has done what it was given, matrix products are in bfloat16 as every training has them there, and the card's highest memory is told, too. What a training costs before its first step (pairs, texts, pictures) is left out: a step's cost is taken between two entries of its log.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.cells import with_backbone_of_start
from benchmarks.chain import describe_device, describe_machine
from benchmarks.figures_file import parsed
from benchmarks.recipe_arms import PLAIN, RECIPES, arms_of
from moon_rec.command import Parser, count, run
from moon_rec.console import table_console
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.outputs import remove_folder
from moon_rec.progress import say
from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, build_encoder
from representation.encoders.checkpoint import ENCODER
from representation.model.backbone import BackboneConfig
from representation.posttraining import PosttrainConfig, posttrain
from representation.recipes.card import read_card

TIMED = ("seconds_a_step", "seconds_a_product")
RATIOS = {
    "parameters": "parameters",
    "tokens_a_step": "tokens a step",
    "seconds_a_step": "training, s a step",
    "seconds_a_product": "embedding, ms a product",
}


def cost_of(
    shop: Shop, config: PosttrainConfig, options: Any, catalogue: Any, name: str
) -> dict[str, float]:
    """Weights, tokens and seconds of one training of `2 * options.steps` steps, the first half of which warms up, and of one embedding of the catalogue."""
    seen: dict[int, tuple[float, float]] = {}

    def note(step: int, numbers: dict[str, float]) -> None:
        if "num_tokens" in numbers:
            seen[step] = clock(options.device), numbers["num_tokens"]

    path = options.work / name
    if path.exists():
        remove_folder(path, ENCODER)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    posttrain(shop, path, with_backbone_of_start(config), options.start, note)
    (before, few), (after, many) = seen[options.steps], seen[2 * options.steps]
    peak = torch.cuda.max_memory_allocated() if options.device == "cuda" else None
    encoder = ProductEncoder.from_pretrained(path)
    if encoder.device.type != options.device:
        raise MoonRecError(
            f"{name} was trained and opened on {encoder.device}, wanted {options.device}"
        )
    encoder.encode_items(catalogue.head(64))
    started = clock(options.device)
    encoder.encode_items(catalogue)
    embedding = clock(options.device) - started
    memory = {} if peak is None else {"mib_peak": peak / 2**20}
    return memory | {
        "parameters": float(sum(one.numel() for one in encoder.module.parameters())),
        "tokens_a_step": (many - few) / options.steps,
        "seconds_a_step": (after - before) / options.steps,
        "seconds_a_product": embedding / catalogue.height,
    }


def clock(device: str) -> float:
    """Seconds of this process's processors; with a card those of the clock, once it has done what it was given."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def measured(shop: Shop, options: Any) -> list[dict[str, Any]]:
    """A row a recipe, plain first: its cost, and the same over plain's."""
    catalogue = shop.items.sort("item_id").head(options.products).collect()
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in (PLAIN, *options.recipes)}
    for number in range(options.rounds):
        for name, found in rounds.items():
            settings: dict[str, Any] = {"steps": 2 * options.steps, "log_every": options.steps, "batch_size": options.batch_size, "num_threads": options.threads, "seed": number}  # fmt: skip
            config = arms_of(name, settings, options.experts, options.augmented)[name]
            found.append(cost_of(shop, config, options, catalogue, name))
            say(f"round {number + 1}, {name}: {found[-1]['seconds_a_step']:.3f} s a step")
    rows: list[dict[str, Any]] = []
    for name, found in rounds.items():
        row: dict[str, Any] = {"recipe": name, "rounds": found}
        for figure in RATIOS:
            values = [one[figure] for one in found]
            row[figure] = min(values) if figure in TIMED else sum(values) / len(values)
        if "mib_peak" in found[0]:
            row["mib_peak"] = max(one["mib_peak"] for one in found)
        rows.append(row)
    for row in rows:
        row["over_plain"] = {figure: row[figure] / rows[0][figure] for figure in RATIOS}
    return rows


def show(rows: list[dict[str, Any]], device: str) -> None:
    """The table, a row a recipe."""
    whose = "the processor" if device == "cpu" else "the clock, on a card"
    table = Table(title=f"cost, and in brackets over plain's; seconds of {whose}")
    for name in ("recipe", *RATIOS.values()):
        table.add_column(name, no_wrap=True)
    for row in rows:
        scale = {"seconds_a_product": 1000.0}
        cells = [
            f"{row[figure] * scale.get(figure, 1):,.4g} ({row['over_plain'][figure]:.2f})"
            for figure in RATIOS
        ]
        table.add_row(row["recipe"], *cells)
    table_console().print(table)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.recipe_costs",
        description="Weights, training speed and embedding speed of each recipe of the MOON family beside the plain encoder, in one process, in turn.",
        example="python -m benchmarks.recipe_costs runs/demo/shop --start runs/start --work runs/costs --experts 4 --out costs.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument(
        "--start",
        type=Path,
        help="an encoder all go on from; default: random weights of the demo's sizes",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="to train on")
    parser.add_argument("--work", type=Path, required=True, help="folder for the encoders")
    parser.add_argument("--recipes", nargs="+", choices=tuple(RECIPES), default=[*RECIPES])
    parser.add_argument("--experts", type=count, help="experts of a layer; default: the recipe's")
    parser.add_argument(
        "--augmented", type=Path, help="folder of representation.augment, for MOON2.0"
    )
    parser.add_argument("--steps", type=count, default=10, help="timed steps of a round")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--batch-size", type=count, default=128)
    parser.add_argument("--products", type=count, default=1000, help="how many are embedded")
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parsed(parser, argv)
    device = describe_device(options.device)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # trainings take a card where they find one
    torch.set_num_threads(options.threads)
    shop = Shop.open(options.shop)
    if options.start is None:
        options.start = options.work / "start"
        if not options.start.exists():
            build_encoder(shop, options.start, BackboneConfig.preset("demo"))
    rows = measured(shop, options)
    show(rows, options.device)
    cards = {name: read_card(name).line() for name in options.recipes}
    print("\n".join(f"{name}: {line}" for name, line in cards.items()))
    if options.out:
        given = {
            name: value for name, value in vars(options).items() if not isinstance(value, Path)
        }
        about = {"name": shop.name, "digest": shop.digest, "source": shop.source}
        write_json(
            options.out,
            {
                **describe_machine(),
                **device,
                "shop": about,
                "settings": given,
                "cards": cards,
                "rows": rows,
            },
        )
        say(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(run(main))
