"""A title asks for its own product's picture among all pictures of a shop: towers with trained projections, and TF-IDF with ridge regression.

    python -m benchmarks.title_to_picture SHOP --weights STARTERS --work DIR --out FILE [--contestants "tuned + words + colour"] [--seconds 3600] [--device cuda]

2,000 products are held out of every training, 1,000 more choose the epoch; the gallery is all products with a picture. Recall@k of a title is whether its own
picture is among the first k, ties counted against it; a product of the same title is a miss, which bounds what can be reached (`ceiling`). Held-out products are asked for once, by the epoch that
the validation products chose. `STARTERS` holds folders as `python -m representation.starters` unpacks them.

What stays as it is is computed once and kept in `DIR` (`title_features.py`); a contestant goes on from its last epoch, and one that is done is taken up. Time on a processor is that of the process,
not of a clock, for the machine may be busy; on a GPU it is the clock's.

- `linear`, `hidden`: `encoders.locked.Projections`, without and with a hidden layer, of frozen towers; InfoNCE both ways, AdamW, cosine; products of one title are no negatives of each other.
- `tuned`: the vision tower is trained, too, from its weights, of altered pictures (`title_towers.py`): on a processor its late blocks, after `--still` epochs; on a GPU, or with `--whole`, all of it.
- `views`: as `tuned`, on a processor, and the tower stays as it is to the end: what altered pictures alone are worth.
- `both tuned`: the text tower as well.
- `+ words`: the title's TF-IDF beside the tower's output, as a projection of its own that is added: what a frozen text tower leaves out, brands above all.
- `+ colour`: an 8 x 8 grid of the picture's mean colours beside the tower's output: what a tower trained to name things leaves out.
- `sum`: the similarities of all trained contestants before it, summed; one whose name differs by a number alone is another draw of the same.
- `ridge`: TF-IDF of words and pairs of words, ridge regression onto the tower's outputs, penalty by the same 1,000 products.
"""

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.chain import describe_machine
from benchmarks.pair_training import numbered, saved_state, step_both_ways, taken_up
from benchmarks.title_features import (
    HELD_OUT,
    VALIDATION,
    Features,
    Split,
    bag,
    split_of,
)
from benchmarks.title_recall import ceiling, named, recalls, ridge, with_intervals
from benchmarks.title_towers import LateBlocks, LateTower, WholeTower
from moon_rec.command import Parser, count, run
from moon_rec.errors import MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.progress import say
from moon_rec.seeds import generator, seed_of
from moon_rec.shop import Shop
from moon_rec.texts import normal_texts
from representation.encoders.locked import locked_pair
from representation.encoders.projections import LockedConfig, Projections

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
IN_GALLERY = 512


def main(argv: list[str] | None = None) -> None:
    """Extract, train, print and write."""
    options = _parser().parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise MoonRecError("--device cuda finds no GPU here; try --device cpu")
    torch.set_num_threads(options.threads)
    shop = Shop.open(options.shop)
    items = shop.items.select("item_id", "title", "image").filter(pl.col("image").is_not_null())
    items = items.sort("item_id").collect()
    titles = normal_texts(items["title"].to_list())
    if items.height <= options.held_out + options.validation:
        raise MoonRecError(f"{options.shop} has {items.height:,} products with a picture, {options.held_out:,} + {options.validation:,} are not trained on; give smaller --held-out and --validation")  # fmt: skip
    split = split_of(items.height, options.seed, options.held_out, options.validation)
    pair = locked_pair(
        options.weights / options.text, options.weights / options.vision, device=options.device, image_size=options.image_size,
    )  # fmt: skip
    features = Features(options, items, titles, pair)
    record: dict[str, Any] = {
        "about": "title to own picture",
        "hardware": describe_machine(),
        "shop": shop.digest,
        "products": items.height,
        "held_out": len(split.held_out),
        "ceiling": {name: ceiling(titles, getattr(split, name)) for name in ("validation", "held_out")},
        "settings": {name: str(value) for name, value in vars(options).items()},
    }  # fmt: skip
    for name in options.contestants:
        file = _file(options, name, "json")
        if not file.is_file():
            if name == "ridge":
                write_json(file, ridge(features, titles, split))
            elif name == "sum":
                write_json(file, summed(options, split))
            else:
                write_json(file, trained(name, options, features, titles, split))
        record[name] = read_json(file)
        _print(name, record[name])
    write_json(options.out, record)
    print(f"written to {options.out}")


