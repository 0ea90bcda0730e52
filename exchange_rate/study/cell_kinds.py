"""What each kind of cell does with its specification: encoders trained and measured, rankers trained and judged, rankers compared.

Libraries load within the functions: a study starts quickly, and a worker loads what its cells need.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from exchange_rate.evidence.coverage import coverage_metrics
from exchange_rate.study.cell_files import CellResult, CellSpec
from exchange_rate.study.draws import keep_encoder_draws, keep_ranker_draws
from exchange_rate.study.neighbours import keep_neighbours
from moon_rec.config import make_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import StudyError
from moon_rec.files import atomic_file, read_json
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import OwnNames, with_own_ids
from moon_rec.vector_pairs import check_pair


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


def _truth(spec: CellSpec) -> pl.LazyFrame | None:
    """True click probabilities, where the shop has them and they are of the label in question."""
    return _shop(spec).truth if spec.settings["label"] == "clicked" else None
