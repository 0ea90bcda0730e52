"""A small shop whose clicks follow a planted taste, and the vectors in which that taste can be read."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.shop import Shop, ShopWriter

START = datetime(2026, 1, 1)
CUT, TEST = START + timedelta(days=6), START + timedelta(days=7)
NUM_ITEMS, NUM_USERS, NUM_REQUESTS, SIZE, DIM = 120, 40, 900, 6, 8


@dataclass(frozen=True, repr=False)
class Planted:
    """A shop, its tables as frames, and vectors of its items and searches."""

    shop: Shop
    frames: dict[str, pl.DataFrame]
    items: EmbeddingTable
    queries: EmbeddingTable


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def draw_frames(seed: int = 0, shuffle: bool = False) -> tuple[dict[str, pl.DataFrame], dict]:
    """Tables in which a click follows taste . vector; `shuffle` deals the clicks out at random."""
    random = np.random.default_rng(seed)
    vectors, tastes = (
        unit(random.normal(size=(NUM_ITEMS, DIM))),
        unit(random.normal(size=(NUM_USERS, DIM))),
    )
    # the last 24 items are listed after the cut: cold
    listed = np.where(np.arange(NUM_ITEMS) < NUM_ITEMS - 24, 0.0, 6.0)
    days = np.sort(random.uniform(0.1, 9, NUM_REQUESTS))
    users = random.integers(0, NUM_USERS, NUM_REQUESTS)
    rows = []
    for request, (day, user) in enumerate(zip(days, users, strict=True)):
        shown = random.permutation(np.flatnonzero(listed < day))[:SIZE]
        chance = 1 / (1 + np.exp(1.0 - 5 * vectors[shown] @ tastes[user]))
        clicks = random.random(SIZE) < chance
        rows += [
            (request, int(user), int(item), float(day), place, bool(click))
            for place, (item, click) in enumerate(zip(shown, clicks, strict=True))
        ]
    request, user, item, day, place, click = map(np.array, zip(*rows, strict=True))
    if shuffle:
        click = random.permutation(click)
    times = [START + timedelta(days=float(value)) for value in day]
    has_search = request % 3 != 0
    impressions = pl.DataFrame(
        {
            "request_id": request,
            "search_id": pl.Series(request).set(pl.Series(~has_search), None),
            "user_id": user + 1000,
            "item_id": item * 7,
            "time": times,
            "position": place,
            "clicked": click,
            "carted": click & False,
            "purchased": click & (random.random(len(click)) < 0.3),
            "dwell": random.normal(size=len(click)),
        }
    )
    searched = np.flatnonzero(np.arange(NUM_REQUESTS) % 3 != 0)
    searches = pl.DataFrame(
        {
            "search_id": searched,
            "user_id": users[searched] + 1000,
            "time": [START + timedelta(days=float(days[s]), seconds=-20) for s in searched],
            "query_text": [f"words {s % 9}" if s % 4 else None for s in searched],
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(NUM_ITEMS) * 7,
            "spu_id": np.arange(NUM_ITEMS),
            "title": [f"item {number}" for number in range(NUM_ITEMS)],
            "category": [f"all/{number % 5}" for number in range(NUM_ITEMS)],
            "brand": [f"brand {number % 7}" if number % 6 else None for number in range(NUM_ITEMS)],
            "attributes": [[] for _ in range(NUM_ITEMS)],
            "price": [float(number % 11) if number % 9 else None for number in range(NUM_ITEMS)],
            "listed_at": [START + timedelta(days=float(day)) for day in listed],
        },
        schema_overrides={
            "attributes": pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
        },
    )
    asked = unit(tastes[users[searched]] + 0.3 * random.normal(size=(searched.size, DIM)))
    known = {
        "items": EmbeddingTable.from_arrays(np.arange(NUM_ITEMS)[3:] * 7, vectors[3:]),
        "queries": EmbeddingTable.from_arrays(searched[5:], asked[5:]),
    }
    return {"items": items, "searches": searches, "impressions": impressions}, known


def write_shop(frames: dict[str, pl.DataFrame], path: Path) -> Shop:
    with ShopWriter(
        path, name="planted", source="test", is_simulated=True, cut_time=CUT, test_time=TEST
    ) as writer:
        for name, frame in frames.items():
            writer.write(name, frame)
    return Shop.open(path)


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> Planted:
    frames, known = draw_frames()
    shop = write_shop(frames, tmp_path_factory.mktemp("planted") / "shop")
    return Planted(shop, frames, known["items"], known["queries"])


@pytest.fixture(scope="session")
def shuffled(tmp_path_factory) -> Planted:
    frames, known = draw_frames(shuffle=True)
    shop = write_shop(frames, tmp_path_factory.mktemp("shuffled") / "shop")
    return Planted(shop, frames, known["items"], known["queries"])


def plant_part(folder: Path, of: pl.Expr) -> Planted:
    """The planted shop with some of its requests: what is compared to the bit, or between processes, needs no more."""
    frames, known = draw_frames()
    frames["impressions"] = frames["impressions"].filter(of)
    return Planted(write_shop(frames, folder / "shop"), frames, known["items"], known["queries"])


@pytest.fixture(scope="session")
def make_shop():
    """Write frames as a shop with the planted shop's times."""
    return write_shop


@pytest.fixture(scope="session")
def times() -> tuple[datetime, datetime, datetime]:
    """Start, cut and test times of the planted shop."""
    return START, CUT, TEST
