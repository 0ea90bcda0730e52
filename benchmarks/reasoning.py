"""What writing attributes before the vector is worth, and what it costs: `representation.reason` beside plain post-training from the same pretrained encoder.

All arms of a seed start from `--start`, and take `--steps` steps of `--batch-size` searches by words and what was purchased after them, at one learning rate:

- `plain`: post-training, words to products with title and picture; products are embedded as ever;
- `contrast alone`: products are embedded behind what is written, which no reward shapes (`policy_weight=0`);
- `joint`: the same with the policy objective beside it;
- `attributes alone`, where `--arms` names it: the policy objective by itself, rewarded for attributes alone, to see what it does to them without contrast.

Measured on what no training saw, pretraining included:
- the searches by words of the test period (`--searches` of them): recall@10 of what was purchased, among all products or `--gallery` of them, those sought included;
- products listed from the cut on: what is written, well formed and right (`--graded` products, greedy), and what roll-outs earn (`--rewarded` products, with the searches that led
  to them), before any arm and after each.
Intervals are over searches or products and seeds, differences are of the same ones. Seconds are of the processor: of a training, and milliseconds a product of writing, which is done
once and offline (`representation.write`), and of embedding behind what is written. What was measured is kept under `--out` and not measured twice.
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
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file, digest_of, read_json, write_json
from moon_rec.outputs import check_output, remove_folder
from moon_rec.progress import progress, say
from moon_rec.seeds import generator
from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from moon_rec.shop.engagement import engagements
from moon_rec.texts import has_text
from representation.encoders.checkpoint import ENCODER, read_about

K = 10
AT_ENDS = 5
"""Steps at either end of a training whose roll-outs' rewards are told."""
ARMS = ("plain", "contrast alone", "joint")
ALONE = "attributes alone"
START = "start"
RECALL = "share of {count:,} test searches by words that find what was purchased among the first {k} of {items:,} products; mean over {seeds} seeds"
SHOWN = ("attribute_validity", "attribute_f1", "held_out_reward")
WRITTEN = (*SHOWN, "held_out_f1", "held_out_success")


def sought(shop: Shop, num_searches: int | None, num_products: int | None) -> tuple[pl.DataFrame, pl.DataFrame]:  # fmt: skip
    """Test searches by words alone with what was purchased after them, and the products that they look through: what they seek and others, both drawn by a fixed seed."""
    by_words = has_text("query_text") & pl.col("query_image").is_null()
    found = shop.in_period(shop.searches, "test").filter(by_words).collect().sort("search_id")
    bought = engagements(shop, "purchased", "test").select("search_id", "item_id").collect()
    found = found.join(bought, on="search_id", how="semi", maintain_order="left")
    order = generator(0, "sought").permutation(found.height)[:num_searches]
    searches = found[np.sort(order)]
    items = shop.items.select("item_id").collect()["item_id"].sort()
    wanted = bought.join(searches, on="search_id", how="semi")["item_id"].unique()
    if num_products is not None:
        others = items.filter(~items.is_in(wanted.implode()))
        more = max(num_products - len(wanted), 0)
        others = others.gather(generator(0, "looked through").permutation(len(others))[:more])
        items = pl.concat([wanted, others])
    return searches, shop.items.filter(pl.col("item_id").is_in(items.implode())).sort("item_id").collect()  # fmt: skip


def made(arm: str, shop: Shop, path: Path, seed: int, options: Any) -> dict[str, Any]:
    """Train an arm's encoder at `path`; gives what its roll-outs earned on the way, where it writes."""
    from representation.posttraining import PosttrainConfig, posttrain
    from representation.reasoning import reason
    from representation.reasoning.train import LOG_FILE

    if arm == "plain":
        alike = {"mixture": {"text->title+image": 1.0}, "own_words_share": 0.0, "learn_temperature": False}  # fmt: skip
        parts = [one for one in options.settings if one.startswith("trained_parts")]
        config = load_config(PosttrainConfig, None, parts, base=_common(seed, options) | alike)
        posttrain(shop, path, config, start=options.start)
        return {}
    reason(shop, path, _config(arm, seed, options), options.start)
    return {"log": read_json(path / LOG_FILE)["log"]}


def _common(seed: int, options: Any) -> dict[str, Any]:
    """Settings that all arms share."""
    return {"steps": options.steps, "batch_size": options.batch_size, "learning_rate": options.learning_rate, "seed": seed, "log_every": 1, "resume_every": 10 * (options.steps > 10)}  # fmt: skip


def _config(arm: str, seed: int, options: Any) -> Any:
    from representation.reasoning import ReasonConfig

    own = {
        "contrast alone": {"policy_weight": 0.0},
        ALONE: {"contrastive_weight": 0.0, "retrieval_weight": 0.0},
    }
    base = _common(seed, options) | own.get(arm, {})
    return load_config(ReasonConfig, None, options.settings, base=base)


