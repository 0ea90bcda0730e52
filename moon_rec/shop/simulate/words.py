"""The words of a search: some of what the wanted product is called, now and then misspelt."""

import numpy as np


def query_words(
    words: list[str], rng: np.random.Generator, share_typos: float, num_words: int
) -> str:
    """Up to `num_words` of `words` in their order, lower case, one of them misspelt in `share_typos` of the cases."""
    count = min(num_words, len(words))
    chosen = [words[k].lower() for k in np.sort(rng.permutation(len(words))[:count])]
    slip, which = rng.random(), int(rng.integers(count))
    if slip < share_typos:
        chosen[which] = misspell(chosen[which], rng)
    return " ".join(chosen)


def misspell(word: str, rng: np.random.Generator) -> str:
    """The word with two letters swapped, one left out or one doubled; words of under four letters stay."""
    if len(word) < 4:
        return word
    kind, place = int(rng.integers(3)), int(rng.integers(1, len(word) - 1))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place] + word[place:]
