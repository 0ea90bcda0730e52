"""The long commands, at a size of a second, and how each is gone on with.

The inputs of one are outputs of those before it: `BASE` makes them once.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOP = (
    "num_items=60", "num_users=60", "num_requests=300", "image_size=32", "purchases_per_search=0.7",
)  # fmt: skip
BACKBONE = (
    "image_size=32", "patch_size=8", "vision_dim=16", "vision_layers=1", "vision_heads=2", "vision_mlp_dim=16",
    "text_dim=16", "text_layers=1", "text_heads=2", "text_mlp_dim=16", "vocabulary_size=300", "widths=[8,16]",
    "deepstack_layers=[0]",
)  # fmt: skip
RANKER = ("embedding_dim=4", "tower=[8]", "attention_dim=4", "batch_size=256")
PLAN = """\
name = "faults"
num_seeds = 1
num_resamples = 20
backbone = {{ {backbone} }}

[[rankers]]
ranker = {{ content = "vector", {ranker} }}

[[encoders]]
name = "random weights"
random = true

[[encoders]]
name = "pretrained"
pretraining = {{ steps = 3, batch_size = 12 }}

[[encoders]]
name = "post-trained"
posttraining = {{ steps = 4, batch_size = 12, checkpoint_steps = [2], precision = "float32" }}
"""
VECTORS = ("--items", "vectors/items", "--queries", "vectors/queries")


def _set(*settings: str, prefix: str = "") -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", prefix + setting))


@dataclass(frozen=True)
class Command:
    """A command line and what is known of it.

    Attributes:
        name: for the table.
        words: after `python -m`.
        reads: what it needs of the base.
        resume: words that go on where it was stopped; the same command without them where empty.
        before: a command that makes an older output in the same place.
        grows: patterns of files that are written to as it goes on, and are not compared before its end.
        cheap: takes about a second: part of the small form.
        tracks: the option that names a tracking store, where it has one.
    """

    name: str
    words: tuple[str, ...]
    reads: tuple[str, ...] = ("shop",)
    resume: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    grows: tuple[str, ...] = ()
    cheap: bool = False
    tracks: str = ""

    def setup(self) -> None:
        """Called in the child before the command: the demo's fixed sizes are made small."""
        if self.name == "demo":
            shrink_demo()


_SIMULATE = ("moon_rec", "shop", "simulate", "--out", "shop", *_set(*SHOP))
_PRETRAIN = (
    "representation.pretrain", "shop", "--out", "pretrained",
    *_set("steps=5", "batch_size=12"), *_set(*BACKBONE, prefix="backbone."),
)  # fmt: skip
_POSTTRAIN = (
    "representation.posttrain", "shop", "--start", "pretrained", "--out", "encoder",
    *_set("steps=6", "batch_size=12", "resume_every=2", "checkpoint_steps=[3]"),
)  # fmt: skip
_EMBED = ("representation.embed", "shop", "--encoder", "encoder", "--out", "vectors", "--shard-size", "40")  # fmt: skip
_TRAIN = ("ranking.train", "shop", *VECTORS, "--out", "ranker", *_set(*RANKER))
_CHECKPOINTS = ("--checkpoint-every", "2")
_STUDY = ("exchange_rate.study", "shop", "--plan", "plan.toml", "--out", "study", "--workers", "1")
_REPORT = ("exchange_rate.report", "--tracking", "sqlite:///study/mlflow.db", "--out", "report")

BASE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("shop", _SIMULATE),
    ("pretrained", _PRETRAIN),
    ("encoder", _POSTTRAIN),
    ("ranker", (*_TRAIN, *_CHECKPOINTS)),
    ("study", _STUDY),
)
"""What it makes -> the command. Vectors, tables and the plan come by `make_further`, once there is a shop."""

