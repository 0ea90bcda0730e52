"""What both training stages share: optimiser, learning-rate schedule, precision, and the loop's bookkeeping.

Measured on two cores with AVX-512 (AMD EPYC), the 2.2 M-parameter backbone, 128 pairs of (64x64 picture -> picture and 32 tokens): 0.93 s a step in float32,
0.40 s in bfloat16, because the processor multiplies bfloat16 six times as fast. So `precision="auto"` takes bfloat16 where the hardware multiplies it, for
training only; embeddings are always computed in float32. Weights, optimiser and loss are float32 throughout.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from moon_rec.bounds import (
    BatchPairs,
    LearningRate,
    Norm,
    Seed,
    Share,
    ShareBelowOne,
    Steps,
    Threads,
    WeightDecay,
)
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.errors import ConfigError
from moon_rec.processor import multiplies_bfloat16
from representation.model.backbone_config import BackboneConfig
from representation.model.lora import narrow_inputs

Log = Callable[[int, dict[str, float]], None]
"""Called with the step (from 1) and its numbers, such as `{"loss": 3.2, "learning_rate": 1e-3}`."""

Look = Callable[[int, Tensor, Tensor], None]


class OptimisationConfig(Config):
    """AdamW with warm-up and a cosine to `final_rate_share` of the learning rate. All of it is a choice: the report publishes no schedule.

    Attributes:
        backbone: of an encoder that starts from random weights or from a checkpoint; one that goes on from an encoder's folder has that encoder's.
        steps, batch_size: how many batches, of how many rows.
        learning_rate: at its highest.
        warmup_share: of the steps: those in which the rate rises from nothing.
        final_rate_share: of the learning rate: what the last step has left of it.
        weight_decay: of matrices, not of norms, biases and scalars.
        clip_norm: largest norm of all gradients together.
        precision: of matrix products in training; `auto`: bfloat16 where the hardware multiplies it.
        attention_kernel: of transformers' layers: `eager` or `sdpa`, torch's fused one; `auto`: fused on a GPU, eager on a processor, where the fused one is slow on the way back.
        num_threads: torch's; None: as they are.
        log_every: steps between two lines of the log.
        scratch_gb: most that decoded pictures may take of the disk, past 1 GB; see `PictureStore`.
        seed: of all that is drawn.
    """

    backbone: BackboneConfig = BackboneConfig()
    steps: Steps = 400
    batch_size: BatchPairs = 128
    learning_rate: LearningRate = 1e-3
    warmup_share: ShareBelowOne = 0.05
    final_rate_share: Share = 0.02
    weight_decay: WeightDecay = 0.01
    clip_norm: Norm = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    attention_kernel: Literal["auto", "eager", "sdpa"] = "auto"
    num_threads: Threads | None = None
    log_every: Steps = 10
    scratch_gb: Annotated[float, Field(ge=0, le=1e6)] = 64.0
    seed: Seed = 0

    counts_when: ClassVar[Rules] = {
        "warmup_share": CountsWhen(
            lambda config: warmup_steps(config) < config.steps or config.steps == 1,
            "the rate would rise through all {self.steps} steps; lower it",
        ),
        "final_rate_share": CountsWhen(
            lambda config: config.steps - warmup_steps(config) >= 2,
            "of {self.steps} steps none falls behind the warm-up's; train more or leave it out",
        ),
    }


def warmup_steps(config: OptimisationConfig) -> int:
    """Steps in which the learning rate rises, at least one."""
    return max(1, round(config.warmup_share * config.steps))


def from_start(config: OptimisationConfig, start: str | Path | None) -> dict[str, Any]:
    """The settings as a training writes them down: one that goes on from an encoder's folder has the backbone that is there, not that of its settings.

    Raises:
        ConfigError: settings of the backbone beside a folder to start from, which nothing would read.
    """
    values = config.model_dump(mode="json")
    if start is None:
        return values
    for name, value in config.backbone.changed().items():
        raise ConfigError(
            f"backbone.{name} = {value!r} changes nothing: the encoder at {start} has a backbone of its own; leave out backbone.*, or the folder to start from"
        )
    return {name: value for name, value in values.items() if name != "backbone"}


def make_optimizer(
    parameters: Sequence[tuple[str, Tensor]],
    config: OptimisationConfig,
    rate_shares: Mapping[str, float] | None = None,
) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only, not on norms, biases and scalars. Weights that lie scattered over processes are groups of their own.

    Args:
        rate_shares: of the learning rate, what parameters have that have not all of it; see `trained.rate_shares`.
    """
    shares = rate_shares or {}
    alike: dict[tuple[bool, float], list[Tensor]] = {(True, 1.0): [], (False, 1.0): []}
    for name, value in parameters:
        alike.setdefault((value.ndim >= 2, shares.get(name, 1.0)), []).append(value)
    groups = [
        {
            "params": part,
            "weight_decay": config.weight_decay if is_matrix else 0.0,
            "rate_share": share,
        }
        for (is_matrix, share), values in alike.items()
        for part in _by_sharding(values)
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def rate_share(step: int, config: OptimisationConfig) -> float:
    """Share of the learning rate at a step counted from 0: linear warm-up, then a cosine down to `final_rate_share`."""
    warmup = warmup_steps(config)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, config.steps - warmup)
    return (
        config.final_rate_share + (1 - config.final_rate_share) * (1 + math.cos(math.pi * done)) / 2
    )


