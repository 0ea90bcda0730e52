"""What `benchmarks.recipes` measures of an encoder: retrieval between forms of query and product, classification and attributes (MBE's and MOON2.0's tasks), a row a query or product.

`t->mm`: searches by words against products shown by all there is; `i->mm`: by picture; `mm->mm`: by a product; `t->i`, `i->t`: against pictures alone, texts alone. `class` and `attr`: of each product listed since
the cut, shown by title and picture, the share of its category levels (its attributes) whose nearest label text is the right one; `class, picture` and `attr, picture`: shown by its picture alone.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from moon_rec.shop import Shop
from representation.encoder import open_encoder
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import Classified, classify
from representation.metrics.labels import label_tasks
from representation.metrics.retrieval import Retrieved, retrieve
from representation.sets.benchmark_set import BenchmarkSet, QueryType
from representation.sets.contestant import EncoderContestant, ItemType, LabelledType
from representation.sets.sampling import sample
from representation.sets.shop_set import shop_benchmark_set

KS = (1, 10)
K = 10
RETRIEVAL: dict[str, tuple[QueryType, ItemType]] = {
    "t->mm": ("text", "both"),
    "i->mm": ("image", "both"),
    "mm->mm": ("product", "both"),
    "t->i": ("text", "image"),
    "i->t": ("image", "text"),
}
LABELS: dict[str, tuple[str, LabelledType]] = {
    "class": ("category", "title+image"),
    "attr": ("attribute", "title+image"),
    "class, picture": ("category", "image"),
    "attr, picture": ("attribute", "image"),
}
TASKS = (*RETRIEVAL, *LABELS)
SETTINGS = BenchmarkConfig(ks=KS, headline_k=K, num_resamples=20)
"""Intervals are taken later, over seeds too; here few resamples are made."""


def benchmark_set(shop: Shop, num_queries: int | None, num_products: int | None) -> BenchmarkSet:
    """The test period's queries and products, at most so many queries of a kind; None: all."""
    return sample(shop_benchmark_set(shop, "test"), num_queries, None, num_products, SETTINGS.seed)


def measure(bench: BenchmarkSet, path: Path) -> pl.DataFrame:
    """`modality` (the task), `search_id` (the query's or product's row), `hit@k`, `num_items`. A task that the set cannot ask is left out."""
    with TemporaryDirectory(dir=path.parent, prefix=".vectors-") as folder:
        contestant = EncoderContestant("", open_encoder(path), bench, Path(folder))
        frames = [*_retrieved(contestant, bench), *_labelled(contestant, bench)]
    return pl.concat(frames)


def _retrieved(contestant: EncoderContestant, bench: BenchmarkSet) -> list[pl.DataFrame]:
    frames = []
    for task, (kind, shown) in RETRIEVAL.items():
        if kind not in bench.queries:
            continue
        asked, items = contestant.queries(kind), contestant.items(shown)
        found = retrieve(asked, items, bench, kind, shown, SETTINGS)
        if isinstance(found, Retrieved):
            hits = {k: found.hits[:, list(found.recall).index(k)] for k in KS}
            frames.append(_frame(task, found.searches, hits, found.num_items))
    return frames


def _labelled(contestant: EncoderContestant, bench: BenchmarkSet) -> list[pl.DataFrame]:
    found, frames = classify(contestant, label_tasks(bench, SETTINGS), SETTINGS), []
    for task, (kind, shown) in LABELS.items():
        measured = [cells[shown] for name, cells in found.items() if name.startswith(kind)]
        there = [one for one in measured if isinstance(one, Classified)]
        if not there:
            continue
        rows = np.concatenate([one.rows for one in there])
        products, place = np.unique(rows, return_inverse=True)
        right = np.concatenate([one.right for one in there])
        share = np.bincount(place, right) / np.bincount(place)
        frames.append(_frame(task, products, dict.fromkeys(KS, share), len(there)))
    return frames


def _frame(task: str, rows: np.ndarray, hits: dict[int, np.ndarray], items: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "modality": pl.Series([task] * len(rows), dtype=pl.String),
            "search_id": rows.astype(np.int64),
            **{f"hit@{k}": of.astype(np.float64) for k, of in hits.items()},
            "num_items": pl.Series([items] * len(rows), dtype=pl.Int64),
        }
    )
