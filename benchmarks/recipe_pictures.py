"""Pictures of what `benchmarks.recipes` measured: `python -m benchmarks.recipe_pictures FIGURES.json... --out FILE.png`.

Of `--compare parts` a block a recipe: a row a part, a column a task, what leaving the part out changes with its interval, and a zero line. How it stands to the paper's own ablation is told by colour and by shape.
Of `--compare budgets` one block: a row a recipe, its difference to `plain`. Columns of a block share their scale, so that tasks compare; each block has its own.
"""

import math
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from benchmarks.recipe_arms import PLAIN
from moon_rec.command import Parser, run
from moon_rec.drawing import STYLE
from moon_rec.errors import MoonRecError
from moon_rec.figure_files import save_figure
from moon_rec.files import read_json
from moon_rec.outputs import add_overwrite_option, check_picture
from moon_rec.palette import BLUE, FAINT, INK, MUTED, VERMILION
from moon_rec.progress import say
from moon_rec.shown import as_figure_text

WIDTH, ROW, LEGEND = 12.0, 0.38, 0.75
TITLE, CARD, TASKS, TICKS = 0.32, 0.19, 0.5, 0.38
"""Inches: of the picture, a row, the legend; of a block's title, a card's line, the names of tasks, the ticks. At 100 dots an inch letters are 12 pixels high."""
LEFT, RIGHT = 0.13, 0.995
"""Where the columns of every block lie."""
DPI = 150
WITHOUT = " without "
DIFFERENCES = ("minus_whole", "minus_plain")


class Mark(NamedTuple):
    """How a difference is drawn."""

    shape: str
    colour: str
    is_filled: bool
    words: str


AGREES = Mark("o", BLUE, True, "agrees with the paper")
DISAGREES = Mark("D", VERMILION, True, "disagrees with the paper")
NOT_TOLD = Mark("o", MUTED, False, "known of the paper; here not told from nothing")
ALONE = Mark("s", INK, True, "no figure of the paper; beyond zero here")
ALONE_NOT_TOLD = Mark("s", MUTED, False, "no figure of the paper; not told from nothing")
MARKS = (AGREES, DISAGREES, NOT_TOLD, ALONE, ALONE_NOT_TOLD)
BY_DIRECTION = {"agrees": AGREES, "disagrees": DISAGREES, "not told": NOT_TOLD}


class Block(NamedTuple):
    """Rows that are held against one arm.

    Attributes:
        title, cards: over it.
        levels: task -> what that arm reaches, in words.
        names: of the rows.
        cells: row and task -> the figures' row.
    """

    title: str
    cards: list[str]
    levels: dict[str, str]
    names: list[str]
    cells: dict[tuple[str, str], dict[str, Any]]

    @property
    def head(self) -> float:
        """Inches above its axes."""
        return TITLE + CARD * len(self.cards) + TASKS

    @property
    def height(self) -> float:
        """In inches."""
        return self.head + ROW * len(self.names) + TICKS


def mark_of(row: dict[str, Any]) -> Mark:
    """How a row's difference stands to the paper's, or to nothing where the paper has none."""
    if row.get("direction"):
        return BY_DIRECTION[row["direction"]]
    gap = difference_of(row)
    return ALONE if gap["low"] > 0 or gap["high"] < 0 else ALONE_NOT_TOLD


def difference_of(row: dict[str, Any]) -> dict[str, Any]:
    """The estimate that is drawn of a row: its difference to the arm it is held against."""
    return next(row[name] for name in DIFFERENCES if name in row)


def blocks_of(figures: dict[str, Any]) -> list[Block]:
    """A block a recipe, or one over all where arms are held against `plain`."""
    rows, shop = figures["rows"], figures["shop"]
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    by_arm = {arm: {row["modality"]: row for row in rows if row["arm"] == arm} for arm in arms}
    is_simulated = "simulated" in shop["source"]
    where = f"{'SIMULATED' if is_simulated else ''} shop {shop['name']}".strip()
    cards = figures.get("cards", {})
    if any("minus_plain" in row for row in rows):
        others = [arm for arm in arms if arm != PLAIN]
        budget = figures.get("settings", {}).get("budget", "steps")
        title = f"Each recipe minus {PLAIN}, after as many {budget}: {where}"
        told = [f"{name}: {cards[name]}" for name in others if name in cards]
        return [_block(title, told, PLAIN, others, others, by_arm)]
    found = []
    for whole in (arm for arm in arms if WITHOUT not in arm):
        mine = [arm for arm in arms if arm.startswith(f"{whole}{WITHOUT}")]
        names = [arm.removeprefix(f"{whole}{WITHOUT}") for arm in mine]
        if mine:
            title = f"{whole}: what leaving a part out changes, {where}"
            told = [cards[whole]] if whole in cards else []
            found.append(_block(title, told, whole, mine, names, by_arm))
    return found


def _block(
    title: str,
    cards: list[str],
    against: str,
    arms: list[str],
    names: list[str],
    by_arm: dict[str, Any],
) -> Block:
    levels = {
        task: f"{against} {_plain(row['recall']['value'])}"
        for task, row in by_arm.get(against, {}).items()
    }
    cells = {
        (name, task): row
        for arm, name in zip(arms, names, strict=True)
        for task, row in by_arm[arm].items()
        if any(one in row for one in DIFFERENCES)
    }
    return Block(title, cards, levels, names, cells)


