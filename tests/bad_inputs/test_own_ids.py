"""Ids of a user's own at the doors: what is none of them is told as the user writes it, and nothing is taken for it."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moon_rec.shop import Shop
from moon_rec.shop.own_ids import own_names, with_own_ids
from ranking.features.feature_config import FeatureConfig
from ranking.stream import ImpressionStream
from tests.bad_inputs.harness import Case, check
from tests.bad_inputs.test_shop_tables import also
from tests.own_ids import keep_own_ids, own_item

IDS = np.arange(20) * 7
VECTORS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
BRING = "representation.bring mine.parquet --out new --shop shop"


def kept(folder: Path) -> None:
    """The shop gets own ids."""
    keep_own_ids(folder / "shop")


def vectors(name: str = "item_id", **changes):
    """Vectors of 20 items under their own ids; `changes` as row -> id."""

    def damage(folder: Path) -> None:
        kept(folder)
        own = [own_item(one) for one in IDS]
        for row, value in changes.items():
            own[int(row[1:])] = value
        columns = {name: own, "vector": VECTORS.tolist()}
        pl.DataFrame(columns, strict=False).write_parquet(folder / "mine.parquet")

    return damage


def typed(ids: pl.Series):
    """The same with ids of another type."""

    def damage(folder: Path) -> None:
        kept(folder)
        frame = pl.DataFrame({"vector": VECTORS.tolist()}).with_columns(ids.alias("item_id"))
        frame.write_parquet(folder / "mine.parquet")

    return damage


def in_npy(ids: np.ndarray):
    def damage(folder: Path) -> None:
        kept(folder)
        np.save(folder / "mine.npy", VECTORS)
        np.save(folder / "ids.npy", ids)

    return damage


def mapping(change):
    """The mapping of items altered."""

    def damage(folder: Path) -> None:
        vectors()(folder)
        path = folder / "shop/ids/item.parquet"
        change(pl.read_parquet(path)).write_parquet(path)

    return damage


BROUGHT = [
    Case("own ids: vectors, one id twice", BRING, ("mine.parquet: id '802.0007.09' is in rows 1 and 4 (1 such)", "one vector"), vectors(r4=own_item(7))),
    Case("own ids: vectors, an unknown id twice", BRING, ("id 'new' is in rows 2 and 9",), vectors(r2="new", r9="new")),
    Case("own ids: vectors, an id that is null", BRING, ("mine.parquet: item_id row 3: None is null",), vectors(r3=None)),
    Case("own ids: vectors, an id that is blank", BRING, ("mine.parquet: item_id row 3: ' ' is empty", "give every row its id"), vectors(r3=" ")),
    Case("own ids: vectors, none is known", BRING, ("all 20 of 20 ids are not among the items of shop planted (first '0', '7', '14'; the shop has such as '802.0000.09')", "as they are written there"), typed(pl.Series(IDS))),
    Case("own ids: vectors, floats that are no whole numbers", BRING, ("item_id row 0: 0.5 is no whole number",), typed(pl.Series(IDS + 0.5))),
    Case("own ids: vectors, booleans", BRING, ("item_id row 0", "wanted an id"), typed(pl.Series(IDS > 5))),
    Case("own ids: vectors, some are unknown", BRING, ("2 of 20 ids are not among the items of shop planted, such as '802.7.09', 'x'", "18 vectors, 4 wide"), vectors(r1="802.7.09", r2="x"), told=True),
    Case("own ids: vectors, white space around", BRING, ("20 vectors, 4 wide",), vectors(r1=" 802.0007.09 "), told=True),
    Case("own ids: vectors, bytes in npy", "representation.bring mine.npy --ids ids.npy --out new --shop shop", ("ids.npy: ids are |S11, wanted whole numbers or texts",), in_npy(np.array([own_item(one).encode() for one in IDS]))),
    Case("own ids: vectors without a shop", "representation.bring mine.parquet --out new", ("mine.parquet: item_id row 0: '802.0000.09' is String", "with --shop"), vectors()),
    Case("own ids: vectors as texts, the shop keeps none", BRING, ("item_id row 0: '802.0000.09' is String", "the ids of shop planted are whole numbers"), also(vectors(), lambda folder: shutil.rmtree(folder / "shop/ids"))),
    Case("own ids: mapping with an id twice", BRING, ("shop/ids/item.parquet: own is not one value a row", "import the log again"), mapping(lambda old: old.with_columns(own=pl.lit("x")))),
    Case("own ids: mapping without a column", BRING, ("shop/ids/item.parquet has columns", "wanted id and own"), mapping(lambda old: old.drop("own"))),
    Case("own ids: mapping that is no Parquet", BRING, ("shop/ids/item.parquet cannot be read", "import the log again"), also(vectors(), lambda folder: (folder / "shop/ids/item.parquet").write_bytes(b"junk"))),
]  # fmt: skip


def scored(folder: Path) -> str:
    """All rows of a file to score."""
    shop = Shop.open(folder / "shop")
    file = folder / "tables/impressions.parquet"
    stream = ImpressionStream([file], FeatureConfig(), own=own_names(shop.path))
    return f"{sum(chunk.height for chunk in stream.chunks(500))} rows, unknown: {stream.unknown}"


def shown(**changes):
    """Impressions to score under own ids; `changes` as column -> a function of the column's values."""

    def damage(folder: Path) -> None:
        kept(folder)
        file = folder / "tables/impressions.parquet"
        rows = with_own_ids(pl.read_parquet(file), folder / "shop")
        changed = [
            pl.Series(name, change(rows[name].to_list())) for name, change in changes.items()
        ]
        rows.with_columns(changed).write_parquet(file)

    return damage


def at(row: int, value: object):
    return lambda values: [*values[:row], value, *values[row + 1 :]]


SCORED = [
    Case("own ids: scored, an item that is null", scored, ("impressions.parquet: ", "item_id row 901: None is null"), shown(item_id=at(901, None))),
    Case("own ids: scored, a user that is blank", scored, ("user_id row 3: ' ' is empty", "give every row its id"), shown(user_id=at(3, " "))),
    Case("own ids: scored, users as fractions", scored, ("user_id row 0: 0.5 is no whole number",), shown(user_id=lambda values: [0.5 for _ in values])),
    Case("own ids: scored, requests as floats that lost digits", scored, ("request_id row 0: 9.223372036854776e+18 is Float64 of 2^53 or more",), shown(request_id=lambda values: [float(one) for one in values])),
    Case("own ids: scored, items as booleans", scored, ("item_id row 0: True is Boolean, wanted an id",), shown(item_id=lambda values: [True for _ in values])),
    Case("own ids: scored, some are unknown", scored, ("5400 rows", "'item_id': Unknown(rows=1, first=\"'007'\")"), shown(item_id=at(7, "007")), told=True),
]  # fmt: skip

CASES = [*BROUGHT, *SCORED]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_own_ids(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
