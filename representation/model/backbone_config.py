"""Settings of a backbone: the sizes of one with random weights, or the checkpoint to take."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

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
from moon_rec.errors import ConfigError
from representation.model.prompt import PromptConfig

Pooling = Literal["mean", "last"]
Attention = Literal["bidirectional", "causal"]
Dtype = Literal["float32", "bfloat16"]
Size = Annotated[int, Field(ge=8, le=MOST_IN_MEMORY)]
RisingPlaces = Annotated[tuple[Annotated[int, Field(ge=0, le=1_024)], ...], AfterValidator(rising)]

RANDOM_IMAGE_SIZE = 64


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
