"""The own-photo benchmark: its photos, its baselines, its ratio, and the whole of it on a small shop."""

import io
import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("skimage")

from benchmarks.hog_colour import BASELINES, COLOUR_DIM, DIM, SHAPE_DIM, features, item_features
from benchmarks.own_photo_recall import draw_photos, main, own_recall
from moon_rec.command import run
from moon_rec.errors import MoonRecError
from moon_rec.shop import Shop
from moon_rec.shop.simulate.photos import encode
from moon_rec.shop.writer import ShopWriter

NUM_ITEMS = 24


def product(number: int) -> Image.Image:
    """A shape of its own colour on white, not square."""
    random = np.random.default_rng(number)
    picture = Image.new("RGB", (60, 80), (255, 255, 255))
    corners = [tuple(random.integers((10, 10), (50, 70)).tolist()) for _ in range(4)]
    ImageDraw.Draw(picture).polygon(corners, fill=tuple(random.integers(0, 200, 3).tolist()))
    return picture


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    folder = tmp_path_factory.mktemp("shops") / "products"
    start = datetime(2025, 1, 1)
    numbers = list(range(NUM_ITEMS + 1))
    items = pl.DataFrame(
        {
            "item_id": [100 - number for number in numbers],
            "spu_id": numbers,
            "title": [f"product {number}" for number in numbers],
            "category": ["things"] * len(numbers),
            "attributes": [[{"name": "number", "value": str(number)}] for number in numbers],
            "image": [None if number == 5 else encode(product(number)) for number in numbers],
            "listed_at": [start] * len(numbers),
        }
    )
    impressions = pl.DataFrame(
        {
            "request_id": [1],
            "search_id": [None],
            "user_id": [1],
            "item_id": [100],
            "time": [start],
            "position": [0],
            "clicked": [True],
            "carted": [False],
            "purchased": [False],
        }
    )
    times = {"cut_time": datetime(2025, 2, 1), "test_time": datetime(2025, 3, 1)}
    with ShopWriter(folder, name="p", source="by hand", is_simulated=True, **times) as writer:
        writer.write("items", items)
        writer.write("impressions", impressions)
    return Shop.open(folder)


def test_photos_depend_on_seed_and_item_alone(shop):
    ids, photos = draw_photos(shop, 10, seed=0)
    assert len(set(ids.tolist())) == 10 and 95 not in ids  # item 95 has no picture
    every_id, every_photo = draw_photos(shop, NUM_ITEMS, seed=0)
    of_item = dict(zip(every_id.tolist(), every_photo, strict=True))
    assert all(of_item[item] == photo for item, photo in zip(ids.tolist(), photos, strict=True))
    others = dict(zip(*draw_photos(shop, NUM_ITEMS, seed=1), strict=True))
    assert all(others[item] != of_item[item] for item in of_item)


def test_more_photos_than_pictures_are_refused(shop):
    with pytest.raises(MoonRecError, match="--photos is 25; this shop has 24 items"):
        draw_photos(shop, 25, seed=0)


def test_features_have_three_parts_of_length_one():
    vector = features(product(3))
    assert vector.shape == (DIM,) == (SHAPE_DIM + 2 * COLOUR_DIM,)
    parts = np.split(vector, [SHAPE_DIM, SHAPE_DIM + COLOUR_DIM])
    np.testing.assert_allclose([np.linalg.norm(part) for part in parts], 1, rtol=1e-5)


def test_colours_count_the_pixels():
    """Half red, half white: hue, saturation and value (0, 255, 255) and (0, 0, 255), in bins (0, 7, 7) and (0, 0, 7)."""
    picture = Image.new("RGB", (64, 64), (255, 255, 255))
    picture.paste((255, 0, 0), (0, 0, 64, 32))
    colour = features(picture)[SHAPE_DIM : SHAPE_DIM + COLOUR_DIM]
    assert {int(at): colour[at] for at in np.flatnonzero(colour)} == pytest.approx(
        {7: np.sqrt(0.5), 63: np.sqrt(0.5)}
    )


def test_an_even_picture_has_no_shape_and_no_nan():
    vector = features(Image.new("RGB", (64, 64), (10, 20, 30)))
    assert np.isfinite(vector).all() and not vector[:SHAPE_DIM].any()


def test_item_features_are_kept_and_found_again(shop, tmp_path):
    first = item_features(shop, tmp_path, workers=1)
    assert len(first) == NUM_ITEMS and first.shop == shop.digest
    again = item_features(shop, tmp_path, workers=1)
    assert again.digest == first.digest
    expected = features(Image.open(io.BytesIO(encode(product(7)))))
    np.testing.assert_allclose(first.lookup(np.array([93]))[0][0], expected, atol=1e-3)


def test_a_picture_finds_itself(shop):
    table = item_features(shop, workers=1)
    vectors = table.take(np.arange(len(table)))
    for columns in BASELINES.values():
        part = vectors[:, columns]
        result = own_recall(part, table.ids, part[::-1], table.ids[::-1], seed=0)
        assert result.value[1] == 1
    with pytest.raises(MoonRecError, match="item 95 has a photo but no vector"):
        own_recall(vectors, table.ids, vectors[:1], np.array([95]), seed=0)


def test_the_command_without_an_encoder(shop, tmp_path, capsys):
    out = tmp_path / "own.json"
    words = [str(shop.path), "--photos", "20", "--workers", "1", "--out", str(out)]
    assert run(main, words) == 0
    printed = capsys.readouterr().out
    record = json.loads(out.read_text())
    for name in BASELINES:
        assert name in printed
        # 20 photos in 24 products: chance is .42 at 10, and k = 50 takes in all
        assert record["figures"][name]["recall@10"]["value"] > 0.42
        assert record["figures"][name]["recall@50"]["value"] == 1
    assert record["ratio"] == {} and record["options"]["seed"] == 0
    assert "simulated" in printed and "simulated" in record["photos"]
