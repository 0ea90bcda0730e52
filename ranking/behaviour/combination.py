"""Several modules side by side: their interests are concatenated, so ways of using content combine freely."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target
from ranking.behaviour.slices import in_slices, requests_at_a_time


class Combination(BehaviourModule):
    """The interests of all its modules, in their order.

    Args:
        modules: at least one; at most one of them may have hidden layers and a logit.
    """

    def __init__(self, modules: Sequence[BehaviourModule]):
        super().__init__()
        inner = [module for module in modules if module.hidden_dims or module.has_logit]
        assert modules and len(inner) <= 1, "one model within the model at most"
        self.parts = nn.ModuleList(modules)
        self.target_dim = sum(module.target_dim for module in modules)
        self.request_dim = sum(module.request_dim for module in modules)
        if inner:
            self.hidden_dims, self.has_logit = inner[0].hidden_dims, inner[0].has_logit

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """All interests, concatenated."""
        if requests_at_a_time(target, sequences) >= len(target.ids):
            sequences = [sequence.units() for sequence in sequences]  # once for all modules
        found = [
            in_slices(cast(BehaviourModule, module), target, sequences) for module in self.parts
        ]
        return Interest(
            torch.cat([interest.per_target for interest in found], dim=-1),
            torch.cat([interest.per_request for interest in found], dim=-1),
            next((interest.hidden for interest in found if interest.hidden), ()),
            next((interest.logit for interest in found if interest.logit is not None), None),
        )
