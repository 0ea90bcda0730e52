"""A shop of eight items whose every metric can be worked out by hand."""

import io
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.shop.shop import Shop
from moon_rec.shop.writer import ShopWriter

CUT, TEST = datetime(2025, 1, 10), datetime(2025, 1, 20)


def day(number: int) -> datetime:
    return datetime(2025, 1, 1) + timedelta(days=number - 1)


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 255 - shade, shade // 2)).save(buffer, "PNG")
    return buffer.getvalue()


# item_id, spu_id, category, day listed; item 16 is listed in the test period, item 17 after its last event
ITEMS = [
    (10, 1, "shoes/boots", 1),
    (11, 1, "shoes/boots", 1),
    (12, 2, "shoes/flats", 1),
    (13, 3, "bags/totes", 1),
    (14, 3, "bags/totes", 1),
    (15, 4, "bags/clutches", 1),
    (16, 5, "bags/clutches", 22),
    (17, 6, "shoes/boots", 30),
]
# search_id, day, text, picture's shade; 100 + item_id is the catalogue's own picture
SEARCHES = [
    (1, 5, None, 1),
    (2, 12, None, 2),
    (3, 21, None, 3),
    (4, 22, None, 110),
    (5, 23, None, 111),
    (6, 24, "boots", None),
    (7, 25, "tote", 7),
    (8, 26, None, 8),
    (9, 26, None, 9),
]
# search_id, item_id, day, clicked, purchased
IMPRESSIONS = [
    (1, 10, 5, True, True),
    (2, 12, 12, True, True),
    (3, 10, 21, True, True),  # test, by picture: found first
    (3, 13, 21, True, True),  #   and a second purchase, of other segment, not near
    (3, 12, 21, True, False),
    (4, 10, 22, True, True),  # the query is item 10's own picture: nothing else to find, left out
    (4, 11, 22, True, False),  #   but by clicks item 11 is to be found
    (
        5,
        12,
        23,
        True,
        True,
    ),  # the query is item 11's own picture, and 11 stands first unless taken out
    (6, 11, 24, True, True),  # by words
    (7, 14, 25, True, True),  # by both
    (8, 15, 26, True, False),  # clicked only
    (9, 16, 26, True, True),  # has no query vector
    (None, 15, 27, True, True),  # after no search
]


@pytest.fixture(scope="session")
def hand_made_shop(tmp_path_factory) -> Shop:
    folder = tmp_path_factory.mktemp("shops") / "hand_made"
    items = pl.DataFrame(
        {
            "item_id": [row[0] for row in ITEMS],
            "spu_id": [row[1] for row in ITEMS],
            "title": [f"item {row[0]}" for row in ITEMS],
            "category": [row[2] for row in ITEMS],
            "attributes": [[{"name": "colour", "value": "red"}] for _ in ITEMS],
            "image": [picture(100 + row[0]) for row in ITEMS],
            "listed_at": [day(row[3]) for row in ITEMS],
        }
    )
    searches = pl.DataFrame(
        {
            "search_id": [row[0] for row in SEARCHES],
            "user_id": [row[0] for row in SEARCHES],
            "time": [day(row[1]) for row in SEARCHES],
            "query_text": [row[2] for row in SEARCHES],
            "query_image": [None if row[3] is None else picture(row[3]) for row in SEARCHES],
        }
    )
    impressions = pl.DataFrame(
        {
            "request_id": [row[0] or 99 for row in IMPRESSIONS],
            "search_id": [row[0] for row in IMPRESSIONS],
            "user_id": [row[0] or 3 for row in IMPRESSIONS],
            "item_id": [row[1] for row in IMPRESSIONS],
            "time": [day(row[2]) + timedelta(hours=1) for row in IMPRESSIONS],
            "position": list(range(len(IMPRESSIONS))),
            "clicked": [row[3] for row in IMPRESSIONS],
            "carted": [row[4] for row in IMPRESSIONS],
            "purchased": [row[4] for row in IMPRESSIONS],
        }
    )
    with ShopWriter(
        folder,
        name="hand made",
        source="by hand",
        is_simulated=True,
        cut_time=CUT,
        test_time=TEST,
    ) as writer:
        writer.write("items", items)
        writer.write("searches", searches)
        writer.write("impressions", impressions)
    return Shop.open(folder)


def on_circle(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


# Items lie on a circle, so who is nearest to whom is read off the degrees.
ITEM_DEGREES = {10: 0, 11: 10, 12: 25, 13: 90, 14: 100, 15: 180, 16: 200, 17: 1}
QUERY_DEGREES = {1: 0, 2: 25, 3: 2, 4: 0, 5: 12, 6: 26, 7: 89, 8: 180}


@pytest.fixture(scope="session")
def hand_made_tables() -> tuple[EmbeddingTable, EmbeddingTable]:
    """Vectors by item and by search; not quite of unit length, as rounded tables are. Search 9 has none."""
    tables = []
    for degrees in (ITEM_DEGREES, QUERY_DEGREES):
        vectors = 1.01 * np.array([on_circle(angle) for angle in degrees.values()])
        tables.append(EmbeddingTable.from_arrays(np.array(list(degrees)), vectors))
    return tables[0], tables[1]


@pytest.fixture
def check_words():
    """Asserts that no two texts of a sheet overlap and that none leaves it; gives all its words."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def check(figure) -> str:
        renderer = FigureCanvasAgg(figure).get_renderer()
        texts = [text for text in figure.axes[0].texts if text.get_text()]
        boxes = [text.get_window_extent(renderer) for text in texts]
        width, height = figure.canvas.get_width_height()
        for place, box in enumerate(boxes):
            assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, texts[
                place
            ]
            for number, other in enumerate(boxes[:place]):
                beside = box.x1 <= other.x0 or other.x1 <= box.x0
                assert beside or box.y1 <= other.y0 or other.y1 <= box.y0, (
                    texts[place],
                    texts[number],
                )
        return " ".join(text.get_text() for text in texts).replace("\n", " ")

    return check
