"""Own photos of products held out of every training, by picture alone: frozen towers, and EfficientNet-Lite0 tuned on views of catalogue pictures.

    python -m benchmarks.held_out_photos SHOP --weights STARTERS --work DIR --out FILE [--side 128 --steps 600 --late 8 --views rendered --near 16] [--frozen efficientnet-lite0 dinov2-small]

The products are those of `benchmarks.title_to_picture`: 2,000 held out, 1,000 more to look at, the gallery is all with a picture. A photo is rendered from its product's picture (cluttered, cropped,
turned, re-lit: `benchmarks.own_photo_recall`), hence simulated; recall@k is whether its product is among the first k. No training sees a held-out product or its photo.

- A frozen tower's name: cosine of its pooled states; two names joined by `+`: their sum.
- `--side`: pictures and photos are enlarged to it before a tower sees them, whatever they were published in.
- `--region foreground`: photos and catalogue pictures are cut to the box of the built-in detector (`representation.core_region`) before any tower sees them; `both`: the whole picture's vector and the
  region's are added.
- `--photos N --gallery M`: so many of the held-out products' photos among so many products, for a first look; the definition is all of them.
- `tuned`: see `benchmarks.photo_training`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.chain import describe_machine
from benchmarks.own_photo_recall import rendered
from benchmarks.photo_training import CHUNK, VIEWS, Tuning, squares_of, subset
from benchmarks.title_features import HELD_OUT, VALIDATION, Split, pieces, split_of
from benchmarks.title_recall import recalls, with_intervals
from moon_rec.command import Parser, count, run, seed_number
from moon_rec.files import write_json
from moon_rec.shop import Shop
from representation.encoders.locked import locked_pair

REGIONS = {"none": (False,), "foreground": (True,), "both": (False, True)}
"""Whether pictures are cut to their box, of each vector that is added."""


def main(argv: list[str] | None = None) -> None:
    """Render, extract, train, print and write."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    shop = Shop.open(options.shop)
    items = shop.items.select("item_id", "image").filter(pl.col("image").is_not_null())
    items = items.sort("item_id").collect()
    split = split_of(items.height, 0, options.held_out, options.validation)
    if options.photos or options.gallery:
        items, split = _fewer(items, split, options)
    photos = {
        name: rendered(items[getattr(split, name).tolist()], seed=options.seed)
        for name in ("validation", "held_out")
    }
    record: dict[str, Any] = {
        "about": "own photos of held-out products, by picture",
        "photos": "simulated: rendered from catalogue pictures",
        "hardware": describe_machine(),
        "shop": shop.digest,
        "products": items.height,
        "settings": {name: str(value) for name, value in vars(options).items()},
    }

    def told(name: str, found: dict[str, dict[int, float]], more: dict[str, Any]) -> None:
        record[name] = {
            "recall": with_intervals(found["held_out"], len(split.held_out)),
            "validation": {f"R@{depth}": share for depth, share in found["validation"].items()},
            **more,
        }
        print(name, record[name]["recall"]["R@10"], more.get("seconds"), flush=True)

    def by_cosine(gallery: Tensor, asked: dict[str, Tensor]) -> dict[str, dict[int, float]]:
        return {what: recalls(rows, gallery, getattr(split, what)) for what, rows in asked.items()}

    frozen = {}
    for name in options.frozen:
        frozen[name] = _frozen(name, options, items["image"].to_list(), photos)
        gallery, asked, more = frozen[name]
        told(name, by_cosine(gallery, asked), more)
    if len(frozen) > 1:
        joined = [torch.cat(rows, dim=1) for rows in zip(*(one[0:1] for one in frozen.values()), strict=True)]  # fmt: skip
        asked = {what: torch.cat([one[1][what] for one in frozen.values()], dim=1) for what in photos}  # fmt: skip
        told(" + ".join(frozen), by_cosine(joined[0], asked), {})
    if options.steps:
        tuned = Tuning(options, items, photos, split).run()
        for way in tuned["found"]["held_out"]:
            found = {what: shares[way] for what, shares in tuned["found"].items()}
            told(f"tuned, {way}" if options.places else "tuned", found, {"seconds": tuned["seconds"]})  # fmt: skip
        record["curve"] = tuned["curve"]
    write_json(options.out, record)
    print(f"written to {options.out}")


