"""The cells of a study: each a pure function of its specification that leaves a folder with `result.json`.

A cell may run in another process, so it takes and gives plain values and speaks to nobody: MLflow is the parent's. Its key is a digest of everything its
result depends on; the folder is named for it, and `result.json` is written last, so a folder that has one is a finished cell.
"""

import contextlib
import functools
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from exchange_rate.evidence.coverage import coverage_metrics
from exchange_rate.study.cell_files import (
    RESULT,
    CellResult,
    CellSpec,
    digest_of_output,
    remove_cell,
)
from exchange_rate.study.draws import keep_encoder_draws, keep_ranker_draws
from exchange_rate.study.failures import ERROR, CellError, failed
from exchange_rate.study.neighbours import keep_neighbours
from moon_rec.code_version import code_version
from moon_rec.config import make_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.files import atomic_file, digest_of, read_json
from moon_rec.kept import as_a_part
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import OwnNames, with_own_ids
from moon_rec.shown import path_inside
from moon_rec.signals import asked
from moon_rec.vector_pairs import check_pair

LOG = "log.txt"
CODE = {
    "start": ("representation",),
    "pretraining": ("representation",),
    "posttraining": ("representation",),
    "encoder": (
        "representation",
        "exchange_rate.evidence.coverage",
        "exchange_rate.study.vectors",
        "exchange_rate.study.draws",
        "exchange_rate.evidence.draw_file",
        "exchange_rate.study.neighbours",
        "exchange_rate.evidence.neighbour_file",
    ),
    "choice": ("ranking",),
    "ranker": ("ranking", "exchange_rate.study.draws", "exchange_rate.evidence.draw_file"),
    "comparison": ("ranking", "exchange_rate.study.comparison"),
}
"""What each kind of cell runs, beside `moon_rec` and this file: its digest is part of the cell's key, so a result of other code is never taken up."""

LIBRARIES = ("numpy", "polars", "torch", "torchrec", "transformers")
_RESUMABLE = ("encoder",)
_READ_PICTURES = ("pretraining", "posttraining", "encoder")


def run_cell(
    spec: CellSpec, cells: str, num_threads: int, log_to_file: bool = True
) -> CellResult | CellError:
    """Run one cell to the end, or to its failure, which is kept in its folder; what it says goes to `log.txt` there."""
    import torch

    folder, threads = spec.folder(Path(cells)), torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        _clear(folder, spec.kind in _RESUMABLE)
        if spec.kind in _READ_PICTURES and multiprocessing.parent_process() is not None:
            _share_pictures()
        with as_a_part(), _output_to(folder / LOG) if log_to_file else contextlib.nullcontext():
            result = _run(spec, Path(cells), folder)
        result.save(folder, spec.code)
    except Exception as error:
        if asked() is not None:  # a library has made an error of its own of the signal
            raise KeyboardInterrupt from error
        return failed(error, folder)
    finally:
        torch.set_num_threads(threads)
    return result


