"""The dense picture tower against transformers' own, value and gradient."""

import pytest
import torch

from representation.model.backbone import BackboneConfig
from representation.model.pixels import with_frames
from representation.model.qwen import layout_of, random_backbone
from representation.model.vision import picture_features

IDS = {
    "<|image_pad|>": 1,
    "<|video_pad|>": 2,
    "<|vision_start|>": 3,
    "<|vision_end|>": 4,
    "<|endoftext|>": 0,
}


@pytest.mark.parametrize("deepstack", [(), (0, 1)])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_equals_the_original(deepstack, with_gradient):
    config = BackboneConfig(
        image_size=32, vision_dim=32, vision_layers=2, vision_heads=2, vision_mlp_dim=48, text_dim=24,
        text_heads=2, deepstack_layers=deepstack, initializer_range=0.1,
    )  # fmt: skip
    backbone = random_backbone(config, IDS, 300, seed=0)
    layout = layout_of(backbone, 32)
    visual = backbone.model.visual
    patches = torch.randn(5, layout.grid**2, 3 * 64)
    grid = torch.tensor([[1, layout.grid, layout.grid]] * 5)
    with torch.set_grad_enabled(with_gradient):
        wanted = visual(with_frames(patches, layout), grid_thw=grid)
        found, deep = picture_features(visual, patches, layout)
        pairs = [(found, wanted.pooler_output), *zip(deep, wanted.deepstack_features, strict=True)]
        assert len(pairs) == 1 + len(deepstack)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours.reshape(theirs.shape), theirs, rtol=0, atol=1e-5)
    if not with_gradient:
        return
    weights = torch.randn(found.shape)
    parameters = [value for name, value in visual.named_parameters() if "deepstack" not in name]
    ours = torch.autograd.grad((found * weights).sum(), parameters)
    theirs = torch.autograd.grad(
        (wanted.pooler_output.reshape(found.shape) * weights).sum(), parameters
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
