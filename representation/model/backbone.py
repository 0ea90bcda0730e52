"""The backbone: a Qwen-VL, small with random weights or a checkpoint, run causally (pretraining) or in both directions (embedding).

MOON turns a generative multimodal model into an embedder by changing causal attention to bidirectional and pooling the mean of the output states (technical
report, post-training architecture). The paper's own backbone (TBStars-VL, 4B) is in-house; Qwen3-VL is the open family of the same build, Qwen2.5-VL the one
before it. Notable choices:
- Attention is switched per call, not in the weights' config: one set of weights serves next-token prediction and embedding.
- A row holds at most one picture, and all pictures are one size, so multimodal rotary positions are arithmetic instead of a loop over rows.
- The language-model head is applied only where a caller asks for logits.
- A checkpoint that lacks weights of the embedder is refused: transformers would fill them at random and only warn.
- Large checkpoints: `dtype` keeps weights in bfloat16, `checkpoint_gradients` trades time for memory, `lora.with_lora` trains few weights. A training loop
  calls the last two on `encoder.backbone` before it makes its optimiser.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn
from transformers import (
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from moon_rec.bounds import (
    MOST_IN_MEMORY,
    Layers,
    Name,
    RisingWidths,
    Side,
    Strength,
    rising,
)
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.errors import ConfigError, EncoderError
from moon_rec.seeds import seed_of
from representation.encoders.checkpoint import family_of, load_weights, read_config
from representation.model.pixels import PictureLayout
from representation.model.prompt import PromptConfig
from representation.model.vision import picture_features
from representation.model.window_vision import window_features

Backbone = Qwen3VLForConditionalGeneration | Qwen2_5_VLForConditionalGeneration
FAMILIES: dict[str, Any] = {
    "qwen3_vl": Qwen3VLForConditionalGeneration,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
}
Pooling = Literal["mean", "last"]
Attention = Literal["bidirectional", "causal"]
Dtype = Literal["float32", "bfloat16"]
Size = Annotated[int, Field(ge=8, le=MOST_IN_MEMORY)]
RisingPlaces = Annotated[tuple[Annotated[int, Field(ge=0, le=1_024)], ...], AfterValidator(rising)]

RANDOM_IMAGE_SIZE = 64
MOST_PICTURE_TOKENS = 4_096
"""Each sees all others: a mask of 16 MB a picture."""


class BackboneConfig(Config):
    """Sizes of a random-weight Qwen3-VL, or the checkpoint to take instead.

    With `checkpoint` the sizes of the language model and the picture tower are the checkpoint's.

    Attributes:
        checkpoint: a local folder or a hub name; None: random weights.
        patch_size, merge: side of a patch in pixels, and how many patches a side become one token.
        vision_dim, vision_layers, vision_heads, vision_mlp_dim: the picture tower's width, blocks, heads and hidden width of the feed-forward part.
        deepstack_layers: blocks of the picture tower whose states the first layers of the language model get besides, from 0.
        text_dim, text_layers, text_heads, text_mlp_dim: the language model's.
        vocabulary_size: most tokens that the tokenizer learns.
        initializer_range: deviation of random weights: three times the family's, whose .02 suits widths of thousands; at width 128, 75 steps of 64 picture pairs ended
            at a loss of 3.63 instead of 3.75.
        widths: the Matryoshka widths below the full one, which is always added; the report names none.
        prompt: wording and lengths.
        token_scale: random token embeddings are larger than `initializer_range` by this times the token's inverse document frequency among the shop's texts, but never smaller;
            the head of next-token prediction then has weights of its own. 0: all alike, and shared with the head, as the family has it.
        image_size: side of a picture in pixels; None: 64 for random weights, about 224 for a checkpoint (`encoders.qwen`).
        pooling, attention, chat: how a checkpoint's states become a vector and whether content stands in its chat template; None: as the checkpoint says,
            else the mean, in both directions, without. Random weights take None as that, too.
        query_instruction, item_instruction: the system turn of the chat template, where it is used.
        dtype: of a checkpoint's weights; None: bfloat16 on a GPU, float32 on a processor. Full training wants float32 (a bfloat16 weight loses small steps);
            LoRA does not, for its own weights are float32.
    """

    checkpoint: Name | None = None
    image_size: Side | None = None
    patch_size: Annotated[int, Field(ge=2, le=4_096)] = 8
    merge: Annotated[int, Field(ge=1, le=64)] = 2
    vision_dim: Size = 128
    vision_layers: Layers = 4
    vision_heads: Layers = 4
    vision_mlp_dim: Size = 384
    deepstack_layers: RisingPlaces = ()
    text_dim: Size = 128
    text_layers: Layers = 4
    text_heads: Layers = 4
    text_mlp_dim: Size = 256
    vocabulary_size: Annotated[int, Field(ge=300, le=10_000_000)] = 4000
    initializer_range: Annotated[float, Field(gt=0, le=1)] = 0.06
    token_scale: Strength = 2.0
    widths: RisingWidths = (16, 32, 64)
    prompt: PromptConfig = PromptConfig()
    pooling: Pooling | None = None
    attention: Attention | None = None
    chat: bool | None = None
    query_instruction: str = "Retrieve images or text relevant to the user's query."
    item_instruction: str = "Represent the user's input."
    dtype: Dtype | None = None

    counts_when: ClassVar[Rules] = {
        **dict.fromkeys(
            (
                *("patch_size", "merge", "vision_dim", "vision_layers", "vision_heads"),
                *("vision_mlp_dim", "deepstack_layers", "text_dim", "text_layers", "text_heads"),
                *("text_mlp_dim", "vocabulary_size", "initializer_range", "token_scale"),
            ),
            CountsWhen(
                lambda config: config.checkpoint is None,
                "the sizes are those of checkpoint = {self.checkpoint!r}; leave one of them out",
            ),
        ),
        **dict.fromkeys(
            ("chat", "query_instruction", "item_instruction", "dtype"),
            CountsWhen(
                lambda config: config.checkpoint is not None,
                "it is of a checkpoint's weights; leave it out or name a checkpoint",
            ),
        ),
    }

    @property
    def side(self) -> int:
        """`image_size` of random weights, in pixels."""
        return self.image_size or RANDOM_IMAGE_SIZE

    @classmethod
    def preset(cls, name: Literal["demo", "small"]) -> "BackboneConfig":
        """Named sizes: `small`, the default (2.1 M parameters); `demo`, for seconds on two cores (0.6 M parameters); the head of next-token prediction not counted."""
        if name == "small":
            return cls()
        if name == "demo":
            return cls(
                patch_size=16,
                vision_dim=96,
                vision_layers=3,
                vision_heads=3,
                vision_mlp_dim=256,
                text_dim=64,
                text_layers=2,
                text_heads=2,
                text_mlp_dim=128,
                vocabulary_size=2000,
            )
        raise ConfigError(f"backbone preset {name!r}: wanted demo or small")

    @model_validator(mode="after")
    def _sizes_fit(self) -> "BackboneConfig":
        if self.checkpoint is None:
            if self.side % (self.patch_size * self.merge):
                raise ValueError(
                    f"image_size {self.side} must be a multiple of patch_size * merge = {self.patch_size * self.merge}"
                )
            if self.vision_dim % (4 * self.vision_heads) or self.text_dim % (2 * self.text_heads):
                raise ValueError(
                    f"vision_dim {self.vision_dim} must be a multiple of 4 * vision_heads {self.vision_heads}, and text_dim {self.text_dim} of 2 * text_heads {self.text_heads}"
                )
            beyond = [width for width in self.widths if width > self.text_dim]
            if beyond and self.widths != type(self).model_fields["widths"].default:
                raise ValueError(
                    f"widths has {beyond[0]}, and vectors are text_dim = {self.text_dim} wide; leave it out"
                )
            if self.deepstack_layers and self.deepstack_layers[-1] >= self.vision_layers:
                raise ValueError(
                    f"deepstack_layers has {self.deepstack_layers[-1]}, and vision_layers = {self.vision_layers}; the first is 0"
                )
        return self


@dataclass
class Inputs:
    """A batch for the backbone.

    Attributes:
        token_ids: `(batch, length)` int64, padded on the right.
        mask: `(batch, length)`, True where a token is real.
        patches: `(pictures, patches, pixels)`, one entry a row that has a picture, in row order; None without pictures.
    """

    token_ids: Tensor
    mask: Tensor
    patches: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mask)

    @property
    def num_tokens(self) -> int:
        """Real tokens, those of pictures included."""
        return int(self.mask.sum())

    def part(self, first: int, end: int) -> "Inputs":
        """Some rows of a batch in which all have a picture, or none has."""
        patches = self.patches
        assert patches is None or len(patches) == len(self)
        patches = patches[first:end] if patches is not None else None
        return Inputs(self.token_ids[first:end], self.mask[first:end], patches)

    def to(self, device: torch.device | str) -> "Inputs":
        """The same batch on `device`."""
        patches = self.patches.to(device) if self.patches is not None else None
        return Inputs(self.token_ids.to(device), self.mask.to(device), patches)


def random_backbone(
    config: BackboneConfig, token_ids: dict[str, int], vocabulary: int, seed: int
) -> Backbone:
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


def scale_tokens(backbone: Backbone, rarity: np.ndarray, scale: float) -> None:
    """Make random token embeddings as large as their tokens are rare, in place: times `scale * rarity`, or 1 where that is less.

    A mean over tokens of a random model is then much like a random projection of words weighed by inverse document frequency, which finds products by their words well before
    anything is learnt; small embeddings drown in what the layers add to them, and the first thing learnt is what is coarse and common. Ours.

    Args:
        rarity: `(vocabulary,)`, see `tokenizer.token_rarity`.
    """
    weight = backbone.model.language_model.embed_tokens.weight
    factors = torch.from_numpy(np.maximum(scale * rarity, 1.0)).to(weight)
    with torch.no_grad():
        weight[: len(factors)] *= factors[:, None]


def load_backbone(path: str | Path, dtype: Dtype | None = "float32") -> Backbone:
    """A Qwen3-VL or Qwen2.5-VL from a local folder or the hub.

    Args:
        dtype: None: as it was saved.

    Raises:
        EncoderError: nothing there, another family of model, weights missing, or weights in a format that can run code.
    """
    config = read_config(path)
    if family_of(config, path) != "qwen":
        raise EncoderError(
            f"{path}: model_type {config['model_type']!r} is no backbone to train; wanted {', '.join(FAMILIES)}"
        )
    kind = FAMILIES[config["model_type"]]
    return load_weights(kind, path, torch_dtype(dtype), may_lack=("lm_head.weight",))


def torch_dtype(name: Dtype | None) -> torch.dtype | Literal["auto"]:
    """torch's dtype of that name; None: as it was saved."""
    return {None: "auto", "float32": torch.float32, "bfloat16": torch.bfloat16}[name]  # type: ignore[return-value]


