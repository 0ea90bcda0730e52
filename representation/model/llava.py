"""Any vision tower, a projector and any causal language model as one backbone: transformers' `LlavaForConditionalGeneration`.

This is the construction of MOON and NoteLLM-2: a vision encoder's states go through a projector into the places that a language model's row keeps for them.
LLaVA's projector is two linear layers with a GELU between (Liu et al. 2023, Improved Baselines). Notable choices:
- Both models are transformers' own and run through their own forward, so what is special about one of them (Gemma's scaled embeddings, its windows,
  grouped queries, positions) is right by construction; a folder opens in transformers as it is.
- Causal states are those of `LlavaForConditionalGeneration` on the same row, windows of layers among them. For states in both directions attention gets a 4-D mask in
  which a token sees every token of its row, in layers with a window, too: rows of products are shorter than any window.
- A picture's tokens depend on nothing but the picture: padding and neighbours change no vector (to 1e-6).
- The vision tower's last layers are run once for all pictures of a batch; frozen, without a graph.
Measured with DINOv2-small at 112 pixels (64 tokens a picture) and 8 layers of SmolLM2-135M: docs/composed_backbones.md.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from moon_rec.errors import EncoderError
from representation.model.backbone import Backbone, Channels, Embedded, attention_mask
from representation.model.pixels import as_bytes


class WholeLayout(NamedTuple):
    """Pictures as most vision towers take them: whole, channels first.

    Attributes:
        image_size: side of the square that every picture is resized to, in pixels.
        side: tokens along a side.
        num_leading: tokens before those of the picture's places: a class token that is kept, registers.
        mean, std: normalisation per channel, of values in [0, 1].
    """

    image_size: int
    side: int
    num_leading: int
    mean: Channels = (0.5, 0.5, 0.5)
    std: Channels = (0.5, 0.5, 0.5)

    @property
    def num_tokens(self) -> int:
        """Tokens of a picture."""
        return self.num_leading + self.side**2

    def pixels(self, pictures: np.ndarray | Tensor) -> Tensor:
        """Normalised pictures, float32 `(pictures, 3, image_size, image_size)`."""
        values = as_bytes(pictures).permute(0, 3, 1, 2).float()
        mean, std = (
            torch.tensor(each, device=values.device).view(3, 1, 1) for each in (self.mean, self.std)
        )
        return values.div_(255).sub_(mean).div_(std).contiguous()


class LlavaBackbone(Backbone):
    """A `LlavaForConditionalGeneration`."""

    @classmethod
    def of(cls, module: Any, image_size: int, mean: Channels, std: Channels) -> "LlavaBackbone":
        side, num_leading = _tokens_of(module, image_size)
        return cls(module, WholeLayout(image_size, side, num_leading, mean, std))

    def tower_states(self, pixels: Tensor) -> Sequence[Tensor]:
        return (tower_states(self.module, pixels),)

    def projected(self, tower_states: Sequence[Tensor]) -> Sequence[Tensor]:
        projector = self.module.model.multi_modal_projector
        # a tower that stays frozen may keep bfloat16 weights beside a projector in float32
        return (projector(tower_states[0].to(projector.linear_1.weight.dtype)),)

    def positions(self, is_picture: Tensor) -> Tensor:
        return torch.arange(is_picture.shape[1], device=is_picture.device).expand_as(is_picture)

    def states(
        self, embedded: Embedded, mask: Tensor, causal: bool, cache: Cache | None = None
    ) -> Tensor:
        model: Any = self.language_model
        is_plain = causal and cache is None and embedded.branches is None
        return model(
            inputs_embeds=embedded.states,
            attention_mask=mask.long()
            if is_plain
            else _masks(model.config, mask, causal, embedded),
            position_ids=embedded.positions,
            past_key_values=cache,
            use_cache=cache is not None,
            **self.told(embedded, mask),
        ).last_hidden_state


def _masks(config: Any, mask: Tensor, causal: bool, embedded: Embedded) -> Any:
    """`attention_mask`, and where causal layers have a window, one of each kind of layer: it ends so many tokens back in a token's own branch."""
    whole = attention_mask(mask, causal, embedded)
    if not causal or "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
        return whole
    places = embedded.positions
    if places is None or embedded.branches is None:
        places = mask.cumsum(dim=1) - 1
    own = places[:, -embedded.states.shape[1] :]
    is_far = own[:, :, None] - places[:, None, :] >= config.sliding_window
    near = whole.masked_fill(is_far[:, None], torch.finfo(whole.dtype).min)
    return {"full_attention": whole, "sliding_attention": near}


def tower_states(module: Any, pixels: Tensor) -> Tensor:
    """What the vision tower of a LLaVA hands its projector, `(pictures, tokens, width)`: LLaVA's own choice of layers and of the class token.

    Args:
        pixels: `(pictures, 3, image_size, image_size)`.
    """
    config = module.config
    tower = module.model.vision_tower
    found = tower(pixels.to(tower.dtype), output_hidden_states=True, return_dict=True)
    layers = config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    states = [found.hidden_states[layer] for layer in layers]
    if config.vision_feature_select_strategy == "default":
        states = [each[:, 1:] for each in states]
    return torch.cat(states, dim=-1)


def _tokens_of(module: Any, image_size: int) -> tuple[int, int]:
    """Tokens along a side of a picture, and those before them, as the tower gives them."""
    vision = module.config.vision_config
    patch = getattr(vision, "patch_size", None)
    patch = patch[0] if isinstance(patch, list | tuple) else patch
    if not isinstance(patch, int):
        raise EncoderError(
            f"the vision tower {vision.model_type} says no patch_size: take one that cuts pictures into patches, such as DINOv2, SigLIP, CLIP or ViT"
        )
    if image_size % patch:
        raise EncoderError(
            f"image_size {image_size} must be a multiple of {patch} for this backbone"
        )
    with torch.no_grad():
        blank = torch.zeros(1, 3, image_size, image_size, device=module.device)
        try:
            states = tower_states(module, blank)
        except (ValueError, RuntimeError) as error:
            raise EncoderError(
                f"the vision tower {vision.model_type} takes no pictures of {image_size} pixels ({' '.join(str(error).split())[:120]}); its own size is {getattr(vision, 'image_size', 'not said')}"
            ) from None
    side = image_size // patch
    leading = states.shape[1] - side**2 if states.ndim == 3 else -1
    if not 0 <= leading <= 16:
        raise EncoderError(
            f"the vision tower {vision.model_type} makes states {tuple(states.shape)} of a picture of {image_size} pixels, wanted (1, {side**2} and a few, width): take one that keeps a state a patch"
        )
    return side, leading
