"""Tuning EfficientNet-Lite0 so that a photo finds its product's catalogue picture, for `benchmarks.held_out_photos`.

A view of a picture of a product trained on finds the picture by InfoNCE both ways. Notable choices:
- Blocks before `--late` stay as they are: their states of catalogue pictures are computed once and kept; a view's are computed when it is drawn, anew at each step. What follows is trained as matrix
  products (`title_towers.py`), then a linear projection.
- A view is post-training's (`altered`), or a photo as those that are measured are rendered (`rendered`), of other products and from another stream.
- With `--near` a batch is made of groups: a product and some of the pictures that are nearest to its own, looked up again at each look. Among 40,000 products a photo is confused with the few that look
  like its own; a batch drawn by chance has hardly one of them, and its loss is near zero while half of the photos are not found.
"""

import argparse
import time
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.own_photo_recall import photo_of
from benchmarks.pair_training import both_ways, numbered, saved_state, taken_up
from benchmarks.photo_places import Places, matched, matching_loss
from benchmarks.title_features import Split, pieces
from benchmarks.title_recall import recalls
from benchmarks.title_towers import LateBlocks, early_states, normalised
from moon_rec.errors import ConfigError
from moon_rec.progress import say
from moon_rec.seeds import generator, seed_of
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

CHUNK = 128
STEPS_BETWEEN = 50
SOME = 256
"""Catalogue pictures whose places' mean and spread a training begins with."""
LOOKED_AT = 8_000
"""Products among which those that look alike are looked up."""
AMONG = 4
"""A group's others are drawn from this many times as many nearest pictures."""
ALTERED = AugmentationConfig(turn=25.0, zoom=0.3, shift=0.1, light=0.3, tint=0.1)
VIEWS = ("altered", "rendered")


def squares_of(pictures: list[bytes], side: int, region: bool = False) -> np.ndarray:
    """Squares of pictures, or of what each shows in the detector's box."""
    shown = map(decode, pictures)
    if region:
        shown = (crop(one, foreground_box(one)) for one in shown)
    return np.stack([square(one, side) for one in shown])


def subset(options: argparse.Namespace) -> str:
    """In the names of what is kept of fewer products."""
    return f"-{options.photos}-{options.gallery}" if options.photos or options.gallery else ""


Kept = tuple[Tensor, ...]
"""Of pictures: a unit vector each `(pictures, dim)`; with `--places` also their places' vectors `(pictures, places, channels)` and what each counts `(pictures, places)`."""


class Seeing(nn.Module):
    """Late blocks, a projection, and with `--places` what matches places of the states after so many of the blocks.

    Args:
        plain: early states of some catalogue pictures.
    """

    def __init__(self, model: Any, options: argparse.Namespace, plain: Tensor) -> None:
        super().__init__()
        self.late = LateBlocks(model, (options.side, options.side), options.late)
        self.projection = nn.Linear(model.config.hidden_size, options.dim)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())
        self._after, self.places = options.places, None
        if options.places:
            with torch.no_grad():
                self.places = Places(self.late.with_places(plain, options.places)[1])

    def forward(self, states: Tensor) -> Kept:
        """Of early states, with gradients."""
        pooled, seen = self.late.with_places(states, self._after)
        pooled = functional.normalize(pooled, dim=-1) * self.projection.in_features**0.5
        vectors = functional.normalize(self.projection(pooled).float(), dim=-1)
        return (vectors, *self.places(seen)) if self.places is not None else (vectors,)

    @torch.no_grad()
    def kept(self, states: Tensor) -> Kept:
        """As `forward`, in chunks and bfloat16; places' vectors in float16."""
        parts: list[Kept] = []
        for part in states.split(CHUNK):
            with torch.autocast("cpu", torch.bfloat16):
                vectors, *of_places = self(part)
            parts.append((vectors, *(one.half() for one in of_places[:1]), *of_places[1:]))
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    def loss(self, asked: Kept, shown: Kept, same: Tensor) -> Tensor:
        """InfoNCE both ways by one vector, and by places."""
        found = both_ways(asked[0], shown[0], same, self.log_temperature)
        if self.places is not None:
            scores = self.places.scores(asked[1], shown[1], shown[2])
            found = found + matching_loss(scores, same, self.places.log_temperature)
        return found