def checkpoint_gradients(backbone: nn.Module) -> nn.Module:
    """Keep only each layer's input for the gradient and compute the rest again, in place.

    Measured on the default backbone (benchmarks/backbones.py): a tenth of the bytes kept for the gradient, 1.2 times the time of a step.

    Takes effect in training mode only. Reaches the picture tower, whose layers are run by `vision.run_block`, too.
    """
    kind = "activation" if hasattr(backbone, "activation_checkpointing_enable") else "gradient"
    # transformers 5.17 knows the second name alone, later ones warn of it
    getattr(backbone, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    return backbone


def width_of(backbone: Backbone) -> int:
    """Width of the language model's states."""
    text: Any = backbone.config.text_config
    return text.hidden_size


def layout_of(backbone: Backbone, image_size: int, **normalisation: Any) -> PictureLayout:
    """How pictures are cut for this backbone.

    Raises:
        EncoderError: `image_size` does not divide into merged patches, or into too many.
    """
    vision: Any = backbone.config.vision_config
    step = vision.patch_size * vision.spatial_merge_size
    if image_size % step:
        raise EncoderError(
            f"image_size {image_size} must be a multiple of {step} for this backbone"
        )
    layout = PictureLayout(
        image_size,
        vision.patch_size,
        vision.spatial_merge_size,
        vision.temporal_patch_size,
        **normalisation,
    )
    if layout.num_tokens > MOST_PICTURE_TOKENS:
        raise EncoderError(
            f"image_size {image_size} makes {layout.num_tokens:,} tokens of a picture, at most {MOST_PICTURE_TOKENS:,}; take a smaller one"
        )
    return layout


def rotary_positions(token_ids: Tensor, image_token_id: int, layout: PictureLayout) -> Tensor:
    """Multimodal rotary positions (time, height, width) of rows with at most one picture each.

    Equals transformers' `get_rope_index` at the real tokens. A picture's tokens take the position they start at as their time, and their place in the grid
    as height and width; what follows goes on after the longest side.

    Args:
        token_ids: `(batch, length)`.

    Returns:
        `(3, batch, length)` int64.
    """
    is_picture = token_ids == image_token_id
    place = torch.arange(token_ids.shape[1], device=token_ids.device).expand_as(token_ids)
    start = torch.where(is_picture, place, token_ids.shape[1]).min(dim=1, keepdim=True).values
    inside = (place - start).clamp(min=0)
    after = place >= start + layout.num_tokens
    text = place - after * (layout.num_tokens - layout.side)
    time = torch.where(is_picture, start, text)
    height = torch.where(is_picture, start + inside // layout.side, text)
    width = torch.where(is_picture, start + inside % layout.side, text)
    return torch.stack([time, height, width])


def output_states(
    backbone: Backbone, inputs: Inputs, layout: PictureLayout, causal: bool
) -> Tensor:
    """States of the language model's output layer, `(batch, length, dim)`.

    Args:
        causal: True, each token sees those before it (next-token prediction); False, all tokens of its row (embedding).
    """
    model = backbone.model
    embedded = model.language_model.embed_tokens(inputs.token_ids)
    is_picture = inputs.token_ids == backbone.config.image_token_id
    more: dict[str, Any] = {}
    if inputs.patches is not None:
        if isinstance(backbone, Qwen3VLForConditionalGeneration):
            features, deepstack = picture_features(model.visual, inputs.patches, layout)
            if deepstack:
                layers = [layer.reshape(-1, layer.shape[-1]) for layer in deepstack]
                more = {"visual_pos_masks": is_picture, "deepstack_visual_embeds": layers}
        else:
            features = window_features(model.visual, inputs.patches, layout)
        embedded = _put_pictures(embedded, is_picture, features)
    length = inputs.token_ids.shape[1]
    allowed = inputs.mask[:, None, None, :].expand(-1, 1, length, -1)
    if causal:
        allowed = (
            allowed & torch.ones(length, length, dtype=torch.bool, device=allowed.device).tril()
        )
    blocked = torch.zeros(allowed.shape, dtype=embedded.dtype, device=allowed.device)
    blocked = blocked.masked_fill(~allowed, torch.finfo(embedded.dtype).min)
    return model.language_model(
        inputs_embeds=embedded,
        attention_mask=blocked,
        position_ids=rotary_positions(inputs.token_ids, backbone.config.image_token_id, layout),
        use_cache=False,
        is_causal=False,  # the mask says it all
        **more,
    ).last_hidden_state


def _put_pictures(embedded: Tensor, is_picture: Tensor, features: Tensor) -> Tensor:
    """Visual tokens in the places kept for them, in order; `masked_scatter`, with a quicker gradient on CPU."""
    flat = embedded.reshape(-1, embedded.shape[-1])
    places = is_picture.reshape(-1).nonzero().squeeze(1)
    values = features.reshape(-1, features.shape[-1]).to(flat.dtype)
    return flat.index_copy(0, places, values).reshape(embedded.shape)