def graded(encoder: Any, shop: Shop, options: Any) -> dict[str, list[float]]:
    """What each held-out product has of each figure of `WRITTEN`, the same products each time."""
    from representation.reasoning.grading import WritingGrader
    from representation.reasoning.held_out import HeldOutRewards

    grader = WritingGrader.of(shop, options.graded)
    assert grader is not None, "no product with an attribute is listed from the cut on"
    found = grader.values(encoder)
    rewards = HeldOutRewards.of(shop, _config("joint", 0, options), options.rewarded)
    if rewards is not None:
        found |= rewards.values(encoder)
    return {name: values.tolist() for name, values in found.items()}


def measured(shop: Shop, path: Path, options: Any) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Hits of each search, and milliseconds a product of writing, where the encoder writes, and of embedding; what it writes, graded."""
    from representation.encoder import open_encoder
    from representation.metrics.recall import search_recall
    from representation.reasoning.encoder import ReasoningEncoder
    from representation.reasoning.written import WrittenAttributes, write_answers
    from representation.sets.search_cases import gallery_of, search_cases

    encoder = open_encoder(path)
    found: dict[str, Any] = {"writing": 0.0}
    searches, items = sought(shop, options.searches, options.gallery)
    started = time.process_time()
    if isinstance(encoder, ReasoningEncoder):
        answers = encoder.answers(items, batch_size=64)
        found["writing"] = 1000 * (time.process_time() - started) / items.height
        file = path.with_name(f"{path.name}-written.parquet")
        write_answers(file, items["item_id"].to_list(), answers, encoder.digest, "both")
        found["graded"] = graded(encoder, shop, options)
        encoder = encoder.with_written(WrittenAttributes.open(file, encoder.digest))
        started = time.process_time()
    vectors = encoder.encode_items(items, batch_size=64)
    found["embedding"] = 1000 * (time.process_time() - started) / items.height
    about: dict[str, Any] = {"encoder": encoder.digest, "shop": shop.digest}
    table = EmbeddingTable.from_arrays(items["item_id"].to_numpy(), vectors, kind="items", **about)
    asked = EmbeddingTable.from_arrays(searches["search_id"].to_numpy(), encoder.encode_queries(searches), kind="queries", **about)  # fmt: skip
    gallery = gallery_of(shop, table, "test")
    cases = search_cases(shop, gallery, asked, "test", "purchased")["text"]
    recalled = search_recall(**cases.over(gallery), ks=(K,))
    ids = cases.search_ids[recalled.searches]
    return pl.DataFrame({"search_id": ids, f"hit@{K}": recalled.hits[:, 0]}), found


def started(shop: Shop, options: Any) -> dict[str, Any]:
    """What the encoder that all arms start from writes, graded; from an earlier run where it is there."""
    from representation.reasoning.train import Reasoning

    file = options.out / f"{START}-{_digest(shop, options)}.json"
    if not file.exists():
        say("what is written before any arm")
        encoder = Reasoning(shop, _config("joint", 0, options)).open(options.start)
        write_json(file, graded(encoder, shop, options))
    return read_json(file)


def _digest(shop: Shop, options: Any) -> str:
    """Of all that decides a figure but arm and seed."""
    names = ("steps", "batch_size", "learning_rate", "settings", "searches", "gallery", "graded", "rewarded")  # fmt: skip
    settings = [*(getattr(options, name) for name in names)]
    return digest_of([shop.digest, read_about(options.start), settings])


def cell(arm: str, seed: int, shop: Shop, options: Any) -> dict[str, Any]:
    """What an arm of a seed came to, from an earlier run where it is there; its hits lie beside."""
    name = f"{arm.replace(' ', '-')}-{seed}-{_digest(shop, options)}"
    file, hits = options.out / f"{name}.json", options.out / f"{name}.parquet"
    if not file.exists():
        say(f"seed {seed}: {arm}")
        encoder, seconds = options.out / f"{name}-encoder", options.out / f"{name}-made.json"
        if not seconds.exists():
            if encoder.exists():
                remove_folder(encoder, ENCODER)
            began = time.process_time()
            found = made(arm, shop, encoder, seed, options)
            write_json(seconds, found | {"training": time.process_time() - began})
        of_searches, found = measured(shop, encoder, options)
        with atomic_file(hits) as temporary:
            of_searches.write_parquet(temporary)
        write_json(file, read_json(seconds) | found)
        remove_folder(encoder, ENCODER)
    return read_json(file) | {"hits": pl.read_parquet(hits)}


def summarise(cells: dict[tuple[str, int], dict[str, Any]], before: dict[str, Any], num_items: int) -> list[dict[str, Any]]:  # fmt: skip
    """By arm: recall, its difference to `plain`, what is written before and after, what roll-outs earned, seconds."""
    frames = [
        one["hits"].with_columns(arm=pl.lit(arm), seed=pl.lit(seed), modality=pl.lit("text"))
        for (arm, seed), one in cells.items()
    ]
    hits, rows = pl.concat(frames), []
    by_arm = {arm: hits_by_seed(hits, arm, "text", K) for arm in (*ARMS, ALONE)}
    for arm in (arm for arm in by_arm if by_arm[arm]):
        values = np.stack(list(by_arm[arm].values()))
        about = RECALL.format(count=values.shape[1], k=K, items=num_items, seeds=len(values))
        mine = {seed: one for (name, seed), one in cells.items() if name == arm}
        row: dict[str, Any] = {
            "arm": arm,
            "recall": estimate_over_seeds(values, about).as_dict(),
            "by_seed": values.mean(axis=1).tolist(),
            "seconds": {
                name: float(np.mean([one[name] for one in mine.values()]))
                for name in ("training", "writing", "embedding")
            },
        }
        common = [seed for seed in by_arm[arm] if seed in by_arm["plain"]]
        if arm != "plain" and common:
            gaps = np.stack([by_arm[arm][seed] - by_arm["plain"][seed] for seed in common])
            about = f"recall@{K} of {arm} minus that of plain, same searches, same seeds"
            row["minus plain"] = estimate_over_seeds(gaps, about, (-1.0, 1.0)).as_dict()
        if arm != "plain":
            others = {seed: one for (name, seed), one in cells.items() if name == "contrast alone"}
            row["written"] = _written(mine, before, others if arm != "contrast alone" else {})
            row["roll_outs"] = {str(seed): _at_ends(one["log"]) for seed, one in mine.items()}
        rows.append(row)
    return rows


def _written(
    mine: dict[int, Any], before: dict[str, Any], others: dict[int, Any]
) -> dict[str, Any]:
    """Of each figure: before, after, what was gained, and after against the other arm's; bounds of a reward are those of its default weights."""
    from representation.reasoning import grading, held_out

    definitions = grading.DEFINITIONS | held_out.DEFINITIONS
    found: dict[str, Any] = {}
    for name in (name for name in WRITTEN if name in before):
        about, most = definitions[name], 1.0 + (name == "held_out_reward")
        start = np.array(before[name])
        after = np.stack([one["graded"][name] for _, one in sorted(mine.items())])
        common = sorted(mine.keys() & others.keys())
        gaps = {"gained": after - start}
        if common:
            gaps["minus contrast alone"] = np.stack([np.array(mine[seed]["graded"][name]) - others[seed]["graded"][name] for seed in common])  # fmt: skip
        found[name] = {
            "before": mean_share(start, definition=about, bounds=(0.0, most)).as_dict(),
            "after": estimate_over_seeds(after, about, (0.0, most)).as_dict(),
            "by_seed": after.mean(axis=1).tolist(),
            **{
                what: estimate_over_seeds(values, f"{what}: {about}", (-most, most)).as_dict()
                for what, values in gaps.items()
            },
        }
    return found


