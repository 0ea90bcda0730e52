"""Core regions: boxes that are none, and encoders that cannot see two pictures."""

import polars as pl
import pytest

from moon_rec.shop.manifest import Manifest
from representation.core_region.crops import boxes_in
from tests.bad_inputs.harness import Case, check


def _with_box(value):
    def read(folder):
        items = pl.read_parquet(folder / "shop" / "items.parquet").head(2)
        boxes = pl.Series([None, value], dtype=pl.List(pl.Float64))
        names = [f"items.image of item {key}" for key in items["item_id"]]
        return boxes_in(items.with_columns(core_box=boxes), names)

    return read


COMMAND = "representation.core_region.command"


def _changed(change):
    """A damage that writes the items anew and renews the shop's manifest."""

    def damage(folder):
        file = folder / "shop" / "items.parquet"
        change(pl.read_parquet(file)).write_parquet(file)
        Manifest.read(folder / "shop").renewed(folder / "shop").write(folder / "shop")

    return damage


def _with_column(value):
    return _changed(lambda items: items.with_columns(core_box=pl.lit(pl.Series([value])).first()))


_with_broken_picture = _changed(
    lambda items: items.with_columns(
        image=pl.when(pl.int_range(pl.len()) == 3)
        .then(pl.lit(b"\x89PNG no more"))
        .otherwise("image")
    )
)

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
    Case("core region: boxes of a detector without its weights", f"{COMMAND} shop --detector saliency --out new", ("--detector saliency has no weights", "vit_s_focus.onnx")),
    Case("core region: boxes with weights that nobody reads", f"{COMMAND} shop --weights items --out new", ("--weights items changes nothing", "--detector foreground reads none")),
    Case("core region: boxes by weights of another kind", f"{COMMAND} shop --detector saliency --weights shop/manifest.json --out new", ("shop/manifest.json",)),
    Case("core region: boxes by a detector that is no folder", f"{COMMAND} shop --detector zero-shot --weights nothing --out new", ("no zero-shot detector at nothing", "name a folder")),
    Case("core region: boxes where a table lies", f"{COMMAND} shop --out items --overwrite", ("items", "manifest.json")),
    Case("core region: boxes over the shop itself", f"{COMMAND} shop --out shop --overwrite", ("shop",)),
    Case("core region: boxes that the shop has", f"{COMMAND} shop --out new", ("items.parquet has a column core_box with 120 boxes", "--existing keep", "--existing replace"), _with_column([0.0, 0.0, 4.0, 4.0])),
    Case("core region: boxes to be kept that are none", f"{COMMAND} shop --existing keep --out new", ("items ", "core_box is [4.0, 0.0, 4.0, 4.0]", "or null"), _with_column([4.0, 0.0, 4.0, 4.0])),
    Case("core region: boxes of a broken picture", f"{COMMAND} shop --out new", ("items.image of item_id",), _with_broken_picture),
    Case("core region: a sheet of boxes of a shop without", "representation.look boxes shop --out boxes.png", ("no column core_box", "python -m representation.core_region shop --out NEW")),
    Case("core region: a margin beyond the box's sides", "representation.posttrain shop --out new --set core_region.margin=3", ("core_region.margin = 3", "less than or equal to 1")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_core_region(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
