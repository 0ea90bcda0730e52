"""Three scaling studies and a study of many encoders, on any shop: tokens, number of negatives, length of histories; recall and AUC of each.

The MOON report names these three axes and prints no curve of them (papers.md 1.9). Here each has six points over about two decades and three seeds:

    tokens      5 to 480 steps of post-training, each a training of its own whose learning rate falls to its end (a checkpoint in the middle of a longer one has not come
                to rest, and lies below the curve)
    negatives   1 to 300 a query, 120 steps; beyond the batch's 95 they come from the queue
    histories   the newest 1 to 300 behaviours read by the ranker, on one encoder; on a shop whose users have that many (`--long-shop`)

The study of many encoders takes those of the first seed, further trainings that differ in loss, pairs, negatives, rate and stage, random weights, vectors brought from
elsewhere (HOG and colours, MiniLM), a mixture and two widths: about 27 encoders on 23 paths.

Every step is kept and taken up again. `train` makes the encoders, `studies` runs the studies and their reports, `laws` fits and writes the figures.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.chain import describe_machine
from benchmarks.hog_colour import BASELINES, features_of
from benchmarks.search_baselines import minilm
from exchange_rate.evidence.records import read_study, table_of
from exchange_rate.laws.analysis import analyse_law
from exchange_rate.study.comparison import compare_rankers
from moon_rec.command import Parser, run
from moon_rec.errors import MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.tracking import Tracker

STEPS = (5, 12, 30, 76, 190, 480)
NEGATIVES = (1, 3, 9, 29, 95, 300)
HISTORIES = (1, 3, 10, 30, 100, 300)
SEEDS = (0, 1, 2)
BATCH = 96
MIXTURE = (
    'mixture={"image->image" = 0.35, "image->title+image" = 0.35, "text->title+image" = 0.15, '
    '"title+image->title+image" = 0.15}'
)
BACKBONE = (
    *("backbone.patch_size=16", "backbone.vision_dim=96", "backbone.vision_layers=3"),
    *("backbone.vision_heads=3", "backbone.vision_mlp_dim=256", "backbone.text_dim=64"),
    *("backbone.text_layers=2", "backbone.text_heads=2", "backbone.text_mlp_dim=128"),
    "backbone.vocabulary_size=2000",
)
"""The demo's backbone: half a million weights, from random ones."""
TRAINING = (
    *(f"batch_size={BATCH}", "learning_rate=2e-3", "warmup_share=0.05", "final_rate_share=0.02"),
    "num_threads=1",
)
OTHERS = {
    "circle": (MIXTURE, "loss=circle"),
    "images-only": ('mixture={"image->image" = 1.0}',),
    "words-only": ('mixture={"text->title+image" = 1.0}',),
    "hard-negatives": (MIXTURE, "hard_negatives=1"),
    "report-mixture": (),
    "slow-rate": (MIXTURE, "learning_rate=5e-4"),
}
"""Trainings of 120 steps that differ in one thing."""
END = f"tokens-{STEPS[-1]:04d}-seed0"
"""The encoder that widths, the mixture and the study of histories take."""
BROUGHT_DIM = 128


