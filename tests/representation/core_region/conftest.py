"""Pictures whose product the built-in detector finds."""

import io

import polars as pl
import pytest
from PIL import Image, ImageDraw

from moon_rec.shop import Shop, ShopWriter


def planted(number: int) -> bytes:
    """PNG of 24 x 24: a product of two colours, not at the border, on a grey ground with a dot on it."""
    picture = Image.new("RGB", (24, 24), (225, 225, 225))
    left, top = 4 + number % 5, 5 + number % 4
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left, top, left + 11, top + 9), fill=(40 + 4 * number, 30, 200 - 3 * number))
    pen.rectangle((left + 3, top + 2, left + 6, top + 6), fill=(250, 220, 20))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="package")
def items(little_shop) -> pl.DataFrame:
    """The shop's products with pictures whose product the detector finds; item 107 has none."""
    frame = little_shop.items.collect()
    shown = [None if data is None else planted(place) for place, data in enumerate(frame["image"])]
    return frame.with_columns(image=pl.Series(shown, dtype=pl.Binary))


@pytest.fixture(scope="package")
def planted_shop(little_shop, items, tmp_path_factory) -> Shop:
    """With these pictures, and no boxes."""
    out = tmp_path_factory.mktemp("planted") / "shop"
    times = {"cut_time": little_shop.cut_time, "test_time": little_shop.test_time}
    with ShopWriter(out, name="planted", source="a test", is_simulated=True, **times) as writer:
        writer.write("items", items)
        writer.write("searches", little_shop.searches.collect())
        writer.write("impressions", little_shop.impressions.collect())
    return Shop.open(out)
