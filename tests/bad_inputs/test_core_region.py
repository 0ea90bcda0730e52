"""Core regions: boxes that are none, and encoders that cannot see two pictures."""

import polars as pl
import pytest

from representation.core_region.crops import boxes_in
from tests.bad_inputs.harness import Case, check


def _with_box(value):
    def read(folder):
        items = pl.read_parquet(folder / "shop" / "items.parquet").head(2)
        boxes = pl.Series([None, value], dtype=pl.List(pl.Float64))
        names = [f"items.image of item {key}" for key in items["item_id"]]
        return boxes_in(items.with_columns(core_box=boxes), names)

    return read


WANTED = (
    "items.image of item ",
    "core_box is",
    "wanted [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1, or null",
)
CASES = [
    Case("core region: a box of three numbers", _with_box([1.0, 2.0, 3.0]), WANTED),
    Case("core region: a box turned round", _with_box([9.0, 2.0, 3.0, 4.0]), WANTED),
    Case("core region: a box with infinity", _with_box([0.0, 0.0, float("inf"), 4.0]), WANTED),
    Case("core region: an unknown detector", "representation.posttrain shop --out new --set core_region.detector=foregrund", ("core_region.detector = 'foregrund'", "did you mean 'foreground'?")),
    Case("core region: a margin beyond the box's sides", "representation.posttrain shop --out new --set core_region.margin=3", ("core_region.margin = 3", "less than or equal to 1")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_core_region(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
