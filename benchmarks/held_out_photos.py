"""Own photos of products held out of every training, by picture alone: frozen towers, and EfficientNet-Lite0 tuned on altered catalogue pictures.

    python -m benchmarks.held_out_photos SHOP --weights STARTERS --work DIR --out FILE [--steps 250] [--frozen efficientnet-lite0 dinov2-small]

The products are those of `benchmarks.title_to_picture`: 2,000 held out, 1,000 more to look at, the gallery is all with a picture. A photo is rendered from its product's picture (cluttered, cropped,
turned, re-lit: `benchmarks.own_photo_recall`), hence simulated; recall@k is whether its product is among the first k. No training sees a rendered photo or a held-out product.

- A frozen tower's name: cosine of its pooled states; two names joined by `+`: their sum.
- `--region foreground`: photos and catalogue pictures are cut to the box of the built-in detector (`representation.core_region`) before any tower sees them; `both`: the whole picture's vector and the
  region's are added.
- `--photos N --gallery M`: so many of the held-out products' photos among so many products, for a first look; the definition is all of them.
- `tuned`: a picture finds its own altered view (post-training's `augmentation`, on new grounds, drawn anew at each step) by InfoNCE both ways. Blocks before `FIRST_LATE` stay as they are, what
  follows is trained as matrix products (`title_towers.py`), then a linear projection. It goes on from its last kept step.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.chain import describe_machine
from benchmarks.own_photo_recall import rendered
from benchmarks.pair_training import numbered, saved_state, step_both_ways, taken_up
from benchmarks.title_features import HELD_OUT, VALIDATION, Split, pieces, split_of
from benchmarks.title_recall import recalls, with_intervals
from benchmarks.title_towers import LateBlocks, early_states, normalised
from moon_rec.command import Parser, count, run
from moon_rec.files import write_json
from moon_rec.progress import say
from moon_rec.seeds import generator, seed_of
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from representation.core_region.box import crop
from representation.core_region.foreground import foreground_box
from representation.encoders.locked import locked_pair
from representation.model.pixels import square
from representation.posttraining.augmentation import (
    AugmentationConfig,
    apply_views,
    draw_views,
)

FIRST_LATE = 5
REGIONS = {"none": (False,), "foreground": (True,), "both": (False, True)}
"""Whether pictures are cut to their box, of each vector that is added."""
CHUNK = 128
STEPS_BETWEEN = 50
ALTERED = AugmentationConfig(turn=25.0, zoom=0.3, shift=0.1, light=0.3, tint=0.1)


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

    def told(name: str, gallery: Tensor, asked: dict[str, Tensor], more: dict[str, Any]) -> None:
        found = {what: recalls(rows, gallery, getattr(split, what)) for what, rows in asked.items()}
        record[name] = {
            "recall": with_intervals(found["held_out"], len(split.held_out)),
            "validation": {f"R@{depth}": share for depth, share in found["validation"].items()},
            **more,
        }
        print(name, record[name]["recall"]["R@10"], more.get("seconds"), flush=True)

    frozen = {}
    for name in options.frozen:
        frozen[name] = _frozen(name, options, items["image"].to_list(), photos)
        told(name, *frozen[name])
    if len(frozen) > 1:
        joined = [torch.cat(rows, dim=1) for rows in zip(*(one[0:1] for one in frozen.values()), strict=True)]  # fmt: skip
        asked = {what: torch.cat([one[1][what] for one in frozen.values()], dim=1) for what in photos}  # fmt: skip
        told(" + ".join(frozen), joined[0], asked, {})
    if options.steps:
        told("tuned", *_tuned(options, items["image"].to_list(), photos, split.train))
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


def _squares(pictures: list[bytes], side: int, region: bool = False) -> np.ndarray:
    """Squares of pictures, or of what each shows in the detector's box."""
    shown = map(decode, pictures)
    if region:
        shown = (crop(one, foreground_box(one)) for one in shown)
    return np.stack([square(one, side) for one in shown])


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
            shown = _squares(some[first : first + CHUNK], side, region)
            with torch.autocast("cpu", torch.bfloat16):
                of_part = pair._of_squares(shown)
            found.append(functional.normalize(of_part.float(), dim=-1).numpy())
        return np.concatenate(found)

    gallery, asked, seconds = [], [], 0.0
    for region in REGIONS[options.region]:
        kept = f"photo-gallery-{name}-{side}{'-foreground' * region}{_subset(options)}"
        rows, took = pieces(options.work, kept, len(pictures), lambda first, end, region=region: vectors(pictures[first:end], region))  # fmt: skip
        gallery.append(torch.from_numpy(rows))
        asked.append({what: torch.from_numpy(vectors(some, region)) for what, some in photos.items()})  # fmt: skip
        seconds += took
    together = {what: _sum_of_units([one[what] for one in asked]) for what in photos}
    return _sum_of_units(gallery), together, {"seconds": seconds, "side": side}


