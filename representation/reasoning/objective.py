"""Group-relative policy optimisation (GRPO): roll-outs that were rewarded more than others of the same product become likelier.

MOON3.0 trains its reasoning by GRPO beside the contrastive loss; which form, and all of its numbers, are not public. Here it is the first one, of DeepSeekMath
(Shao et al. 2024, arXiv 2402.03300, equations 3 and 4), as TRL has it under `loss_type="grpo"`:

    A_i  = (R_i - mean of the group) / (deviation of the group + 1e-4)
    r_t  = exp(log pi(o_t) - log pi_old(o_t))
    J    = mean over roll-outs of the mean over their tokens of [ min(r_t A, clip(r_t, 1 - e, 1 + e) A) - b KL_t ]
    KL_t = exp(log pi_ref - log pi) - (log pi_ref - log pi) - 1

Ours -> the paper's: `rewards` R, `advantages` A, `log_probs` log pi, `old_log_probs` log pi_old, `reference_log_probs` log pi_ref, `clip` e, `kl_weight` b. What is
returned is -J, to be made small.
"""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST_DEVIATION = 1e-4
"""Added to a group's deviation, as TRL does."""


class PolicyLoss(NamedTuple):
    """What a step of the policy comes to: `loss` with gradient; `kl`, the mean KL_t over tokens as in J, and `clipped`, the share of tokens where clipping counts, without."""

    loss: Tensor
    kl: Tensor
    clipped: Tensor


def group_advantages(rewards: Tensor) -> Tensor:
    """Of each roll-out, how much better than its group: `(groups, roll-outs)` as the rewards; 0 in a group that was rewarded alike.

    The deviation is the one with n - 1, as TRL's; a group of one has no other to be compared with, and gets 0.
    """
    gaps = rewards - rewards.mean(dim=1, keepdim=True)
    if rewards.shape[1] < 2:
        return torch.zeros_like(rewards)
    return gaps / (rewards.std(dim=1, keepdim=True) + LEAST_DEVIATION)


def policy_loss(
    log_probs: Tensor,
    advantages: Tensor,
    said: Tensor,
    clip: float,
    kl_weight: float,
    old_log_probs: Tensor | None = None,
    reference_log_probs: Tensor | None = None,
) -> PolicyLoss:
    """-J over roll-outs.

    Args:
        log_probs: `(roll-outs, tokens)` of each token under the weights that are trained, with gradient.
        advantages: `(roll-outs,)`.
        said: `(roll-outs, tokens)` boolean, True where the roll-out said a token; others count for nothing.
        old_log_probs: under the weights that drew the roll-outs; None: they are the same, and r is 1 with a gradient.
        reference_log_probs: under the weights that the policy is kept near to; None: `kl_weight` must be 0.
    """
    old = log_probs.detach() if old_log_probs is None else old_log_probs
    ratio = (log_probs - old).masked_fill(~said, 0.0).exp()
    better = advantages[:, None]
    free, held = ratio * better, ratio.clamp(1 - clip, 1 + clip) * better
    gained = torch.minimum(free, held)
    kl = torch.zeros_like(gained)
    if reference_log_probs is not None:
        gap = (reference_log_probs - log_probs).masked_fill(~said, 0.0)
        kl = gap.exp() - gap - 1
    elif kl_weight:
        raise ValueError("kl_weight without reference_log_probs: near to what?")
    loss = _mean_of_roll_outs(kl_weight * kl - gained, said)
    clipped = (held < free) & said
    share = clipped.sum() / said.sum().clamp(min=1)
    return PolicyLoss(loss, _mean_of_roll_outs(kl.detach(), said), share)


def _mean_of_roll_outs(values: Tensor, said: Tensor) -> Tensor:
    """Mean over roll-outs of the mean over each one's tokens; one that said nothing counts as 0."""
    totals = values.masked_fill(~said, 0.0).sum(dim=1)
    return (totals / said.sum(dim=1).clamp(min=1)).mean()
