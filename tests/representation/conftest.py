"""A little shop whose answers are known: each product is a colour and a shape in its picture and in its title, and a search names or shows it."""

import io
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moon_rec.shop import Shop, ShopWriter
from representation.encoder import ProductEncoder, build_encoder
from representation.model.backbone import BackboneConfig
from representation.negatives import KnownPositives
from representation.posttraining.pairs import known_items, logged_pairs
from tests.representation.hand_made_shop import (  # noqa: F401, fixtures for all below
    check_words,
    hand_made_shop,
    hand_made_tables,
)
from tests.representation.word_set import make_encoder, make_set, words  # noqa: F401

CUT, TEST = datetime(2025, 1, 10), datetime(2025, 1, 15)
NUM_ITEMS = 48
TINY = BackboneConfig(
    image_size=16,
    patch_size=4,
    vision_dim=32,
    vision_layers=2,
    vision_heads=2,
    vision_mlp_dim=48,
    deepstack_layers=(0,),
    text_dim=32,
    text_layers=2,
    text_heads=2,
    text_mlp_dim=48,
    vocabulary_size=400,
    widths=(8, 16),
)
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (40, 60, 220),
    "grey": (120, 120, 120),
}
SHAPES = ("mug", "lamp", "bag", "hat")


def picture(colour: str, shape: str, shade: int, noise: np.random.Generator | None = None) -> bytes:
    """PNG of 16 x 16: the shape is a quadrant, the shade a brightness; `noise` makes it a photo."""
    pixels = np.full((16, 16, 3), 255.0)
    row, column = divmod(SHAPES.index(shape), 2)
    pixels[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = (
        np.array(COLOURS[colour]) - 12 * shade
    )
    if noise is not None:
        pixels += noise.normal(0, 12, pixels.shape)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def items_frame() -> pl.DataFrame:
    """48 products, three shades of each colour and shape; the last four are listed after the cut and marked in every text."""
    rows = []
    for number in range(NUM_ITEMS):
        colour = list(COLOURS)[number % 4]
        shape, shade = SHAPES[number // 4 % 4], number // 16
        late = number >= NUM_ITEMS - 4
        mark = " zzlateitem" if late else ""
        rows.append(
            {
                "item_id": 100 + number,
                "spu_id": 1000 + number % 16,
                "title": f"{colour} {shape} {['pale', 'plain', 'deep'][shade]}{mark}",
                "category": f"Things/{shape.capitalize()}{mark}",
                "brand": None if number % 5 == 0 else f"Maker{number % 3}{mark}",
                "attributes": [{"name": "colour", "value": f"{colour}{mark}"}],
                "description": f"A {shape} in {colour}.{mark}" if number % 2 else None,
                "price": float(number),
                "image": None if number == 7 else picture(colour, shape, shade),
                "listed_at": CUT + timedelta(days=1) if late else CUT - timedelta(days=30),
            }
        )
    return pl.DataFrame(rows, schema_overrides={"image": pl.Binary})


def log_frames(items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """240 searches over 20 days, each followed by a click on a neighbour and a purchase of what was sought."""
    random = np.random.default_rng(5)
    searches, impressions = [], []
    sellable = items.filter(pl.col("image").is_not_null()).to_dicts()
    for number in range(240):
        time = datetime(2025, 1, 1) + timedelta(hours=2 * number)
        known = [item for item in sellable if item["listed_at"] <= time]
        wanted = known[random.integers(len(known))]
        other = known[(known.index(wanted) + 1) % len(known)]
        shape = wanted["category"].split("/")[1].split()[0].lower()
        colour = wanted["title"].split()[0]
        mark = " zzlatequery" if time >= CUT else ""
        kind = number % 3
        photo = picture(colour, shape, int(wanted["item_id"] - 100) // 16, random)
        searches.append(
            {
                "search_id": 5000 + number,
                "user_id": number % 20,
                "time": time,
                "query_text": None if kind == 1 else f"{colour} {shape}{mark}",
                "query_image": None if kind == 0 else photo,
            }
        )
        for position, (item, bought) in enumerate(((wanted, True), (other, False)), 1):
            impressions.append(
                {
                    "request_id": number,
                    "search_id": 5000 + number,
                    "user_id": number % 20,
                    "item_id": item["item_id"],
                    "time": time + timedelta(minutes=1),
                    "position": position,
                    "clicked": True,
                    "carted": bought,
                    "purchased": bought,
                }
            )
    kinds = {"query_text": pl.String, "query_image": pl.Binary}
    return pl.DataFrame(searches, schema_overrides=kinds), pl.DataFrame(impressions)


@pytest.fixture(scope="session")
def little_shop(tmp_path_factory) -> Shop:
    items = items_frame()
    searches, impressions = log_frames(items)
    out = tmp_path_factory.mktemp("little") / "shop"
    about = {"name": "little", "source": "made by a test", "is_simulated": True}
    with ShopWriter(out, **about, cut_time=CUT, test_time=TEST) as writer:
        writer.write("items", items)
        writer.write("searches", searches)
        writer.write("impressions", impressions)
    return Shop.open(out)


@pytest.fixture(scope="session")
def tiny_config() -> BackboneConfig:
    return TINY


@pytest.fixture(scope="session")
def encoder_path(little_shop, tmp_path_factory):
    return build_encoder(little_shop, tmp_path_factory.mktemp("encoder") / "random", TINY, seed=3)


@pytest.fixture
def encoder(encoder_path) -> ProductEncoder:
    """Fresh each time: a test may train it."""
    return ProductEncoder.from_pretrained(encoder_path, device="cpu")


@pytest.fixture(scope="session")
def known(little_shop) -> KnownPositives:
    """What the purchases before the cut say."""
    searches = little_shop.in_period(little_shop.searches, "train")
    return KnownPositives.from_pairs(logged_pairs(little_shop), searches, known_items(little_shop))
