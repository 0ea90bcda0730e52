"""Trainings that several benchmarks compare: one start for all arms of a seed, an arm a seed a cell, a measured cell a Parquet file that is never made twice."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from moon_rec.files import atomic_file, digest_of
from moon_rec.outputs import remove_folder
from moon_rec.progress import say
from moon_rec.shop import Shop
from representation.encoders.checkpoint import ENCODER
from representation.posttraining import PosttrainConfig


class Cell(NamedTuple):
    """A post-training to measure.

    Attributes:
        arm, seed: whose it is.
        config: its settings.
        vectors, teacher: see `posttrain`; the first is made where it is needed.
    """

    arm: str
    seed: int
    config: PosttrainConfig
    vectors: Callable[[], Path | None] = lambda: None
    teacher: Path | None = None


class Cells:
    """The cells of a shop in a folder.

    Args:
        measured: what is measured, in a word that tells its files apart.
        measure: of an encoder's folder the hits: `modality`, `search_id`, `hit@k`.
        collect: train and measure nothing, take what is there.
        keep: keep the encoders of measured cells.
    """

    def __init__(
        self,
        shop: Shop,
        folder: Path,
        measured: str,
        measure: Callable[[Path], pl.DataFrame],
        collect: bool = False,
        keep: bool = False,
    ) -> None:
        self._shop, self._folder, self._measured, self._measure = shop, folder, measured, measure
        self._collect, self._keep = collect, keep

    def start(self, config: PosttrainConfig, before: Path | None) -> tuple[Path, list[str]]:
        """The encoder that all arms of a seed go on from, trained where it is not there; and what it is made of."""
        from representation.posttraining import posttrain

        made_of = [self._shop.digest, str(before or ""), config.digest()]
        path = self._folder / f"stage1-{digest_of(made_of)}"
        if not path.exists() and not self._collect:
            say(f"seed {config.seed}: stage 1, {config.steps} steps")
            taken = config if before is None else with_backbone_of_start(config)
            posttrain(self._shop, path, taken, start=before)
        return path, made_of

    def hits(self, cell: Cell, start: Path, made_of: list[str]) -> pl.DataFrame | None:
        """What a cell found, with its arm and seed; trained from `start` and measured where that is not there, None where nothing may be."""
        key = digest_of(
            [*made_of, cell.config.digest(), *([str(cell.teacher)] if cell.teacher else [])]
        )
        encoder = self._folder / f"arm-{key}"
        file = encoder.with_name(f"{encoder.name}-{self._measured}.parquet")
        if not file.exists():
            if self._collect:
                return None
            say(f"seed {cell.seed}: {cell.arm}")
            self._make(cell, start, encoder)
            found = self._measure(encoder)
            with atomic_file(file) as temporary:
                found.write_parquet(temporary)
            if not self._keep:
                remove_folder(encoder, ENCODER)
            gc.collect()  # encoders hold on to themselves; many cells are made in one process
        return pl.read_parquet(file).with_columns(arm=pl.lit(cell.arm), seed=pl.lit(cell.seed))

    def _make(self, cell: Cell, start: Path, encoder: Path) -> None:
        from representation.posttraining import posttrain

        if encoder.exists():
            return
        taken, vectors = with_backbone_of_start(cell.config), cell.vectors()
        posttrain(self._shop, encoder, taken, start, vectors=vectors, teacher=cell.teacher)


def with_backbone_of_start(config: Any) -> Any:
    """The configuration of a training that goes on from an encoder, which has its own backbone."""
    return config.model_copy(update={"backbone": type(config.backbone)()})