class _Pair(nn.Module):
    """A contestant: towers or their outputs, projections, words, temperature."""

    def __init__(self, name: str, options: argparse.Namespace, features: Features, titles: list[str], split: Split) -> None:  # fmt: skip
        super().__init__()
        self.device, self._text = torch.device(options.device), features.pair.text
        self.products = len(titles)
        self.dropout, self.tower, self.read = nn.Dropout(options.dropout), None, None
        self._words = features.words(split.train) if "words" in name else None
        self._colours = self._on_device(features.colours()) if "colour" in name else None
        if "tuned" in name or "views" in name:
            self.tower, width = _tower(options, features)
        else:
            self._pictures = self._on_device(features.pictures())
            width = self._pictures.shape[1]
        if "both tuned" in name:
            self._text = self._text.with_module(copy.deepcopy(self._text.module))
            self.read, text_width = self._text.module.requires_grad_(True), self._text.dim
            self._ids = self._text.tokens(titles, "item", "title")
        else:
            self._texts = self._on_device(features.texts())
            text_width = self._texts.shape[1]
        if self._colours is not None:
            width += self._colours.shape[1]
        hidden = 0 if "linear" in name else options.hidden
        self.projections = Projections(
            text_width, width, LockedConfig(dim=options.dim, hidden=hidden)
        )
        if self._words is not None:
            self.of_words = nn.Parameter(torch.randn(self._words.shape[1], options.dim) * 0.05)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())
        self.to(self.device)

    def groups(self, options: argparse.Namespace) -> list[dict[str, Any]]:
        """Towers at a rate of their own."""
        of_towers = [*(self.tower.parameters() if self.tower is not None else []), *(self.read.parameters() if self.read is not None else [])]  # fmt: skip
        known = {id(one) for one in [*of_towers, self.log_temperature]}
        rest = [one for one in self.parameters() if id(one) not in known]
        found = [
            {"params": rest, "lr": options.learning_rate, "weight_decay": options.weight_decay},
            {"params": [self.log_temperature], "lr": options.learning_rate, "weight_decay": 0.0},
            {"params": [one for one in of_towers if one.requires_grad], "lr": options.tower_rate, "weight_decay": 0.01},
        ]  # fmt: skip
        return [group for group in found if group["params"]]

    def queries(self, rows: np.ndarray) -> Tensor:
        """Unit vectors of titles `(rows, dim)`."""
        if self.read is not None:
            inputs = self._text.prepare("item", [self._ids[row] for row in rows], None)
            texts = self._text.embed(inputs.to(self.device)) * self._text.dim**0.5
        else:
            texts = self._texts[self._places(rows)]
        found = self.projections.text(self.dropout(texts))
        if self._words is not None:
            places, offsets, weights = bag(self._words, rows, self.device)
            found = found + functional.embedding_bag(
                places, self.of_words, offsets, mode="sum", per_sample_weights=self.dropout(weights)
            )
        return functional.normalize(found.float(), dim=-1)

    def items(self, rows: np.ndarray, random: torch.Generator | None = None) -> Tensor:
        """Unit vectors of pictures `(rows, dim)`, altered by the generator."""
        places = self._places(rows)
        if self.tower is None:
            states = self._pictures[places]
        else:
            states = functional.normalize(self.tower(torch.from_numpy(rows), random), dim=-1)
            states = states * states.shape[1] ** 0.5
        if self._colours is not None:
            states = torch.cat([states, self._colours[places]], dim=1)
        return functional.normalize(self.projections.vision(self.dropout(states)).float(), dim=-1)

    def _places(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self.device)

    def _on_device(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self.device)


