"""What each part of the second post-training stage is worth: image-search recall with one part more at a time.

All arms of a seed start from the same encoder (stage 1: broad pairs, `--stage1-steps`) and train `--steps` more at the same learning rate and batch; they differ
in what is added alone. The first arm goes on with stage 1, so that no arm is better for having trained longer:

    stage 1 only -> + purchase pairs -> + curation -> + hard negatives -> + queue -> + circle loss (= `PosttrainConfig.preset("refinement")`)

With `--compare options` each arm has one thing of recipes of 2026 more than the first, which goes on with purchase pairs; arms do not build on each other:

    other answers as positives, negatives above the positive left out (margins 0, .1), the past as the only negatives (MoCo, SCL), a teacher's scores, a teacher's vectors

Intervals (`moon_rec.shares`) are of the variance in a bootstrap that draws searches and seeds anew, arms paired: the same search, the same seed. With three seeds the part of the seeds is
rough, so each seed's own figure stands beside.
"""

import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.table import Table

from benchmarks.cells import Cell, Cells
from benchmarks.chain import describe_machine
from benchmarks.figures_file import FIGURES
from benchmarks.over_seeds import rows_of
from moon_rec.command import Parser, count, run
from moon_rec.console import table_console
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError
from moon_rec.estimate import Estimate
from moon_rec.figure_files import save_figure
from moon_rec.files import write_json
from moon_rec.outputs import PICTURE, OutputKind, atomic_folder, check_output
from moon_rec.palette import BY_MODALITY, GREY
from moon_rec.shop import Shop
from moon_rec.shop.engagement import engagements
from moon_rec.texts import has_text
from moon_rec.vector_checks import TABLE
from representation.posttraining.mixture import TABLE_2

KS = (1, 5, 10, 50)
ADDED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("stage 1 only", ()),
    ("+ purchase pairs", ("engagement",)),
    ("+ curation", ("curation",)),
    (
        "+ hard negatives",
        ("hard_negatives", "hard_negative_kinds", "triplet_weight", "triplet_margin"),
    ),
    (
        "+ queue",
        ("num_negatives", "queue_length", "max_age", "queue_term", "queue_drift", "momentum"),
    ),
    ("+ circle loss", ("loss", "circle_margin", "circle_scale")),
)
"""Arms in order, and the settings that each takes over from the refinement preset."""
PURCHASES = "purchase pairs"
OPTIONS: dict[str, dict[str, Any]] = {
    PURCHASES: {},
    "other answers are positives": {"other_positives": "positives"},
    "none above the positive": {"above_positive_margin": 0.0},
    "none above it by .1": {"above_positive_margin": 0.1},
    "the past alone (MoCo)": {
        "queue_term": "alone",
        "num_negatives": 2048,
        "queue_drift": "kept",
        "momentum": 0.99,
    },
    "a teacher's scores": {"score_distillation": 1.0},
    "a teacher's vectors": {"vector_distillation": 1.0},
}
"""Arms of `--compare options`: what each sets beside purchase pairs. The momentum is lower than MoCo's .999, which a few hundred steps do not outlive."""
GALLERY_MIXTURE = {
    "image->image": 4.0,
    "image->richer-text+image": 8.0,
    "text->richer-text": 8.0,
    "text->richer-text+image": 4.0,
    "title+image->title+image": 2.0,
}
"""For few steps: most queries are pictures (MOON trains on image, text and mixed queries as 12:3:2), and items are mostly shown as the gallery shows them. Words have more than
MOON's share, most of it against texts alone, which costs a quarter of a step with pictures. Ours."""
MIXTURES = {"table2": dict(TABLE_2), "gallery": GALLERY_MIXTURE}
DEFINITION = "share of {count:,} {modality} searches of the {period} period whose top {k} of {items:,} items hold an item purchased after it; mean over {seeds} seeds"


