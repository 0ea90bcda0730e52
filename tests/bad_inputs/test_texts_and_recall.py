"""Texts in other forms and texts that are none; searches that tie, that find nothing or all, and cuts that are no cuts."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moon_rec.__main__ import main as moon_rec
from moon_rec.bootstrap import bootstrap_mean
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.shares import mean_share, ratio_of_shares
from moon_rec.shop import Shop
from ranking.features.vocabulary import Vocabulary
from representation.curation.entities import Gazetteer
from representation.encoders.frame_inputs import query_columns
from representation.metrics.recall import search_recall
from representation.metrics.shop_metrics import measure_shop
from representation.model.prompt import product_texts
from representation.model.tokenizer import encode_plain, train_tokenizer
from tests.bad_inputs.harness import Case, check

RECALL = "representation.recall shop --items items --queries queries --ks"
BOTH = frozenset({"text", "image"})
AXES = np.eye(6, dtype=np.float32)


def rewritten(name: str, change):
    """A damage: the table's ids and vectors become what `change` makes of them."""

    def damage(folder: Path) -> None:
        table = EmbeddingTable.open(folder / name)
        ids, vectors = change(table.ids.copy(), np.array(table.vectors, dtype=np.float32))
        made = EmbeddingTable.from_arrays(ids, vectors, encoder=table.encoder, shop=table.shop)
        made.save(folder / name, overwrite=True)

    return damage


def all_alike(ids, vectors):
    return ids, np.tile(vectors[:1], (len(ids), 1))


