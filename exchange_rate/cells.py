"""The cells of a study: each a pure function of its specification that leaves a folder with `result.json`.

A cell may run in another process, so it takes and gives plain values and speaks to nobody: MLflow is the parent's. Its key is a digest of everything its
result depends on; the folder is named for it, and `result.json` is written last, so a folder that has one is a finished cell.
"""

import contextlib
import functools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from exchange_rate.coverage import coverage_metrics
from moon_rec.code_version import code_version
from moon_rec.config import make_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file, digest_of, read_json, write_json
from moon_rec.shop import Shop
from moon_rec.vector_pairs import check_pair

RESULT = "result.json"
LOG = "log.txt"
CODE = {
    "start": ("representation",),
    "pretraining": ("representation",),
    "posttraining": ("representation",),
    "encoder": ("representation", "exchange_rate.coverage"),
    "ranker": ("ranking",),
    "comparison": ("ranking", "exchange_rate.comparison"),
}
"""What each kind of cell runs, beside `moon_rec` and this file: its digest is part of the cell's key, so a result of other code is never taken up."""

LIBRARIES = ("numpy", "polars", "torch", "torchrec", "transformers")
_RESUMABLE = ("encoder",)


@dataclass(frozen=True)
class CellSpec:
    """What a cell needs to know; JSON can hold all of it.

    Attributes:
        kind: names the function in `KINDS`.
        name: for people.
        settings: part of the key.
        inputs: name -> (key of the cell it comes from, its kind and the path inside its folder, such as `encoder/vectors/items`).
        shop: folder and digest of the shop.
        labels: what the result is called in tables; no part of the key, for a result does not depend on it.
        code: digest of the code that makes it (`code_of`); part of the key.
    """

    kind: str
    name: str
    settings: dict[str, Any]
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    shop: tuple[str, str] = ("", "")
    labels: dict[str, Any] = field(default_factory=dict)
    code: str = ""

    @property
    def key(self) -> str:
        """16 hex digits of all that the result depends on."""
        about = [self.code, self.kind, self.settings, self.inputs, self.shop[1]]
        return digest_of(about)

    def folder(self, cells: Path) -> Path:
        """Where its result is."""
        return cells / f"{self.kind}-{self.key}"

    def input(self, name: str, cells: Path) -> Path:
        """The path of an input."""
        key, inside = self.inputs[name]
        kind = inside.split("/", 1)[0]
        return cells / f"{kind}-{key}" / inside.split("/", 1)[1]


@dataclass(frozen=True)
class CellResult:
    """What a cell found.

    Attributes:
        estimates: name -> number with interval and definition.
        numbers: plain figures, such as tokens seen.
        reads: name -> digest of every artifact read.
        outputs: name -> path inside the cell's folder.
        seconds: it took.
    """

    estimates: dict[str, Estimate]
    numbers: dict[str, float]
    reads: dict[str, str]
    outputs: dict[str, str]
    seconds: float = 0.0

    @classmethod
    def load(cls, folder: Path) -> "CellResult":
        """Read a finished cell."""
        about = read_json(folder / RESULT)
        nan = float("nan")
        estimates = {}
        try:
            for name, values in about["estimates"].items():
                known: dict[str, Any] = {
                    key: nan if value is None else value for key, value in values.items()
                }
                estimates[name] = Estimate(**known)
            rest = [about[name] for name in ("numbers", "reads", "outputs", "seconds")]
        except (AttributeError, KeyError, TypeError) as error:
            raise StudyError(
                f"{folder / RESULT} is no cell's result ({error}); remove {folder} and the cell runs again"
            ) from None
        return cls(estimates, *rest)

    def save(self, folder: Path, code: str = "") -> None:
        """Write `result.json`; `code` says what code found it."""
        about = {
            "code": code,
            "estimates": {name: one.as_dict() for name, one in self.estimates.items()},
            "numbers": self.numbers,
            "reads": self.reads,
            "outputs": self.outputs,
            "seconds": self.seconds,
        }
        write_json(folder / RESULT, about)


