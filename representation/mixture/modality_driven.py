"""MOON2.0's modality-driven weights of alignment objectives (arXiv 2511.12449): which experts a batch goes to decides how much each objective counts.

    p_{z,m} = softmax_m(W*_{z,m})                                     dual-alignment matrix W*, Z experts x M objectives
    omega_m = (1 / |B_m|) sum_{b in B_m} sum_z p_{z,m} G~_{z,b}       weight of objective m over the batch
    L_sparsity = (1 / Z) sum_z -sum_m p_{z,m} log p_{z,m}             entropy: an expert is to serve few objectives

Objectives are the alignments between products of queries by text, by picture and by both. Ours -> theirs: `matrix` W*, `gates` G~, `rows` B_m. The papers' notes
are silent on the following; chosen: G~ of a row is the mean of its tokens' gates over all layers with experts; B_m are the queries of objective m; W* starts at
zero, where every omega is 1 / M; gradients go through the weights as the formula stands.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

Objective = Literal["text", "image", "both"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
"""What queries show; the columns of W*."""


class ObjectiveWeights(nn.Module):
    """W* and what is made of it. It weighs losses, and so is trained beside an encoder and no part of it.

    Attributes:
        matrix: W*, `(experts, objectives)`.
    """

    def __init__(self, num_experts: int, num_objectives: int = len(OBJECTIVES)) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(num_experts, num_objectives))

    def shares(self) -> Tensor:
        """p, `(experts, objectives)`; each expert's sum to 1."""
        return self.matrix.softmax(dim=1)

    def forward(self, gates: Tensor, objective: int) -> Tensor:
        """omega of an objective, a scalar.

        Args:
            gates: what each expert has of each of the objective's rows, `(rows, experts)`; see `Gates.of_rows`.
            objective: its column.
        """
        return (gates @ self.shares()[:, objective]).mean()

    def sparsity(self) -> Tensor:
        """L_sparsity, a scalar in [0, ln(objectives)]."""
        return -(self.shares() * self.matrix.log_softmax(dim=1)).sum(dim=1).mean()
