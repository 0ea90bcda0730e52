"""Colours and words are what they say; tables cover what has either."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from exchange_rate.study.plain_vectors import BINS, PLACES, bring_plain_vectors, plain_vector
from moon_rec.embedding_table import EmbeddingTable
from tests.ranking.conftest import draw_frames, write_shop


def picture(*colour):
    file = io.BytesIO()
    Image.new("RGB", (9, 5), colour).save(file, "PNG")
    return file.getvalue()


def test_a_vector_has_its_colours_and_its_words():
    red = plain_vector(picture(250, 10, 130), None, "x")
    assert red[: BINS**3].argmax() == 3 * 16 + 0 * 4 + 2 and red[: BINS**3].sum() == pytest.approx(1)  # fmt: skip
    assert not red[BINS**3 :].any()
    words = plain_vector(None, "Red mug, red", "x")
    assert words.tolist() == plain_vector(None, "mug red RED", "x").tolist()
    assert np.linalg.norm(words) == pytest.approx(1) and len(words) == BINS**3 + PLACES
    assert not plain_vector(None, None, "x").any()


def test_tables_cover_all_that_has_a_picture_or_words(tmp_path):
    frames, _ = draw_frames()
    blank = pl.Series([picture(9, 9, 200)] * frames["items"].height)
    frames["items"] = frames["items"].with_columns(image=blank)
    shop = write_shop(frames, tmp_path / "shop")
    bring_plain_vectors(shop, tmp_path / "vectors")
    bring_plain_vectors(shop, tmp_path / "vectors")
    items, queries = (EmbeddingTable.open(tmp_path / "vectors" / one) for one in ("items", "queries"))  # fmt: skip
    assert (len(items), items.kind, items.shop) == (frames["items"].height, "items", shop.digest)
    told = frames["searches"].filter(pl.col("query_text").is_not_null()).height
    assert len(queries) == told
