"""Streams of `moon_rec.seeds` for torch, apart from them: what needs no torch is not to load it."""

import torch

from moon_rec.seeds import seed_of


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A torch CPU generator for the stream of that name."""
    return torch.Generator().manual_seed(seed_of(seed, *names))
