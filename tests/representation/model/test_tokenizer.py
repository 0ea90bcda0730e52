"""The tokenizer: learnt before the cut only, repeatable, and not to be fooled by what people write."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.texts import normal_texts
from representation.model.tokenizer import (
    IMAGE_PAD,
    encode_plain,
    shop_texts,
    token_rarity,
    train_tokenizer,
)

TEXTS = ["red mug", "red mugs", "blue lamp", "blue lamps in red", "Größe 38", "日本"] * 3
TOKENIZER = train_tokenizer(TEXTS, 320)


def test_sees_nothing_after_the_cut(little_shop):
    """The last items and searches carry marks that nothing before the cut holds."""
    texts = shop_texts(little_shop)
    assert len(texts) > 100
    assert not [text for text in texts if "zzlate" in text]
    everything = little_shop.items.collect()["title"].to_list()
    assert any("zzlateitem" in title for title in everything)


def test_order_of_texts_changes_nothing():
    mixed = TEXTS[:]
    random.Random(1).shuffle(mixed)
    again = train_tokenizer(mixed, 320)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()
    assert len(TOKENIZER) == 320 or len(TOKENIZER) < 320


@given(st.text(max_size=40))
def test_every_text_comes_back_in_small_letters_after_a_space(text):
    (ids,) = encode_plain(TOKENIZER, [text])
    (text,) = normal_texts([text])
    small = "".join(letter.lower() for letter in text)
    wanted = small if small[:1] in ("", " ") else f" {small}"
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == wanted


def test_a_word_has_the_same_tokens_wherever_and_however_it_is_written():
    alone, in_a_title, shouted = encode_plain(TOKENIZER, ["lamp", "Blue Lamp", "LAMP"])
    assert alone == shouted
    assert in_a_title[-len(alone) :] == alone


def test_rarity_literally():
    texts = ["red mug", "red red lamp", "blue"]
    rarity = token_rarity(TOKENIZER, texts)
    assert rarity.shape == (len(TOKENIZER),)
    for token in range(len(TOKENIZER)):
        texts_with = sum(token in encode_plain(TOKENIZER, [text])[0] for text in texts)
        wanted = math.log(4 / (texts_with + 1))
        if token in TOKENIZER.all_special_ids:
            wanted = 0.0
        assert rarity[token] == pytest.approx(wanted)
    (red,) = encode_plain(TOKENIZER, ["red"])
    assert rarity[red].tolist() == pytest.approx([math.log(4 / 3)] * len(red))


def test_a_title_cannot_pretend_to_be_a_picture():
    pad = TOKENIZER.convert_tokens_to_ids(IMAGE_PAD)
    assert pad in TOKENIZER.encode(IMAGE_PAD, add_special_tokens=False)
    (ids,) = encode_plain(TOKENIZER, [f"red {IMAGE_PAD} mug"])
    assert pad not in ids
    assert pad in TOKENIZER.encode(IMAGE_PAD, add_special_tokens=False)
