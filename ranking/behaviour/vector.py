"""The target's frozen vector as a feature: the plainest way of using content (a baseline of arXiv 2407.19467)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target


class TargetVector(BehaviourModule):
    """The projected vector of the target and, where there are searches, of the query; no past is read.

    Args:
        content_dim: width of the frozen vectors.
        projection_dim: width at which they reach the predictor; unprojected they are wider than all its ID
            inputs together. [our choice]
        has_query: whether requests have queries with vectors.
    """

    def __init__(self, content_dim: int, projection_dim: int = 16, has_query: bool = False):
        super().__init__()
        self.project_target = Projection(content_dim, projection_dim)
        self.project_query = Projection(content_dim, projection_dim) if has_query else None
        self.target_dim = projection_dim + 1
        self.request_dim = self.target_dim * has_query

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """Of target and query alike: `projection_dim` numbers and whether there is a vector."""
        assert target.content is not None and target.has_content is not None
        per_target = self._feature(self.project_target, target.content, target.has_content)
        if self.project_query is None:
            return Interest(per_target, per_target.new_zeros(len(per_target), 0))
        assert target.query is not None
        query = self._feature(self.project_query, target.query.content, target.query.has_content)
        return Interest(per_target, query)

    @staticmethod
    def _feature(project: nn.Module, content: Tensor, has_content: Tensor) -> Tensor:
        presence = has_content[..., None].to(content.dtype)
        return torch.cat([project(content, has_content), presence], dim=-1)


class Projection(nn.Module):
    """A linear map of frozen vectors; a learned vector stands in for a missing one."""

    def __init__(self, content_dim: int, projection_dim: int):
        super().__init__()
        self.linear = nn.Linear(content_dim, projection_dim, bias=False)
        self.missing = nn.Parameter(torch.zeros(projection_dim))

    def forward(self, content: Tensor, has_content: Tensor) -> Tensor:
        """`(..., content_dim)` and `(...)` -> `(..., projection_dim)`."""
        return torch.where(has_content[..., None], self.linear(content), self.missing)
