"""Words of a search."""

import hypothesis
import numpy as np
from hypothesis import strategies

from moon_rec.shop.simulate.words import misspell, query_words

WORDS = ["casual", "red", "cotton", "shirt", "Borel"]


def test_words_are_some_of_the_products_in_their_order():
    for seed in range(50):
        words = query_words(WORDS, np.random.default_rng(seed), 0.0, 3).split()
        places = [[w.lower() for w in WORDS].index(word) for word in words]
        assert len(words) == 3 and places == sorted(places)


def test_typos_come_as_often_as_asked():
    known = {word.lower() for word in WORDS}
    wrong = [
        not set(query_words(WORDS, np.random.default_rng(seed), 0.5, 5).split()) <= known
        for seed in range(600)
    ]
    assert 0.3 < np.mean(wrong) < 0.5  # four of five words are long enough to misspell


@hypothesis.given(
    word=strategies.text("abcdefg", min_size=1, max_size=12), seed=strategies.integers(0, 99)
)
def test_a_slip_is_small(word, seed):
    slipped = misspell(word, np.random.default_rng(seed))
    assert abs(len(slipped) - len(word)) <= 1 and slipped[0] == word[0]
    assert set(slipped) <= set(word)
    if len(word) < 4:
        assert slipped == word
