"""What the first stage is worth: the same post-training from random weights, from real weights, and from either after pretraining, by how many pairs the log has.

Measured on products held out of all training, those listed from the shop's cut on, among all products with a picture:
- text to picture: a product's title seeks its own picture;
- picture to picture: a photo of the product (cluttered, cropped, rotated, re-lit; rendered by `own_photo_recall` from a seed stream of its own) seeks its catalogue picture.

Notable choices
- Random weights are drawn anew for the very architecture of `--start`; tokenizer, picture size and prompt are its own. The projector is scaled as the real one's is, and batch
  normalisation has the statistics that the drawn weights make of a few catalogue pictures, or a deep random tower would say the same of all pictures. `real tower` keeps the real vision
  tower, and draws language model and projector: what the tower alone brings. Without `--start` all begins from the random `--backbone`, and there are no real weights.
- Where both trainings leave the tower as it is, what it makes of a picture is computed once for all cells (`--out`/features).
- What comes before post-training may be several trainings (`--pretraining`, once each), as LLaVA trains its projector first. It is made once for a seed and a kind of start; all shares of the pairs go on from it. Shares are nested (`pairs_share`); share 0 is no post-training.
- A cell that was measured is a Parquet file under `--out`, and is never run twice: a run that was stopped goes on with the same command, and several processes may share
  one folder by `--seeds` or `--starts`; a last call with all reads what they left (`--collect` trains nothing).
- Intervals are of the variance in a bootstrap that draws searches and seeds anew; differences are paired, the same search and the same seed. Three seeds tell their
  part roughly, so each seed's own figure stands in the JSON.
"""

import gc
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.table import Table

from benchmarks.chain import describe_machine
from benchmarks.figures_file import FIGURES
from benchmarks.over_seeds import estimate_over_seeds, hits_by_seed
from benchmarks.own_photo_recall import KS
from benchmarks.stage_one_searches import Searches, held_out_searches, measure
from benchmarks.stage_one_trainings import Cell, Trainings
from moon_rec.command import Parser, count, run
from moon_rec.config import load_config
from moon_rec.console import table_console
from moon_rec.errors import ConfigError
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file, digest_of, write_json
from moon_rec.outputs import check_output
from moon_rec.progress import progress, say
from moon_rec.shop import Shop

K = 10
STARTS = ("random", "real tower", "real", "random + pretrained", "real + pretrained")
AGAINST = {
    "real tower": ("random",),
    "real": ("random", "real tower"),
    "random + pretrained": ("random",),
    "real + pretrained": ("random", "real tower", "real"),
}
DEFINITIONS = {
    "text": "share of {count:,} titles of products held out of all training whose own picture is among the top {k} of {items:,} pictures; mean over {seeds} seeds",
    "picture": "share of {count:,} photos rendered of products held out of all training whose own catalogue picture is among the top {k} of {items:,}; mean over {seeds} seeds",
}
POSTTRAINING = {"text->image": 0.5, "image->image": 0.5}
"""What is measured is what is trained: a title, or words, to a picture, and a picture to one."""


def cells_of(options: Any) -> list[Cell]:
    """All cells asked for, those of a seed together."""
    return [
        Cell(start, share, seed)
        for seed in options.seeds
        for start in options.starts
        for share in options.shares
    ]


def collected(
    trainings: Trainings, cells: list[Cell], searches: Searches, options: Any
) -> pl.DataFrame:
    """Hits of all cells that are there, those that are missing trained and measured first unless `--collect`."""
    frames = []
    sought = searches.gallery["item_id"].to_list()
    asked = digest_of([searches.items.tolist(), sought, options.search_seed])
    with progress("cells", len(cells)) as bar:
        for cell in cells:
            file = options.out / f"{trainings.name(cell)}-{asked}.parquet"
            if not file.exists() and not options.collect:
                say(f"seed {cell.seed}: {cell.start}, {cell.share:.0%} of the pairs")
                started = time.monotonic()
                path = trainings.made(cell)
                hits = measure(path, searches, options.search_seed, trainings.features)
                seconds = pl.lit(time.monotonic() - started)
                with atomic_file(file) as temporary:
                    hits.with_columns(seconds=seconds).write_parquet(temporary)
                trainings.done(cell)
                gc.collect()  # what a training held hangs together in circles
            if file.exists():
                arm = pl.lit(arm_of(cell.start, cell.share))
                frames.append(pl.read_parquet(file).with_columns(arm=arm, seed=pl.lit(cell.seed)))
            bar.advance()
    if not frames:
        raise ConfigError(f"no cell of these settings in {options.out}; leave out --collect")
    return pl.concat(frames)


