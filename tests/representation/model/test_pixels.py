"""Pictures to patches, held against transformers' own image processor."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from representation.model.pixels import PatchLayout, square, to_patches, with_frames


@pytest.mark.parametrize(
    ("size", "patch", "merge", "picture_size"),
    [(64, 8, 2, (64, 64)), (64, 16, 2, (64, 64)), (32, 4, 4, (32, 32)), (64, 8, 2, (60, 80))],
)
def test_equals_the_processor(size, patch, merge, picture_size):
    random = np.random.default_rng(0)
    pictures = [
        Image.fromarray(
            random.integers(0, 256, (picture_size[1], picture_size[0], 3), dtype=np.uint8)
        )
        for _ in range(3)
    ]
    squares = [square(picture, size) for picture in pictures]
    layout = PatchLayout(size, patch, merge, 2, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    processor = Qwen2VLImageProcessorPil(
        patch_size=patch,
        merge_size=merge,
        temporal_patch_size=2,
        image_mean=list(layout.mean),
        image_std=list(layout.std),
        size={"shortest_edge": size * size, "longest_edge": size * size},
    )
    wanted = processor(images=[Image.fromarray(values) for values in squares], return_tensors="pt")
    found = with_frames(to_patches(squares, layout), layout)
    assert wanted["image_grid_thw"].tolist() == [[1, layout.grid, layout.grid]] * 3
    torch.testing.assert_close(found, wanted["pixel_values"], rtol=0, atol=1e-5)


def test_resizing_equals_the_processors():
    """A picture of another size, of the same shape, so that the processor too makes it square."""
    picture = Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    )
    layout = PatchLayout(32, 8, 2, 2)
    processor = Qwen2VLImageProcessorPil(
        patch_size=8,
        merge_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        size={"shortest_edge": 32 * 32, "longest_edge": 32 * 32},
    )
    wanted = processor(images=[picture], return_tensors="pt")["pixel_values"]
    found = with_frames(to_patches([square(picture, 32)], layout), layout)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