def draw(blocks: list[Block]) -> Figure:
    """One picture of all blocks, one under the other."""
    heights = [*(one.height for one in blocks), LEGEND]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, sum(heights)))
        parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, hspace=0)
        for part, block in zip(parts[:-1], blocks, strict=True):
            _draw_block(part, block)
        _draw_legend(parts[-1], blocks)
    return figure


def _draw_block(part: SubFigure, block: Block) -> None:
    tasks = list(dict.fromkeys(task for _, task in block.cells))
    axes = part.subplots(1, len(tasks), sharex=True, sharey=True, squeeze=False)[0]
    height = block.height
    part.subplots_adjust(LEFT, TICKS / height, RIGHT, 1 - block.head / height, wspace=0.1)
    part.text(0.008, 1 - 0.1 / height, as_figure_text(block.title), fontsize=11, fontweight="bold", va="top")  # fmt: skip
    for line, card in enumerate(block.cards):
        top = 1 - (TITLE + CARD * line) / height
        part.text(0.008, top, as_figure_text(card), fontsize=8.5, color=MUTED, va="top")
    gaps = [difference_of(row) for row in block.cells.values()]
    furthest = 100 * max(abs(gap[end]) for gap in gaps for end in ("low", "high"))
    for axis, task in zip(axes, tasks, strict=True):
        _draw_task(axis, block, task)
        axis.set_xlim(-1.08 * furthest, 1.08 * furthest)
        axis.set_xticks([-_rounded(furthest), 0, _rounded(furthest)])
    names = [textwrap.fill(as_figure_text(one), 18) for one in block.names]
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)


def _draw_task(axis: Axes, block: Block, task: str) -> None:
    axis.axvline(0, color=INK, linewidth=1)
    for place, name in enumerate(block.names):
        row = block.cells.get((name, task))
        if row is None:
            continue
        gap, mark = difference_of(row), mark_of(row)
        axis.plot([100 * gap["low"], 100 * gap["high"]], [place, place], color=mark.colour, linewidth=1.8)  # fmt: skip
        axis.plot(100 * gap["value"], place, **_look(mark))
    axis.set_title(as_figure_text(task), fontsize=9.5, loc="center", pad=17)  # over the level
    axis.text(0.5, 1.02, block.levels.get(task, ""), transform=axis.transAxes, ha="center", va="bottom", fontsize=8.5, color=MUTED)  # fmt: skip
    axis.grid(axis="x", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    axis.tick_params(axis="x", labelsize=8.5)
    axis.spines["left"].set_visible(False)


def _draw_legend(part: SubFigure, blocks: list[Block]) -> None:
    """The marks that are there, and what the axes say."""
    shown = {mark_of(row) for block in blocks for row in block.cells.values()}
    handles = [Line2D([], [], linewidth=1.8, label=mark.words, **_look(mark)) for mark in MARKS if mark in shown]  # fmt: skip
    part.legend(handles=handles, loc="upper left", ncols=3, fontsize=9)
    words = "Across: points (hundredths) of recall@10, or of labels that are right, with their 95 % interval over queries and seeds; left of zero is lower. Each block has a scale of its own."
    part.text(0.01, 0.02, words, fontsize=8.5, color=MUTED, va="bottom")


def _look(mark: Mark) -> dict[str, Any]:
    inside = mark.colour if mark.is_filled else "white"
    return {"marker": mark.shape, "color": mark.colour, "markerfacecolor": inside, "markersize": 6}


def _rounded(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is below it."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return max(step * power for step in (1, 2, 5) if step * power <= value or step == 1)


def _plain(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def read_figures(path: Path) -> dict[str, Any]:
    """The JSON of `benchmarks.recipes`.

    Raises:
        MoonRecError: another file.
    """
    found = read_json(path)
    try:
        if not any(block.cells for block in blocks_of(found)):
            raise ValueError("nothing in it is held against a whole recipe or plain")
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise MoonRecError(
            f"{path}: no figures of benchmarks.recipes ({error}); name a JSON that it wrote"
        ) from None
    return found


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.recipe_pictures",
        description="Draw what each part of a recipe of the MOON family is worth, task by task, beside the paper's own ablation; and the recipes side by side at one budget.",
        example="python -m benchmarks.recipe_pictures benchmarks/results/2026-11-27-recipes-parts-simulated.json --out parts.png",
    )
    parser.add_argument("figures", type=Path, nargs="+", help="JSON that benchmarks.recipes wrote")
    parser.add_argument("--out", type=Path, required=True, help="the picture: PNG, PDF or SVG")
    add_overwrite_option(parser, "the picture")
    options = parser.parse_args(argv)
    check_picture(options.out, options.overwrite, (".png", ".pdf", ".svg"))
    blocks = [block for path in options.figures for block in blocks_of(read_figures(path))]
    save_figure(draw(blocks), options.out, DPI)
    say(f"{len(blocks)} blocks, {sum(len(one.cells) for one in blocks)} intervals: {options.out}")


if __name__ == "__main__":
    sys.exit(run(main))
