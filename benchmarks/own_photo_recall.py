"""Own-photo recall: a photo held out of training -> its own product among all products of the shop, beside two plain baselines of shapes and colours.

A photo is a cluttered, cropped, rotated, re-lit view of one product's catalogue picture (`moon_rec.shop.simulate.photos`), drawn from a seed stream that nothing else
uses, so no training ever saw it. All get the same JPEG bytes; the gallery is every product with a picture. Rendered photos of real products are
still simulated: the figures say so.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from rich.table import Table

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.hog_colour import BASELINES, features_of, item_features
from moon_rec.command import Parser, run
from moon_rec.console import table_console
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import EncoderError, ShopError, TableError
from moon_rec.estimate import Estimate
from moon_rec.files import write_json
from moon_rec.lookup import rows_of
from moon_rec.progress import progress, track
from moon_rec.seeds import generator
from moon_rec.shares import ratio_of_shares
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from moon_rec.shop.simulate.photos import encode, render_photo
from representation.metrics.recall import RecallResult, search_recall

KS = (1, 10, 50)
STREAM = "own-photo benchmark"
ITEMS_A_BATCH = 4096
DEFINITION = (
    "share of {count:,} photos, each rendered from one product's picture and held out of training, "
    "whose top {k} of all {items:,} products with a picture hold that product"
)
RATIO = "encoder's recall over the baseline's on the same photos"


def draw_photos(
    shop: Shop, count: int, seed: int, difficulty: float = 1.0
) -> tuple[np.ndarray, list[bytes]]:
    """Items drawn without replacement among those with a picture, ascending, and a JPEG photo of each.

    A photo depends on the seed and its item alone, not on how many are drawn.
    """
    with_picture = shop.items.filter(pl.col("image").is_not_null())
    ids = np.sort(with_picture.select("item_id").collect()["item_id"].to_numpy())
    if not 1 <= count <= len(ids):
        raise ShopError(f"--photos is {count}; this shop has {len(ids):,} items with a picture")
    drawn = np.sort(generator(seed, STREAM, "items").choice(ids, count, replace=False))
    pictures = (
        with_picture.filter(pl.col("item_id").is_in(drawn.tolist()))
        .select("item_id", "image")
        .collect(engine="streaming")
        .sort("item_id")
    )
    return drawn, rendered(pictures, seed, difficulty)


def rendered(pictures: pl.DataFrame, seed: int, difficulty: float = 1.0) -> list[bytes]:
    """A JPEG photo of each row's `image`, by seed and `item_id`."""
    photos = []
    for item, image in track(pictures.iter_rows(), "rendering photos", pictures.height):
        random = generator(seed, STREAM, int(item))
        picture = decode(image, f"items.image of item {item}")
        photos.append(photo_of(picture, random, difficulty))
    return photos


def photo_of(picture: Image.Image, random: np.random.Generator, difficulty: float = 1.0) -> bytes:
    """A JPEG photo rendered of a catalogue picture."""
    return encode(render_photo(picture, random, difficulty))


def own_recall(
    vectors: np.ndarray, ids: np.ndarray, photos: np.ndarray, items: np.ndarray, seed: int
) -> RecallResult:
    """Recall of each photo's own item.

    Args:
        vectors, ids: the gallery, `(items, dim)` and its ascending ids `(items,)`.
        photos, items: `(photos, dim)` and the id of each photo's product.
    """
    rows = rows_of(ids, items)
    missing = items[rows < 0]
    if missing.size:
        raise TableError(
            f"item {missing[0]} has a photo but no vector in the gallery; embed all items"
        )
    return search_recall(_unit(photos), _unit(vectors), [[row] for row in rows], KS, seed=seed)