def copies(ids, vectors):
    """Each vector five times over."""
    return ids, vectors[np.arange(len(ids)) // 5 * 5]


def recall(relevant, ks=(1,), queries=AXES[:3], gallery=AXES, **options):
    """An action: hit recall in one word."""
    return lambda folder: search_recall(queries, gallery, relevant, ks, **options).hit


def blank_queries(text: str):
    """An action: a log that writes `text` for "no words", imported; whether searches by picture are counted as before."""

    def act(folder: Path) -> str:
        def measured(name: str) -> dict:
            data = ["--data", str(folder / "tables"), "--out", name]
            assert moon_rec(["shop", "import", "tables", *data]) == 0
            items, queries = (
                EmbeddingTable.from_arrays(table.ids, table.vectors)
                for table in (EmbeddingTable.open(folder / each) for each in ("items", "queries"))
            )
            found = measure_shop(Shop.open(folder / name), items, queries, ks=(10,))
            return {key: each for key, each in found.items() if key.startswith("image_search")}

        before = measured("with nulls")
        searches = pl.read_parquet(folder / "tables" / "searches.parquet")
        searches = searches.with_columns(pl.col("query_text").fill_null(text))
        searches.write_parquet(folder / "tables" / "searches.parquet")
        after = measured("with blanks")
        return "as before" if before and before == after else f"{before} became {after}"

    return act


def queries(*texts: str | None):
    """An action: texts of queries as encoders read them."""
    frame = pl.DataFrame(
        {"search_id": range(7, 7 + len(texts)), "query_text": list(texts)},
        schema_overrides={"query_text": pl.String},
    )
    return lambda folder: query_columns(frame, BOTH)[0]


def tokens(*texts: str):
    """An action: how many kinds of token rows the texts have."""
    tokenizer = train_tokenizer(["café crème", "café", "bag"], 300)
    return lambda folder: f"{len({tuple(ids) for ids in encode_plain(tokenizer, texts)})} kind"


def titles(*texts: str | None):
    """An action: what an encoder reads of a product of this title, and the category `bags`."""
    frame = pl.DataFrame({"title": texts, "category": ["bags"] * len(texts)})
    return lambda folder: product_texts(frame, "richer")


CASES = [
    # cuts
    Case(
        "recall: a catalogue smaller than the shop",
        f"{RECALL} 10 --catalogue 100",
        ("a catalogue of 100 items is smaller than this shop's 120", "name a larger one"),
    ),
    Case(
        "recall: a catalogue in words",
        f"{RECALL} 10 --catalogue many",
        ("'many' is no number of items", "such as 1e6"),
    ),
    Case(
        "recall: a catalogue of half an item",
        f"{RECALL} 10 --catalogue 1e6 1000.5",
        ("'1000.5' is no number of items",),
    ),
    Case(
        "recall: a cut beyond the tail",
        f"{RECALL} 50 --catalogue 1e6",
        ("recall@50 among more than 117 items", "wanted k of at most 25"),
    ),
    Case(
        "recall: a catalogue a thousand times larger",
        f"{RECALL} 10 --catalogue 1e6",
        ("image_search_recall@10 among 1,000,000", "assumed to be drawn like today's"),
        told=True,
    ),
    Case("recall: a cut of 0", f"{RECALL} 0", ("--ks", "'0' is no whole number of at least 1")),
    Case("recall: a negative cut", f"{RECALL} 5 -10", ("-10",)),
    Case("recall: a cut with a fraction", f"{RECALL} 2.5", ("--ks", "'2.5' is no whole number")),
    Case("recall: a cut in words", f"{RECALL} ten", ("--ks", "'ten' is no whole number")),
    Case("recall: no cut", RECALL, ("--ks", "expected at least one argument")),
    Case(
        "recall: cuts in any order and twice",
        f"{RECALL} 10 1 10",
        ("image_search_recall@1 ", "image_search_recall@10 "),
        told=True,
    ),
    Case(
        "recall: a cut beyond the gallery",
        f"{RECALL} 500",
        ("image_search_recall@500 ", "1.0000 [0.", ", 1.0000]"),
        told=True,
    ),
    Case("recall: cuts that are NaN", recall([[0]] * 3, ks=(np.nan,)), ("ks is (nan,)", "whole")),
    Case("recall: no cuts at all", recall([[0]] * 3, ks=()), ("ks is ()", "at least one cut")),
    Case("recall: levels of 0", f"{RECALL} 5 --segment-depth 0", ("--segment-depth", "'0' is no")),
    Case("recall: effort of no index", f"{RECALL} 5 --effort 9", ("--effort", "add --index ivf")),
    # ties
    Case(
        "recall: all items alike",
        f"{RECALL} 10",
        ("ties: share of the units", "image_search_recall@10 100.0%", "random order"),
        rewritten("items", all_alike),
        told=True,
    ),
    Case(
        "recall: all items alike, by an index",
        f"{RECALL} 10 --index hnsw",
        ("image_search_recall@10 100.0%", "image_search_of_exact@10", "1.0000 [0.9"),
        rewritten("items", all_alike),
        told=True,
    ),
    Case(
        "recall: five copies of each vector",
        f"{RECALL} 7",
        ("ties: share of the units", "image_search_recall@7"),
        rewritten("items", copies),
        told=True,
    ),
    Case(
        "recall: all searches alike",
        f"{RECALL} 10",
        ("image_search_recall@10",),
        rewritten("queries", all_alike),
        told=True,
    ),
    Case(
        "recall: one of three orthogonal items",
        recall([[1]], queries=AXES[:1], gallery=AXES[1:4]),
        ("value=0.3333", "tied=1.0"),
        told=True,
    ),
    # nothing, and all
    Case(
        "recall: no search with an answer",
        f"{RECALL} 10 --engagement carted",
        ("no search of the test period can be measured", "category_accuracy"),
        told=True,
    ),
    Case(
        "recall: no search of the period has a vector",
        f"{RECALL} 10",
        ("no search of the test period can be measured",),
        rewritten("queries", lambda ids, vectors: (ids[:5], vectors[:5])),
        told=True,
    ),
    Case(
        "recall: a gallery of one item",
        f"{RECALL} 1 --accept low-coverage",
        ("1 of 120", "MIND"),
        rewritten("items", lambda ids, vectors: (ids[:1], vectors[:1])),
        told=True,
    ),
    Case(
        "recall: none of three found",
        recall([[5], [5], [5]], queries=(AXES[:3] - AXES[5:]) / np.sqrt(2).astype(np.float32)),
        ("value=0.0, low=0.0, high=0.5614",),
        told=True,
    ),
    Case(
        "recall: all three found",
        recall([[0], [1], [2]]),
        ("value=1.0, low=0.4385", "high=1.0"),
        told=True,
    ),
    Case(
        "recall: one search alone",
        recall([[0]], queries=AXES[:1]),
        ("value=1.0, low=0.2065", "high=1.0"),
        told=True,
    ),
    Case(
        "recall: all searches of one user",
        recall([[0], [1], [2]], users=np.zeros(3)),
        ("value=1.0, low=0.2065", "high=1.0", "count=3"),
        told=True,
    ),
    Case(
        "recall: no searches",
        recall([], queries=AXES[:0]),
        ("value=nan, low=nan, high=nan, count=0",),
        told=True,
    ),
    Case("recall: users of fewer searches", recall([[0]] * 3, users=np.zeros(2)), ("users has 2",)),
    Case(
        "recall: an answer outside the gallery",
        recall([[0], [6], [1]]),
        ("relevant of query 1 names gallery row 6, outside 0..5",),
    ),
    Case(
        "shares: a mean of one value",
        lambda folder: bootstrap_mean(np.ones(1)),
        ("nan",),
        told=True,
    ),
    Case(
        "shares: all of five differences are 0",
        lambda folder: mean_share(np.zeros(5), bounds=(-1, 1)),
        ("0.0000 [-0.4", ", 0.4"),
        told=True,
    ),
    Case(
        "shares: a ratio over no hits",
        lambda folder: ratio_of_shares(np.ones(3), np.zeros(3)),
        ("inf [", ", inf]"),
        told=True,
    ),
    # texts
    Case("texts: queries of nothing", blank_queries(""), ("as before",), told=True),
    Case("texts: queries of a space", blank_queries(" "), ("as before",), told=True),
    Case(
        "texts: queries of what is not seen",
        blank_queries("\u200b\ufeff"),
        ("as before",),
        told=True,
    ),
    Case("texts: a query of a space to embed", queries("bag", " "), ("search 8 has neither",)),
    Case("texts: a query of joiners to embed", queries("\u200d\ufe0f"), ("search 7 has neither",)),
    Case("texts: a query of no-break spaces", queries("\u00a0\u2003"), ("search 7 has neither",)),
    Case(
        "texts: queries composed and decomposed",
        queries("café", "cafe\u0301", "ｃａｆé"),
        ("['café', 'café', 'café']",),
        told=True,
    ),
    Case(
        "texts: tokens of a decomposed title",
        tokens("Café Crème", "Cafe\u0301 Cre\u0300me"),
        ("1 kind",),
        told=True,
    ),
    Case(
        "texts: tokens of a title with what is not seen",
        tokens("Café bag", "\ufeffCaf\u00adé\u00a0 b\u200dag\n"),
        ("1 kind",),
        told=True,
    ),
    Case(
        "texts: titles that show nothing", titles("\u200b", " "), ("['bags', 'bags']",), told=True
    ),
    Case(
        "texts: brands in several forms",
        lambda folder: (
            Vocabulary.of(pl.Series(["Hermès", "Herme\u0300s", "Hermès\u200b"])).num_rows
        ),
        ("2",),
        told=True,
    ),
    Case(
        "texts: blank brands",
        lambda folder: Vocabulary.of(pl.Series(["", " ", "\ufeff"])).num_rows,
        ("1",),
        told=True,
    ),
    Case(
        "texts: a decomposed term of the catalogue",
        lambda folder: Gazetteer(["Chloe\u0301"]).entities(pl.Series(["CHLOÉ™ bag"])).to_list(),
        ("chloé",),
        told=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_text_or_search(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
