"""The recipes of the MOON family: what each part is worth, and the four side by side at one budget.

All arms of a seed start from one encoder (stage 1: `--preset broad` from the random `--backbone`, `--stage1-steps`), train `--steps` more of `--batch-size` pairs at one learning rate, and are measured on the test
period's searches and products by the tasks of MBE and MOON2.0 (`recipe_tasks`).

- `--compare parts`: each recipe whole, and without each part that is a switch (`recipe_arms`); a part is held against the whole, the same searches and seeds. Beside it stands what the paper's own ablation has:
  `agrees` where our interval lies beyond zero on the paper's side, `disagrees` beyond it on the other, `not told` where it holds zero.
- `--compare budgets`: `plain` (the start's training going on, on purchases) and the whole recipes, each for as many steps as `--budget` buys: as many `steps`, or as many `tokens` or `seconds` as `--steps` of plain
  take, by what `benchmarks.recipe_costs` measured (`--costs`).

Three seeds tell their part of an interval roughly, so each seed's own figure stands in the JSON. A measured cell is a Parquet file under `--out` and never made twice: a run that was stopped goes on with the same
command; `--collect` shows what is there.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from benchmarks.ablation import curation_vectors
from benchmarks.cells import Cell, Cells
from benchmarks.chain import describe_machine
from benchmarks.figures_file import FIGURES
from benchmarks.over_seeds import rows_of
from benchmarks.recipe_arms import PARTS, PLAIN, RECIPES, Part, arms_of, whole, without
from benchmarks.recipe_tasks import LABELS, TASKS, K, benchmark_set, measure
from moon_rec.command import Parser, count, run
from moon_rec.errors import ConfigError
from moon_rec.files import atomic_file, digest_of, read_json, write_json
from moon_rec.outputs import check_output
from moon_rec.shop import Shop
from representation.model.backbone import BackboneConfig
from representation.posttraining import PosttrainConfig
from representation.recipes.card import NAMES, read_card

DEFINITIONS = {
    True: "mean over {count:,} products listed since the cut of the share of their labels of {items} kinds ({task}) whose nearest label text is the right one; mean over {seeds} seeds",
    False: "share of {count:,} queries of {task} whose top {k} of {items:,} products hold one purchased after them, test period; mean over {seeds} seeds",
}

PARTS_SAID = {1: "agrees", -1: "disagrees", 0: "not told"}


def budget_of(steps: int, recipe: str, budget: str, costs: dict[str, Any] | None) -> int:
    """Steps that the budget of so many steps of plain buys a recipe.

    Raises:
        ConfigError: costs are wanted and not given, or not of this recipe.
    """
    if budget == "steps":
        return steps
    if costs is None:
        raise ConfigError(
            f"--budget {budget} is reckoned by what steps cost; give --costs FILE, of python -m benchmarks.recipe_costs"
        )
    of, name = {one["recipe"]: one for one in costs["rows"]}, f"{budget}_a_step"
    if recipe not in of:
        raise ConfigError(f"--costs has no {recipe!r}; it has {', '.join(of)}")
    return max(1, round(steps * of[PLAIN][name] / of[recipe][name]))


def cells_of(options: Any) -> Iterator[tuple[int, str, PosttrainConfig]]:
    """Seed, arm and settings of every cell, those of a seed together."""
    costs = read_json(options.costs) if options.costs is not None else None
    for seed in options.seeds:
        for recipe in options.recipes:
            steps = budget_of(options.steps, recipe, options.budget, costs)
            settings = {**_common(options, seed), "steps": steps, "learning_rate": options.learning_rate}  # fmt: skip
            arms = arms_of(recipe, settings, options.experts, options.augmented)
            for arm, config in list(arms.items())[: None if options.compare == "parts" else 1]:
                yield seed, arm, config


def _common(options: Any, seed: int) -> dict[str, Any]:
    common = {"batch_size": options.batch_size, "seed": seed, "log_every": 20}
    return common | ({} if options.threads is None else {"num_threads": options.threads})


def found_hits(shop: Shop, options: Any) -> pl.DataFrame:
    """Hits of all cells, those that are missing trained and measured first unless `--collect`.

    Raises:
        ConfigError: no cell is there.
    """
    bench = benchmark_set(shop, options.queries, options.products)
    name = f"tasks-{digest_of([bench.digest])}"
    cells = Cells(shop, options.out, name, partial(measure, bench), options.collect)
    frames = []
    for seed, arm, config in cells_of(options):
        broad = PosttrainConfig.preset(
            "broad",
            **_common(options, seed),
            steps=options.stage1_steps,
            backbone=BackboneConfig.preset(options.backbone).changed(),
            learning_rate=options.stage1_learning_rate,
        )
        start, made_of = cells.start(broad, options.start)
        vectors = partial(curation_vectors, shop, start) if config.curation else lambda: None
        found = cells.hits(Cell(arm, seed, config, vectors), start, made_of)
        frames += [] if found is None else [found]
    if not frames:
        raise ConfigError(f"no cell of these settings in {options.out}; leave out --collect")
    return pl.concat(frames)


def summarise(hits: pl.DataFrame, recipes: list[str], compare: str) -> list[dict[str, Any]]:
    """A row an arm and task; of parts with what the paper has beside the difference, and whether both agree."""
    against: dict[str, dict[str, str]] = {}
    parts: dict[str, Part] = {}
    for recipe in recipes:
        others = {} if compare == "parts" or recipe == PLAIN else {"minus_plain": PLAIN}
        against[whole(recipe)] = others
        for name, part in PARTS.get(recipe, {}).items():  # type: ignore[call-overload]
            against[without(recipe, name)] = {"minus_whole": whole(recipe)}
            parts[without(recipe, name)] = part
    rows = []
    for task in TASKS:
        chosen = hits.filter(pl.col("modality") == task)
        if chosen.is_empty():
            continue
        items = int(chosen["num_items"][0])

        def define(count: int, seeds: int, task: str = task, items: int = items) -> str:
            return DEFINITIONS[task in LABELS].format(
                count=count, seeds=seeds, task=task, k=K, items=items
            )

        for row in rows_of(hits, task, K, against, define):
            part = parts.get(row["arm"])
            rows.append(row if part is None else row | beside_paper(row, part, task))
    return rows


def beside_paper(row: dict[str, Any], part: Part, task: str) -> dict[str, Any]:
    """What the paper has of the same task and part, and whether the difference found agrees with it in direction."""
    said = {"paper": part.paper.get(task)} if part.paper else {"paper": part.known or None}
    if said["paper"] is None or "minus_whole" not in row:
        return {"paper": None}
    gap = row["minus_whole"]
    side = -1 if gap["high"] < 0 else 1 if gap["low"] > 0 else 0
    return said | {"direction": PARTS_SAID[-side if part.is_lower(task) else side]}


def tables_of(rows: list[dict[str, Any]], recipes: list[str], compare: str) -> list[str]:
    """Markdown: of parts a table a recipe, of budgets one for all; each under the cards of its recipes."""
    groups = [[recipe] for recipe in recipes] if compare == "parts" else [recipes]
    found = []
    for group in groups:
        mine = [row for row in rows if row["arm"].split(" without ")[0] in group]
        cards = [f"{name}: {read_card(name).line()}" for name in group if name in NAMES]
        found.append("\n".join([*cards, "", table_of(mine)]))
    return found


def table_of(rows: list[dict[str, Any]]) -> str:
    """A row an arm, a column a task: in the first row what it reaches, in the others how they differ from it; below each what the paper has."""
    if not rows:
        return "no cell is there yet"
    mine, tasks = rows, list(dict.fromkeys(row["modality"] for row in rows))
    lines = [f"| arm | seeds | {' | '.join(tasks)} |", "|---|--:|" + "---|" * len(tasks)]
    for arm in dict.fromkeys(row["arm"] for row in mine):
        of = {row["modality"]: row for row in mine if row["arm"] == arm}
        seeds = max(len(row["by_seed"]) for row in of.values())
        cells = [_figure(of[task]) if task in of else "" for task in tasks]
        lines.append(f"| {arm} | {seeds} | {' | '.join(cells)} |")
        said = [_beside(of[task]) if task in of else "" for task in tasks]
        lines += [f"| the paper | | {' | '.join(said)} |"] if any(said) else []
    return "\n".join(lines)


def _figure(row: dict[str, Any]) -> str:
    gap = row.get("minus_whole") or row.get("minus_plain")
    if gap is None:
        one = row["recall"]
        return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
    return f"{gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"


def _beside(row: dict[str, Any]) -> str:
    paper, direction = row.get("paper"), row.get("direction")
    if not direction:
        return ""
    return f"{paper:+.1f}: {direction}" if isinstance(paper, float) else f"lower: {direction}"


def main(argv: list[str] | None = None) -> None:
    """The command."""
    options = _parser().parse_args(argv)
    file = options.out / f"recipes-{options.compare}{'' if options.budget == 'steps' else '-' + options.budget}.json"  # fmt: skip
    check_output(file, FIGURES, overwrite=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    shop = Shop.open(options.shop)
    if options.compare == "budgets" and PLAIN not in options.recipes:
        options.recipes = [PLAIN, *options.recipes]
    hits = found_hits(shop, options)
    rows = summarise(hits, options.recipes, options.compare)
    kind = "SIMULATED shop" if shop.is_simulated else "shop"
    tables = tables_of(rows, options.recipes, options.compare)
    text = "\n\n".join([f"{kind} {shop.name}: {shop.source}", *tables]) + "\n"
    print(text)
    with atomic_file(file.with_suffix(".md")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    given = {name: value for name, value in vars(options).items() if not isinstance(value, Path)}
    about = {"name": shop.name, "digest": shop.digest, "source": shop.source}
    steps = {f"{arm}, seed {seed}": config.steps for seed, arm, config in cells_of(options)}
    cards = {name: read_card(name).line() for name in options.recipes if name in NAMES}
    write_json(
        file,
        {
            **describe_machine(),
            "shop": about,
            "settings": given,
            "cards": cards,
            "steps": steps,
            "rows": rows,
        },
    )
    print(f"written to {file} and {file.stem}.md")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.recipes",
        description="Train the recipes of the MOON family from one start, whole and without each part, or at one budget; measured cells are kept and never run twice.",
        example="python -m benchmarks.recipes runs/demo/shop --out runs/recipes --recipes moon2 --backbone demo --batch-size 32 --stage1-steps 600 --steps 60 --experts 4",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for cells and figures")
    parser.add_argument(
        "--recipes", nargs="+", choices=(PLAIN, *RECIPES), default=[*RECIPES], help="default: all"
    )
    parser.add_argument("--compare", choices=("parts", "budgets"), default="parts")
    parser.add_argument(
        "--budget",
        choices=("steps", "tokens", "seconds"),
        default="steps",
        help="what is alike between recipes: steps, or tokens or seconds of --steps of plain",
    )
    parser.add_argument("--costs", type=Path, help="figures of benchmarks.recipe_costs")
    parser.add_argument(
        "--start", type=Path, help="an encoder that stage 1 starts from; default: random weights"
    )
    parser.add_argument("--backbone", choices=("demo", "small"), default="small")
    parser.add_argument("--experts", type=count, help="experts of a layer; default: the recipe's")
    parser.add_argument(
        "--augmented",
        type=Path,
        help="folder of representation.augment, for MOON2.0's co-augmentation; default: without it",
    )
    parser.add_argument("--stage1-steps", type=count, default=1000)
    parser.add_argument("--stage1-learning-rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=count, default=300, help="of each arm, after stage 1")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="of the arms")
    parser.add_argument("--batch-size", type=count, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--queries", type=count, help="most queries of a kind; default: all")
    parser.add_argument(
        "--products", type=count, help="a gallery cut to so many, every answer kept; default: whole"
    )
    parser.add_argument("--threads", type=count, help="torch's threads; default: as they are")
    parser.add_argument(
        "--collect", action="store_true", help="train nothing: show the cells that are there"
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
