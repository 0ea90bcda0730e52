"""Qwen3-VL's picture tower over a batch of equally large pictures, as one dense attention; and the block that both families' towers are made of.

transformers' Qwen3-VL packs all pictures into one sequence and, without flash attention, attends picture by picture in a Python loop, layer by layer. Where
all pictures have one size (see `pixels.py`) the same computation is a plain batch: this module runs the tower's own weights that way. Results equal the
original's (tests/representation/test_vision.py holds them together, value and gradient). Besides:
- a still picture's frames are equal, so the patch convolution is a matrix product with its weights summed over the frames;
- positions are computed once a grid, not once a picture;
- a block with `gradient_checkpointing` set keeps its input only and is computed again for the gradient, as transformers' own call of a block would.
Qwen2.5-VL's tower, whose attention is windowed, is in `window_vision.py`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from representation.model.pixels import PatchLayout


def picture_features(
    visual: Any, patches: Tensor, layout: PatchLayout
) -> tuple[Tensor, list[Tensor]]:
    """Visual tokens of equally large pictures.

    Args:
        visual: a `Qwen3VLVisionModel`.
        patches: `(pictures, patches, 3 * patch_size**2)`, see `pixels.to_patches`.

    Returns:
        Tokens for the language model `(pictures, tokens, text_dim)`, and one such tensor for each DeepStack layer.
    """
    hidden = embed_patches(visual, patches)
    positions, rotary = _positions(visual, layout, patches.device)
    hidden = hidden + positions.to(hidden.dtype)
    deepstack = []
    for number, block in enumerate(visual.blocks):
        hidden = run_block(block, hidden, rotary)
        if number in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(number)]
            deepstack.append(merger(hidden).reshape(len(patches), layout.num_tokens, -1))
    return visual.merger(hidden).reshape(len(patches), layout.num_tokens, -1), deepstack


def _positions(
    visual: Any, layout: PatchLayout, device: torch.device
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    grid = torch.tensor([[1, layout.grid, layout.grid]], device=device)
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=layout.merge,
    )
    learned = (visual.pos_embed(indices) * weights[:, :, None]).sum(1)
    rotary = visual.rotary_pos_emb(learned, get_vision_position_ids(grid, layout.merge))
    return learned, rotary


def embed_patches(visual: Any, patches: Tensor) -> Tensor:
    """Patches of one frame to states, `(pictures, patches, dim)`."""
    projection = visual.patch_embed.proj
    flat = projection.weight.sum(dim=2).reshape(len(projection.weight), -1)
    return functional.linear(patches.to(flat.dtype), flat, projection.bias)


def run_block(
    block: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor], windows: int | Tensor = 1
) -> Tensor:
    """One layer of a picture tower.

    Args:
        hidden: `(pictures, patches, dim)`.
        rotary: cosine and sine, each `(patches, head)`.
        windows: attention stays within this many equal runs of patches, or within `(patches, patches)`, True where a patch may look.
    """
    if block.gradient_checkpointing and block.training and torch.is_grad_enabled():
        found: Any = checkpoint(_block, block, hidden, rotary, windows, use_reentrant=False)
        return found
    return _block(block, hidden, rotary, windows)


def _block(
    block: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor], windows: int | Tensor
) -> Tensor:
    hidden = hidden + _attend(block.attn, block.norm1(hidden), rotary, windows)
    return hidden + block.mlp(block.norm2(hidden))


def _attend(
    attention: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor], windows: int | Tensor
) -> Tensor:
    """Attention within each picture, or each window of it; `hidden` is `(pictures, patches, dim)`."""
    pictures, patches, dim = hidden.shape
    shape = (pictures, patches, 3, attention.num_heads, -1)
    turned, value = attention.qkv(hidden).reshape(shape).permute(2, 0, 3, 1, 4).split((2, 1))
    query, key = _rotate(turned, *rotary)
    value = value[0]
    allowed = windows if isinstance(windows, Tensor) else None
    if isinstance(windows, int) and windows > 1:
        query, key, value = (_split(states, windows) for states in (query, key, value))
    if query.device.type == "cpu" and query.requires_grad:
        # torch's fused attention has a slow backward pass on CPU: 28 against 16 ms in float32, 109 against 7 in bfloat16, for 256 pictures of 64 patches
        scores = torch.matmul(query, key.transpose(-1, -2)) * attention.scaling
        if allowed is not None:
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
    else:
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, scale=attention.scaling
        )
    if len(mixed) != pictures:
        mixed = mixed.unflatten(0, (pictures, -1)).transpose(1, 2).flatten(2, 3)
    return attention.proj(mixed.transpose(1, 2).reshape(pictures, patches, dim))


def _split(states: Tensor, windows: int) -> Tensor:
    """`(pictures, heads, patches, head)` -> `(pictures * windows, heads, patches / windows, head)`."""
    return states.unflatten(2, (windows, -1)).transpose(1, 2).flatten(0, 1)


def _rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions on `(..., patches, head)` in float32; `cosine` and `sine` are `(patches, head)`."""
    half = states.shape[-1] // 2
    signed = torch.cat([-sine[:, :half], sine[:, half:]], dim=-1)
    values = states.float()
    return (values * cosine + values.roll(half, dims=-1) * signed).to(states.dtype)
