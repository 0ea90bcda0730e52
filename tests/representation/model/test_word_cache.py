"""Tokenizers that are gone leave nothing behind: the library keeps words a thread, not a tokenizer."""

import types

import torch

from representation.encoders.checkpoint import load_tokenizer
from representation.model.tokenizer import encode_plain, train_tokenizer
from tests.memory_growth import bytes_kept

WORDS = [f"word{number * 7919 % 1000}" for number in range(1000)]
KEPT = 20_000
"""Bytes a tokenizer; the words' are some 200,000."""


def test_a_tokenizer_that_is_gone_keeps_no_words(tmp_path):
    def learn_and_read():
        encode_plain(train_tokenizer(WORDS[:50], 300), WORDS)

    assert bytes_kept(learn_and_read) < KEPT
    train_tokenizer(WORDS, 300).save_pretrained(tmp_path)
    model = types.SimpleNamespace(get_input_embeddings=lambda: torch.nn.Embedding(300, 2))
    assert bytes_kept(lambda: encode_plain(load_tokenizer(tmp_path, model), WORDS)) < KEPT


def test_tokens_are_those_of_a_tokenizer_with_its_cache(tmp_path):
    ours = train_tokenizer(WORDS, 300)
    with_cache = type(ours.backend_tokenizer).from_str(ours.backend_tokenizer.to_str())
    expected = with_cache.encode_batch([*WORDS, *WORDS], add_special_tokens=False)
    assert encode_plain(ours, [*WORDS, *WORDS]) == [one.ids for one in expected]