def _fewer(
    items: pl.DataFrame, split: Split, options: argparse.Namespace
) -> tuple[pl.DataFrame, Split]:
    """The first photos of those that are held out and of validation, among the first products trained on."""
    photos = options.photos or len(split.held_out)
    asked = [split.validation[:photos], split.held_out[:photos]]
    rest = (options.gallery or items.height) - sum(map(len, asked))
    kept = [split.train[: max(rest, 0)], *asked]
    rows = np.sort(np.concatenate(kept))
    return items[rows.tolist()], Split(*(np.searchsorted(rows, part) for part in kept))


def _frozen(
    name: str, options: argparse.Namespace, pictures: list[bytes], photos: dict[str, list[bytes]]
) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
    """Unit vectors of all pictures and of photos by a frozen tower, and what they took."""
    side = options.side if name != "dinov2-small" else options.side // 14 * 14
    pair = locked_pair(options.weights / "minilm", options.weights / name, device="cpu", image_size=side)  # fmt: skip

    @torch.no_grad()
    def vectors(some: list[bytes], region: bool) -> np.ndarray:
        found = []
        for first in range(0, len(some), CHUNK):
            shown = squares_of(some[first : first + CHUNK], side, region)
            with torch.autocast("cpu", torch.bfloat16):
                of_part = pair._of_squares(shown)
            found.append(functional.normalize(of_part.float(), dim=-1).numpy())
        return np.concatenate(found)

    gallery, asked, seconds = [], [], 0.0
    for region in REGIONS[options.region]:
        kept = f"photo-gallery-{name}-{side}{'-foreground' * region}{subset(options)}"
        rows, took = pieces(options.work, kept, len(pictures), lambda first, end, region=region: vectors(pictures[first:end], region))  # fmt: skip
        gallery.append(torch.from_numpy(rows))
        asked.append({what: torch.from_numpy(vectors(some, region)) for what, some in photos.items()})  # fmt: skip
        seconds += took
    together = {what: _sum_of_units([one[what] for one in asked]) for what in photos}
    return _sum_of_units(gallery), together, {"seconds": seconds, "side": side}


def _sum_of_units(parts: list[Tensor]) -> Tensor:
    return functional.normalize(torch.stack(parts).sum(dim=0), dim=-1)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.held_out_photos",
        description="Recall of held-out products by their own photos, by frozen towers and by one tuned on altered pictures.",
        example="python -m benchmarks.held_out_photos runs/myntra/shop --weights runs/starters --work runs/title --out runs/photos.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the starters")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is kept")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--frozen", nargs="*", default=["efficientnet-lite0", "dinov2-small"])
    parser.add_argument("--region", choices=REGIONS, default="none", help="what a tower sees of a picture; a tuned one sees the region in place of both")  # fmt: skip
    parser.add_argument(
        "--photos", type=seed_number, default=0, help="of held-out products; 0: all"
    )
    parser.add_argument("--gallery", type=seed_number, default=0, help="products; 0: all")
    parser.add_argument("--side", type=count, default=64, help="of a square, in pixels; a photo's")
    parser.add_argument(
        "--steps", type=seed_number, default=250, help="of tuning; 0: frozen towers alone"
    )
    parser.add_argument("--late", type=count, default=5, help="first block that is tuned")
    parser.add_argument("--places", type=seed_number, default=0, help="also match places of the states after so many of the tuned blocks; 0: one vector alone")  # fmt: skip
    parser.add_argument("--shortlist", type=count, default=500, help="products found by one vector whose places are matched")  # fmt: skip
    parser.add_argument("--views", choices=VIEWS, default=VIEWS[0], help="what tuning sees of a product trained on beside its picture: post-training's altered view, or a photo rendered as those measured are")  # fmt: skip
    parser.add_argument("--near", type=seed_number, default=0, help="products of a group in a batch, of pictures that look alike; 0: batches by chance")  # fmt: skip
    parser.add_argument("--look", type=count, default=150, help="steps after which alike pictures are looked up again (with --near)")  # fmt: skip
    parser.add_argument("--batch-size", type=count, default=256)
    parser.add_argument("--tower-rate", type=float, default=5e-4)
    parser.add_argument("--dim", type=count, default=256)
    parser.add_argument("--held-out", type=count, default=HELD_OUT)
    parser.add_argument("--validation", type=count, default=VALIDATION)
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of photos and training")
    return parser


if __name__ == "__main__":
    run(main)
