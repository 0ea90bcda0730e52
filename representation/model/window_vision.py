"""Qwen2.5-VL's picture tower over a batch of equally large pictures.

Most of its layers attend within windows (112 pixels a side in the published checkpoints), a few over the whole picture. transformers puts the patches in order
window by window and attends window by window in a Python loop. Pictures of one size are cut alike, so here the order is computed once a grid and a layer is
one dense attention: over `(pictures * windows)` where all windows are equally large, else over whole pictures with what lies in other windows masked.
Results equal the original's, value and gradient (tests/representation/test_window_vision.py).
"""

from typing import Any

import torch
from torch import Tensor
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from representation.model.pixels import PatchLayout
from representation.model.vision import embed_patches, run_block


def window_features(visual: Any, patches: Tensor, layout: PatchLayout) -> Tensor:
    """Visual tokens of equally large pictures, `(pictures, tokens, text_dim)`.

    Args:
        visual: a `Qwen2_5_VisionTransformerPretrainedModel`.
        patches: `(pictures, patches, 3 * patch_size**2)`, see `pixels.to_patches`.
    """
    hidden = embed_patches(visual, patches)
    order, windows = _windows(visual, layout, patches.device)
    block_size = layout.merge**2
    by_window = (order[:, None] * block_size + torch.arange(block_size, device=order.device)).view(-1)  # fmt: skip
    grid = torch.tensor([[1, layout.grid, layout.grid]], device=patches.device)
    cosine, sine = visual.rotary_pos_emb(hidden, get_vision_position_ids(grid, layout.merge))
    rotary = (cosine[by_window], sine[by_window])
    hidden = hidden[:, by_window]
    for number, block in enumerate(visual.blocks):
        whole = number in visual.fullatt_block_indexes
        hidden = run_block(block, hidden, rotary, 1 if whole else windows)
    merged = visual.merger(hidden).reshape(len(patches), layout.num_tokens, -1)
    return merged[:, torch.argsort(order)]


def _windows(visual: Any, layout: PatchLayout, device: torch.device) -> tuple[Tensor, int | Tensor]:
    """The order of visual tokens window by window, and what `run_block` is told of the windows."""
    order, ends = get_vision_window_index(
        torch.tensor([[1, layout.grid, layout.grid]]),
        spatial_merge_size=layout.merge,
        window_size=visual.window_size,
        patch_size=visual.patch_size,
    )
    sizes = ends.diff()
    if bool((sizes == sizes[0]).all()):
        return order.to(device), len(sizes)
    window = torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(device)
    return order.to(device), window[:, None] == window[None]
