"""One normal form of texts: what looks alike is alike, what means something else is not."""

import unicodedata

import polars as pl
import pytest

from moon_rec.texts import has_text, normal_text, normal_texts

ALIKE = [
    ("Café crème", "Cafe\u0301 cre\u0300me"),  # composed, decomposed
    ("Ångström", "\u212bngstro\u0308m"),  # the letter, the unit
    ("Ước mơ", unicodedata.normalize("NFD", "Ước mơ")),  # two marks on one letter
    ("한국어 신발", unicodedata.normalize("NFD", "한국어 신발")),
    ("ガス ABC 12", "\uff76\uff9e\uff7d\u3000ＡＢＣ　１２"),  # half-width kana, full-width letters
    ("red shoes", "re\u00add\u00a0 \tsho\u200ces\ufeff"),  # soft hyphen, no-break space, joiner
    ("red shoes", "\u200fred\u200bshoes\n"),  # marks of direction; a zero-width space is a space
    ("red shoes", "  red\r\n\x00shoes\u2003"),
    ("❤ bag", "❤\ufe0f bag"),  # as text or as picture
    ("é", "e\u200d\u0301"),  # a joiner between letter and accent
    ("", " \u200b\ufeff\u3164\u115f\ufe0f\x07"),
]


@pytest.mark.parametrize(("text", "other"), ALIKE)
def test_texts_that_look_alike_are_alike(text, other):
    assert normal_texts([text, other]) == [text, text]


@pytest.mark.parametrize(
    "text", ["8½", "Alien³", "10 m²", "Nike™", "№ 5", "Ⅳ", "ﬁt", "É", "ß ẞ", "e x"]
)
def test_meaning_and_case_stay(text):
    """NFKC would make 81⁄2, Alien3, 10 m2 and NikeTM of the first."""
    assert normal_texts([text]) == [text]


def test_it_is_its_own_normal_form_and_canonical():
    every = [chr(code) for code in range(0x20, 0x30000) if not 0xD800 <= code < 0xE000]
    once = normal_texts(f"a{letter}b" for letter in every)
    assert normal_texts(once) == once
    other = normal_texts(unicodedata.normalize("NFD", f"a{letter}b") for letter in every)
    assert other == once


def test_a_text_that_shows_nothing_is_none():
    texts = [None, "", " ", "\u00a0\n", "\u200b\ufeff\u00ad", "\u3164", "x", "👟", "™", "\u0301"]
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    found = frame.select(has_text("text"), normal=normal_text("text").fill_null("") != "")
    assert found["text"].to_list() == [False] * 6 + [True] * 4
    assert found["normal"].to_list() == found["text"].to_list()  # one rule, two expressions
