"""The similarity of each behaviour to the target as plain features (SimScore, a baseline of arXiv 2407.19467).

The paper calls it "per-behaviour similarity as side information" and says no more. Here the predictor gets
the cosines themselves: one number a behaviour, newest first, and beside it whether it is known, for the
newest `newest` behaviours. (As side information of an attention, similarity is what SA-TA and DMF are.)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target
from ranking.behaviour.similarity import similarities


class SimilarityScores(BehaviourModule):
    """Cosines with the newest behaviours of each sequence, and their presence.

    Args:
        lengths: most behaviours of each sequence; None for a sequence without vectors.
        newest: most features of each kind a sequence: the predictor's first layer grows with them, so a
            long history is cut to its newest. [our choice]
    """

    def __init__(self, lengths: Sequence[int | None], newest: int = 50):
        super().__init__()
        self.lengths = [None if length is None else min(length, newest) for length in lengths]
        self.target_dim = 2 * sum(length or 0 for length in self.lengths)

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """`(batch, targets, 2 * sum of lengths)`: of each sequence the cosines, then their presence."""
        found = [target.ids.new_zeros(*target.ids.shape[:2], 0)]
        for length, sequence in zip(self.lengths, sequences, strict=True):
            if length is not None:
                newest = _newest(sequence, length)
                found += score_vector(*similarities(target, newest), length)
        return Interest(torch.cat(found, dim=-1), target.ids.new_zeros(len(target.ids), 0))


def score_vector(scores: Tensor, known: Tensor, length: int) -> list[Tensor]:
    """The first `length` scores, zero where unknown, and whether they are known.

    Args:
        scores, known: `(..., any length)`.

    Returns:
        Two of `(..., length)`.
    """
    given = known.to(scores.dtype)
    missing = length - scores.shape[-1]
    return [
        nn.functional.pad(values[..., :length], (0, max(missing, 0)))
        for values in (scores * given, given)
    ]


def _newest(behaviours: Behaviours, length: int) -> Behaviours:
    """Only what `similarities` reads, of the newest."""
    assert behaviours.content is not None and behaviours.has_content is not None
    return Behaviours(
        behaviours.ids,
        behaviours.mask[:, :length],
        behaviours.content[:, :length],
        behaviours.has_content[:, :length],
    )
