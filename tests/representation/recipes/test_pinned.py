"""What cards call FAITHFUL and no other test pins."""

import numpy as np
import torch

from representation.model.prompt import product_texts
from representation.training.picture_store import PictureStore


def test_a_vector_is_the_mean_of_all_output_states(encoder, little_shop):
    """r = MeanPool(h), over all real tokens, those of prompt, picture and text; then brought to unit length."""
    few = little_shop.items.head(3).collect()
    prompt = encoder.config.prompt
    vectors = encoder.encode_items(few, progress=False)
    start = encoder.composer.prompt(prompt.item_prompt)
    texts = encoder.tokens(product_texts(few, prompt.item_text), "item", prompt.item_text)
    store = PictureStore(few["image"].to_list(), [""] * 3, encoder.image_size, keep=False)
    for place, text in enumerate(texts):
        row = encoder.composer.row(start, True, text)
        inputs = encoder.composer.batch([row], store.take([place]))
        with torch.inference_mode():
            states = encoder.backbone.output_states(inputs, causal=False)[0]
        total = torch.zeros(encoder.dim)
        for state in states:
            total += state
        mean = (total / len(row)).numpy()
        np.testing.assert_allclose(vectors[place], mean / np.linalg.norm(mean), atol=2e-5)
