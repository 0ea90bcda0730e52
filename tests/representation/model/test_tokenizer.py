"""The tokenizer: learnt before the cut only, repeatable, and not to be fooled by what people write."""

import random

from hypothesis import given
from hypothesis import strategies as st

from representation.model.tokenizer import IMAGE_PAD, encode_plain, shop_texts, train_tokenizer

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
    small = "".join(letter.lower() for letter in text)
    wanted = small if small[:1] in ("", " ") else f" {small}"
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == wanted


def test_a_word_has_the_same_tokens_wherever_and_however_it_is_written():
    alone, in_a_title, shouted = encode_plain(TOKENIZER, ["lamp", "Blue Lamp", "LAMP"])
    assert alone == shouted
    assert in_a_title[-len(alone) :] == alone


def test_a_title_cannot_pretend_to_be_a_picture():
    pad = TOKENIZER.convert_tokens_to_ids(IMAGE_PAD)
    assert pad in TOKENIZER.encode(IMAGE_PAD, add_special_tokens=False)
    (ids,) = encode_plain(TOKENIZER, [f"red {IMAGE_PAD} mug"])
    assert pad not in ids
    assert pad in TOKENIZER.encode(IMAGE_PAD, add_special_tokens=False)
