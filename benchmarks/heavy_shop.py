"""A shop whose pictures outweigh all else: small JPEGs, each made heavy by random comments, which decoders pass over."""

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from moon_rec.seeds import generator
from moon_rec.shop import Shop, ShopWriter

CUT, TEST = datetime(2025, 1, 10), datetime(2025, 1, 15)
COLOURS = ("red", "green", "blue", "grey", "white", "black")
THINGS = ("mug", "lamp", "bag", "hat", "shoe", "chair")
MOST_COMMENT = 65_000
CHUNK = 256


def heavy_shop(out: Path, items: int, picture_bytes: int, searches: int = 400) -> Shop:
    """Write a shop of `items` products, each with a picture of about `picture_bytes`, and of searches by words and by photo, each followed by a purchase."""
    random = generator(0, "heavy shop")
    about = {"name": "heavy", "source": "random bytes", "is_simulated": True}
    with ShopWriter(out, **about, cut_time=CUT, test_time=TEST) as writer:
        writer.write("items", _items(items, picture_bytes, random))
        writer.write("searches", _searches(searches, picture_bytes, random))
        bought = np.arange(searches) % items
        rows = {
            "request_id": np.arange(searches),
            "search_id": np.arange(searches),
            "user_id": np.arange(searches) % 50,
            "item_id": bought,
            "time": [_time(number, searches) + timedelta(minutes=1) for number in range(searches)],
            "position": [0] * searches,
            **{label: [True] * searches for label in ("clicked", "carted", "purchased")},
        }
        writer.write("impressions", pl.DataFrame(rows))
    return Shop.open(out)


def picture(number: int, num_bytes: int, random: np.random.Generator) -> bytes:
    """A JPEG of one colour and about `num_bytes`."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (number % 256, number // 256 % 256, 90)).save(file, "JPEG")
    data, comments = file.getvalue(), b""
    while len(data) + len(comments) < num_bytes:
        size = min(MOST_COMMENT, num_bytes - len(data) - len(comments))
        comments += b"\xff\xfe" + (size + 2).to_bytes(2, "big") + random.bytes(size)
    return data[:2] + comments + data[2:]


def _items(count: int, num_bytes: int, random: np.random.Generator) -> Iterator[pl.DataFrame]:
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        titles = [f"{COLOURS[n % 6]} {THINGS[n // 6 % 6]} number {n}" for n in numbers]
        yield pl.DataFrame(
            {
                "item_id": list(numbers),
                "spu_id": list(numbers),
                "title": titles,
                "category": [f"Things/{THINGS[n // 6 % 6]}" for n in numbers],
                "attributes": [[{"name": "colour", "value": COLOURS[n % 6]}] for n in numbers],
                "image": [picture(n, num_bytes, random) for n in numbers],
                "listed_at": [CUT - timedelta(days=30)] * len(numbers),
            }
        )


def _searches(count: int, num_bytes: int, random: np.random.Generator) -> pl.DataFrame:
    by_words = [number % 2 == 0 for number in range(count)]
    return pl.DataFrame(
        {
            "search_id": np.arange(count),
            "user_id": np.arange(count) % 50,
            "time": [_time(number, count) for number in range(count)],
            "query_text": [
                f"{COLOURS[n % 6]} thing" if by_words[n] else None for n in range(count)
            ],
            "query_image": [
                None if by_words[n] else picture(n, num_bytes, random) for n in range(count)
            ],
        },
        schema_overrides={"query_text": pl.String, "query_image": pl.Binary},
    )


def _time(number: int, count: int) -> datetime:
    return datetime(2025, 1, 1) + timedelta(minutes=number * 20 * 24 * 60 / count)