def _run(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    """Run a cell on inputs that are what their cells left.

    Raises:
        StudyError: an input was changed, or a figure that the study needs is no number.
    """
    start = time.monotonic()
    for name in spec.inputs:
        _check_input(spec, name, cells)
    found = KINDS[spec.kind](spec, cells, folder)
    _check_figures(spec.kind, found)
    digests = {
        name: digest_of_output(path_inside(folder, inside, f"outputs of {spec.name!r}"))
        for name, inside in found.outputs.items()
    }
    return replace(found, seconds=time.monotonic() - start, digests=digests)


def _share_pictures() -> None:
    """Every cell of a worker reads the same shop: its pictures are decoded once; the caller's own process keeps none."""
    from representation.training.picture_store import share_squares

    share_squares()


def _clear(folder: Path, is_resumable: bool) -> None:
    """An empty folder, or what an earlier run of a cell left that can go on from it."""
    if folder.is_symlink() or not is_resumable:
        remove_cell(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (ERROR, RESULT):
        (folder / name).unlink(missing_ok=True)


def _check_input(spec: CellSpec, name: str, cells: Path) -> None:
    """Compare an input with its cell's result.

    Raises:
        StudyError: it was changed since.
    """
    path = spec.input(name, cells)
    folder = cells / path.relative_to(cells).parts[0]
    inside = path.relative_to(folder).as_posix()
    result = CellResult.load(folder)
    named = next((key for key, value in result.outputs.items() if value == inside), None)
    path_inside(folder, inside, f"input {name!r} of {spec.name!r}")
    if named is None or digest_of_output(path) != result.digests.get(named):
        raise StudyError(
            f"{path} was changed since its cell was finished; run the study again: that cell is then made anew"
        )


def _check_figures(kind: str, found: CellResult) -> None:
    """Refuse a result that says that its training diverged.

    Raises:
        StudyError: a figure that is not finite, or no AUC of a ranker.
    """
    figures = dict(found.numbers)
    if kind == "ranker":
        one = found.estimates.get("auc")
        figures["auc"] = float("nan") if one is None else one.value
    for name, value in figures.items():
        if not math.isfinite(value):
            raise StudyError(
                f"{name} = {value}: the training diverged, or the period has nothing to measure it on; look at log.txt and at the settings"
            )


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
    """The vectors of the whole shop, measured on the period that is scored, and on validation, which chooses."""
    from exchange_rate.study.vectors import ITEMS, QUERIES, make_tables, narrow, no_queries
    from representation.metrics.shop_metrics import measure_shop, measure_shop_by_row
    from representation.sets.search_cases import ShopSearches

    shop, settings = _shop(spec), spec.settings
    (items, found), encoder = make_tables(spec, shop, cells, folder)
    items = narrow(items, settings["width"])
    queries = no_queries(items) if found is None else narrow(found, settings["width"])
    engagement, ks = settings["engagement"], tuple(settings["ks"])
    searches = ShopSearches.of(shop, items, queries, settings["period"], engagement)
    measured = measure_shop_by_row(searches, ks)
    chosen_by = measure_shop(shop, items, queries, "validation", engagement, ks)
    estimates = measured.estimates | {
        f"validation.{name}": value for name, value in chosen_by.items()
    }
    reads = {"items": items.digest} | ({"encoder": encoder} if encoder else {})
    outputs = {"items": ITEMS}
    if found is not None:
        reads["queries"], outputs["queries"] = queries.digest, QUERIES
        outputs |= keep_neighbours(folder, shop, items, queries, settings)
    outputs |= keep_encoder_draws(folder, measured.values, settings)
    coverage = check_pair(shop, items, None if found is None else queries)
    numbers = {"dim": float(items.dim), **coverage_metrics(coverage)}
    return CellResult(estimates, numbers, reads, outputs)


def _choice(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    """Settings of the rankers over one baseline, by validation."""
    from ranking.chosen_settings import choose_settings
    from ranking.config import RankerConfig

    tables = _ranking_tables(*spec.shop, json.dumps(spec.settings["features"], sort_keys=True))
    found = choose_settings(tables, make_config(RankerConfig, spec.settings["config"]))
    numbers = {"unknown_rate": found.unknown_rate, "epochs": float(found.epochs)}
    for share, curve in found.validation_auc.items():
        numbers[f"validation_auc_hiding_{share:g}"] = max(curve)
    return CellResult({}, numbers, {}, {})


def _ranker(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    """Train one ranker, or trees, score the period, judge the scores."""
    from exchange_rate.study.vectors import narrow
    from ranking.evaluate import score
    from ranking.judging.judgement import evaluate

    settings = spec.settings
    tables = _ranking_tables(*spec.shop, json.dumps(settings["features"], sort_keys=True))
    vectors: dict[str, EmbeddingTable] = {}
    for name in ("items", "queries"):
        if name in spec.inputs:
            vectors[name] = narrow(EmbeddingTable.open(spec.input(name, cells)), settings["width"])
    if settings["permuted"] is not None:
        vectors["items"] = vectors["items"].permuted(settings["permuted"])
        if "queries" in vectors:
            vectors["queries"] = vectors["queries"].permuted(settings["permuted"])
    ranker, numbers = _trained(settings, tables, vectors)
    scored = score(ranker, tables, settings["period"])
    outputs = {"scores": "scores.parquet"} | keep_ranker_draws(folder, scored, settings)
    scores = with_own_ids(scored, _shop(spec).path)
    with atomic_file(folder / "scores.parquet") as temporary:
        scores.write_parquet(temporary)
    if settings["keep_rankers"]:
        ranker.save(folder / "ranker", overwrite=True)
    estimates = evaluate(scores, _truth(spec), settings["num_resamples"])
    reads = {name: table.digest for name, table in vectors.items()}
    return CellResult(estimates, numbers, reads, outputs)


def _trained(
    settings: dict[str, Any], tables: Any, vectors: dict[str, EmbeddingTable]
) -> tuple[Any, dict[str, float]]:
    """What scores, and figures of its training; settings without `config` are those of trees, or of the reference that they name."""
    from ranking.config import RankerConfig
    from ranking.factorisation import train_factors
    from ranking.train import train_ranker
    from ranking.trees import train_trees

    tables_of = vectors.get("items"), vectors.get("queries")
    if settings["reference"] == "factorisation":
        factors = train_factors(tables, settings["seed"])
        return factors, {"validation_auc": factors.validation_auc}
    if settings["config"] is None:
        trees = train_trees(tables, settings["seed"], *tables_of)
        return trees, {"num_trees": float(trees.num_trees)}
    config = make_config(RankerConfig, settings["config"])
    ranker = train_ranker(tables, config, *tables_of)
    return ranker, {"rows_per_second": ranker.rows_per_second}


def _comparison(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    from exchange_rate.study.comparison import compare_rankers

    names = sorted(spec.inputs, key=lambda name: (name[0], int(name[1:])))
    scores = {name: pl.read_parquet(spec.input(name, cells)) for name in names}
    estimates = compare_rankers(
        [scores[name] for name in names if name.startswith("a")],
        [scores[name] for name in names if name.startswith("b")],
        _truth(spec),
        spec.settings["a"],
        spec.settings["b"],
        spec.settings["num_resamples"],
        parts=_item_segments(spec, scores[names[0]]),
    )
    return CellResult(estimates, {}, {}, {})


def _item_segments(spec: CellSpec, scores: pl.DataFrame) -> dict[str, tuple[str, np.ndarray]]:
    """The rows of scores, whose ids are the user's own, in each segment of products that the plan names."""
    from ranking.judging.item_segments import item_segments

    shop, columns = _shop(spec), spec.settings["segments"]
    if not columns:
        return {}
    items = OwnNames.of(shop.path, "item").numbers(scores["item_id"]).to_numpy()
    found = item_segments(shop, columns)
    return {one.key: (one.name, np.isin(items, one.items)) for one in found}


KINDS: dict[str, Callable[[CellSpec, Path, Path], CellResult]] = {
    "choice": _choice,
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
    return digest_of(
        code_version(
            (
                "moon_rec",
                "exchange_rate.study.cells",
                "exchange_rate.study.cell_files",
                *CODE[kind],
            ),
            LIBRARIES,
        )
    )


def num_of_other_code(cells: Path) -> int:
    """Finished cells that other code than today's left in the folder `cells`, or that nobody can read: none of them is taken up."""
    today = {code_of(kind) for kind in KINDS}
    return sum(_code_in(file) not in today for file in cells.glob(f"*/{RESULT}"))


def _code_in(file: Path) -> object:
    try:
        about = read_json(file)
    except (MoonRecError, OSError):
        return None
    code = about.get("code") if isinstance(about, dict) else None
    return code if isinstance(code, str) else None


def _truth(spec: CellSpec) -> pl.LazyFrame | None:
    """True click probabilities, where the shop has them and they are of the label in question."""
    return _shop(spec).truth if spec.settings["label"] == "clicked" else None


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