def _subset(options: argparse.Namespace) -> str:
    """In the names of what is kept of fewer products."""
    return f"-{options.photos}-{options.gallery}" if options.photos or options.gallery else ""


def _sum_of_units(parts: list[Tensor]) -> Tensor:
    return functional.normalize(torch.stack(parts).sum(dim=0), dim=-1)


class _Seeing(nn.Module):
    """Late blocks and a projection."""

    def __init__(self, model: Any, side: int, dim: int) -> None:
        super().__init__()
        self.late = LateBlocks(model, (side, side), FIRST_LATE)
        self.projection = nn.Linear(model.config.hidden_size, dim)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())

    def forward(self, states: Tensor) -> Tensor:
        """Unit vectors `(rows, dim)` of early states."""
        pooled = functional.normalize(self.late(states), dim=-1) * self.projection.in_features**0.5
        return functional.normalize(self.projection(pooled).float(), dim=-1)


def _tuned(
    options: argparse.Namespace,
    pictures: list[bytes],
    photos: dict[str, list[bytes]],
    train: np.ndarray,
) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
    """As `_frozen`, by the tuned tower."""
    side = options.side
    pair = locked_pair(options.weights / "minilm", options.weights / "efficientnet-lite0", device="cpu", image_size=side)  # fmt: skip
    model = pair.vision.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def early(squares: np.ndarray) -> Tensor:
        shown = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
        shown = normalised(shown, pair.config.image_mean, pair.config.image_std)
        with torch.autocast("cpu", torch.bfloat16):
            return early_states(model, shown.to(memory_format=torch.channels_last), FIRST_LATE)

    region = options.region != "none"
    kept = f"squares-{side}{'-foreground' * region}{_subset(options)}"
    squares, took = pieces(options.work, kept, len(pictures), lambda first, end: _squares(pictures[first:end], side, region))  # fmt: skip
    start = time.process_time()
    plain = torch.cat([early(squares[first : first + CHUNK]) for first in range(0, len(squares), CHUNK)])  # fmt: skip
    torch.manual_seed(seed_of(options.seed, "tuned"))
    seeing = _Seeing(model, side, options.dim)
    optimizer = torch.optim.AdamW(
        [
            {"params": seeing.late.parameters(), "lr": options.tower_rate},
            {"params": [seeing.log_temperature, *seeing.projection.parameters()], "lr": 2e-3},
        ],
        weight_decay=0.01,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [options.tower_rate, 2e-3], total_steps=options.steps, pct_start=0.1)  # fmt: skip
    state, parts = options.work / f"photos-{options.seed}{'-foreground' * region}{_subset(options)}.safetensors", {"seeing": seeing, "optimizer": optimizer, "schedule": schedule}  # fmt: skip
    done = taken_up(state, parts) or {"steps": 0, "seconds": took, "curve": []}
    done["seconds"] += time.process_time() - start
    same = numbered(pictures)
    for step in range(done["steps"], options.steps):
        start, random = time.process_time(), generator(options.seed, "photos", step)
        rows = random.choice(train, options.batch_size, replace=False)
        views = early(_altered(squares[rows], random))
        with torch.autocast("cpu", torch.bfloat16):
            asked, shown = seeing(views), seeing(plain[rows])
        loss = step_both_ways(optimizer, asked, shown, same[rows], seeing.log_temperature)
        schedule.step()
        done["steps"], done["seconds"] = step + 1, done["seconds"] + time.process_time() - start
        if (step + 1) % STEPS_BETWEEN == 0 or step + 1 == options.steps:
            done["curve"].append({"step": step + 1, "seconds": done["seconds"], "loss": loss.item()})  # fmt: skip
            say(f"tuned, step {step + 1:,}/{options.steps:,}, {done['seconds']:.0f} s: loss {loss.item():.3f}")  # fmt: skip
            saved_state(state, parts, done)

    @torch.no_grad()
    def vectors(states: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return torch.cat([seeing(part) for part in states.split(CHUNK)])

    seeing.eval()
    asked = {what: vectors(early(_squares(some, side, region))) for what, some in photos.items()}
    return vectors(plain), asked, {"seconds": done["seconds"], "curve": done["curve"]}


def _altered(squares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A view of each picture on a ground of another."""
    views = draw_views(len(squares), squares.shape[1], ALTERED, random, new_ground=True)
    assert views.grounds is not None
    shown = torch.from_numpy(squares)
    return apply_views(shown, views, shown[torch.from_numpy(views.grounds.others)]).numpy()


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
    parser.add_argument("--photos", type=int, default=0, help="of held-out products; 0: all")
    parser.add_argument("--gallery", type=int, default=0, help="products; 0: all")
    parser.add_argument("--side", type=count, default=64, help="of a square, in pixels; a photo's")
    parser.add_argument("--steps", type=int, default=250, help="of tuning; 0: frozen towers alone")
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
