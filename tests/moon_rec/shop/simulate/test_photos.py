"""Photos: another pose, ground and light, the same product."""

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from moon_rec.shop.simulate.photos import _pose, compose, cut_out, encode, render_photo


def on_white(colour, size=(60, 80)):
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).rectangle((15, 20, 45, 60), fill=colour)
    return picture


def colours_of(picture):
    """Histogram of 4 x 4 x 4 colours in the middle of the picture."""
    pixels = np.asarray(picture.convert("RGB"))[16:48, 16:48].reshape(-1, 3) // 64
    return np.bincount(pixels @ np.array([16, 4, 1]), minlength=64) / len(pixels)


def test_the_ground_is_cut_away():
    product = cut_out(on_white("navy"))
    assert product.size == (31, 41)
    assert np.asarray(product)[:, :, 3].min() == 255


def test_white_inside_a_product_stays():
    picture = on_white("navy")
    ImageDraw.Draw(picture).rectangle((25, 30, 35, 50), fill="white")
    assert np.asarray(cut_out(picture))[:, :, 3].mean() == 255


@pytest.mark.parametrize(
    "picture", [Image.new("RGB", (60, 80), "white"), Image.effect_noise((60, 80), 90)]
)
def test_what_cannot_be_cut_is_taken_whole(picture):
    product = cut_out(picture.convert("RGB"))
    assert product.size == (60, 80) and np.asarray(product)[:, :, 3].min() == 255


def test_the_same_generator_gives_the_same_photo():
    first, second, other = (
        encode(render_photo(on_white("red"), np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert first == second != other
    assert Image.open(io.BytesIO(first)).size == (64, 64)


def test_harder_photos_move_the_product_more():
    """At difficulty 0 the product fills the same pixels in every photo."""
    product = cut_out(on_white((250, 0, 250)))

    def spread(difficulty):
        covered = [
            np.asarray(compose(product, np.random.default_rng(k), difficulty).picture, dtype=float)[
                :, :, 1
            ]
            < 30
            for k in range(12)
        ]
        return np.std(covered, axis=0).mean()

    assert spread(0.0) < spread(0.5) < spread(1.0)


def test_the_easiest_photo_keeps_the_pose():
    product = cut_out(on_white("navy"))
    poses = [np.asarray(_pose(product, np.random.default_rng(k), 64, 0.0)) for k in range(3)]
    assert (poses[0] == poses[1]).all() and (poses[0] == poses[2]).all()
    assert (poses[0] != np.asarray(_pose(product, np.random.default_rng(0), 64, 1.0))).any()


def test_photos_are_nearer_to_their_own_product(catalogue):
    rows = np.arange(60)
    products = list(catalogue.products(rows))
    shown = np.stack(
        [
            colours_of(compose(p, np.random.default_rng(k), 0.35).picture)
            for k, p in enumerate(products)
        ]
    )
    photos = np.stack(
        [
            colours_of(compose(p, np.random.default_rng(900 + k)).picture)
            for k, p in enumerate(products)
        ]
    )
    distance = np.abs(photos[:, None] - shown[None]).sum(axis=2)
    own, others = np.diag(distance), distance[~np.eye(len(rows), dtype=bool)]
    assert own.min() > 0
    assert own.mean() < 0.85 * others.mean()


def test_photos_of_real_products_are_nearer_to_their_own(real_data):
    from moon_rec.shop.readers.myntra import read_pictures, read_products

    ids = read_products(real_data / "myntra")["product_id"].to_list()[::800]
    pictures = [
        Image.open(io.BytesIO(d)).convert("RGB") for d in read_pictures(real_data / "myntra", ids)
    ]
    shown = np.stack(
        [
            colours_of(compose(cut_out(p), np.random.default_rng(k), 0.0).picture)
            for k, p in enumerate(pictures)
        ]
    )
    photos = np.stack(
        [
            colours_of(render_photo(p, np.random.default_rng(900 + k)))
            for k, p in enumerate(pictures)
        ]
    )
    distance = np.abs(photos[:, None] - shown[None]).sum(axis=2)
    assert np.diag(distance).mean() < 0.85 * distance[~np.eye(len(ids), dtype=bool)].mean()


def test_a_photo_takes_a_millisecond_or_so():
    picture, rng = on_white("green"), np.random.default_rng(0)
    start = time.process_time()
    for _ in range(200):
        encode(render_photo(picture, rng))
    assert (time.process_time() - start) / 200 < 0.01


def test_without_clutter_the_ground_is_even():
    product = Image.new("RGBA", (40, 40), (200, 30, 30, 255))
    quiet = np.asarray(compose(product, np.random.default_rng(0), 0.0, clutter=0.0).picture)
    busy = np.asarray(compose(product, np.random.default_rng(0), 0.0, clutter=1.0).picture)
    edge = np.concatenate([quiet[:3].reshape(-1, 3), quiet[-3:].reshape(-1, 3)])
    assert np.ptp(edge, axis=0).max() == 0 and np.ptp(busy[:3].reshape(-1, 3), axis=0).max() > 20


def test_the_box_is_that_of_the_products_pixels():
    """On grey, in the light of difficulty 0, the product's colour is nowhere else: its box is read off the picture."""
    for seed in range(6):
        wide, high = 30 + 9 * seed, 70 - 7 * seed
        product = Image.new("RGBA", (wide, high), (250, 0, 250, 255))
        made = compose(product, np.random.default_rng(seed), 0.0, clutter=0.0)
        is_it = np.asarray(made.picture)[:, :, 1] < 75
        rows, columns = np.flatnonzero(is_it.any(1)), np.flatnonzero(is_it.any(0))
        assert made.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    nothing = Image.new("RGBA", (40, 40), (250, 0, 250, 0))
    assert compose(nothing, np.random.default_rng(0)).box is None
