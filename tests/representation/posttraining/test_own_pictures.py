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
    own_picture_share,
    share_on_white,
)
from representation.posttraining.preparation import prepare
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
    assert own_picture_share(shop, None) == share


def test_what_is_asked_for_is_done_and_what_is_not_is_said(tmp_path, capsys):
    shop = shop_with(tmp_path, [SAND])
    assert own_picture_share(shop, 0.3) == 0.3 and own_picture_share(shop, 0.0) == 0.0
    assert capsys.readouterr().err == ""
    own_picture_share(shop, None)
    assert (
        "0% of 44 catalogue pictures stand on white: own_picture_share 0.5"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(("picture", "own"), [(WHITE, 6), (SAND, 4)])
def test_batches_hold_as_many_as_the_ground_allows(tmp_path, encoder, picture, own):
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
