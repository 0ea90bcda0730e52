"""Held out: recall@10 among all of a shop's items, predicted from a part of them, beside what is measured.

One item in 32, 16, 8, 4 and 2 is drawn several times, with some of the searches. `representation.metrics.larger_catalogues` predicts recall among all items from the part alone. What is measured is
the recall among all of the same searches, and of all searches, for which the interval is made. A search's own relevant items are in every part, those of the others only where they were drawn.
Encoders are of every kind, for it is the extrapolation that is judged: thumbnails, and HOG and colours, of pictures (searches: products' own pictures, turned and cropped), words of titles in random
directions (searches by words), and any tables given. A further shop is drawn on a sphere, where the truth is known at 10^6 and 10^8 items, too.
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
from benchmarks.hog_colour import BASELINES, features, item_features
from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import write_json
from moon_rec.progress import track
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from moon_rec.shop.shop import Period
from representation.metrics.larger_catalogues import (
    MOST_SCORES,
    Body,
    extrapolate,
    recall_in_larger_catalogues,
)
from representation.metrics.recall import prepared, search_recall
from representation.metrics.tail_scores import TailScores, tail_scores
from representation.sets.search_cases import gallery_of, search_cases

RATIOS = (32, 16, 8, 4, 2)
"""All items over those of a part."""
K = 10
BODIES: tuple[Body, ...] = ("counted", "skew-normal")
SIDE = 8
KINDS = ("thumbnails", "HOG and colours", "words")
NAMED = {"1e6": 10**6, "1e8": 10**8}


def altered(picture: Image.Image) -> Image.Image:
    """Turned by 4 degrees and cropped to 90 %."""
    picture = picture.rotate(4, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
    width, height = picture.size
    return picture.crop((width // 20, height // 20, width - width // 20, height - height // 20))


def thumbnail(picture: Image.Image) -> np.ndarray:
    """A picture as 8 x 8 pixels `(192,)`."""
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


def by_pictures(
    shop: Shop, kinds: list[str], photos: int, seed: int, cache: Path | None
) -> dict[str, dict[str, Any]]:
    """Altered pictures of products seek these among all: as thumbnails, as HOG and colours."""
    frame = shop.items.filter(pl.col("image").is_not_null()).select("item_id", "image")
    frame = frame.collect(engine="streaming").sort("item_id")
    rows = np.sort(generator(seed, "altered pictures").choice(len(frame), photos, replace=False))
    asked = [altered(_picture(frame["image"][int(row)])) for row in rows]
    found = {}
    for kind in kinds:
        if kind == "thumbnails":
            pictures = track(frame["image"], "thumbnails", len(frame))
            gallery = np.stack([thumbnail(_picture(data)) for data in pictures])
            queries = np.stack([thumbnail(one) for one in asked])
            centre = gallery.mean(axis=0)
            queries, gallery = queries - centre, gallery - centre
        else:
            columns = BASELINES["HOG and colour (plain)"]
            table = item_features(shop, cache, 1)  # ids ascend, as above
            gallery = table.take(np.arange(len(table)))[:, columns].astype(np.float32)
            queries = np.stack([features(one)[columns] for one in track(asked, kind, photos)])
        found[f"{kind}, altered pictures"] = {"queries": _unit(queries), "gallery": _unit(gallery), "relevant": [[int(row)] for row in rows]}  # fmt: skip
    return found


def _picture(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as file:
        return file.convert("RGB")


def by_words(shop: Shop, period: Period) -> dict[str, Any]:
    """The searches by words seek what was purchased after them: words in random directions, rare ones longer."""
    titles = shop.items.select("item_id", "title", "category").collect()
    searches = shop.in_period(shop.searches, period).filter(pl.col("query_text").is_not_null())
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
    return by_tables(shop, items, queries, "text", period)


def by_tables(
    shop: Shop, items: EmbeddingTable, queries: EmbeddingTable, modality: str, period: Period
) -> dict[str, Any]:
    """The searches of a modality seek what was purchased after them."""
    gallery = gallery_of(shop, items, period)
    cases = search_cases(shop, gallery, queries, period)[modality].findable()
    return {"queries": cases.queries, "gallery": gallery.vectors, "relevant": cases.relevant, "users": cases.users, "excluded": cases.excluded}  # fmt: skip


def held_out(case: dict[str, Any], draws: int, searches: int, seed: int) -> list[dict[str, Any]]:
    """Predicted from parts, and measured among all, of `searches` searches and of all."""
    found = []
    total, count = len(case["gallery"]), len(case["queries"])
    hits = search_recall(**_of(case, np.arange(count)), ks=(K,)).hits[:, 0]
    for ratio in RATIOS:
        for draw in track(range(draws), f"one item in {ratio}", draws):
            random = generator(seed, "part", ratio, draw)
            chosen = np.sort(random.choice(count, min(searches, count // 2), replace=False))
            part = np.sort(random.choice(total, total // ratio, replace=False))
            scores, users = _scores_in_part(_of(case, chosen), part)
            for body in BODIES:
                predicted = extrapolate(scores, len(part), [len(part), total], (K,), users, draw, body=body)[K]  # fmt: skip
                found.append({"body": body, "ratio": ratio, "part": len(part), "draw": draw, "searches": len(chosen), "of_part": predicted[len(part)].value, "predicted": predicted[total].as_dict(), "measured": float(hits[chosen].mean()), "of_all": float(hits.mean())})  # fmt: skip
    return found


def _scores_in_part(case: dict[str, Any], part: np.ndarray) -> tuple[TailScores, np.ndarray | None]:
    """Scores of searches among the rows of `part` and what each has to find, and their users."""
    needed = np.unique(np.concatenate(case["relevant"])).astype(np.int64)
    rows = np.union1d(part, needed)
    lent = np.setdiff1d(needed, part)
    place = np.full(len(case["gallery"]), -1)
    place[rows] = np.arange(len(rows))
    excluded = case.get("excluded", [[]] * len(case["queries"]))
    pairs = zip(case["relevant"], excluded, strict=True)
    gone = [np.setdiff1d(np.union1d(np.intersect1d(out, rows), lent), own) for own, out in pairs]
    relevant = [place[np.asarray(own, np.int64)] for own in case["relevant"]]
    gone = [place[one.astype(np.int64)] for one in gone]
    queries, gallery, _, searches, wanted, removed, _ = prepared(case["queries"], case["gallery"][rows], relevant, (K,), None, gone, case.get("users"))  # fmt: skip
    scores = tail_scores(queries, gallery, searches, wanted, removed, min(MOST_SCORES, len(part)))
    users = case.get("users")
    return scores, None if users is None else np.asarray(users)[searches]


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
            scores = np.einsum("sd,sd->s", queries.astype(np.float64), gallery[:400])
            beyond = stats.beta.sf((1 + scores) / 2, (dim - 1) / 2, (dim - 1) / 2)
            for body in BODIES:
                predicted = recall_in_larger_catalogues(queries, gallery, np.arange(400)[:, None], sizes, (K,), seed=draw, body=body)[K]  # fmt: skip
                found += [{"body": body, "dim": dim, "draw": draw, "size": size, "predicted": predicted[size].as_dict(), "truth": float(special.bdtr(K - 1, size - 1, beyond).mean())} for size in sizes]  # fmt: skip
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
    parser.add_argument("--tables", nargs=4, action="append", default=[], metavar=("NAME", "ITEMS", "QUERIES", "MODALITY"), help="vectors of a further encoder, and the searches that they answer: image, text or mixed; may be repeated")  # fmt: skip
    parser.add_argument(
        "--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="of plain encoders"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keeps the vectors of HOG and colours"
    )
    parser.add_argument("--period", default="test", choices=("train", "validation", "test"), help="of the searches")  # fmt: skip
    parser.add_argument("--draws", type=int, default=8, help="parts drawn of each size")
    parser.add_argument("--searches", type=int, default=300, help="most searches of a part")
    parser.add_argument("--photos", type=int, default=1500, help="pictures altered")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parsed(parser, argv)
    shop = Shop.open(options.shop)
    plain = [kind for kind in options.kinds if kind != "words"]
    cases = by_pictures(shop, plain, options.photos, options.seed, options.cache) if plain else {}
    if "words" in options.kinds:
        cases["title words, searches by words"] = by_words(shop, options.period)
    for name, items, queries, modality in options.tables:
        tables = EmbeddingTable.open(items), EmbeddingTable.open(queries)
        cases[name] = by_tables(shop, *tables, modality, options.period)
    record: dict[str, Any] = {**describe_machine(), "shop": {"name": shop.name, "digest": shop.digest}, "held_out": {}}  # fmt: skip
    for name, case in cases.items():
        rows = held_out(case, options.draws, options.searches, options.seed)
        ahead = recall_in_larger_catalogues(**case, sizes=[len(case["gallery"]), *NAMED.values()], ks=(K,))[K]  # fmt: skip
        same, everyone = (
            summary(rows, ("body", "ratio", "part"), truth) for truth in ("measured", "of_all")
        )
        record["held_out"][name] = {"items": len(case["gallery"]), "same searches": same, "all searches": everyone, "rows": rows, "ahead": {str(size): each.as_dict() for size, each in ahead.items()}}  # fmt: skip
        print(name, *same, "  all searches", *everyone, sep="\n  ")
        print(*(f"  among {size:,}: {each}" for size, each in ahead.items()), sep="\n", flush=True)
        if options.out:
            write_json(options.out, record)
    rows = on_a_sphere(options.draws)
    record["sphere"] = {"summary": summary(rows, ("body", "dim", "size"), "truth"), "rows": rows}
    print("sphere", *record["sphere"]["summary"], sep="\n  ")
    if options.out:
        write_json(options.out, record)
        print(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(run(main))
