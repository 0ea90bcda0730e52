"""The encoders that `stage_one` measures: every start, its pretrainings and its post-training, each made once."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from benchmarks.cells import with_backbone_of_start
from moon_rec.files import digest_of
from moon_rec.outputs import remove_folder
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from representation.encoders.checkpoint import ENCODER, read_about
from representation.model.composition import scale_projector
from representation.pretraining.grading import Grader

STATISTICS_OF = 64


class Cell(NamedTuple):
    """A training to measure."""

    start: str
    share: float
    seed: int


class Trainings:
    """The encoders of the cells, made in the folder where they are needed, each once.

    Args:
        start: an encoder's folder with real weights; None: the random backbone of `posttraining`.
        pretrainings: one after the other, each from what the last has made.
        rates: of post-training, of starts that have one of their own.
        graded: of how many products listed from the cut on answers are graded before, in the midst of and after a pretraining; its log keeps the grades.
    """

    def __init__(
        self,
        shop: Shop,
        folder: Path,
        start: Path | None,
        pretrainings: Sequence[Any],
        posttraining: Any,
        keep: bool,
        graded: int = 0,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        self._shop, self._folder, self._start, self._keep = shop, folder, start, keep
        self._pretrainings, self._posttraining = pretrainings, posttraining
        self._graded, self._rates = graded, rates or {}
        self._real = "" if start is None else digest_of(read_about(start) or str(start))

    def name(self, cell: Cell) -> str:
        """Of the cell's encoder: by all that it is made of."""
        return f"cell-{digest_of([*self._made_of(cell), self._config(cell).digest()])}"

    def made(self, cell: Cell) -> Path:
        """The cell's encoder, trained where it is not there."""
        start = self._start_of(cell)
        path = self._folder / self.name(cell)
        if not cell.share:
            return start
        if not path.exists():
            from representation.posttraining import posttrain

            config = with_backbone_of_start(self._config(cell))
            features = self.features[0] if self.features is not None else None
            posttrain(self._shop, path, config, start=start, features=features)
        return path

    @cached_property
    def features(self) -> tuple[Path, str] | None:
        """Where what frozen towers make of the shop's pictures is kept, and of which shop; None where a training moves them."""
        from representation.encoder import open_trainable
        from representation.training.trained import keeps_towers

        if self._start is None:
            return None
        encoder = open_trainable(self._start)
        stays = all(
            keeps_towers(encoder, each) for each in (*self._pretrainings, self._posttraining)
        )
        return (self._folder / "features", self._shop.digest) if stays else None

    def done(self, cell: Cell) -> None:
        """The cell is measured."""
        path = self._folder / self.name(cell)
        if path.exists() and not self._keep:
            remove_folder(path, ENCODER)

    def _config(self, cell: Cell) -> Any:
        update = {"seed": cell.seed, "pairs_share": cell.share or 1.0}
        if cell.start in self._rates:
            update["learning_rate"] = self._rates[cell.start]
        return self._posttraining.model_copy(update=update)

    def _made_of(self, cell: Cell) -> list[str]:
        made_of = [self._shop.digest, cell.start, str(cell.seed), str(bool(cell.share))]
        of_start = [self._real, self._posttraining.backbone.digest()]
        pretrained = (
            [one.digest() for one in self._pretrainings] if "pretrained" in cell.start else []
        )
        return [*made_of, *of_start, *pretrained]

    def _start_of(self, cell: Cell) -> Path:
        """Where the cell's post-training starts from."""
        if cell.start == "real":
            assert self._start is not None
            return self._start
        made_of = digest_of(self._made_of(cell)[:1] + self._made_of(cell)[4:])
        kind = cell.start.replace(" + ", "-")
        path = self._folder / f"start-{kind}-{cell.seed}-{made_of}"
        if path.exists():
            return path
        if cell.start in ("random", "real tower"):
            return self._random(path, cell.seed, keeps_tower=cell.start == "real tower")
        before = self._start_of(cell._replace(start=cell.start.split(" + ")[0]))
        return self._pretrained(before, path, cell.seed)

    def _pretrained(self, start: Path, out: Path, seed: int) -> Path:
        """All pretrainings, of which the last one's encoder is kept."""
        from representation.pretraining import pretrain

        last = len(self._pretrainings) - 1
        features = self.features[0] if self.features is not None else None
        for place, settings in enumerate(self._pretrainings):
            is_graded = self._graded and settings.objective == "answers"
            every = settings.steps // 2 if is_graded else 0
            config = settings.model_copy(update={"seed": seed, "grade_every": every})
            grade = Grader.of(self._shop, self._graded) if is_graded else None
            path = out if place == last else out.with_name(f"{out.name}-before-{place}")
            pretrain(
                self._shop,
                path,
                with_backbone_of_start(config),
                start=start,
                grade=grade,
                overwrite=True,
                features=features,
            )
            if place:
                remove_folder(start, ENCODER)
            start = path
        return out

    def _random(self, path: Path, seed: int, keeps_tower: bool) -> Path:
        """The start's architecture with random weights, as its own class draws them, its tower's own where it is to be kept; or the random backbone."""
        from representation.encoder import ProductEncoder, build_encoder
        from representation.model.backbone import part_of
        from representation.model.llava import LlavaBackbone

        if self._start is None:
            return build_encoder(self._shop, path, self._posttraining.backbone, seed)
        encoder = ProductEncoder.from_pretrained(self._start)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn: Any = type(encoder.module)(encoder.module.config).eval()
            if keeps_tower:
                real = encoder.module.state_dict().items()
                kept = {name: value for name, value in real if part_of(name) == "vision"}
                drawn.load_state_dict(kept, strict=False)
            else:
                self._take_statistics(encoder.with_module(drawn))
            if isinstance(encoder.backbone, LlavaBackbone):
                scale_projector(drawn, encoder.image_size, encoder.layout.num_tokens)
        return encoder.with_module(drawn.to(encoder.device)).save_pretrained(path)

    def _take_statistics(self, encoder: Any) -> None:
        """Give batch normalisation the mean and variance of what reaches it of the shop's first `STATISTICS_OF` pictures, layer by layer."""
        images = self._shop.items.filter(pl.col("image").is_not_null()).sort("item_id")
        images = images.select("image").head(STATISTICS_OF).collect()["image"]
        squares = [
            encoder.cut(decode(image, "items.image"), encoder.image_size) for image in images
        ]

        def take(norm: Any, inputs: Any) -> None:
            norm.running_var, norm.running_mean = torch.var_mean(inputs[0], dim=(0, 2, 3))

        norms = [
            each for each in encoder.module.modules() if isinstance(each, torch.nn.BatchNorm2d)
        ]
        hooks = [each.register_forward_pre_hook(take) for each in norms]
        if hooks:
            with torch.no_grad():
                encoder.backbone.tower_states(encoder.layout.pixels(np.stack(squares)))
        for hook in hooks:
            hook.remove()