def run_cell(spec: CellSpec, cells: str, num_threads: int, log_to_file: bool = True) -> CellResult:
    """Run one cell to the end; what it says goes to `log.txt` in its folder.

    Raises:
        StudyError: the cell failed because of something the user can mend; names the cell.
    """
    import torch

    folder = spec.folder(Path(cells))
    if spec.kind not in _RESUMABLE:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    start, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        with _output_to(folder / LOG) if log_to_file else contextlib.nullcontext():
            found = KINDS[spec.kind](spec, Path(cells), folder)
    except MoonRecError as error:
        raise StudyError(f"cell {spec.name!r} ({folder}): {error}") from None
    finally:
        torch.set_num_threads(threads)
    seconds = time.monotonic() - start
    result = CellResult(found.estimates, found.numbers, found.reads, found.outputs, seconds)
    result.save(folder, spec.code)
    return result


def _start(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    """Random weights, and a tokenizer trained before the cut."""
    from representation import ProductEncoder, build_encoder
    from representation.model.backbone import BackboneConfig

    config = make_config(BackboneConfig, spec.settings["backbone"])
    build_encoder(_shop(spec), folder / "encoder", config, spec.settings["seed"])
    digest = ProductEncoder.from_pretrained(folder / "encoder").digest
    outputs = {"encoder": "encoder"}
    return CellResult({}, {"encoder_tokens": 0.0}, {"encoder": digest}, outputs)


def _pretraining(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    from representation.pretraining import PretrainConfig, pretrain

    config = make_config(PretrainConfig, spec.settings["config"])
    pretrain(_shop(spec), folder / "encoder", config, start=spec.input("start", cells))
    log = read_json(folder / "encoder" / "pretraining_log.json")["log"]
    numbers = {"pretraining_steps": float(config.steps), "pretraining_loss": log[-1]["loss"]}
    numbers["pretraining_tokens"] = log[-1]["num_tokens"]
    return CellResult({}, numbers, {}, {"encoder": "encoder"})


def _posttraining(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    from representation.posttraining import PosttrainConfig, posttrain

    config = make_config(PosttrainConfig, spec.settings["config"])
    start = spec.input("start", cells)
    checkpoints = posttrain(_shop(spec), folder / "encoder", config, start=start)
    outputs, numbers = {}, {}
    for one in checkpoints:
        outputs[f"step {one.step}"] = Path(one.path).relative_to(folder).as_posix()
        numbers[f"tokens at step {one.step}"] = float(one.num_tokens)
        numbers[f"pairs at step {one.step}"] = float(one.num_pairs)
    return CellResult({}, numbers, {}, outputs)


def _encoder(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    """Embed the whole shop and measure it on the period that is scored, and on validation, which chooses."""
    from representation import ProductEncoder
    from representation.embed import embed_shop
    from representation.evaluation import measure_shop

    shop, settings = _shop(spec), spec.settings
    encoder = ProductEncoder.from_pretrained(spec.input("encoder", cells))
    items, queries = embed_shop(encoder, shop, folder / "vectors")
    items, queries = (narrow(table, settings["width"]) for table in (items, queries))
    options = {
        "engagement": settings["engagement"],
        "ks": tuple(settings["ks"]),
    }
    estimates = measure_shop(shop, items, queries, settings["period"], **options)
    chosen_by = measure_shop(shop, items, queries, "validation", **options)
    estimates |= {f"validation.{name}": value for name, value in chosen_by.items()}
    reads = {"encoder": encoder.digest, "items": items.digest, "queries": queries.digest}
    outputs = {"items": "vectors/items", "queries": "vectors/queries"}
    numbers = {"dim": float(items.dim), **coverage_metrics(check_pair(shop, items, queries))}
    return CellResult(estimates, numbers, reads, outputs)


def _ranker(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    """Train one ranker, score the period, judge the scores."""
    from ranking.config import RankerConfig
    from ranking.evaluate import score
    from ranking.judging.judgement import evaluate
    from ranking.train import train_ranker

    settings = spec.settings
    config = make_config(RankerConfig, settings["config"])
    tables = _ranking_tables(*spec.shop, json.dumps(settings["features"], sort_keys=True))
    vectors: dict[str, EmbeddingTable] = {}
    for name in ("items", "queries"):
        if name in spec.inputs:
            vectors[name] = narrow(EmbeddingTable.open(spec.input(name, cells)), settings["width"])
    if settings["permuted"] is not None:
        vectors["items"] = vectors["items"].permuted(settings["permuted"])
        if "queries" in vectors:
            vectors["queries"] = vectors["queries"].permuted(settings["permuted"])
    ranker = train_ranker(tables, config, vectors.get("items"), vectors.get("queries"))
    scores = score(ranker, tables, settings["period"])
    with atomic_file(folder / "scores.parquet") as temporary:
        scores.write_parquet(temporary)
    if settings["keep_rankers"]:
        ranker.save(folder / "ranker", overwrite=True)
    estimates = evaluate(scores, _truth(spec), settings["num_resamples"])
    reads = {name: table.digest for name, table in vectors.items()}
    numbers = {"rows_per_second": ranker.rows_per_second}
    return CellResult(estimates, numbers, reads, {"scores": "scores.parquet"})


def _comparison(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    from exchange_rate.comparison import compare_rankers

    names = sorted(spec.inputs, key=lambda name: (name[0], int(name[1:])))
    scores = {name: pl.read_parquet(spec.input(name, cells)) for name in names}
    estimates = compare_rankers(
        [scores[name] for name in names if name.startswith("a")],
        [scores[name] for name in names if name.startswith("b")],
        _truth(spec),
        spec.settings["a"],
        spec.settings["b"],
        spec.settings["num_resamples"],
    )
    return CellResult(estimates, {}, {}, {})


KINDS: dict[str, Callable[[CellSpec, Path, Path], CellResult]] = {
    "start": _start,
    "pretraining": _pretraining,
    "posttraining": _posttraining,
    "encoder": _encoder,
    "ranker": _ranker,
    "comparison": _comparison,
}


@functools.lru_cache(maxsize=2)
def _ranking_tables(path: str, digest: str, features: str) -> Any:
    """Ranking tables of a shop, built once a process and shared by its rankers; `features` is JSON."""
    from ranking.features import FeatureConfig, RankingTables

    return RankingTables.build(
        _open(path, digest), make_config(FeatureConfig, json.loads(features))
    )


def _shop(spec: CellSpec) -> Shop:
    return _open(*spec.shop)


def _open(path: str, digest: str) -> Shop:
    """The shop that the study was begun on.

    Raises:
        StudyError: another shop lies there now.
    """
    shop = Shop.open(path)
    if shop.digest != digest:
        raise StudyError(
            f"{path}: the shop of the study had digest {digest}, the one there now has {shop.digest}; leave it alone while a study runs, and begin again"
        )
    return shop


def code_of(kind: str) -> str:
    """Digest of the code that a kind of cell runs, and of the libraries under it."""
    return digest_of(code_version(("moon_rec", "exchange_rate.cells", *CODE[kind]), LIBRARIES))


def num_of_other_code(cells: Path) -> int:
    """Finished cells that other code than today's left in the folder `cells`: none of them is taken up."""
    today = {code_of(kind) for kind in KINDS}
    results = [read_json(file) for file in cells.glob(f"*/{RESULT}")]
    return sum(not isinstance(one, dict) or one.get("code") not in today for one in results)


def _truth(spec: CellSpec) -> pl.LazyFrame | None:
    """True click probabilities, where the shop has them and they are of the label in question."""
    return _shop(spec).truth if spec.settings["label"] == "clicked" else None


def narrow(table: EmbeddingTable, width: int | None) -> EmbeddingTable:
    """The table at a study's width.

    Raises:
        StudyError: a width that the encoders were not trained at.
    """
    if width is None or width == table.dim:
        return table
    if width not in table.widths:
        known = ", ".join(map(str, table.widths))
        raise StudyError(f"width = {width}: the encoders' vectors have widths {known}")
    return table.narrow(width)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send this process's standard output and error, of whatever library, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(path, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