COMMANDS = (
    Command("simulate", _SIMULATE, reads=(), cheap=True),
    Command(
        "simulate over another",
        (*_SIMULATE, "--overwrite"),
        reads=(),
        before=(*_SIMULATE, "--set", "seed=1"),
    ),
    Command(
        "import",
        ("moon_rec", "shop", "import", "tables", "--data", "tables", "--out", "imported"),
        reads=("tables",),
        cheap=True,
    ),
    Command("pretrain", _PRETRAIN),
    Command(
        "posttrain",
        _POSTTRAIN,
        reads=("shop", "pretrained"),
        tracks="--track",
    ),
    Command("embed", _EMBED, reads=("shop", "encoder")),
    Command(
        "bring",
        ("representation.bring", "vectors.parquet", "--out", "brought", "--shop", "shop"),
        reads=("shop", "vectors.parquet"),
        cheap=True,
    ),
    Command(
        "curate",
        ("representation.curate", "shop", *VECTORS, "--out", "pairs", "--picture", "pairs.png"),
        reads=("shop", "vectors"),
        tracks="--track",
    ),
    Command(
        "benchmark",
        ("representation.benchmark", "shop", "--encoder", "encoder", "--out", "benchmark"),
        reads=("shop", "encoder"),
        tracks="--track",
    ),
    Command(
        "train",
        (*_TRAIN, *_CHECKPOINTS),
        reads=("shop", "vectors"),
        resume=("--resume",),
        cheap=True,
        tracks="--track",
    ),
    Command(
        "train --seeds",
        (*_TRAIN, *_CHECKPOINTS, "--seeds", "2"),
        reads=("shop", "vectors"),
        resume=("--resume",),
        tracks="--track",
    ),
    Command(
        "evaluate",
        ("ranking.evaluate", "ranker", "shop", *VECTORS, "--out", "scores", "--resamples", "20"),
        reads=("shop", "vectors", "ranker"),
    ),
    Command(
        "score",
        ("ranking.score", "ranker", "shop", *VECTORS, "--out", "scores.parquet", "--chunk-rows", "100"),
        reads=("shop", "vectors", "ranker"),
    ),
    Command(
        "ways",
        (
            "ranking.ways", "shop", *VECTORS, "--out", "ways", *_set(*RANKER), "--way", "vector", "--seeds", "2",
            "--resamples", "20", "--no-cost",
        ),
        reads=("shop", "vectors"),
    ),
    Command("study", _STUDY, reads=("shop", "plan.toml"), grows=("study/mlflow.db", "study/study.lock")),
    Command("report", _REPORT, reads=("study",), cheap=True),
    Command("demo", ("moon_rec", "demo", "--out", "demo"), reads=(), resume=("--resume",), grows=("demo/mlflow.db", "*study.lock")),
)  # fmt: skip
"""All that are tried; two processes of one command are in `PARALLEL`."""

PARALLEL = (
    Command(
        "ways, 2 processes",
        (*next(one.words for one in COMMANDS if one.name == "ways"), "--processes", "2"),
        reads=("shop", "vectors"),
    ),
    Command(
        "study, 2 workers",
        (*_STUDY[:-1], "2"),
        reads=("shop", "plan.toml"),
        grows=("study/mlflow.db", "study/study.lock", "study/cells/*/log.txt"),
    ),
)
"""With processes of their own, each of which imports everything: half a minute a run, so not part of the default."""


def make_further(base: Path) -> None:
    """What is made of the base beside the commands' own outputs; call in a process of its own, for polars is used."""
    import shutil

    polars, numpy = (importlib.import_module(name) for name in ("polars", "numpy"))
    table: Any = importlib.import_module("moon_rec.embedding_table").EmbeddingTable
    shop = importlib.import_module("moon_rec.shop").Shop.open(base / "shop")
    random = numpy.random.default_rng(0)
    (base / "plan.toml").write_text(plan(), encoding="utf-8")
    shutil.copytree(base / "shop", base / "tables", ignore=shutil.ignore_patterns("manifest.json"))
    for kind, name, key in (("items", "items", "item_id"), ("queries", "searches", "search_id")):
        ids = shop.table(name).select(key).collect()[key].to_numpy()
        vectors = random.normal(size=(len(ids), 8)).astype(numpy.float32)
        made = table.from_arrays(ids, vectors, encoder="drawn", shop=shop.digest, kind=kind)
        made.save(base / "vectors" / kind)
        if kind == "items":
            columns = {"item_id": ids, "vector": list(vectors)}
            polars.DataFrame(columns).write_parquet(base / "vectors.parquet")


def plan() -> str:
    """A study of four encoders."""
    backbone = ", ".join(BACKBONE)
    return PLAN.format(backbone=backbone, ranker=", ".join(RANKER))


def shrink_demo() -> None:
    """Replace the demo's shop and plan by small ones."""
    import tomllib

    demo: Any = importlib.import_module("exchange_rate.demo")
    simulation = importlib.import_module("moon_rec.shop.simulate").SimulationConfig
    study = importlib.import_module("exchange_rate.study.plan").StudyConfig
    settings = tomllib.loads("\n".join(SHOP))
    demo.demo_shop = lambda seed: simulation(**settings, seed=seed)
    demo.demo_plan = lambda seed, brought=None: study(**tomllib.loads(plan()), seed=seed)
    # one process, as its workers would not have the small sizes
    run_study = demo.run_study
    demo.run_study = lambda *given, **named: run_study(*given, **named, workers=1)
