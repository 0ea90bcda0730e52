"""What writing attributes before the vector is worth, and what it costs: `representation.reason` beside plain post-training from the same pretrained encoder.

All arms of a seed start from `--start`, and take `--steps` steps of `--batch-size` searches by words and what was purchased after them, at one learning rate:

- `plain`: post-training, words to products with title and picture; products are embedded as ever;
- `contrast alone`: products are embedded behind what is written, which no reward shapes (`policy_weight=0`);
- `joint`: the same with the policy objective beside it.

Measured on the searches by words of the test period, which no training saw: recall@10 of what was purchased, with intervals over searches and seeds, differences to
`plain` paired; on products listed from the cut on, what is written: well formed, right, before and after. Seconds are of the processor, of the whole catalogue:
writing, once and offline (`representation.write`), and embedding it and all searches behind what is written. An arm that was measured is kept under `--out` and not run twice.
"""

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
from moon_rec.command import Parser, count, positive, run
from moon_rec.config import load_config
from moon_rec.console import table_console
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file, digest_of, read_json, write_json
from moon_rec.outputs import check_output, remove_folder
from moon_rec.progress import progress, say
from moon_rec.shop import Shop
from moon_rec.vector_checks import TABLE
from representation.encoders.checkpoint import ENCODER, read_about

K = 10
ARMS = ("plain", "contrast alone", "joint")
RECALL = "share of {count:,} test searches by words that find what was purchased among the first {k} of all products listed by then; mean over {seeds} seeds"


def made(arm: str, shop: Shop, path: Path, seed: int, options: Any) -> dict[str, Any]:
    """Train an arm's encoder at `path`; gives its grades before and after, where it writes."""
    from representation.posttraining import PosttrainConfig, posttrain
    from representation.reasoning import ReasonConfig, reason
    from representation.reasoning.grading import WritingGrader
    from representation.reasoning.train import LOG_FILE

    common = {"steps": options.steps, "batch_size": options.batch_size, "learning_rate": options.learning_rate, "seed": seed}  # fmt: skip
    if arm == "plain":
        alike = {"mixture": {"text->title+image": 1.0}, "own_words_share": 0.0, "learn_temperature": False}  # fmt: skip
        posttrain(shop, path, PosttrainConfig(**common, **alike), start=options.start)
        return {}
    policy = {"policy_weight": 0.0} if arm == "contrast alone" else {}
    config = load_config(ReasonConfig, None, options.settings, base=common | policy)
    grader = WritingGrader.of(shop, options.graded)
    reason(shop, path, config, options.start, grade=grader)
    log = read_json(path / LOG_FILE)
    return {"grades": log.get("grades", []), "log": log["log"]}


def measured(shop: Shop, encoder_path: Path, tables: Path) -> tuple[pl.DataFrame, dict[str, float]]:
    """Hits of each test search by words, and the seconds of the processor that writing of all products, where the encoder writes, and embedding all products and searches took."""
    from representation.embed import embed_shop
    from representation.encoder import open_encoder
    from representation.metrics.recall import search_recall
    from representation.reasoning.encoder import ReasoningEncoder
    from representation.reasoning.written import WrittenAttributes
    from representation.sets.search_cases import gallery_of, search_cases
    from representation.write import write_shop

    encoder, seconds = open_encoder(encoder_path), {"seconds_of_writing": 0.0}
    started = time.process_time()
    if isinstance(encoder, ReasoningEncoder):
        file = tables.with_name(f"{tables.name}-written.parquet")
        write_shop(encoder, shop, file)
        seconds["seconds_of_writing"] = time.process_time() - started
        encoder = encoder.with_written(WrittenAttributes.open(file, encoder.digest))
        started = time.process_time()
    items, queries = embed_shop(encoder, shop, tables)
    seconds["seconds_of_embedding"] = time.process_time() - started
    gallery = gallery_of(shop, items, "test")
    cases = search_cases(shop, gallery, queries, "test", "purchased")["text"]
    found = search_recall(**cases.over(gallery), ks=(K,))
    ids = cases.search_ids[found.searches]
    return pl.DataFrame({"search_id": ids, f"hit@{K}": found.hits[:, 0]}), seconds


def cell(arm: str, seed: int, shop: Shop, options: Any) -> dict[str, Any]:
    """What an arm of a seed came to, from an earlier run where it is there; its hits lie beside."""
    start = read_about(options.start)
    settings = ["written beforehand", options.steps, options.batch_size, options.learning_rate, options.graded, options.settings]  # fmt: skip
    name = f"{arm.replace(' ', '-')}-{seed}-{digest_of([shop.digest, start, settings])}"
    file, hits = options.out / f"{name}.json", options.out / f"{name}.parquet"
    if not file.exists():
        say(f"seed {seed}: {arm}")
        encoder, tables = options.out / f"{name}-encoder", options.out / f"{name}-tables"
        for left, kind in ((encoder, ENCODER), (tables / "items", TABLE), (tables / "queries", TABLE)):  # fmt: skip
            if left.exists():
                remove_folder(left, kind)
        began = time.process_time()
        found = made(arm, shop, encoder, seed, options)
        found["seconds_of_training"] = time.process_time() - began
        of_searches, seconds = measured(shop, encoder, tables)
        found |= seconds
        with atomic_file(hits) as temporary:
            of_searches.write_parquet(temporary)
        write_json(file, found)
    return read_json(file) | {"hits": pl.read_parquet(hits)}