class Tuning:
    """A training that goes on from its last kept step.

    Args:
        options: of `benchmarks.held_out_photos`.
        items: `item_id` and `image` of all products.
        photos: of products that are not trained on, by part of the split.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        items: pl.DataFrame,
        photos: dict[str, list[bytes]],
        split: Split,
    ) -> None:
        self._options, self._pictures, self._split = options, items["image"].to_list(), split
        self._region = options.region != "none"
        self._pair = locked_pair(options.weights / "minilm", options.weights / "efficientnet-lite0", device="cpu", image_size=options.side)  # fmt: skip
        self._model = self._pair.vision.to(memory_format=torch.channels_last)
        tuned = len(self._model.blocks) - options.late
        if tuned < max(1, options.places):
            raise ConfigError(
                f"--late {options.late} --places {options.places}: of the tower's {len(self._model.blocks)} blocks {max(tuned, 0)} are tuned; take a smaller --late, or --places of {max(tuned, 0)} at most"
            )
        name = f"early-{options.side}-{options.late}{'-foreground' * self._region}{subset(options)}"
        states, self._took = pieces(options.work, name, len(self._pictures), lambda first, end: self._early(self._squares(self._pictures[first:end])).numpy())  # fmt: skip
        self._plain = torch.from_numpy(states)
        self._photos = {what: self._early(self._squares(some)) for what, some in photos.items()}
        self._same = numbered(self._pictures)
        torch.manual_seed(seed_of(options.seed, "tuned"))
        self.seeing = Seeing(self._model, options, self._plain[split.train[:SOME]])

    def run(self) -> dict[str, Any]:
        """Train; recall of each part's photos, and what it took."""
        options, seeing = self._options, self.seeing
        towers = list(seeing.late.parameters())
        if seeing.places is not None:
            towers += seeing.places.vectors.parameters()
        ids = set(map(id, towers))
        heads = [one for one in seeing.parameters() if id(one) not in ids]
        rates = [options.tower_rate, 2e-3]
        optimizer = torch.optim.AdamW([{"params": one, "lr": rate} for one, rate in zip((towers, heads), rates, strict=True)], weight_decay=0.01, fused=True)  # fmt: skip
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=options.steps, pct_start=0.1)  # fmt: skip
        kept = f"photos-{options.seed}-{options.views}{'-foreground' * self._region}{subset(options)}.safetensors"  # fmt: skip
        state, parts = options.work / kept, {"seeing": seeing, "optimizer": optimizer, "schedule": schedule}  # fmt: skip
        done = taken_up(state, parts) or {"steps": 0, "seconds": self._took, "curve": [], "alike": None}  # fmt: skip
        for step in range(done["steps"], options.steps):
            start, random = time.process_time(), generator(options.seed, "photos", step)
            if options.near and step % options.look == 0:
                done["alike"] = self._look(generator(options.seed, "photos, alike", step))
            rows = self._drawn(done["alike"], random)
            views = self._early(self._views(rows, random))
            with torch.autocast("cpu", torch.bfloat16):
                loss = seeing.loss(seeing(views), seeing(self._plain[rows]), self._same[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done["steps"], done["seconds"] = step + 1, done["seconds"] + time.process_time() - start
            if (step + 1) % STEPS_BETWEEN == 0 or step + 1 == options.steps:
                done["curve"].append({"step": step + 1, "seconds": done["seconds"], "loss": loss.item()})  # fmt: skip
                say(f"tuned, step {step + 1:,}/{options.steps:,}, {done['seconds']:.0f} s: loss {loss.item():.3f}")  # fmt: skip
                saved_state(state, parts, done)
        gallery = seeing.kept(self._plain)
        found = {what: self._found(what, gallery) for what in self._photos}
        return {"found": found, "seconds": done["seconds"], "curve": done["curve"]}

    @torch.no_grad()
    def _found(self, what: str, gallery: Kept) -> dict[str, dict[int, float]]:
        """Recall of a part's photos, by each way of search."""
        seeing, own = self.seeing, getattr(self._split, what)
        asked = seeing.kept(self._photos[what])
        found = {"one vector": recalls(asked[0], gallery[0], own)}
        if seeing.places is not None:
            found |= matched(seeing.places, asked, gallery, own, seeing.log_temperature, self._options.shortlist)  # fmt: skip
        return found

    def _look(self, random: np.random.Generator) -> dict[str, Tensor]:
        """Products trained on, at most `LOOKED_AT` by chance, and for each the places of those whose pictures are nearest to its own."""
        train = self._split.train
        rows = random.choice(train, min(LOOKED_AT, len(train)), replace=False)
        vectors = self.seeing.kept(self._plain[rows])[0]
        near = nearest(vectors, min(AMONG * self._options.near, len(rows) - 1))
        return {"rows": torch.from_numpy(rows), "near": near}

    def _drawn(self, alike: dict[str, Tensor] | None, random: np.random.Generator) -> np.ndarray:
        """Products of a batch, by chance or in groups of those that look alike."""
        options = self._options
        if alike is None:
            return random.choice(self._split.train, options.batch_size, replace=False)
        rows, near = alike["rows"].numpy(), alike["near"].numpy()
        groups = -(-options.batch_size // options.near)
        firsts = random.choice(len(rows), min(groups, len(rows)), replace=False)
        others = near[firsts][:, random.permutation(near.shape[1])[: options.near - 1]]
        return rows[np.unique(np.concatenate([firsts, others.ravel()]))]

    def _views(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A view of each product's picture."""
        pictures = [self._pictures[row] for row in rows]
        if self._options.views == "rendered":
            return self._squares([photo_of(decode(one), random) for one in pictures])
        return altered(self._squares(pictures), random)

    def _squares(self, pictures: list[bytes]) -> np.ndarray:
        return squares_of(pictures, self._options.side, self._region)

    @torch.no_grad()
    def _early(self, squares: np.ndarray) -> Tensor:
        """States before the late blocks, in chunks and bfloat16."""
        about, found = self._pair.config, []
        for part in torch.from_numpy(squares).split(CHUNK):
            shown = part.permute(0, 3, 1, 2).float() / 255
            shown = normalised(shown, about.image_mean, about.image_std)
            with torch.autocast("cpu", torch.bfloat16):
                found.append(early_states(self._model, shown.to(memory_format=torch.channels_last), self._options.late))  # fmt: skip
        return torch.cat(found)


def altered(squares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A view of each picture on a ground of another."""
    views = draw_views(len(squares), squares.shape[1], ALTERED, random, new_ground=True)
    assert views.grounds is not None
    shown = torch.from_numpy(squares)
    return apply_views(shown, views, shown[torch.from_numpy(views.grounds.others)]).numpy()


def nearest(vectors: Tensor, count: int) -> Tensor:
    """The `count` rows of highest cosine with each row but itself, int32 `(rows, count)`, of unit vectors."""
    found: list[Tensor] = []
    for first in range(0, len(vectors), 1_000):
        scores = vectors[first : first + 1_000] @ vectors.T
        own = torch.arange(len(scores))
        scores[own, own + first] = -2
        found.append(scores.topk(count).indices.int())
    return torch.cat(found)
