"""One normal form of texts: case, width, punctuation and spaces do not matter, words and their order do."""

import polars as pl
import pytest

from representation.same_words import normal_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red  SHOES!", "red shoes"),
        ("ｒｅｄ　shoes", "red shoes"),  # full-width letters and space
        ("red-shoes, 👟👟 42", "red shoes 42"),
        ("红色连衣裙 dress", "红 色 连 衣 裙 dress"),
        ("حذاء أحمر", "حذاء أحمر"),
        ("cafe\u0301", "café"),
        ("Nike™ 8½", "nike 8½"),  # NFKC: niketm 81 2
        ("❤\ufe0f", ""),
        ("a\x00b\x1f", "a b"),
        ("\u200fred\u200e sho\u00ades\u200bnow", "red shoes now"),
        ("👟", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_normal_words(text, words):
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    assert frame.select(normal_words("text")).item() == words


def test_order_counts():
    frame = pl.DataFrame({"text": ["bag for shoes", "shoes for bag"]})
    assert frame.select(normal_words("text"))["text"].n_unique() == 2