def _tower(options: argparse.Namespace, features: Features) -> tuple[nn.Module, int]:
    """The trained vision tower and the width of its outputs."""
    size, pair = (options.height, options.width), features.pair
    width = pair.vision.config.hidden_size
    if options.whole or options.device != "cpu":
        frames = torch.from_numpy(features.frames()).to(options.device)
        model = copy.deepcopy(pair.vision).requires_grad_(True)  # other contestants start anew
        return WholeTower(model, size, pair.config, frames), width
    if pair.vision.config.model_type != "efficientnet_lite":
        raise MoonRecError(f"--vision {options.vision} has no late blocks to tune on a processor; give --whole or --vision efficientnet-lite0")  # fmt: skip
    late, views = LateBlocks(pair.vision, size), features.views(options.views, size)
    return LateTower(late, views, features.outputs(late, views, size)), width


def trained(name: str, options: argparse.Namespace, features: Features, titles: list[str], split: Split) -> dict[str, Any]:  # fmt: skip
    """The curve over seconds, and the held-out recall of the best epoch by the validation products."""
    torch.manual_seed(seed_of(options.seed, name))
    pair = _Pair(name, options, features, titles, split)
    same = numbered(titles).to(pair.device)
    optimizer = torch.optim.AdamW(pair.groups(options), fused=True)
    rates = [group["lr"] for group in optimizer.param_groups]
    state = _file(options, name, "safetensors")
    done = taken_up(state, {"pair": pair, "optimizer": optimizer})
    done = done or {"curve": [], "best": None, "weights": None, "seconds": 0.0, "looking": 0.0}
    autocast = torch.autocast(pair.device.type, torch.bfloat16, enabled=options.precision == "bfloat16")  # fmt: skip
    for epoch in range(len(done["curve"]), options.epochs):
        start = _clock(options)
        loss = _epoch(pair, optimizer, rates, epoch, name, options, split.train, same, autocast)
        done["seconds"] += _clock(options) - start
        point = {"epoch": epoch + 1, "seconds": done["seconds"], "loss": loss}
        is_last = epoch + 1 == options.epochs or done["seconds"] > options.seconds
        if is_last or (epoch + 1) % options.look_every == 0:
            start = _clock(options)
            with autocast:
                vectors = _vectors(pair, split)
            point |= named(recalls(vectors["validation"], vectors["gallery"], split.validation))
            done["looking"] += _clock(options) - start
            if done["best"] is None or point["R@10"] > done["best"]["R@10"]:
                done["best"] = point
                done["weights"] = {
                    key: value.detach().cpu().clone() for key, value in pair.state_dict().items()
                }
        done["curve"].append(point)
        say(f"{name}, epoch {epoch + 1}, {done['seconds']:.0f} s: loss {point['loss']:.3f}, validation R@10 {point.get('R@10', float('nan')):.3f}")  # fmt: skip
        saved_state(state, {"pair": pair, "optimizer": optimizer}, done)
        if is_last:
            break
    pair.load_state_dict(done["weights"])
    with autocast:
        vectors = _vectors(pair, split)
    kept: dict[str, Any] = {what: rows.cpu().half().numpy() for what, rows in vectors.items()}
    np.savez(_file(options, name, "npz"), **kept)
    held_out = recalls(vectors["held_out"], vectors["gallery"], split.held_out)
    seconds = {**features.seconds, "training": done["seconds"], "validation": done["looking"]}
    return {"recall": with_intervals(held_out, len(split.held_out)), "best": done["best"], "seconds": seconds, "curve": done["curve"]}  # fmt: skip


def _epoch(pair: _Pair, optimizer: torch.optim.Optimizer, rates: list[float], epoch: int, name: str, options: argparse.Namespace, train: np.ndarray, same: Tensor, autocast: Any) -> float:  # fmt: skip
    """One epoch; its mean loss."""
    torch.manual_seed(seed_of(options.seed, name, epoch))
    random = torch.Generator(pair.device).manual_seed(seed_of(options.seed, "altered", epoch))
    order = generator(options.seed, name, epoch).permutation(train)
    steps, losses = len(train) // options.batch_size, []
    pair.train()
    if isinstance(pair.tower, LateTower):
        pair.tower.is_still = epoch < options.still or "views" in name
    for step in range(steps):
        share = _share_of_rate(epoch * steps + step, steps * options.epochs)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        rows = order[step * options.batch_size : (step + 1) * options.batch_size]
        with autocast:
            queries, items = pair.queries(rows), pair.items(rows, random)
        same_in_batch = same[pair._places(rows)]
        losses.append(
            step_both_ways(optimizer, queries, items, same_in_batch, pair.log_temperature)
        )
    return torch.stack(losses).mean().item()