def _at_ends(log: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of the first and the last steps of a training."""
    steps = [one for one in log if "reward" in one]
    names = [name for name in ("reward", "valid", "attribute_f1", "retrieval_success", "kl", "groups_that_differ") if name in steps[-1]]  # fmt: skip
    ends = {"first": steps[:AT_ENDS], "last": steps[-AT_ENDS:]}
    return {end: {name: float(np.mean([one[name] for one in part])) for name in names} for end, part in ends.items()}  # fmt: skip


def show(rows: list[dict[str, Any]], title: str) -> None:
    """The table, a row an arm; what is written before -> after, with what was gained."""
    table = Table(title=title)
    for name in ("arm", f"recall@{K} [95 %]", "minus plain", "well formed", "F1 of attributes", "held-out reward", "training, s", "writing, ms", "embedding, ms"):  # fmt: skip
        table.add_column(name)
    for row in rows:
        written = []
        for name in SHOWN:
            one = row.get("written", {}).get(name)
            written.append("" if one is None else f"{one['before']['value']:.3f} -> {one['after']['value']:.3f} ({Estimate(**one['gained'])})")  # fmt: skip
        gap = row.get("minus plain")
        seconds = [f"{value:.1f}" for value in row["seconds"].values()]
        table.add_row(row["arm"], str(Estimate(**row["recall"])), "" if gap is None else str(Estimate(**gap)), *written, *seconds)  # fmt: skip
    table_console().print(table)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    options = _parser().parse_args(argv)
    shop = Shop.open(options.shop)
    check_output(options.out / "reasoning.json", FIGURES, overwrite=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    before = started(shop, options)
    cells = {}
    wanted = [(arm, seed) for seed in options.seeds for arm in options.arms]
    with progress("arms", len(wanted)) as bar:
        for arm, seed in wanted:
            cells[arm, seed] = cell(arm, seed, shop, options)
            bar.advance()
    rows = summarise(cells, before, sought(shop, options.searches, options.gallery)[1].height)
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
    parser.add_argument("--arms", nargs="+", choices=(*ARMS, ALONE), default=list(ARMS))
    parser.add_argument("--graded", type=count, default=200, help="products written about")
    parser.add_argument("--rewarded", type=count, default=96, help="products whose roll-outs are rewarded")  # fmt: skip
    parser.add_argument("--searches", type=count, help="searches to look with; default: all")
    parser.add_argument("--gallery", type=count, help="products to look through; default: all")
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