def trainings(seed: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names and settings of one seed's post-trainings."""
    for steps in STEPS:
        yield f"tokens-{steps:04d}-seed{seed}", (f"steps={steps}", MIXTURE, f"seed={seed}")
    for negatives in NEGATIVES:
        settings = ("steps=120", MIXTURE, f"seed={seed}", f"num_negatives={negatives}")
        yield f"negatives-{negatives:03d}-seed{seed}", settings
    for name, settings in OTHERS.items() if seed == SEEDS[0] else ():
        yield name, ("steps=120", f"seed={seed}", *settings)


def train(shop: Path, out: Path) -> None:
    """Train what is not there yet, the first seed's first."""
    encoders = out / "encoders"
    encoders.mkdir(parents=True, exist_ok=True)
    # a drawn product stands on no white ground: an altered view of its own picture would be known by its ground
    own = ("own_picture_share=0",) if "drawn" in Shop.open(shop).name else ()
    for seed in SEEDS:
        if seed == SEEDS[0]:
            settings = ("steps=40", "batch_size=64", "num_threads=1", *BACKBONE)
            _train("representation.pretrain", shop, encoders / "pretrained", settings)
            start = ("--start", str(encoders / "pretrained"))
            settings = (*TRAINING, *own, "steps=120", f"seed={seed}", MIXTURE)
            _train("representation.posttrain", shop, encoders / "pretrained-posttrained", settings, start)  # fmt: skip
        for name, settings in trainings(seed):
            pictures = () if name == "words-only" else own
            all_settings = (*TRAINING, *pictures, *BACKBONE, *settings)
            _train("representation.posttrain", shop, encoders / name, all_settings)
    bring(shop, out / "brought")


def _train(module: str, shop: Path, out: Path, settings: tuple[str, ...], start: tuple[str, ...] = ()) -> None:  # fmt: skip
    if out.exists():
        return
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", module, str(shop), "--out", str(out), *start, *words]
    say(f"train {out.name}")
    if subprocess.run(command, check=False).returncode:
        raise MoonRecError(f"{module} for {out} failed; its error stands above")


def bring(shop: Path, out: Path) -> None:
    """HOG and colours of all pictures, on the first principal axes of the items', as files of vectors."""
    if (out / "searches.parquet").exists():
        return
    opened = Shop.open(shop)
    out.mkdir(parents=True, exist_ok=True)
    columns = BASELINES["HOG and colour (plain)"]
    axes = None
    for name, key, picture in (
        ("items", "item_id", "image"),
        ("searches", "search_id", "query_image"),
    ):
        with_one = getattr(opened, name).filter(pl.col(picture).is_not_null())
        ids = with_one.select(key).collect()[key]
        found = features_of(_pictures(with_one, key, picture), len(ids), f"HOG of {name}", 1)
        found = found[:, columns]
        if axes is None:
            axes = np.linalg.svd(found, full_matrices=False)[2][:BROUGHT_DIM].T
        vectors = pl.Series((found @ axes).astype(np.float32), dtype=pl.Array(pl.Float32, BROUGHT_DIM))  # fmt: skip
        pl.DataFrame({key: ids, "vector": vectors}).write_parquet(out / f"{name}.parquet")


def _pictures(frame: pl.LazyFrame, key: str, picture: str) -> Iterator[tuple[str, bytes]]:
    batches = frame.select(key, picture).collect_batches(maintain_order=True, chunk_size=1024)
    for batch in batches:
        for one, data in batch.iter_rows():
            yield f"{picture} of {key} {one}", data


def plans(out: Path) -> dict[str, str]:
    """The plans by name, as TOML."""
    folder = out / "encoders"
    first = [name for name, _ in trainings(SEEDS[0])]
    own = [*first, "pretrained-posttrained"]
    encoders = [_entry("random weights", random=True)]
    encoders.append(_entry("pretrained", folder=folder / "pretrained", trained=False))
    for name in own:
        widths = {"widths": [16, 32]} if name == END else {}
        encoders.append(_entry(name, folder=folder / name, **widths))
    brought = {part: out / "brought" / f"{part}.parquet" for part in ("items", "searches")}
    encoders.append(_entry("HOG and colours", **brought))
    encoders.append(_entry("MiniLM", folder=minilm()))
    mixture = {"HOG and colours": 0.5, END: 0.5}
    encoders.append(_entry("HOG and post-trained", mixture=mixture))
    later = [name for seed in SEEDS[1:] for name, _ in trainings(seed)]
    ranker = '[[rankers]]\nranker = { content = "cube", epochs = 2 }\n'
    histories = "".join(
        f'[[rankers]]\nname = "history of {length}"\nranker = {{ content = "cube", epochs = 2 }}\nfeatures = {{ history_length = {length} }}\n\n'
        for length in HISTORIES
    )
    one = _entry(END, folder=folder / END)
    return {
        "encoders": f'name = "encoders"\nnum_seeds = {len(SEEDS)}\n\n{"".join(encoders)}{ranker}',
        "seeds": 'name = "further seeds"\nnum_seeds = 1\npermuted_encoders = []\n\n'
        + "".join(_entry(name, folder=folder / name) for name in later)
        + ranker,
        "histories": f'name = "histories"\nnum_seeds = {len(SEEDS)}\n\n{one}{histories}',
    }


def _entry(name: str, **settings: Any) -> str:
    lines = [f"{key} = {_toml(value)}" for key, value in {"name": name, **settings}.items()]
    return "[[encoders]]\n" + "\n".join(lines) + "\n\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {one}" for key, one in value.items()) + " }"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def run_studies(shop: Path, long_shop: Path, out: Path, names: list[str], workers: int) -> None:
    """Run the studies that are named; finished cells stay."""
    for name in names:
        plan = out / f"{name}.toml"
        plan.write_text(plans(out)[name], encoding="utf-8")
        where = long_shop if name == "histories" else shop
        command = [sys.executable, "-m", "exchange_rate.study", str(where), "--plan", str(plan)]
        command += ["--out", str(out / "studies" / name), "--workers", str(workers)]
        if subprocess.run(command, check=False).returncode:
            raise MoonRecError(f"study {name} failed; its error stands above")


