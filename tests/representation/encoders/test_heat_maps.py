"""Heat maps of every family that has them, and one line for those that have not."""

import numpy as np
import polars as pl
import pytest
import torch

from moon_rec.errors import EncoderError
from representation.encoder import ProductEncoder, open_encoder
from representation.report.heat_map import attention_modules, gradient_maps, heat_maps
from representation.report.heat_map import picture_cosines as cosines


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3", "embedding"])
def test_every_qwen_vl_has_heat_maps(checkpoints, family):
    """The embedding checkpoint reads causally, and its chat has words behind the content too."""
    encoder = open_encoder(checkpoints[family], device="cpu")
    assert isinstance(encoder, ProductEncoder)
    size, side = encoder.layout.image_size, encoder.layout.side
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    maps = heat_maps(encoder, pictures, "red mug", ["lamp"])
    assert maps.attention.shape == maps.gradient.shape == (2, side, side)
    assert maps.attention.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-12)
    assert (
        maps.relative is not None
        and np.isfinite(maps.relative).all()
        and np.ptp(maps.attention) > 0
    )
    assert maps.occlusion.shape == (2, size, size) and np.ptp(maps.occlusion) > 0
    token, step = side + 1, 0.03
    query = encoder.encode_queries(_queries("red mug"), progress=False)[0]
    both = []
    for sign in (1, -1):
        strength = torch.ones(2, side * side)
        strength[0, token] += sign * step
        with torch.no_grad():
            both.append(cosines(encoder, pictures, torch.from_numpy(query), strength)[0].item())
    gradient, cosine = gradient_maps(encoder, pictures, "red mug")
    assert gradient[0].ravel()[token] == pytest.approx(
        (both[0] - both[1]) / (2 * step), rel=0.05, abs=5e-5
    )
    assert np.isclose(maps.cosine, cosine).all()


def _queries(words):
    return pl.DataFrame({"query_text": [words]})


@pytest.mark.parametrize("family", ["clip", "bert"])
def test_other_families_are_refused_in_one_line(checkpoints, family):
    encoder = open_encoder(checkpoints[family], device="cpu")
    with pytest.raises(
        EncoderError, match="holds no multimodal language model: heat maps need"
    ) as error:
        attention_modules(encoder)
    assert "\n" not in str(error.value)
