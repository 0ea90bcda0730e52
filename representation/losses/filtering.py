"""MOON2.0's dynamic sample filtering (arXiv 2511.12449): pairs that the encoder is unsure of count less, and the bar falls while it learns.

    phi = sigmoid(kappa * ((r_q . r_p) - (r_q . r_n) - margin))

The margin decays over training, from confident samples to hard ones; triplets with phi below .6 are down-weighted (a note on v3 names the threshold). Ours ->
theirs: `scale` kappa. The paper's notes are silent on kappa, on the margins and on how the one falls to the other; chosen: 10, from .2 to 0 in a straight line.
Silent, too, on by how much a triplet is down-weighted; chosen: its loss is multiplied by phi, without gradient, and the mean over the batch stays a mean over all.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from moon_rec.bounds import InnerShare, Scale
from moon_rec.config import Config
from representation.losses.similarity import full_precision

Margin = Annotated[float, Field(ge=-2, le=2)]


class FilterConfig(Config):
    """How sure a pair must be to count whole.

    Attributes:
        scale: kappa, what the excess of cosine is multiplied by; the paper is silent; chosen: 10.
        first_margin: cosine by which a positive must be nearer than its negative, at the first step; the paper is silent; chosen: .2.
        last_margin: the same at the last step, between them in a straight line; the paper is silent; chosen: 0.
        threshold: phi below which a pair counts less; a note on the paper's third version names .6.
    """

    scale: Scale = 10.0
    first_margin: Margin = 0.2
    last_margin: Margin = 0.0
    threshold: InnerShare = 0.6


def margin_at(config: FilterConfig, step: int, steps: int) -> float:
    """The margin of a step, counted from 0, of so many."""
    done = step / max(steps - 1, 1)
    return config.first_margin + (config.last_margin - config.first_margin) * min(done, 1.0)


@torch.no_grad()
def confidence(
    queries: Tensor, positives: Tensor, negatives: Tensor, scale: float, margin: float
) -> Tensor:
    """phi of each triplet, `(batch,)` in float32 or better.

    Args:
        queries, positives, negatives: `(batch, dim)` unit vectors.
    """
    queries, positives, negatives = map(full_precision, (queries, positives, negatives))
    excess = (queries * positives).sum(dim=1) - (queries * negatives).sum(dim=1)
    return torch.sigmoid(scale * (excess - margin))


def filter_weights(phi: Tensor, threshold: float) -> Tensor:
    """What each triplet's loss is multiplied by, `(batch,)`: 1 from the threshold on, phi below it."""
    return torch.where(phi < threshold, phi, 1.0)