def gather(out: Path) -> pl.DataFrame:
    """One row an encoder (its rankers' mean AUC), or a history's ranker: axis, x, seed, recall, auc, gain over the baseline of equal features."""
    rows = []
    there = [name for name in plans(out) if (out / "studies" / name / "mlflow.db").exists()]
    say(f"points of: {', '.join(there)}; --parts studies runs the others")
    for name in (one for one in there if one != "histories"):
        table, baseline = _table(out / "studies" / name)
        means = table.group_by("encoder", maintain_order=True).agg(pl.col("auc", RECALL).mean())
        for row in means.iter_rows(named=True):
            axis, _, rest = row["encoder"].partition("-")
            if axis not in ("tokens", "negatives") or " at width " in rest:
                continue
            value, seed = rest.split("-seed")
            x = _tokens(out / "encoders" / row["encoder"]) if axis == "tokens" else int(value)
            gain = row["auc"] - float(baseline["auc"].mean())  # type: ignore[arg-type]
            rows.append((axis, value, float(x), seed, row[RECALL], row["auc"], gain))
    if "histories" not in there:
        return pl.DataFrame(rows, schema=POINTS, orient="row")
    table, baseline = _table(out / "studies" / "histories")
    for row in table.iter_rows(named=True):
        own = baseline.filter((pl.col("ranker") == row["ranker"]) & (pl.col("seed") == row["seed"]))
        x, gain = float(row["ranker"].rsplit(" ", 1)[1]), row["auc"] - own["auc"][0]
        rows.append(("histories", f"{x:.0f}", x, str(row["seed"]), None, row["auc"], gain))
    return pl.DataFrame(rows, schema=POINTS, orient="row")


def between_histories(out: Path) -> dict[str, dict[str, Any]]:
    """AUC of each length of histories minus that of the next shorter one, the same encoder, paired over users and seeds."""
    folder = out / "studies" / "histories"
    if not (folder / "mlflow.db").exists():
        return {}
    with Tracker(f"sqlite:///{folder / 'mlflow.db'}") as tracker:
        study = read_study(tracker)
    table = table_of(study).filter(pl.col("role") == "content").sort("seed")
    scores: dict[int, list[pl.DataFrame]] = {}
    for ranker, key in table.select("ranker", "run").iter_rows():
        cell = folder / "cells" / f"ranker-{study.runs[key]['key']}"
        length = int(ranker.rsplit(" ", 1)[1])
        scores.setdefault(length, []).append(pl.read_parquet(cell / "scores.parquet"))
    lengths = sorted(scores)
    found = {}
    for short, long in itertools.pairwise(lengths):
        names = f"history of {short}", f"history of {long}"
        gain = compare_rankers(scores[short], scores[long], None, *names)["auc_gain"]
        print(f"histories, {short} to {long}: AUC {gain}")
        found[f"{short} to {long}"] = gain.as_dict()
    return found


