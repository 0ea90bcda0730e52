"""A picture and its core region in a row of a composed encoder: transformers' own states. That such a training goes on to the bits: `training/test_trained.py`."""

import numpy as np
import pytest
import torch

from representation.core_region.config import CoreRegionConfig
from representation.encoders.composed import compose_encoder
from tests.representation.encoders.composed_parts import language_folder, vision_folder
from tests.representation.encoders.test_composed import their_states


@pytest.mark.parametrize(("vision", "language"), [("dinov2", "llama"), ("siglip", "qwen3")])
def test_two_pictures_a_row_of_a_composed_encoder_equal_transformers(
    vision, language, tmp_path, little_shop
):
    encoder = compose_encoder(
        vision_folder(vision, tmp_path / "v"), language_folder(language, tmp_path / "l")
    )
    encoder.add_core_region(CoreRegionConfig())
    prompt = encoder.composer.prompt("<|product|>")
    texts = encoder.composer.texts(["red mug", "a grey hat", "blue lamp, deep"], 20)
    has = [True, False, True]
    rows = [encoder.composer.row(prompt, *each) for each in zip(has, texts, strict=True)]
    size, places = encoder.layout.image_size, encoder.module.config.image_token_id
    assert rows[0].count(places) == 2 * encoder.layout.num_tokens
    squares = np.random.default_rng(0).integers(0, 256, (2, 2, size, size, 3), dtype=np.uint8)
    inputs = encoder.composer.batch(rows, squares)
    for causal in (True, False):
        with torch.inference_mode():
            mine = encoder.backbone.output_states(inputs, causal=causal)
            wanted = their_states(encoder, inputs, causal)
        torch.testing.assert_close(mine[inputs.mask], wanted[inputs.mask], rtol=0, atol=1e-5)
    items = little_shop.items.head(6).collect()
    vectors = encoder.encode_items(items, progress=False)
    alone = np.concatenate(
        [encoder.encode_items(items[place], progress=False) for place in range(items.height)]
    )
    np.testing.assert_allclose(alone, vectors, atol=1e-5)
