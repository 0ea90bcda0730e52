"""The cells of a plan as they are listed, and what their costs rest on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from exchange_rate.study.cell_files import CellSpec
from exchange_rate.study.cells import code_of
from exchange_rate.study.plan import StudyConfig
from exchange_rate.study.schedule import Cell, Finished
from moon_rec.shop import Shop

# Processor seconds of one thread with AVX-512, measured on the demo's shop; the schedule corrects them as it goes.
SECONDS_TO_BEGIN = 0.5
SECONDS_PER_PAIR = 1.2e-3
SECONDS_PER_QUESTION = 1.5e-3
SECONDS_PER_VECTOR = 4e-4
SECONDS_PER_READ_VECTOR = 2e-5
SECONDS_PER_IMPRESSION = 2e-5
SECONDS_PER_RESAMPLED_IMPRESSION = 4e-9


class CellList:
    """Cells, each after those it needs.

    Attributes:
        cells: so far.
        num_vectors, num_impressions: of the shop.
    """

    def __init__(self, shop: Shop, config: StudyConfig, period: str):
        self.config, self.period = config, period
        self._shop = (str(shop.path), shop.digest)
        self.num_vectors = _height(shop.items) + _height(shop.searches)
        self.num_impressions = _height(shop.impressions)
        self.cells: list[Cell] = []

    def add(
        self,
        name: str,
        kind: str,
        needs: tuple[str, ...],
        cost: float,
        make: Callable[[Finished], CellSpec],
    ) -> str:
        """List a cell; its name is given back."""
        self.cells.append(Cell(name, kind, needs, make, SECONDS_TO_BEGIN + cost))
        return name

    def spec(
        self,
        kind: str,
        name: str,
        settings: dict[str, Any],
        inputs: dict[str, tuple[str, str]],
        labels: dict[str, Any] | None = None,
        outside: Mapping[str, tuple[str, str]] | None = None,
        also: Sequence[dict[str, Any]] = (),
    ) -> CellSpec:
        """What a cell of this shop, made by today's code, is told."""
        return CellSpec(
            kind,
            name,
            settings,
            inputs,
            self._shop,
            labels or {},
            code_of(kind),
            dict(outside or {}),
            tuple(also),
        )


def output(done: Finished, cell: str, name: str) -> tuple[str, str]:
    """Key of a finished cell, with its kind and the path of an output inside its folder."""
    spec, result = done[cell]
    return spec.key, f"{spec.kind}/{result.outputs[name]}"


def _height(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())