def _clock(options: argparse.Namespace) -> float:
    return time.process_time() if options.device == "cpu" else time.perf_counter()


def _share_of_rate(step: int, total: int) -> float:
    """Rises for `WARM_UP` of the steps; a cosine to zero over all."""
    rising = min((step + 1) / max(WARM_UP * total, 1), 1.0)
    return rising * 0.5 * (1 + float(np.cos(np.pi * step / total)))


@torch.no_grad()
def _vectors(pair: _Pair, split: Split) -> dict[str, Tensor]:
    """Unit vectors of all pictures, and of the titles that are not trained on."""
    pair.eval()
    parts = np.split(np.arange(pair.products), range(IN_GALLERY, pair.products, IN_GALLERY))
    return {
        "gallery": torch.cat([pair.items(rows) for rows in parts]),
        "validation": pair.queries(split.validation),
        "held_out": pair.queries(split.held_out),
    }


def summed(options: argparse.Namespace, split: Split) -> dict[str, Any]:
    """The similarities of all trained contestants before it, summed."""
    members = [each for each in options.contestants[: options.contestants.index("sum")] if each != "ridge"]  # fmt: skip
    held = [np.load(_file(options, each, "npz"), allow_pickle=False) for each in members]
    gallery, validation, held_out = (
        torch.cat([torch.from_numpy(one[what]) for one in held], dim=1)
        for what in ("gallery", "validation", "held_out")
    )
    best = {"members": members, **named(recalls(validation, gallery, split.validation))}
    return {"recall": with_intervals(recalls(held_out, gallery, split.held_out), len(split.held_out)), "best": best, "seconds": {}}  # fmt: skip


def _file(options: argparse.Namespace, name: str, kind: str) -> Path:
    """Of a contestant, in the folder for what is kept."""
    return options.work / f"{options.text}-{options.vision}-{options.seed}-{name.replace(' ', '')}.{kind}"  # fmt: skip


def _print(name: str, found: dict[str, Any]) -> None:
    told = ", ".join(
        f"{depth} {one['share']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
        for depth, one in found["recall"].items()
    )
    spent = ", ".join(f"{what} {seconds:.0f}" for what, seconds in found["seconds"].items())
    print(f"{name}: {told}; seconds: {spent}; together {sum(found['seconds'].values()):.0f}", flush=True)  # fmt: skip


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.title_to_picture",
        description="Recall of a title's own picture among all of a shop's, by towers with trained projections.",
        example="python -m benchmarks.title_to_picture runs/myntra/shop --weights runs/starters --work runs/title --out runs/title.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the starters")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is kept")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--text", default="minilm", help="of the starters")
    parser.add_argument("--vision", default="efficientnet-lite0", help="of the starters")
    parser.add_argument("--image-size", type=count, default=96, help="side of a square, for a frozen tower")  # fmt: skip
    parser.add_argument("--height", type=count, default=96, help="of a picture, for a tuned tower")
    parser.add_argument("--width", type=count, default=72, help="of a picture, for a tuned tower")
    parser.add_argument("--views", type=count, default=3, help="of a picture that are kept, for a tuned tower on a processor")  # fmt: skip
    parser.add_argument(
        "--whole", action="store_true", help="tune the whole vision tower, as on a GPU"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument(
        "--contestants", nargs="+", default=["ridge", "linear", "hidden", "tuned + words + colour"]
    )
    parser.add_argument("--held-out", type=count, default=HELD_OUT)
    parser.add_argument("--validation", type=count, default=VALIDATION)
    parser.add_argument("--seconds", type=float, default=6_000.0, help="of training, each")
    parser.add_argument("--epochs", type=count, default=20)
    parser.add_argument(
        "--still",
        type=int,
        default=5,
        help="first epochs, in which a tuned tower stays as it is, on a processor",
    )
    parser.add_argument("--look-every", type=count, default=4, help="epochs from one look at the validation products to the next")  # fmt: skip
    parser.add_argument("--batch-size", type=count, default=1_024)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--tower-rate", type=float, default=3e-4, help="of towers that are tuned")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--hidden", type=count, default=1_024)
    parser.add_argument("--dim", type=count, default=512)
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    run(main)