def arm_of(start: str, share: float) -> str:
    """A start and a share as one name."""
    return f"{start} at {share:g}"


def summarise(
    hits: pl.DataFrame, cells: list[Cell], num_items: int, k: int = K
) -> list[dict[str, Any]]:
    """By kind of search, share and start: recall@`k` and its differences to the starts of `AGAINST`, over the seeds that both have."""
    rows = []
    kinds = list(dict.fromkeys((cell.share, cell.start) for cell in cells))
    for modality in DEFINITIONS:
        for share, start in kinds:
            mine = hits_by_seed(hits, arm_of(start, share), modality, k)
            if not mine:
                continue
            values = np.stack(list(mine.values()))
            about = DEFINITIONS[modality].format(
                count=values.shape[1], k=k, items=num_items, seeds=len(values)
            )
            row: dict[str, Any] = {
                "search": modality,
                "share": share,
                "start": start,
                "recall": estimate_over_seeds(values, about).as_dict(),
                "by_seed": values.mean(axis=1).tolist(),
            }
            for other in AGAINST.get(start, ()):
                theirs = hits_by_seed(hits, arm_of(other, share), modality, k)
                common = [seed for seed in mine if seed in theirs]
                if common:
                    gaps = np.stack([mine[seed] - theirs[seed] for seed in common])
                    about = (
                        f"recall@{k} of {start} minus that of {other}, same searches, same seeds"
                    )
                    row[f"minus {other}"] = estimate_over_seeds(gaps, about, (-1.0, 1.0)).as_dict()
            rows.append(row)
    return rows


