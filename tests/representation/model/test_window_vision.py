"""Qwen2.5-VL's windowed picture tower against transformers' own, value and gradient."""

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

from representation.model.pixels import with_frames
from representation.model.qwen import layout_of
from representation.model.vision import run_block
from representation.model.window_vision import window_features


def tower(window: int) -> Qwen2_5_VLModel:
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 1]}
    text = {
        "hidden_size": 24,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 10,
        "rope_parameters": rope,
        "pad_token_id": 0,
    }
    vision = {
        "depth": 4,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "out_hidden_size": 24,
        "window_size": window,
        "fullatt_block_indexes": [2],
        "initializer_range": 0.15,
    }
    return Qwen2_5_VLModel(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).eval()


@pytest.mark.parametrize(
    ("image_size", "window"),
    [(32, 16), (40, 16), (16, 16), (8, 16), (48, 24)],
    ids=[
        "four equal windows",
        "ragged windows",
        "one window",
        "less than a window",
        "3 x 3 patches",
    ],
)
@pytest.mark.parametrize("with_gradient", [False, True])
def test_equals_the_original(image_size, window, with_gradient):
    model = tower(window)
    layout = layout_of(model, image_size)  # type: ignore[arg-type]
    patches = torch.randn(3, layout.grid**2, 3 * 16)
    grid = torch.tensor([[1, layout.grid, layout.grid]] * 3)
    with torch.set_grad_enabled(with_gradient):
        wanted = model.visual(with_frames(patches, layout), grid_thw=grid).pooler_output
        found = window_features(model.visual, patches, layout)
        torch.testing.assert_close(found.reshape(wanted.shape), wanted, rtol=0, atol=1e-5)
    if not with_gradient:
        return
    weights = torch.randn(wanted.shape)
    parameters = list(model.visual.parameters())
    ours = torch.autograd.grad((found.reshape(wanted.shape) * weights).sum(), parameters)
    theirs = torch.autograd.grad((wanted * weights).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_windows_hide_what_lies_outside():
    model = tower(16)
    layout = layout_of(model, 32)  # type: ignore[arg-type]
    block = model.visual.blocks[0]
    hidden = torch.randn(1, layout.grid**2, 32)
    rotary = (torch.ones(layout.grid**2, 16), torch.zeros(layout.grid**2, 16))
    moved = hidden.clone()
    moved[0, -1] += 1
    for windows, reaches in ((1, True), (4, False)):
        difference = run_block(block, moved, rotary, windows) - run_block(
            block, hidden, rotary, windows
        )
        assert bool(difference[0, 0].abs().max() > 0) == reaches
