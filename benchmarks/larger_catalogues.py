"""Held out: recall@10 among all of a shop's items, predicted from a part of them, beside what is measured.

Parts of 1,000, 4,000 and 10,000 items are drawn several times; each holds what its searches have to find. `representation.evaluation.larger_catalogues` predicts recall among all items
from the part alone; the measured recall is of the same searches among all. Encoders are plain and cheap, for it is the extrapolation that is judged: thumbnails of pictures (searches:
products' own pictures, turned and cropped), words of titles in random directions (searches: the test searches by words), and any tables given. A third shop is drawn on a sphere, where
the truth is known at 10^6 and 10^8 items, too.
"""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from scipy import special, stats

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import write_json
from moon_rec.progress import track
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from representation.evaluation.larger_catalogues import recall_in_larger_catalogues
from representation.metrics.recall import search_recall
from representation.sets.search_cases import gallery_of, search_cases

PARTS = (1_000, 4_000, 10_000)
K = 10
SIDE = 8
NAMED = {"1e6": 10**6, "1e8": 10**8}


def thumbnail(data: bytes, is_altered: bool = False) -> np.ndarray:
    """A picture as 8 x 8 pixels `(192,)`; altered: turned by 4 degrees and cropped to 90 %."""
    with Image.open(io.BytesIO(data)) as file:
        picture = file.convert("RGB")
    if is_altered:
        picture = picture.rotate(4, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
        width, height = picture.size
        picture = picture.crop((width // 20, height // 20, width - width // 20, height - height // 20))  # fmt: skip
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


def by_thumbnails(shop: Shop, photos: int, seed: int) -> dict[str, Any]:
    """Altered pictures of products seek these among all."""
    frame = shop.items.filter(pl.col("image").is_not_null()).select("item_id", "image")
    frame = frame.collect(engine="streaming").sort("item_id")
    vectors = np.stack([thumbnail(one) for one in track(frame["image"], "thumbnails", len(frame))])
    centre = vectors.mean(axis=0)
    rows = np.sort(generator(seed, "altered pictures").choice(len(frame), photos, replace=False))
    asked = np.stack([thumbnail(frame["image"][int(row)], is_altered=True) for row in rows])
    return {"queries": _unit(asked - centre), "gallery": _unit(vectors - centre), "relevant": [[int(row)] for row in rows]}  # fmt: skip


def by_words(shop: Shop) -> dict[str, Any]:
    """The test searches by words seek what was purchased after them: words in random directions, rare ones longer."""
    titles = shop.items.select("item_id", "title", "category").collect()
    searches = shop.in_period(shop.searches, "test").filter(pl.col("query_text").is_not_null())
    searches = searches.select("search_id", "query_text").collect()
    texts = (titles["title"] + " " + titles["category"].str.replace_all("/", " ")).to_list()
    words = [text.lower().split() for text in [*texts, *searches["query_text"]]]
    known = {word: place for place, word in enumerate(sorted({one for text in words for one in text}))}  # fmt: skip
    directions = np.random.default_rng(0).normal(size=(len(known), 96)).astype(np.float32)
    counts = np.bincount([known[one] for text in words for one in set(text)], minlength=len(known))
    directions *= np.log(1 + len(words) / counts)[:, None]
    vectors = np.stack([directions[[known[one] for one in text]].sum(axis=0) for text in words])
    items = EmbeddingTable.from_arrays(titles["item_id"].to_numpy(), vectors[: len(titles)])
    queries = EmbeddingTable.from_arrays(searches["search_id"].to_numpy(), vectors[len(titles) :])
    return by_tables(shop, items, queries, "text")


def by_tables(
    shop: Shop, items: EmbeddingTable, queries: EmbeddingTable, modality: str
) -> dict[str, Any]:
    """The test searches of a modality seek what was purchased after them."""
    gallery = gallery_of(shop, items, "test")
    cases = search_cases(shop, gallery, queries, "test")[modality].findable()
    return {"queries": cases.queries, "gallery": gallery.vectors, "relevant": cases.relevant, "users": cases.users, "excluded": cases.excluded}  # fmt: skip


def held_out(case: dict[str, Any], draws: int, searches: int, seed: int) -> list[dict[str, Any]]:
    """Predicted from parts, and measured among all, of `searches` searches."""
    found = []
    gallery, total = case["gallery"], len(case["gallery"])
    for part in PARTS:
        for draw in track(range(draws), f"parts of {part:,}", draws):
            random = generator(seed, "part", part, draw)
            chosen = np.sort(random.choice(len(case["queries"]), min(searches, len(case["queries"]), part // 3), replace=False))  # fmt: skip
            own = _of(case, chosen)
            needed = np.unique(np.concatenate([*own["relevant"], *own.get("excluded", [[]])])).astype(np.int64)  # fmt: skip
            rest = np.setdiff1d(np.arange(total), needed)
            rows = np.sort(np.concatenate([needed, random.choice(rest, part - len(needed), replace=False)]))  # fmt: skip
            place = np.full(total, -1)
            place[rows] = np.arange(part)
            inside = own | {"gallery": gallery[rows]}
            for name in ("relevant", "excluded"):
                if name in own:
                    inside[name] = [place[np.asarray(one, np.int64)] for one in own[name]]
            predicted = recall_in_larger_catalogues(**inside, sizes=[part, total], ks=(K,), seed=draw, num_resamples=100)[K]  # fmt: skip
            measured = search_recall(**own, ks=(K,)).hit[K]
            found.append({"part": part, "draw": draw, "searches": len(chosen), "of_part": predicted[part].value, "predicted": predicted[total].as_dict(), "measured": measured.value})  # fmt: skip
    return found


def on_a_sphere(draws: int, dims: tuple[int, ...] = (16, 64)) -> list[dict[str, Any]]:
    """Random unit vectors, whose true recall at any size is known: (1 + score) / 2 of what is not relevant is Beta((d - 1) / 2, (d - 1) / 2)."""
    found = []
    for dim in dims:
        for draw in range(draws):
            random = generator(draw, "sphere", dim)
            gallery = _unit(random.normal(size=(10_000, dim)))
            blur = random.normal(size=(400, dim)) * (1.2 if dim == 16 else 2.0) / dim**0.5
            queries = _unit(gallery[:400] + blur)
            sizes = [10_000, 41_323, *NAMED.values()]
            predicted = recall_in_larger_catalogues(queries, gallery, np.arange(400)[:, None], sizes, (K,), seed=draw, num_resamples=100)[K]  # fmt: skip
            scores = np.einsum("sd,sd->s", queries.astype(np.float64), gallery[:400])
            beyond = stats.beta.sf((1 + scores) / 2, (dim - 1) / 2, (dim - 1) / 2)
            found += [{"dim": dim, "draw": draw, "size": size, "predicted": predicted[size].as_dict(), "truth": float(special.bdtr(K - 1, size - 1, beyond).mean())} for size in sizes]  # fmt: skip
    return found


def summary(rows: list[dict[str, Any]], keys: tuple[str, ...], truth: str) -> list[dict[str, Any]]:
    """Mean prediction, truth, error and the share of intervals that hold the truth, by `keys`."""
    frame = pl.DataFrame([{**{key: row[key] for key in keys}, "truth": row[truth], **{end: row["predicted"][end] for end in ("value", "low", "high")}} for row in rows])  # fmt: skip
    is_in = (pl.col("low") <= pl.col("truth")) & (pl.col("truth") <= pl.col("high"))
    return frame.group_by(keys, maintain_order=True).agg(
        pl.len().alias("draws"),
        pl.col("value").mean().alias("predicted"),
        pl.col("truth").mean(),
        (pl.col("value") - pl.col("truth")).mean().alias("error"),
        (pl.col("high") - pl.col("low")).mean().alias("width"),
        is_in.mean().alias("covered"),
    ).to_dicts()  # fmt: skip


def _of(case: dict[str, Any], chosen: np.ndarray) -> dict[str, Any]:
    own = {"queries": case["queries"][chosen], "gallery": case["gallery"]}
    own |= {name: [case[name][at] for at in chosen] for name in ("relevant", "excluded") if name in case}  # fmt: skip
    return own | ({"users": case["users"][chosen]} if "users" in case else {})


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.larger_catalogues",
        description="Recall among all items of a shop, predicted from parts of it, beside what is measured.",
        example="python -m benchmarks.larger_catalogues runs/myntra/shop --out larger_catalogues.json",
    )
    parser.add_argument("shop", type=Path, help="a shop with pictures, of more than 10,000 items")
    parser.add_argument("--items", type=Path, help="item vectors of a further encoder")
    parser.add_argument("--queries", type=Path, help="its query vectors")
    parser.add_argument("--modality", default="text", help="of the searches that those measure")
    parser.add_argument("--draws", type=int, default=6, help="parts drawn of each size")
    parser.add_argument("--searches", type=int, default=600, help="most searches of a part")
    parser.add_argument("--photos", type=int, default=1500, help="pictures altered")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parsed(parser, argv)
    shop = Shop.open(options.shop)
    cases = {"thumbnails, altered pictures": by_thumbnails(shop, options.photos, options.seed), "title words, searches by words": by_words(shop)}  # fmt: skip
    if options.items:
        items, queries = EmbeddingTable.open(options.items), EmbeddingTable.open(options.queries)
        cases["tables given"] = by_tables(shop, items, queries, options.modality)
    record: dict[str, Any] = {**describe_machine(), "shop": {"name": shop.name, "digest": shop.digest}, "held_out": {}}  # fmt: skip
    for name, case in cases.items():
        rows = held_out(case, options.draws, options.searches, options.seed)
        ahead = recall_in_larger_catalogues(**_of(case, np.arange(len(case["queries"]))), sizes=[len(case["gallery"]), *NAMED.values()], ks=(K,))[K]  # fmt: skip
        record["held_out"][name] = {"items": len(case["gallery"]), "summary": summary(rows, ("part",), "measured"), "rows": rows, "ahead": {str(size): each.as_dict() for size, each in ahead.items()}}  # fmt: skip
        print(name, *record["held_out"][name]["summary"], sep="\n  ")
        print(*(f"  among {size:,}: {each}" for size, each in ahead.items()), sep="\n", flush=True)
    rows = on_a_sphere(options.draws)
    record["sphere"] = {"summary": summary(rows, ("dim", "size"), "truth"), "rows": rows}
    print("sphere", *record["sphere"]["summary"], sep="\n  ")
    if options.out:
        write_json(options.out, record)
        print(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(run(main))