def arms(settings: dict[str, Any]) -> dict[str, Any]:
    """A configuration an arm, each with all that those before it have; the last is the refinement preset with `settings`."""
    from representation.posttraining import PosttrainConfig

    broad = PosttrainConfig.preset("broad").model_copy(update=settings)
    full = PosttrainConfig.preset("refinement").model_copy(update=settings)
    found, current = {}, broad
    for name, fields in ADDED:
        current = current.model_copy(update={field: getattr(full, field) for field in fields})
        found[name] = current
    if current != full:
        different = [
            name
            for name in type(full).model_fields
            if getattr(full, name) != getattr(current, name)
        ]
        raise ConfigError(
            f"no arm adds {', '.join(different)} of the refinement preset; name it in ADDED"
        )
    return found


def options_of(settings: dict[str, Any]) -> dict[str, Any]:
    """A configuration an arm of `--compare options`."""
    from representation.posttraining import PosttrainConfig

    plain = PosttrainConfig.preset("broad", engagement="purchased").model_copy(update=settings)
    return {name: plain.model_copy(update=values) for name, values in OPTIONS.items()}


def names_of(compare: str) -> list[str]:
    """Of the arms, in order; the first is what the others are compared with."""
    return list(OPTIONS) if compare == "options" else [name for name, _ in ADDED]


def measure(shop: Shop, path: Path, period: str) -> pl.DataFrame:
    """Every search of the period against the whole gallery: did its top k hold what was purchased after it."""
    from representation.encoder import ProductEncoder
    from representation.metrics.recall import search_recall
    from representation.sets.search_cases import gallery_of, search_cases

    encoder = ProductEncoder.from_pretrained(path)
    items = shop.items.collect()
    bought = engagements(shop, "purchased", period=period).select("search_id")  # type: ignore[arg-type]
    searches = shop.in_period(shop.searches, period).join(bought, on="search_id", how="semi")  # type: ignore[arg-type]
    searches = searches.filter(
        has_text("query_text") | pl.col("query_image").is_not_null()
    ).collect()
    gallery = gallery_of(
        shop,
        EmbeddingTable.from_arrays(items["item_id"].to_numpy(), encoder.encode_items(items)),
        period,  # type: ignore[arg-type]
    )
    queries = EmbeddingTable.from_arrays(
        searches["search_id"].to_numpy(), encoder.encode_queries(searches)
    )
    frames = []
    for modality, cases in search_cases(shop, gallery, queries, period).items():  # type: ignore[arg-type]
        if not len(cases):
            continue
        result = search_recall(
            cases.queries,
            gallery.vectors,
            cases.relevant,
            KS,
            excluded=cases.excluded,
        )
        hits = {f"hit@{k}": result.hits[:, at] for at, k in enumerate(KS)}
        frame = pl.DataFrame({"search_id": cases.search_ids[result.searches], **hits})
        frames.append(frame.with_columns(modality=pl.lit(modality)))
    return pl.concat(frames).with_columns(num_items=pl.lit(len(gallery)))


def summarise(
    hits: pl.DataFrame, period: str, k: int, compare: str = "parts"
) -> list[dict[str, Any]]:
    """By arm and modality: recall, its difference to the first arm and (of parts) to the arm before over the seeds that both have, and each seed's recall."""
    present, every = set(hits["arm"].unique()), names_of(compare)
    names = [name for name in every if name in present]
    against: dict[str, dict[str, str]] = {}
    for at, name in enumerate(names):
        against[name] = {"minus_first": every[0]} if at else {}
        if at and compare == "parts":
            against[name]["minus_previous"] = names[at - 1]
    num_items = int(hits["num_items"][0])
    rows = []
    for modality in sorted(hits["modality"].unique()):

        def define(count: int, seeds: int, modality: str = modality) -> str:
            kind = {"modality": modality, "period": period, "items": num_items}
            return DEFINITION.format(count=count, k=k, seeds=seeds, **kind)

        rows += rows_of(hits, modality, k, against, define)
    return rows


SHOWN_AS = {"image": "by picture", "text": "by words", "mixed": "by both"}