def descend(
    optimizer: torch.optim.AdamW,
    loss: Tensor,
    step: int,
    config: OptimisationConfig,
    look: Look | None = None,
) -> float:
    """One clipped step down the gradients of `loss` that are there; gives the learning rate it took.

    Args:
        look: `Divergence.look`, shown the step, its loss and the norm of its gradients before the weights move.
    """
    rate = config.learning_rate * rate_share(step, config)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    norm = clip_gradients(parameters, config.clip_norm)
    if look is not None:
        look(step, loss.detach(), norm)
    optimizer.step()
    return rate


def clip_gradients(parameters: Sequence[Tensor], most: float) -> Tensor:
    """Scale gradients down to a norm of `most` over all of them, also where some lie scattered over processes; gives the norm they had.

    Processes must hold the same gradients, or parts of the same.
    """
    parts = _by_sharding(parameters)
    if not any(isinstance(value, DTensor) for value in parameters):
        return torch.nn.utils.clip_grad_norm_(parameters, most)
    norms = []
    for part in parts:
        norm = torch.nn.utils.get_total_norm(
            [value.grad for value in part if value.grad is not None]
        )
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    total = torch.linalg.vector_norm(torch.stack(norms))
    for part in parts:
        torch.nn.utils.clip_grads_with_norm_(part, most, total)
    return total


def _by_sharding(values: Sequence[Tensor]) -> list[list[Tensor]]:
    """Plain tensors and scattered ones apart: torch's operations on many tensors at once do not take both."""
    plain: list[Tensor] = [value for value in values if not isinstance(value, DTensor)]
    scattered: list[Tensor] = [value for value in values if isinstance(value, DTensor)]
    return [part for part in (plain, scattered) if part] or [[]]


@torch.no_grad()
def widen_trained(module: nn.Module) -> None:
    """Make the weights that are trained float32, in place: bfloat16 has eight bits, in which a step of a thousandth is mostly lost.

    (Of a backbone kept in bfloat16, 2.5 % of the weights moved in 20 steps.) Matrix products stay in the dtype of `training_mode`, by autocast. What is saved is as
    it was trained, float32; `dtype` of whoever opens it narrows it again. Weights that are not trained (under LoRA) keep theirs.
    """
    if all(value.requires_grad for value in module.parameters()):
        module.float()
        return
    for value in module.parameters():
        if value.requires_grad:
            value.data = value.data.float()


@contextlib.contextmanager
def training_mode(module: Any, config: OptimisationConfig) -> Iterator[torch.dtype]:
    """Set threads, training mode and the attention that trains fastest here; put all back after. Yields the dtype of the matrix products."""
    threads = torch.get_num_threads()
    model = module if isinstance(module, PreTrainedModel) else None
    attention = model.config._attn_implementation if model is not None else None
    device = next(module.parameters()).device
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    kernel = config.attention_kernel
    if kernel == "auto" and device.type == "cpu":
        kernel = "eager"  # see vision._attend: fused attention is slow backward on CPU
    if model is not None and kernel != "auto":
        model.set_attn_implementation(kernel)
    module.train()
    dtype = _product_dtype(config, device)
    is_half = dtype == torch.bfloat16
    try:
        with narrow_inputs(module) if is_half else contextlib.nullcontext():
            yield dtype
    finally:
        module.eval()
        if model is not None:
            model.set_attn_implementation(attention or "sdpa")
        torch.set_num_threads(threads)


def lower_precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Matrix products in `dtype` within the block; does nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _product_dtype(config: OptimisationConfig, device: torch.device) -> torch.dtype:
    if config.precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = device.type == "cpu" and multiplies_bfloat16()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
