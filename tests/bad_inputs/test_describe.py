"""`shop describe`: shops that cannot be described, and outputs that it does not write. What is in the way of its folder stands in `test_outputs.py`."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from moon_rec.shop.manifest import Manifest
from tests.bad_inputs.harness import Case, check

OUT = "moon_rec shop describe shop --out new"


def no(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "shop" / name).unlink()


def table(name: str, change: Callable[[pl.DataFrame], pl.DataFrame], renew: bool = True):
    """Another table, of which the manifest knows."""

    def damage(folder: Path) -> None:
        path = folder / "shop" / f"{name}.parquet"
        change(pl.read_parquet(path)).write_parquet(path)
        if renew:
            Manifest.read(folder / "shop").renewed(folder / "shop").write(folder / "shop")

    return damage


def ids(frame: pl.DataFrame) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "shop" / "ids").mkdir()
        frame.write_parquet(folder / "shop" / "ids" / "item.parquet")

    return damage


def manifest(**values: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "shop" / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return damage


def early(frame: pl.DataFrame) -> pl.DataFrame:
    """The log without its second half: no test period."""
    half = frame["time"].min() + (frame["time"].max() - frame["time"].min()) / 2
    return frame.filter(pl.col("time") < half)


CASES = [
    Case("describe: no shop", "moon_rec shop describe none --out new", ("none is not a folder", "shop simulate")),
    Case("describe: a file for a shop", "moon_rec shop describe shop/items.parquet --out new", ("is not a folder",)),
    Case("describe: a folder of something else", "moon_rec shop describe items --out new", ("items has no manifest.json",)),
    Case("describe: no shop named", "moon_rec shop describe --out new", ("shop",)),
    Case("describe: --out without a folder", "moon_rec shop describe shop --out", ("--out",)),
    Case("describe: no impressions", OUT, ("impressions", "is missing"), no("impressions.parquet")),
    Case("describe: a table without a column", OUT, ("clicked",), table("impressions", lambda frame: frame.drop("clicked"))),
    Case("describe: a table that the manifest does not know", OUT, ("is not the file that manifest.json records", "shop check"), table("items", lambda frame: frame.with_columns(title=pl.lit("x")), renew=False)),
    Case("describe: ids that cannot be read", OUT, ("ids/item.parquet", "import the log again"), ids(pl.DataFrame({"a": [1]}))),
    Case("describe: ids of another shop", OUT, ("item_id", "is not among the ids of"), ids(pl.DataFrame({"id": [-1], "own": ["a"]}))),
    Case("describe: cut time that is no time", OUT, ("manifest.json", "soon"), manifest(cut_time="soon")),
    Case("describe: page inside the shop", "moon_rec shop describe shop --out shop/page", ("shop/page lies in the shop", "name another place")),
    Case("describe: page in place of the shop", "moon_rec shop describe shop --out shop --overwrite", ("shop exists already and is not replaced: it is the input shop",)),
    Case("describe: picture inside the page", f"{OUT} --picture new/sheet.png", ("new/sheet.png lies in the page's folder new", "name another place")),
    Case("describe: picture of no kind", f"{OUT} --picture sheet.gif", ("sheet.gif: the picture is a PNG or PDF or SVG",)),
    Case("describe: a rule broken", OUT, ("The shop breaks 1 rule", "broken: items.price"), table("items", lambda frame: frame.with_columns(price=pl.lit(-1.0))), told=True),
    Case("describe: no test period", "moon_rec shop describe shop", ("The test period has no impressions",), table("impressions", early), told=True),
    Case("describe: times of the whole log alike", "moon_rec shop describe shop", ("impressions of 120 items",), table("impressions", lambda frame: frame.with_columns(time=frame["time"].min() + timedelta(0))), told=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_describe(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
