"""Own pictures are more of the queries where another ground can be laid under them."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moon_rec.shop import Shop
from moon_rec.shop.writer import ShopWriter
from representation.posttraining import PosttrainConfig
from representation.posttraining.own_pictures import (
    SHARE_ELSE,
    SHARE_ON_WHITE,
    most_own_pictures,
    share_on_white,
)
from representation.posttraining.own_share import own_share
from representation.posttraining.pairs import logged_pairs
from representation.posttraining.preparation import _own_shares, prepare
from tests.representation.conftest import CUT, TEST, items_frame, log_frames


def png(ground: tuple[int, int, int]) -> bytes:
    """A dark square that fills a quarter of its ground."""
    pixels = np.full((32, 32, 3), ground, dtype=np.uint8)
    pixels[8:24, 8:24] = (40, 20, 90)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def shop_with(folder, pictures: list[bytes | None]) -> Shop:
    items = items_frame()
    searches, impressions = log_frames(items)
    images = [pictures[row % len(pictures)] for row in range(items.height)]
    items = items.with_columns(image=pl.Series(images, dtype=pl.Binary))
    about = {"name": "grounds", "source": "made by a test", "is_simulated": True}
    with ShopWriter(folder / "shop", **about, cut_time=CUT, test_time=TEST) as writer:
        writer.write("items", items)
        writer.write("searches", searches)
        writer.write("impressions", impressions)
    return Shop.open(folder / "shop")


WHITE, SAND = png((250, 250, 250)), png((210, 180, 140))


@pytest.mark.parametrize(
    ("pictures", "on_white", "share"),
    [
        ([WHITE], 1.0, SHARE_ON_WHITE),
        ([SAND], 0.0, SHARE_ELSE),
        ([WHITE, None, WHITE, SAND], 2 / 3, SHARE_ON_WHITE),
        ([WHITE, SAND, SAND], 1 / 3, SHARE_ELSE),
        ([None], 0.0, SHARE_ELSE),
        ([WHITE, b"no picture"], 1.0, SHARE_ON_WHITE),
    ],
)
def test_the_share_follows_the_ground(tmp_path, pictures, on_white, share):
    shop = shop_with(tmp_path, pictures)
    found, count = share_on_white(shop)
    assert found == pytest.approx(on_white, abs=0.05) and (count > 0) == (pictures != [None])
    assert most_own_pictures(shop) == share


def test_what_is_asked_for_is_done_and_what_is_not_is_said(tmp_path, encoder, capsys):
    shop = shop_with(tmp_path, [SAND])
    settings = {"steps": 2, "batch_size": 8, "mixture": {"image->image": 1.0}}
    prepare(shop, PosttrainConfig(**settings, own_picture_share=0.3), encoder)
    assert "themselves" not in capsys.readouterr().err
    prepare(shop, PosttrainConfig(**settings), encoder)
    said = " ".join(capsys.readouterr().err.split())
    assert "0% of 44 catalogue pictures stand on white: own_picture_share from 0.5 down" in said
    assert "of such a batch is of the products themselves" in said


@pytest.mark.parametrize(
    ("most", "pairs", "products", "share"),
    [(0.8, 0, 50, 0.8), (0.8, 500, 50, 0.4), (0.5, 1500, 50, 0.12), (0.8, 10**9, 1, 0.0)],
)
def test_the_share_falls_as_a_product_has_more_pairs(most, pairs, products, share):
    assert own_share(most, pairs, products) == share


def test_each_form_of_query_goes_by_its_own_pairs(tmp_path, encoder):
    """Ten times the searches by words leave the share of pictures alone."""
    shop = shop_with(tmp_path, [WHITE])
    config = PosttrainConfig(mixture={"image->image": 1.0, "text->title+image": 1.0})
    pairs = logged_pairs(shop)
    assert pairs["text"].height and pairs["image"].height
    more = pairs | {"text": pl.concat([pairs["text"]] * 200)}
    few, many = (_own_shares(shop, config, each, config.mixture, 44) for each in (pairs, more))
    assert many["image"] == few["image"] and many["text"] < few["text"]
    asked = PosttrainConfig(own_words_share=0.3, mixture=config.mixture)
    assert _own_shares(shop, asked, more, asked.mixture, 44)["text"] == 0.3


@pytest.mark.parametrize(("picture", "own"), [(WHITE, 6), (SAND, 3)])
def test_batches_hold_as_many_as_the_ground_and_the_log_allow(tmp_path, encoder, picture, own):
    """72 pairs of 44 products: .8 and .5 over 1.164 are .69 and .43, of a batch of 8 six and three."""
    shop = shop_with(tmp_path, [picture])
    config = PosttrainConfig(steps=2, batch_size=8, mixture={"image->image": 1.0})
    batch = prepare(shop, config, encoder).batches.make(0)
    is_own = (batch.rows["query_item_id"] == batch.rows["item_id"]).fill_null(False)
    assert is_own.sum() == own


def test_pictures_are_not_looked_at_where_no_query_is_one(tmp_path, encoder, capsys):
    shop = shop_with(tmp_path, [SAND])
    mixture = {"text->title+image": 1.0, "image->image": 0.0}
    prepare(shop, PosttrainConfig(steps=2, batch_size=8, mixture=mixture), encoder)
    assert "stand on white" not in capsys.readouterr().err