def embed(
    encoder_path: Path, shop: Shop, photos: list[bytes], options: Any
) -> tuple[EmbeddingTable, np.ndarray]:
    """Vectors of all items with a picture (read from `--items` where given) and of the photos."""
    from representation.encoder import (
        ProductEncoder,
    )  # torch is not for those who want the baseline

    encoder = ProductEncoder.from_pretrained(encoder_path)
    frame = pl.DataFrame(
        {"query_text": [None] * len(photos), "query_image": photos},
        schema={"query_text": pl.String, "query_image": pl.Binary},
    )
    queries = encoder.encode_queries(frame)
    if options.items is not None:
        table = EmbeddingTable.open(options.items)
        if (table.encoder, table.shop) != (encoder.digest, shop.digest):
            raise TableError(
                f"{options.items} is of encoder {table.encoder} and shop {table.shop}, not of those given"
            )
        has_picture = shop.items.filter(pl.col("image").is_not_null()).select("item_id").collect()
        rows = table.rows(has_picture["item_id"].to_numpy())
        rows = rows[rows >= 0]
        return EmbeddingTable.from_arrays(table.ids[rows], table.take(rows)), queries
    ids, vectors = [], []
    items = shop.items.filter(pl.col("image").is_not_null())
    total = items.select(pl.len()).collect().item()
    with progress("encoding items", total) as bar:
        for batch in items.collect_batches(maintain_order=True, chunk_size=ITEMS_A_BATCH):
            ids.append(batch["item_id"].to_numpy())
            vectors.append(encoder.encode_items(batch, modality=options.modality, progress=False))
            bar.advance(len(batch))
    return EmbeddingTable.from_arrays(np.concatenate(ids), np.concatenate(vectors)), queries


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    options = parsed(_parser(), argv)
    started = time.monotonic()
    if options.items is not None and options.encoder is None:
        raise EncoderError("--items goes with --encoder, which embeds the photos; give both")
    shop = Shop.open(options.shop)
    items, photos = draw_photos(shop, options.photos, options.seed, options.difficulty)
    table = item_features(shop, options.cache, options.workers)
    named = [(f"photo of item {item}", photo) for item, photo in zip(items, photos, strict=True)]
    queries = features_of(named, len(named), "HOG and colours of photos", options.workers)
    vectors = table.take(np.arange(len(table)))
    results = {
        name: own_recall(vectors[:, columns], table.ids, queries[:, columns], items, options.seed)
        for name, columns in BASELINES.items()
    }
    ratios: dict[str, dict[int, Estimate]] = {}
    if options.encoder is not None:
        gallery, queries = embed(options.encoder, shop, photos, options)
        if len(gallery) != len(table):
            raise TableError(
                f"{options.items} has vectors for {len(gallery):,} of {len(table):,} items with a picture; embed all"
            )
        vectors = gallery.take(np.arange(len(gallery)))
        result = own_recall(vectors, gallery.ids, queries, items, options.seed)
        ratios = {
            name: {
                k: ratio_of_shares(result.hits[:, at], other.hits[:, at], definition=RATIO)
                for at, k in enumerate(KS)
            }
            for name, other in results.items()
        }
        results["encoder"] = result
    _print(shop, len(table), results, ratios)
    record = _record(shop, options, len(table), results, ratios, time.monotonic() - started)
    write_json(options.out, record)
    print(f"written to {options.out}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.own_photo_recall",
        description="Own-photo recall of an encoder beside a HOG-and-colour baseline, on the same held-out photos. Without --encoder: the baseline alone.",
        example="python -m benchmarks.own_photo_recall runs/myntra/shop --encoder runs/myntra/encoder --cache runs/myntra",
    )
    parser.add_argument("shop", type=Path, help="a shop's folder")
    parser.add_argument("--encoder", type=Path, metavar="DIR", help="an encoder's folder")
    parser.add_argument(
        "--items",
        type=Path,
        metavar="DIR",
        help="item vectors of that encoder, to spare embedding the items again",
    )
    parser.add_argument(
        "--modality",
        choices=("both", "image"),
        default="both",
        help="what of the items is embedded (without --items)",
    )
    parser.add_argument("--photos", type=int, default=2000, help="how many photos")
    parser.add_argument(
        "--difficulty", type=float, default=1.0, help="of the photos: 0 changes the ground only"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the photos")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder that keeps the baseline's vectors"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes for the baseline's features"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        default=Path("benchmarks/results/own_photo_recall.json"),
        help="where the figures go",
    )
    return parser


def _print(
    shop: Shop,
    num_items: int,
    results: dict[str, RecallResult],
    ratios: dict[str, dict[int, Estimate]],
) -> None:
    count = next(iter(results.values())).count
    title = f"own-photo recall, {shop.name}: {count:,} rendered (simulated) photos, {num_items:,} products"
    table = Table(title=title)
    table.add_column("")
    for k in KS:
        table.add_column(f"recall@{k}", justify="right", no_wrap=True)
    for name, result in results.items():
        table.add_row(name, *(str(result.hit[k]) for k in KS))
    for name, by_cut in ratios.items():
        cells = (f"{each.value:.1f} [{each.low:.1f}, {each.high:.1f}]" for each in by_cut.values())
        table.add_row(f"encoder / {name}", *cells)
    console = table_console()
    console.print(table)
    console.print(DEFINITION.format(count=count, k="k", items=num_items), soft_wrap=True)
    console.print("brackets: 95 %, Wilson's over photos, paired for the ratio", markup=False)


def _record(
    shop: Shop,
    options: Any,
    num_items: int,
    results: dict[str, RecallResult],
    ratios: dict[str, dict[int, Estimate]],
    seconds: float,
) -> dict[str, Any]:
    """All that a claimed figure names: command, commit, seed, hardware, shop, and the figures."""
    figures = {
        name: {
            f"recall@{k}": {
                **estimate.as_dict(),
                "definition": DEFINITION.format(count=result.count, k=k, items=num_items),
            }
            for k, estimate in result.hit.items()
        }
        for name, result in results.items()
    }
    machine = describe_machine()
    return {
        "command": "python -m benchmarks.own_photo_recall " + " ".join(sys.argv[1:]),
        "commit": machine["commit"],
        "options": json.loads(json.dumps(vars(options), default=str)),
        "shop": shop.about(),
        "photos": "simulated: rendered from catalogue pictures",
        "hardware": machine,
        "seconds": round(seconds, 1),
        "figures": figures,
        "ratio": {
            name: {f"recall@{k}": each.as_dict() for k, each in by_cut.items()}
            for name, by_cut in ratios.items()
        },
    }


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    sys.exit(run(main))