RECALL = "image_search_recall@10"
POINTS = {
    "axis": pl.String,
    "point": pl.String,
    "x": pl.Float64,
    "seed": pl.String,
    "recall": pl.Float64,
    "auc": pl.Float64,
    "gain": pl.Float64,
}


def _table(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Runs of rankers on vectors, and of baselines."""
    with Tracker(f"sqlite:///{folder / 'mlflow.db'}") as tracker:
        table = table_of(read_study(tracker))
    return table.filter(pl.col("role") == "content"), table.filter(pl.col("role") == "baseline")


def _tokens(encoder: Path) -> float:
    return float(read_json(encoder / "posttraining_log.json")["num_tokens"])


def laws(out: Path, result: Path | None) -> None:
    """Fit every axis, print what is known of it, and write the points and the laws."""
    points = gather(out)
    points.write_csv(out / "points.csv")
    found: dict[str, Any] = {}
    for axis in ("tokens", "negatives", "histories"):
        own = points.filter(pl.col("axis") == axis).sort("x", "seed")
        for y in ("recall", "auc", "gain"):
            measured = own.filter(pl.col(y).is_not_null())
            if measured.is_empty():
                continue
            # tokens of one number of steps differ by their seed's queries: their mean is the point
            measured = measured.with_columns(pl.col("x").mean().over("point"))
            x = measured["x"]
            law = analyse_law(x.to_numpy(), measured[y].to_numpy(), average_repeats=True, x_name=axis, y_name=y)  # fmt: skip
            print(f"{axis}, {y}: {law.sentence}")
            for row in measured.group_by("x", maintain_order=True).agg(pl.col(y).mean(), pl.col(y).std().alias("sd")).iter_rows():  # fmt: skip
                print("   " + ", ".join(f"{number:.4g}" for number in row if number is not None))
            found[f"{axis}: {y}"] = law.as_dict()
    between = between_histories(out)
    if result is not None:
        about = {**describe_machine(), "points": points.to_dicts(), "laws": found, "auc of a length over the next shorter": between}  # fmt: skip
        write_json(result, about)
        print(f"written to {result}")


def main(argv: list[str] | None = None) -> None:
    """Train, study, or fit; see `--help`."""
    parser = _parser()
    given = parser.parse_args(argv)
    if "train" in given.parts:
        train(given.shop, given.out)
    if "studies" in given.parts:
        run_studies(given.shop, given.long_shop or given.shop, given.out, given.only or list(plans(given.out)), given.workers)  # fmt: skip
    if "laws" in given.parts:
        laws(given.out, given.result)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.scaling_studies",
        description="Tokens, negatives and histories against recall and AUC, and a study of many encoders.",
        example="python -m benchmarks.scaling_studies runs/shop --out runs/scaling --result runs/scaling/laws.json",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("--long-shop", type=Path, help="a shop of long histories; default SHOP")
    parser.add_argument("--out", type=Path, required=True, help="folder of encoders and studies")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to do")
    parser.add_argument("--only", nargs="+", choices=("encoders", "seeds", "histories"), help="studies to run")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, help="processes of a study")
    parser.add_argument("--result", type=Path, help="JSON file for points and laws")
    return parser


PARTS = ("train", "studies", "laws")

if __name__ == "__main__":
    sys.exit(run(main))
