"""Weights of several encoders as one weighted sum, whose coefficients sum to 1.

- Averaging (model soups, Wortsman et al. 2022, arXiv 2203.05482, section 2): theta = sum_t w_t theta_t.
- Task arithmetic (Ilharco et al. 2023, arXiv 2212.04089, section 2): theta = theta_0 + lambda sum_t (theta_t - theta_0), theta_0 what all of them started from.
  Written as (1 - n lambda) theta_0 + lambda sum_t theta_t it is a weighted sum, too; with one task and lambda = 1 it is that task to the bit.

Ours -> theirs: `weights` w, `scale` lambda, `base` theta_0. Notable choices:
- Sums are taken in float64 and rounded once, so equal weights of one encoder and itself give that encoder, to the bit, however many there are.
- Numbers of any float type become float32; whole numbers (positions, counts of batches) are the first encoder's.
- Running means and variances of batch normalisation are averaged as weights are. Those of an average of weights are other numbers: train or calibrate such a tower
  afterwards.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moon_rec.errors import ConfigError

MOST_SCALE = 10


def average_of(count: int, weights: Sequence[float] | None = None) -> list[float]:
    """Coefficients of an average that sum to 1; None: all alike.

    Raises:
        ConfigError: not one each, one that is not above 0, or a sum that is not 1 to a millionth.
    """
    if weights is None:
        return [1 / count] * count
    if len(weights) != count:
        raise ConfigError(
            f"{len(weights)} weights for {count} encoders; give one each, in their order"
        )
    bad = [weight for weight in weights if not 0 < weight <= 1]
    if bad:
        raise ConfigError(f"weight {bad[0]:g}: wanted above 0, at most 1; leave that encoder out")
    total = sum(weights)
    if abs(total - 1) > 1e-6:
        raise ConfigError(
            f"weights sum to {total:g}, wanted 1; sums of what encoders learnt are --task-arithmetic's"
        )
    return [weight / total for weight in weights]


def task_sum_of(count: int, scale: float) -> list[float]:
    """Coefficients of the base and of each task, which sum to 1.

    Raises:
        ConfigError: a scale that is not above 0, or beyond 10.
    """
    if not 0 < scale <= MOST_SCALE:
        raise ConfigError(f"scale {scale:g}: wanted above 0, at most {MOST_SCALE}")
    return [1 - count * scale, *[scale] * count]


class WeightedSum:
    """Adds up states one encoder at a time, so that never more than one is in memory beside the sum.

    Attributes:
        total: float64 by name; of whole numbers the first state's.
    """

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}

    def add(self, state: Mapping[str, Tensor], coefficient: float) -> None:
        """Add `coefficient` times the weights of `state`, names and shapes as of those before."""
        for name, value in state.items():
            if not value.is_floating_point():
                self.total.setdefault(name, value.detach().clone())
            elif name in self.total:
                self.total[name].add_(value.detach().double(), alpha=coefficient)
            else:
                self.total[name] = value.detach().double() * coefficient

    def rounded(self) -> dict[str, Tensor]:
        """The sum, in float32 where it is no whole number."""
        return {
            name: value.to(torch.float32) if value.is_floating_point() else value
            for name, value in self.total.items()
        }
