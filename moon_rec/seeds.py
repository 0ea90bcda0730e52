"""One seed, many independent streams, each named for what it is drawn for.

`generator(seed, "shoppers", 3)` gives the same numbers on every machine and whatever else was drawn before; another name gives an independent stream.
"""

import hashlib

import numpy as np


def seed_of(seed: int, *names: str | int) -> int:
    """A seed in [0, 2^63) for the stream of that name."""
    text = "/".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the stream of that name."""
    return np.random.default_rng(seed_of(seed, *names))
