"""A Qwen-VL as a backbone: Qwen3-VL, small with random weights or a checkpoint, and Qwen2.5-VL.

The paper's own backbone (TBStars-VL, 4B) is in-house; Qwen3-VL is the open family of the same build, Qwen2.5-VL the one before it. Notable choices:
- All pictures are one size, so multimodal rotary positions are arithmetic instead of a loop over rows, and the towers run on dense batches (`vision.py`,
  `window_vision.py`).
- A checkpoint that lacks weights of the embedder is refused: transformers would fill them at random and only warn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from moon_rec.errors import EncoderError
from moon_rec.seeds import seed_of
from representation.model.backbone import (
    Backbone,
    BackboneConfig,
    Channels,
    Embedded,
    attention_mask,
)
from representation.model.pixels import PatchLayout
from representation.model.vision import picture_features
from representation.model.window_vision import window_features


class QwenBackbone(Backbone):
    """A `Qwen3VLForConditionalGeneration` or `Qwen2_5_VLForConditionalGeneration`; its projector is part of the vision tower's own module."""

    layout: PatchLayout
    tower_parts = frozenset({"vision", "projector"})

    @classmethod
    def of(cls, module: Any, image_size: int, mean: Channels, std: Channels) -> "QwenBackbone":
        return cls(module, layout_of(module, image_size, mean=mean, std=std))

    def tower_states(self, pixels: Tensor) -> Sequence[Tensor]:
        visual = self.module.model.visual
        if isinstance(self.module, Qwen3VLForConditionalGeneration):
            tokens, deepstack = picture_features(visual, pixels, self.layout)
            return tokens, *deepstack
        return (window_features(visual, pixels, self.layout),)

    def projected(self, tower_states: Sequence[Tensor]) -> Sequence[Tensor]:
        return tower_states

    def positions(self, is_picture: Tensor) -> Tensor:
        return rotary_positions(is_picture, self.layout)

    def states(
        self, embedded: Embedded, mask: Tensor, causal: bool, cache: Cache | None = None
    ) -> Tensor:
        more: dict[str, Any] = self.told(embedded, mask)
        if embedded.added:
            layers = [layer.reshape(-1, layer.shape[-1]) for layer in embedded.added]
            more |= {
                "visual_pos_masks": embedded.is_picture,
                "deepstack_visual_embeds": layers,
            }
        positions = embedded.positions
        if positions is None:
            positions = self.positions(embedded.is_picture)
        return self.language_model(
            inputs_embeds=embedded.states,
            attention_mask=attention_mask(mask, causal, embedded),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            is_causal=False,  # the mask says it all
            **more,
        ).last_hidden_state

    def tower_is_trained(self) -> bool:
        return any(value.requires_grad for value in self.module.model.visual.parameters())


def random_backbone(
    config: BackboneConfig, token_ids: dict[str, int], vocabulary: int, seed: int
) -> Qwen3VLForConditionalGeneration:
    """A Qwen3-VL of these sizes with random weights, the same for the same seed.

    Args:
        token_ids: ids of `<|image_pad|>`, `<|video_pad|>`, `<|vision_start|>`, `<|vision_end|>` and `<|endoftext|>` (padding).
        vocabulary: number of tokens.
    """
    head = config.text_dim // config.text_heads
    spatial = head // 2 // 3
    text = {
        "vocab_size": vocabulary,
        "hidden_size": config.text_dim,
        "intermediate_size": config.text_mlp_dim,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "num_key_value_heads": config.text_heads,
        "head_dim": head,
        "max_position_embeddings": 4096,
        "initializer_range": config.initializer_range,
        "pad_token_id": token_ids["<|endoftext|>"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_interleaved": True,
            "mrope_section": [head // 2 - 2 * spatial, spatial, spatial],
        },
    }
    vision = {
        "depth": config.vision_layers,
        "hidden_size": config.vision_dim,
        "intermediate_size": config.vision_mlp_dim,
        "num_heads": config.vision_heads,
        "patch_size": config.patch_size,
        "spatial_merge_size": config.merge,
        "temporal_patch_size": 2,
        "out_hidden_size": config.text_dim,
        "num_position_embeddings": (config.side // config.patch_size) ** 2,
        "deepstack_visual_indexes": list(config.deepstack_layers),
        "initializer_range": config.initializer_range,
    }
    settings = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token_ids["<|image_pad|>"],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
        tie_word_embeddings=not config.token_scale,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "backbone"))
        return Qwen3VLForConditionalGeneration(settings).eval()


def scale_tokens(module: Any, rarity: np.ndarray, scale: float) -> None:
    """Make random token embeddings as large as their tokens are rare, in place: times `scale * rarity`, or 1 where that is less.

    A mean over tokens of a random model is then much like a random projection of words weighed by inverse document frequency, which finds products by their words well before
    anything is learnt; small embeddings drown in what the layers add to them, and the first thing learnt is what is coarse and common. Ours.

    Args:
        rarity: `(vocabulary,)`, see `tokenizer.token_rarity`.
    """
    weight = module.model.language_model.embed_tokens.weight
    factors = torch.from_numpy(np.maximum(scale * rarity, 1.0)).to(weight)
    with torch.no_grad():
        weight[: len(factors)] *= factors[:, None]


def layout_of(module: Any, image_size: int, **normalisation: Any) -> PatchLayout:
    """How pictures are cut for this backbone.

    Raises:
        EncoderError: `image_size` does not divide into merged patches.
    """
    vision: Any = module.config.vision_config
    step = vision.patch_size * vision.spatial_merge_size
    if image_size % step:
        raise EncoderError(
            f"image_size {image_size} must be a multiple of {step} for this backbone"
        )
    return PatchLayout(
        image_size,
        vision.patch_size,
        vision.spatial_merge_size,
        vision.temporal_patch_size,
        **normalisation,
    )


def rotary_positions(is_picture: Tensor, layout: PatchLayout) -> Tensor:
    """Multimodal rotary positions (time, height, width) of rows with any number of pictures.

    Equals transformers' `get_rope_index` at the real tokens. A picture's tokens take the position they start at as their time, and their place in the grid
    as height and width; what follows goes on after the longest side.

    Args:
        is_picture: `(batch, length)`, True at a picture's tokens.

    Returns:
        `(3, batch, length)` int64.
    """
    place = torch.arange(is_picture.shape[1], device=is_picture.device).expand_as(is_picture)
    before = is_picture.cumsum(dim=1) - is_picture.long()  # tokens of pictures
    finished, inside = before // layout.num_tokens, before % layout.num_tokens
    start = place - inside - finished * (layout.num_tokens - layout.side)
    return torch.stack([start, start + inside // layout.side, start + inside % layout.side])
