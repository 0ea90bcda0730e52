"""Group-relative policy optimisation, held by loops over its formula, by TRL where it is installed, and by what it is for."""

import math
from types import SimpleNamespace

import pytest
import torch

from representation.reasoning.objective import group_advantages, policy_loss

CLIP, KL = 0.2, 0.3


@pytest.fixture
def roll_outs():
    """Six roll-outs of up to five tokens, one of which said nothing; ratios on both sides of the clip."""
    random = torch.Generator().manual_seed(3)
    log_probs = torch.randn(6, 5, generator=random, dtype=torch.float64) * 0.3 - 1
    old = log_probs + torch.randn(6, 5, generator=random, dtype=torch.float64) * 0.4
    reference = log_probs + torch.randn(6, 5, generator=random, dtype=torch.float64) * 0.4
    lengths = torch.tensor([5, 3, 1, 0, 4, 2])
    said = torch.arange(5)[None] < lengths[:, None]
    advantages = torch.tensor([1.2, -0.7, 0.4, -1.0, 0.0, -2.0], dtype=torch.float64)
    return log_probs.requires_grad_(), old, reference, said, advantages


def literal(log_probs, old, reference, said, advantages):
    """-J, its KL and its share of clipped tokens, written out."""
    total, total_kl, clipped, count = 0.0, 0.0, 0, 0
    for row in range(len(log_probs)):
        of_row, kl_of_row, tokens = 0.0, 0.0, 0
        for place in range(log_probs.shape[1]):
            if not said[row, place]:
                continue
            new = log_probs[row, place]
            ratio = torch.exp(new - old[row, place])
            held = min(max(ratio, 1 - CLIP), 1 + CLIP)
            one, other = ratio * advantages[row], held * advantages[row]
            gap = reference[row, place] - new
            kl = torch.exp(gap) - gap - 1
            of_row = of_row - min(one, other) + KL * kl
            kl_of_row += kl.item()
            clipped += bool(other < one)
            tokens, count = tokens + 1, count + 1
        if tokens:
            total, total_kl = total + of_row / tokens, total_kl + kl_of_row / tokens
    return total / len(log_probs), total_kl / len(log_probs), clipped / count


def test_the_policy_loss_is_its_formula_in_value_and_gradient(roll_outs):
    log_probs, old, reference, said, advantages = roll_outs
    found = policy_loss(log_probs, advantages, said, CLIP, KL, old, reference)
    wanted, kl, clipped = literal(log_probs, old, reference, said, advantages)
    assert found.loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert found.kl.item() == pytest.approx(kl, rel=1e-12)
    assert 0 < clipped < 1 and found.clipped.item() == pytest.approx(clipped)
    slope = torch.autograd.grad(found.loss, log_probs)[0]
    torch.testing.assert_close(slope, torch.autograd.grad(wanted, log_probs)[0], rtol=1e-12, atol=1e-15)  # fmt: skip
    assert not slope[~said].any()


def test_drawn_by_the_same_weights_the_ratio_is_one_and_keeps_its_gradient(roll_outs):
    log_probs, _, _, said, advantages = roll_outs
    found = policy_loss(log_probs, advantages, said, CLIP, 0.0)
    slope = torch.autograd.grad(found.loss, log_probs)[0]
    lengths = said.sum(dim=1, keepdim=True).clamp(min=1)
    wanted = torch.where(said, -advantages[:, None] / lengths / len(said), 0.0)
    torch.testing.assert_close(slope, wanted)
    with pytest.raises(ValueError, match="near to what"):
        policy_loss(log_probs, advantages, said, CLIP, KL)


def test_advantages_are_those_of_the_group():
    rewards = torch.tensor([[1.0, 0.0, 2.0, 5.0], [3.0, 3.0, 3.0, 3.0]])
    found = group_advantages(rewards)
    mean = 2.0
    deviation = math.sqrt(sum((value - mean) ** 2 for value in (1, 0, 2, 5)) / 3)
    wanted = [(value - mean) / (deviation + 1e-4) for value in (1, 0, 2, 5)]
    torch.testing.assert_close(found[0], torch.tensor(wanted))
    assert not found[1].any() and not group_advantages(rewards[:, :1]).any()


def test_value_and_gradient_are_trls(roll_outs):
    pytest.importorskip("trl", reason="TRL is not installed")
    from trl.trainer.grpo_trainer import GRPOTrainer

    log_probs, old, reference, said, advantages = roll_outs
    keep = said.any(dim=1)  # TRL draws no empty answer
    log_probs = log_probs.detach()[keep].requires_grad_()
    old, reference, said, advantages = (one[keep] for one in (old, reference, said, advantages))
    nothing = torch.zeros(len(said), 0, dtype=torch.int64)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (log_probs, torch.zeros_like(log_probs), None),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        model=SimpleNamespace(training=False),
        accelerator=SimpleNamespace(gather=lambda one: one, reduce=lambda one, **_: one, num_processes=1),
        _metrics={"train": _Lists(), "eval": _Lists()},
        beta=KL, epsilon_low=CLIP, epsilon_high=CLIP, loss_type="grpo", importance_sampling_level="token",
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, use_vllm=False, aux_loss_enabled=False,
        current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
    )  # fmt: skip
    inputs = {
        "prompt_ids": nothing, "prompt_mask": nothing, "completion_ids": torch.zeros(said.shape, dtype=torch.int64),
        "completion_mask": said.long(), "advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": reference,
    }  # fmt: skip
    wanted = GRPOTrainer._compute_loss(trainer, None, inputs)  # type: ignore[arg-type]
    found = policy_loss(log_probs, advantages, said, CLIP, KL, old, reference).loss
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, log_probs)[0], torch.autograd.grad(wanted, log_probs)[0]
    )


class _Lists(dict):
    def __missing__(self, name):
        self[name] = []
        return self[name]