def show(rows: list[dict[str, Any]], title: str) -> None:
    """The table, a row a start, share and kind of search; further differences are in the figures' file."""
    table = Table(title=title)
    columns = (f"recall@{K} [95 %]", "minus random", "minus real")
    for name in ("search", "pairs", "start", *columns):
        table.add_column(name, no_wrap=True)
    for row in rows:
        found = [row["recall"], *(row.get(name) for name in columns[1:])]
        shown = ["" if one is None else str(Estimate(**one)) for one in found]
        table.add_row(row["search"], f"{row['share']:.0%}", row["start"], *shown)
    table_console().print(table)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    options = _parser().parse_args(argv)
    options.pretrainings = options.pretrainings or [[]]
    starts = [one for one in STARTS if options.start is not None or "real" not in one]
    options.starts = [one for one in options.starts or starts if one in starts]
    if not options.starts:
        raise ConfigError("real weights need --start, an encoder's folder")
    shop = Shop.open(options.shop)
    check_output(options.out / "stage_one.json", FIGURES, overwrite=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    pretrainings, posttraining = _settings(options)
    searches = held_out_searches(
        shop, options.searches, options.search_seed, options.gallery, options.validation
    )
    trainings = Trainings(
        shop,
        options.out,
        options.start,
        pretrainings,
        posttraining,
        options.keep,
        options.graded,
        _rates(options.rates),
    )
    cells = cells_of(options)
    hits = collected(trainings, cells, searches, options)
    rows = summarise(hits, cells, searches.gallery.height)
    kind = "SIMULATED shop" if shop.is_simulated else "shop"
    show(rows, f"{kind} {shop.name}, products listed from its cut on: {shop.source}")
    given = {name: str(value) for name, value in vars(options).items() if name != "out"}
    seconds = hits.group_by("arm", "seed").agg(pl.col("seconds").first())["seconds"].sum()
    write_json(
        options.out / "stage_one.json",
        {
            **describe_machine(),
            "shop": {"name": shop.name, "digest": shop.digest, "source": shop.source},
            "settings": given,
            "pretrainings": [one.model_dump(mode="json") for one in pretrainings],
            "posttraining": posttraining.model_dump(mode="json"),
            "seconds_of_cells": seconds,
            "rows": rows,
            "rows_at_other_cuts": {
                str(k): summarise(hits, cells, searches.gallery.height, k) for k in KS if k != K
            },
        },
    )
    print(f"{len(cells)} cells, {seconds / 60:.0f} minutes of them; written to {options.out}/stage_one.json")  # fmt: skip


def _settings(options: Any) -> tuple[list[Any], Any]:
    """Settings of the pretrainings and of post-training, the options' in them."""
    from representation.model.backbone import BackboneConfig
    from representation.posttraining import PosttrainConfig
    from representation.pretraining import PretrainConfig

    backbone = {} if options.start is not None else {"backbone": BackboneConfig.preset(options.backbone).changed()}  # fmt: skip
    common = {"batch_size": options.batch_size, "learning_rate": options.learning_rate, **backbone}
    if options.threads is not None:
        common["num_threads"] = options.threads
    posttraining = {**common, "steps": options.steps, "pairs": options.pairs, "mixture": POSTTRAINING}  # fmt: skip
    return (
        [load_config(PretrainConfig, None, one, base=common) for one in options.pretrainings],
        load_config(PosttrainConfig, None, options.settings, base=posttraining),
    )


def _rates(given: list[str]) -> dict[str, float]:
    """Rates by start, as `--rate` names them."""
    rates = {}
    for one in given:
        start, _, rate = one.rpartition("=")
        try:
            rates[start] = float(rate)
        except ValueError:
            rates[start] = 0.0
        if start not in STARTS or not 0 < rates[start] <= 1:
            raise ConfigError(
                f"--rate {one}: wanted START=RATE, a rate above 0 and up to 1, and a start of {', '.join(STARTS)}"
            )
    return rates


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.stage_one",
        description="Post-train from random weights, real weights, and either after pretraining, at shares of the pairs; measured cells are kept and never run twice.",
        example="python -m benchmarks.stage_one runs/demo/shop --out runs/stage_one --backbone demo --steps 60 --seeds 0",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for cells and figures")
    parser.add_argument(
        "--start",
        type=Path,
        help="an encoder with real weights, such as one that representation.compose made; default: random weights alone",
    )
    parser.add_argument(
        "--backbone", choices=("demo", "small"), default="small", help="sizes without --start"
    )
    parser.add_argument("--starts", nargs="+", choices=STARTS, help="default: all that can be had")
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        default=[0.01, 0.1, 1.0],
        help="of the pairs; 0: no post-training",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--pairs",
        choices=("log", "catalogue"),
        default="log",
        help="of searches, or each product its own query",
    )
    parser.add_argument("--steps", type=count, default=300, help="of each post-training")
    parser.add_argument(
        "--pretraining",
        dest="pretrainings",
        nargs="+",
        action="append",
        metavar="NAME=VALUE",
        help="settings of a pretraining; given again, of another one that goes on from it; default: representation.pretrain's own",
    )
    parser.add_argument("--batch-size", type=count, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--rate",
        dest="rates",
        action="append",
        default=[],
        metavar="START=RATE",
        help="learning rate of post-training from one of the starts, in place of --learning-rate",
    )
    parser.add_argument(
        "--searches", type=count, default=1000, help="most products held out that are asked for"
    )
    parser.add_argument(
        "--gallery",
        type=count,
        metavar="PRODUCTS",
        help="how many products are searched among, those sought and others drawn; default: all",
    )
    parser.add_argument(
        "--graded",
        type=count,
        default=0,
        metavar="PRODUCTS",
        help="grade the answers of pretraining on so many products held out; takes longer than short pretrainings do",
    )
    parser.add_argument(
        "--search-seed", type=int, default=0, help="draws the products held out and their photos"
    )
    parser.add_argument("--threads", type=count, help="torch's threads; default: as they are")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of post-training",
    )
    parser.add_argument(
        "--validation",
        action="store_true",
        help="seek other products held out than those that are measured: to choose settings by",
    )
    parser.add_argument(
        "--collect", action="store_true", help="train nothing: show the cells that are there"
    )
    parser.add_argument("--keep", action="store_true", help="keep the encoders of the cells")
    return parser  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main))