def draw(path: Path, rows: list[dict[str, Any]], title: str) -> None:
    """Left recall by arm, right its difference to the first, both with intervals; one line a kind of search, and beside each recall those of the single seeds."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["arm"] for row in rows))
    figure = Figure(figsize=(12, 0.5 * len(names) + 2.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for shift, (modality, colour) in enumerate(BY_MODALITY.items()):
        mine = [row for row in rows if row["modality"] == modality]
        for panel, figures in zip(axes, ("recall", "minus_first"), strict=True):
            there = [row for row in mine if figures in row]
            if not there:
                continue
            places = [names.index(row["arm"]) + 0.2 * (shift - 1) for row in there]
            _draw_estimates(
                panel, places, [row[figures] for row in there], colour, SHOWN_AS[modality]
            )
        for row in mine:
            place = names.index(row["arm"]) + 0.2 * (shift - 1) + 0.09
            axes[0].scatter(row["by_seed"], [place] * len(row["by_seed"]), s=6, color=colour)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].set_xlabel(f"recall@{rows[0]['k']} [95 %]; small points: single seeds")
    axes[0].set_xlim(left=0)
    axes[1].set_xlabel("minus the first arm, same searches and seeds [95 %]")
    axes[1].axvline(0, color=GREY, linewidth=0.8)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    figure.suptitle(textwrap.fill(title, 120), x=0.01, ha="left", fontsize=10)
    save_figure(figure, path, dpi=150)


def _draw_estimates(
    panel: Any, places: list[float], found: list[dict[str, Any]], colour: str, label: str
) -> None:
    values = np.array([one["value"] for one in found])
    reaches = np.stack(
        [values - [one["low"] for one in found], [one["high"] for one in found] - values]
    )
    panel.errorbar(values, places, xerr=reaches, fmt="o", capsize=3, color=colour, label=label)


VECTORS = OutputKind(
    "a curation's vectors",
    "items/table.json",
    TABLE.says,
    ("items/table.safetensors", "queries/table.json", "queries/table.safetensors"),
)


def curation_vectors(shop: Shop, stage1: Path) -> Path:
    """What curation measures likeness by, of the encoder that all arms start from: made once for all of them, beside it."""
    from representation.encoder import ProductEncoder
    from representation.posttraining.pairs import logged_pairs
    from representation.posttraining.start_vectors import start_vectors

    folder = stage1.with_name(f"{stage1.name}-vectors")
    if not folder.exists():
        encoder = ProductEncoder.from_pretrained(stage1)
        tables = start_vectors(shop, encoder, logged_pairs(shop, "purchased"))
        with atomic_folder(folder, VECTORS) as temporary:
            for name, table in zip(("items", "queries"), tables, strict=True):
                table.save(temporary / name)
    return folder


def train_cells(shop: Shop, options: Any) -> pl.DataFrame:
    """Hits of all cells: those that are not there yet are trained and measured first; each measured cell is a Parquet file under `--out`."""
    from representation.model.backbone import BackboneConfig
    from representation.posttraining import PosttrainConfig

    def measure_it(encoder: Path) -> pl.DataFrame:
        return measure(shop, encoder, options.period)

    cells = Cells(shop, options.out, options.period, measure_it, options.collect, options.keep)
    backbone, frames = BackboneConfig.preset(options.backbone), []
    for seed in options.seeds:
        given = {
            "backbone": backbone,
            "batch_size": options.batch_size,
            "mixture": MIXTURES[options.mixture],
            "num_threads": options.threads,
            "seed": seed,
        }
        first = seed if options.stage1_seed is None else options.stage1_seed
        broad = PosttrainConfig.preset("broad").model_copy(
            update={**given, "steps": options.stage1_steps, "seed": first}
        )
        stage1, made_of = cells.start(broad, options.start)
        later = {**given, "steps": options.steps, "learning_rate": options.learning_rate}
        chosen = options_of(later) if options.compare == "options" else arms(later)
        for number, (name, config) in enumerate(chosen.items()):
            taught = config.score_distillation > 0 or config.vector_distillation > 0
            is_left_out = bool(options.arms) and number not in options.arms
            if is_left_out or (taught and options.teacher is None):
                continue
            vectors = partial(curation_vectors, shop, stage1) if config.curation else lambda: None
            cell = Cell(name, seed, config, vectors, options.teacher if taught else None)
            found = cells.hits(cell, stage1, made_of)
            frames += [] if found is None else [found]
    if not frames:
        raise ConfigError(
            f"no cell of these settings in {options.out}; leave out --collect to train and measure them"
        )
    return pl.concat(frames)


def show(rows: list[dict[str, Any]], title: str) -> None:
    """The table, a row an arm and kind of search."""
    table = Table(title=title)
    for name in ("arm", "search", "recall [95 %]", "minus the first arm", "minus arm before"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        cells = [row["arm"], row["modality"]]
        for name in ("recall", "minus_first", "minus_previous"):
            cells.append(str(Estimate(**row[name])) if name in row else "")
        table.add_row(*cells)
    table_console().print(table)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.ablation",
        description="Train and measure the second post-training stage part by part; measured cells are kept and never run twice.",
        example="python -m benchmarks.ablation runs/demo/shop --out runs/ablation --backbone demo --batch-size 64 --stage1-steps 300 --steps 100",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for cells and figures")
    parser.add_argument("--start", type=Path, help="a pretrained encoder; default: random weights")
    parser.add_argument(
        "--backbone", choices=("demo", "small"), default="small", help="sizes without --start"
    )
    parser.add_argument(
        "--arms",
        type=int,
        nargs="+",
        choices=range(max(len(ADDED), len(OPTIONS))),
        help="by number, so that several processes can share a seed; a last call with all reads what they left",
    )
    parser.add_argument(
        "--compare",
        choices=("parts", "options"),
        default="parts",
        help="the refinement's parts, one after the other; or options of 2026, each by itself",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        help="vectors of a better encoder, for two arms of --compare options",
    )
    parser.add_argument("--stage1-steps", type=count, default=1000)
    parser.add_argument(
        "--stage1-seed",
        type=int,
        help="one stage 1 for all seeds, which differ in what follows alone; default: each seed its own",
    )
    parser.add_argument("--steps", type=count, default=300, help="of each arm, after stage 1")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of the arms")
    parser.add_argument("--batch-size", type=count, default=128)
    parser.add_argument(
        "--mixture",
        choices=tuple(MIXTURES),
        default="table2",
        help="kinds of pairs: the report's Table 2, or more pictures and items as the gallery shows them",
    )
    parser.add_argument("--threads", type=count, help="torch's threads; default: as they are")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--period", choices=("validation", "test"), default="test", help="whose searches"
    )
    parser.add_argument("--k", type=int, choices=KS, default=10, help="cut of table and picture")
    parser.add_argument(
        "--collect", action="store_true", help="train nothing: show the cells that are there"
    )
    parser.add_argument("--keep", action="store_true", help="keep the encoders of the arms")
    options = parser.parse_args(argv)
    for name, kind in (("ablation.json", FIGURES), ("ablation.png", PICTURE)):
        check_output(options.out / name, kind, overwrite=True)  # what is there is gone on with
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    shop = Shop.open(options.shop)
    hits = train_cells(shop, options)
    rows = [row for k in KS for row in summarise(hits, options.period, k, options.compare)]
    kind = "SIMULATED shop" if shop.is_simulated else "shop"
    title = f"{kind} {shop.name}, {options.period} period, recall@{options.k}: {shop.source}"
    chosen = [row for row in rows if row["k"] == options.k]
    show(chosen, title)
    draw(options.out / "ablation.png", chosen, title)
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in ("shop", "out", "start", "teacher")
    }
    about = {"name": shop.name, "digest": shop.digest, "source": shop.source}
    write_json(
        options.out / "ablation.json",
        {**describe_machine(), "shop": about, "settings": settings, "arms": rows},
    )
    print(f"written to {options.out}/ablation.json and ablation.png")


if __name__ == "__main__":
    sys.exit(run(main))
