"""A hand-made shop of six items and ten days, small enough to break a rule at a time."""

import io
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from moon_rec.shop import Shop, ShopWriter

START = datetime(2025, 3, 1)
CUT, TEST = START + timedelta(days=6), START + timedelta(days=8)

MakeShop = Callable[..., Path]


def png(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (4, 5)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def items() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [11, 12, 13, 14, 15, 16],
            "spu_id": [1, 1, 2, 3, 4, 5],
            "title": [f"thing {number}" for number in range(6)],
            "category": ["home/cup"] * 3 + ["home/hat"] * 3,
            "attributes": [[{"name": "colour", "value": "red"}]] * 6,
            "price": [1.0, 2.5, None, 0.0, 9.0, 3.0],
            "image": [png(), png(), None, png(), png(), png()],
            "listed_at": [START] * 5 + [START + timedelta(days=7)],
        },
        strict=False,
    )


def searches() -> pl.DataFrame:
    """A search each day at noon: by words, by picture, by both."""
    return pl.DataFrame(
        {
            "search_id": list(range(100, 110)),
            "user_id": [1 + day % 3 for day in range(10)],
            "time": [START + timedelta(days=day, hours=12) for day in range(10)],
            "query_text": ["red cup" if day % 3 != 1 else None for day in range(10)],
            "query_image": [png() if day % 3 != 0 else None for day in range(10)],
        }
    )


def impressions() -> pl.DataFrame:
    """Two rows after each search, the first of them clicked and, every other day, bought."""
    rows = []
    for day in range(10):
        for position in range(2):
            engaged = position == 0
            rows.append(
                {
                    "request_id": day,
                    "search_id": 100 + day,
                    "user_id": 1 + day % 3,
                    "item_id": 11 + (day + 3 * position) % 5 if day < 8 or position else 16,
                    "time": START + timedelta(days=day, hours=12, seconds=5),
                    "position": position,
                    "clicked": engaged,
                    "carted": engaged and day % 2 == 0,
                    "purchased": engaged and day % 2 == 0,
                }
            )
    return pl.DataFrame(rows)


def promise_nothing(folder: Path) -> None:
    """Take counts, sizes and digests out of a shop's manifest."""
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    for name in ("rows", "sizes", "fingerprints"):
        values.pop(name, None)
    path.write_text(json.dumps(values))


@pytest.fixture
def make_shop(tmp_path: Path) -> MakeShop:
    """Write the hand-made shop; `make_shop(items=lambda frame: ...)` changes a table's file afterwards, unchecked.

    A changed shop's manifest is as one written by hand: it records no counts and digests.
    """

    def make(**changes: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
        out = tmp_path / "shop"
        shutil.rmtree(out, ignore_errors=True)
        with ShopWriter(
            out, name="hand", source="by hand", is_simulated=False, cut_time=CUT, test_time=TEST
        ) as writer:
            writer.write("items", items())
            writer.write("searches", searches())
            writer.write("impressions", impressions())
            writer.write("users", pl.DataFrame({"user_id": [1, 2, 3], "age": [20, 30, 40]}))
        for table, change in changes.items():
            path = out / f"{table}.parquet"
            change(pl.read_parquet(path)).write_parquet(path)
        if changes:
            promise_nothing(out)
        return out

    return make


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    return Shop.open(make_shop())
