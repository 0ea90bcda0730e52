"""CUBE: content-based user behaviour extractor (MOON Embedding, arXiv 2511.11305, Fig. 5).

For each sequence (items clicked, searches made), with target t, query q, behaviours b:
    1. ID-interest       DIN over e_b, asked by e_t
    2. scores            s_b = cos(r_b, r_t), and cos(r_b, r_q), themselves inputs of the predictor
    3. fusion-interest   e' = sum_b w(s_b) e_b      weights from content, values from IDs
    4. content-interest  r' = sum_b w(s_b) r_b      weights and values from content
and once
    5. r_t, r_q and cos(r_t, r_q).

Ours -> the paper's: `target.ids` -> e_t, `behaviours.ids` -> e_b, `.content` -> r, `scores` -> s_b.

What the figure leaves open, and what we chose:
- w is a masked softmax(s / temperature); the temperature is learned, from 0.1 (`learn_temperature`).
- Scores, weights and interests are made for both askers, r_t and r_q: the figure's connector joins both
  but labels one score set.
- Scores reach the predictor as a histogram over [-1, 1] (`tiers`, log(1 + count), order and padding drop out),
  as the vector of the last `score_length` scores, newest first, with presence beside it (`vector`), or
  both.
- Frozen vectors pass a small linear map to `projection_dim` before the predictor: r_t and r_q are wider
  than all ID inputs together. r' is projected after the sum (the same by linearity, and cheaper).
- Where r_t or r_q is missing a learned vector stands in, and a presence flag goes with the cosine: a
  missing vector has no score, no weight, and no share in any interest.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from moon_rec.masking import masked_softmax
from ranking.behaviour.din import DIN
from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target
from ranking.behaviour.scores import score_vector
from ranking.behaviour.simtier import tier_counts
from ranking.behaviour.vector import Projection

ScoreForm = Literal["tiers", "vector", "both"]


class CUBE(BehaviourModule):
    """All five branches over any number of sequences.

    Args:
        target_dim, behaviour_dims, hidden_dim: as for `DIN`.
        content_dim: width of the frozen vectors.
        has_query: whether requests have queries with vectors; without, the branches of r_q are left out.
        projection_dim: width of each projected frozen vector.
        scores: how scores reach the predictor.
        score_lengths: most behaviours of each sequence, for the vector form; None for a sequence without
            vectors, which has only its ID-interest.
        num_tiers: bins of the histogram.
        temperature: initial temperature of the weights.
        learn_temperature: whether it is learned (one a sequence and asker).
        id_interest: whether branch 1 is made here; a ranker leaves it to its sequence model (DIN by default).
    """

    def __init__(
        self,
        target_dim: int,
        behaviour_dims: Sequence[int],
        content_dim: int,
        score_lengths: Sequence[int | None],
        has_query: bool = True,
        hidden_dim: int = 32,
        projection_dim: int = 16,
        scores: ScoreForm = "tiers",
        num_tiers: int = 20,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        id_interest: bool = True,
    ):
        super().__init__()
        self.din = DIN(target_dim, behaviour_dims, hidden_dim) if id_interest else None
        self.with_content = [
            number for number, length in enumerate(score_lengths) if length is not None
        ]
        lengths = [length for length in score_lengths if length is not None]
        shape = (content_dim, projection_dim, scores, num_tiers)
        by_target = [_ContentInterest(length, *shape) for length in lengths]
        by_query = [_ContentInterest(length, *shape) for length in lengths if has_query]
        self.by_target, self.by_query = nn.ModuleList(by_target), nn.ModuleList(by_query)
        start = torch.full((1 + has_query, len(lengths)), math.log(temperature))
        self.log_temperature = nn.Parameter(start, requires_grad=learn_temperature)
        self.project_target = Projection(content_dim, projection_dim)
        self.project_query = Projection(content_dim, projection_dim) if has_query else None
        width = sum(behaviour_dims[number] for number in self.with_content)
        width += sum(branch.score_dim + projection_dim for branch in by_target)
        self.target_dim = width + projection_dim + 2 * has_query
        if self.din is not None:
            self.target_dim += self.din.target_dim
        self.request_dim = (width + projection_dim) * has_query

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """Everything the predictor gets from content and behaviours; see the module's docstring."""
        assert target.content is not None and target.has_content is not None
        per_target = [] if self.din is None else [self.din(target, sequences).per_target]
        per_request = []
        temperatures = self.log_temperature.exp()
        described = [sequences[number] for number in self.with_content]
        for number, sequence in enumerate(described):
            branch, temperature = self.by_target[number], temperatures[0, number]
            per_target += branch(target.content, target.has_content, sequence, temperature)
        per_target.append(self.project_target(target.content, target.has_content))
        if self.project_query is None:
            empty = target.ids.new_zeros(len(target.ids), 0)
            return Interest(torch.cat(per_target, dim=-1), empty)
        assert target.query is not None
        query, has_query = target.query.content[:, None], target.query.has_content[:, None]
        for number, sequence in enumerate(described):
            branch, temperature = self.by_query[number], temperatures[1, number]
            per_request += branch(query, has_query, sequence, temperature)
        per_request.append(self.project_query(query, has_query))
        both = (target.has_content & has_query).to(query.dtype)
        cosine = torch.bmm(target.content, query.transpose(1, 2)).squeeze(-1)
        per_target.append(torch.stack([cosine * both, both], dim=-1))
        return Interest(torch.cat(per_target, dim=-1), torch.cat(per_request, dim=-1)[:, 0])


class _ContentInterest(nn.Module):
    """Branches 2 to 4 of one sequence for one asker (the targets, or the query as a single one)."""

    def __init__(
        self, length: int, content_dim: int, projection_dim: int, scores: ScoreForm, num_tiers: int
    ):
        super().__init__()
        self.project = nn.Linear(content_dim, projection_dim, bias=False)
        self.scores, self.length, self.num_tiers = scores, length, num_tiers
        self.score_dim = num_tiers * (scores != "vector") + 2 * length * (scores != "tiers")

    def forward(
        self, asker: Tensor, has_asker: Tensor, behaviours: Behaviours, temperature: Tensor
    ) -> list[Tensor]:
        """Score features, fusion-interest and content-interest, `(batch, askers, ...)` each.

        Args:
            asker: `(batch, askers, content_dim)`; has_asker: `(batch, askers)`.
        """
        assert behaviours.content is not None and behaviours.has_content is not None
        known = (behaviours.mask & behaviours.has_content)[:, None, :] & has_asker[:, :, None]
        scores = torch.bmm(asker, behaviours.content.transpose(1, 2))
        weights = masked_softmax(scores / temperature, known)
        fusion = torch.bmm(weights, behaviours.padded_ids)
        content = self.project(torch.bmm(weights, behaviours.content))
        return [*self._score_features(scores, known), fusion, content]

    def _score_features(self, scores: Tensor, known: Tensor) -> list[Tensor]:
        features = []
        if self.scores != "vector":
            features.append(tier_counts(scores, known, self.num_tiers).log1p().to(scores.dtype))
        if self.scores != "tiers":
            features += score_vector(scores, known, self.length)
        return features
