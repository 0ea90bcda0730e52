"""A second encoder that follows the first slowly, and whose vectors alone are kept as past negatives (MoCo, He et al. 2020, eq. 2; SCL trains so).

    theta_k <- m theta_k + (1 - m) theta_q

An encoder that trains fast leaves its own past vectors behind, and learns to tell new from old instead of one product from another. The slow one's vectors stay
comparable for about 1 / (1 - m) steps; queries are compared with its vectors of the batch's items too, so that the positive is no newer than the negatives.
Ours -> theirs: `momentum` -> m. It costs another pass over the items, without gradient: about a sixth of a step, more with hard negatives. The papers of MOON say nothing of it.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from representation.trainable import Rows, Trainable


class MomentumEncoder:
    """The slow copy of an encoder. Weights that are not trained are shared, not copied.

    Args:
        encoder: to follow; make it before its weights are wrapped for many processes.
        momentum: share of its own weights that it keeps at each step, in [0, 1).
    """

    def __init__(self, encoder: Trainable, momentum: float) -> None:
        shared = {
            id(value): value for value in encoder.weights.parameters() if not value.requires_grad
        }
        weights = copy.deepcopy(encoder.weights, shared).eval()
        self._encoder, self._momentum = encoder.around(weights), momentum
        fast, slow = (dict(each.named_parameters()) for each in (encoder.weights, weights))
        self._pairs = {
            name: (slow[name].requires_grad_(False), value)
            for name, value in fast.items()
            if value.requires_grad
        }

    @torch.no_grad()
    def follow(self) -> None:
        """Move a little towards the encoder as it is now."""
        for slow, fast in self._pairs.values():
            slow.lerp_(fast.detach(), 1 - self._momentum)

    @torch.no_grad()
    def embed(self, inputs: Rows) -> Tensor:
        """Unit vectors `(rows, dim)`."""
        return self._encoder.embed(inputs)

    def state_dict(self) -> dict[str, Tensor]:
        """The slow weights, as `momentum/<name>`."""
        return {f"momentum/{name}": slow for name, (slow, _) in self._pairs.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict()`, other tensors beside it left alone."""
        for name, (slow, _) in self._pairs.items():
            slow.copy_(state[f"momentum/{name}"])