def summarise(cells: dict[tuple[str, int], dict[str, Any]], num_items: int) -> list[dict[str, Any]]:
    """By arm: recall, its difference to `plain`, what is written before and after, seconds."""
    frames = [
        one["hits"].with_columns(arm=pl.lit(arm), seed=pl.lit(seed), modality=pl.lit("text"))
        for (arm, seed), one in cells.items()
    ]
    hits, rows = pl.concat(frames), []
    by_arm = {arm: hits_by_seed(hits, arm, "text", K) for arm in ARMS}
    for arm in (arm for arm in ARMS if by_arm[arm]):
        values = np.stack(list(by_arm[arm].values()))
        about = RECALL.format(count=values.shape[1], k=K, seeds=len(values)) + f" ({num_items:,} products)"  # fmt: skip
        mine = [one for (name, _), one in cells.items() if name == arm]
        row: dict[str, Any] = {
            "arm": arm,
            "recall": estimate_over_seeds(values, about).as_dict(),
            "by_seed": values.mean(axis=1).tolist(),
            "seconds_of_training": float(np.mean([one["seconds_of_training"] for one in mine])),
            "seconds_of_writing": float(np.mean([one["seconds_of_writing"] for one in mine])),
            "seconds_of_embedding": float(np.mean([one["seconds_of_embedding"] for one in mine])),
            "grades": [one["grades"] for one in mine if one.get("grades")],
        }
        common = [seed for seed in by_arm[arm] if seed in by_arm["plain"]]
        if arm != "plain" and common:
            gaps = np.stack([by_arm[arm][seed] - by_arm["plain"][seed] for seed in common])
            about = f"recall@{K} of {arm} minus that of plain, same searches, same seeds"
            row["minus plain"] = estimate_over_seeds(gaps, about, (-1.0, 1.0)).as_dict()
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]], title: str) -> None:
    """The table, a row an arm; what is written is the mean over seeds, before -> after."""
    table = Table(title=title)
    for name in ("arm", f"recall@{K} [95 %]", "minus plain", "well formed", "F1 of attributes", "training, s", "writing, s", "embedding, s"):  # fmt: skip
        table.add_column(name, no_wrap=True)
    for row in rows:
        written = [
            " -> ".join(
                f"{np.mean([one[at][name] for one in row['grades']]):.3f}" for at in (0, -1)
            )
            if row["grades"]
            else ""
            for name in ("attribute_validity", "attribute_f1")
        ]
        gap = row.get("minus plain")
        kinds = ("seconds_of_training", "seconds_of_writing", "seconds_of_embedding")
        seconds = [f"{row[name]:.1f}" for name in kinds]
        table.add_row(row["arm"], str(Estimate(**row["recall"])), "" if gap is None else str(Estimate(**gap)), *written, *seconds)  # fmt: skip
    table_console().print(table)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    options = _parser().parse_args(argv)
    shop = Shop.open(options.shop)
    check_output(options.out / "reasoning.json", FIGURES, overwrite=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    cells = {}
    wanted = [(arm, seed) for seed in options.seeds for arm in ARMS]
    with progress("arms", len(wanted)) as bar:
        for arm, seed in wanted:
            cells[arm, seed] = cell(arm, seed, shop, options)
            bar.advance()
    rows = summarise(cells, shop.items.select(pl.len()).collect().item())
    kind = "SIMULATED shop" if shop.is_simulated else "shop"
    show(rows, f"{kind} {shop.name}: {shop.source}")
    given = {name: str(value) for name, value in vars(options).items() if name != "out"}
    about = {"shop": {"name": shop.name, "digest": shop.digest, "source": shop.source}}
    write_json(
        options.out / "reasoning.json",
        {**describe_machine(), **about, "settings": given, "rows": rows},
    )
    print(f"written to {options.out}/reasoning.json")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.reasoning",
        description="What writing attributes before the vector is worth and costs: plain post-training, contrast behind what is written, and that with the policy objective.",
        example="python -m benchmarks.reasoning runs/demo/shop --start runs/pretrained --out runs/reasoning --steps 40 --seeds 0",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--start", type=Path, required=True, help="a pretrained encoder's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for cells and figures")
    parser.add_argument("--steps", type=count, default=100, help="of each training")
    parser.add_argument("--batch-size", type=count, default=32)
    parser.add_argument("--learning-rate", type=positive, default=3e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--graded", type=count, default=200, help="products written about")
    parser.add_argument("--threads", type=count, help="torch's threads; default: as they are")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of representation.reason",
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
