"""What a backbone is: a multimodal language model as pretraining, post-training and embedding use it; its settings are in `backbone_config`.

MOON turns a generative multimodal model into an embedder by changing causal attention to bidirectional and pooling the mean of the output states (technical
report, post-training architecture). Two constructions serve: a Qwen-VL (`qwen.py`), and any vision tower, a projector and any causal language model put
together as transformers' LLaVA (`llava.py`). Notable choices:
- Attention is switched per call, not in the weights' config: one set of weights serves next-token prediction and embedding.
- The rows of a batch that have pictures have as many each, and all pictures are one size, so a batch of pictures is one dense tensor.
- The language-model head is applied only where a caller asks for logits.
- A backbone holds a `module`, which is what is trained, saved and wrapped, and keeps no weights besides: `with_module` puts another in its place.
- Large checkpoints: `dtype` keeps weights in bfloat16, `checkpoint_gradients` trades time for memory, `lora.with_lora` trains few weights. A training loop
  calls the last two on `encoder.module` before it makes its optimiser.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from transformers import Cache

from moon_rec.errors import EncoderError
from representation.fusion import Detail, fusion_of, has_residual_enhancement
from representation.mixture.experts import has_experts
from representation.mixture.routing import Routing
from representation.model.backbone_config import BackboneConfig as BackboneConfig
from representation.model.backbone_config import Dtype
from representation.model.inputs import Inputs
from representation.model.pixels import PictureLayout
from representation.picture_focus.late_fusion import late_fusion_of, seen_by_row

Part = Literal["vision", "projector", "language"]
Channels = tuple[float, float, float]
MOST_PICTURE_TOKENS = 4_096
"""Each sees all others: a mask of 16 MB a picture."""


class Embedded(NamedTuple):
    """What enters the language model.

    Attributes:
        states: `(batch, length, dim)`: tokens' embeddings, a picture's tokens in their places.
        is_picture: `(batch, length)`, True at a picture's tokens.
        added: what further layers of the vision tower add to the states of the language model's first layers at those places (Qwen3-VL's DeepStack), each
            `(pictures, tokens, dim)`; of other backbones empty.
        routing: what experts are told of these rows; they note there what their gates did. None without experts.
        seen: what the vision tower made of the pictures, `(pictures, tokens, width)`, where late fusion reads it.
        num_before: `(batch,)`, tokens at a row's beginning that see nothing behind them (`picture_focus.compression`); None: there are none such.
        positions: of the tokens, as `Backbone.positions` gives them, where some are left out or rows branch; None: all are there, one behind the other.
        branches: `(batch, length)` int64, 0 in a row's trunk, else which of its branches a token is of: branches go on from the trunk and see none of each other, and
            `positions` says where their tokens stand; None: rows do not branch.
    """

    states: Tensor
    is_picture: Tensor
    added: Sequence[Tensor] = ()
    routing: Routing | None = None
    seen: Tensor | None = None
    num_before: Tensor | None = None
    positions: Tensor | None = None
    branches: Tensor | None = None


class Backbone(ABC):
    """A multimodal language model over rows of at most one picture each.

    Attributes:
        tower_parts: parts of the module that `tower_states` runs.
        module: transformers' model; all weights are its own.
        layout: how a picture becomes tokens.
    """

    tower_parts: ClassVar[frozenset[str]] = frozenset({"vision"})

    def __init__(self, module: Any, layout: PictureLayout) -> None:
        if layout.num_tokens > MOST_PICTURE_TOKENS:
            raise EncoderError(
                f"image_size {layout.image_size} makes {layout.num_tokens:,} tokens of a picture, at most {MOST_PICTURE_TOKENS:,}; take a smaller one"
            )
        self.module, self.layout = module, layout

    @classmethod
    @abstractmethod
    def of(cls, module: Any, image_size: int, mean: Channels, std: Channels) -> "Backbone":
        """The backbone that `module` is, on pictures of that size, whose values in [0, 1] are normalised by mean and deviation of the channels.

        Raises:
            EncoderError: the vision tower cannot cut pictures of that size, or makes too many tokens of one.
        """

    def with_module(self, module: Any) -> Self:
        """The same backbone with other weights, of the same kind of module."""
        other = copy.copy(self)
        other.module = module
        return other

    @property
    def dim(self) -> int:
        """Width of the language model's states."""
        return self.module.config.text_config.hidden_size

    @property
    def image_token_id(self) -> int:
        """The token that keeps a place for a picture's."""
        return self.module.config.image_token_id

    @property
    def language_model(self) -> nn.Module:
        """The language model without its head; its layers are `layers`."""
        return self.module.model.language_model

    @abstractmethod
    def tower_states(self, pixels: Tensor) -> Sequence[Tensor]:
        """What the vision tower alone makes of pictures: fixed while the tower is frozen.

        Args:
            pixels: `(pictures, ...)`, see `layout.pixels`.
        """

    @abstractmethod
    def projected(self, tower_states: Sequence[Tensor]) -> Sequence[Tensor]:
        """Picture tokens of `tower_states`; see `picture_tokens`."""

    def picture_tokens(self, pixels: Tensor) -> Sequence[Tensor]:
        """A picture's tokens for the language model `(pictures, tokens, dim)`, and behind them what is `Embedded.added`.

        Args:
            pixels: `(pictures, ...)`, see `layout.pixels`.
        """
        return self.projected(self._seen(pixels))

    def _seen(self, pixels: Tensor) -> Sequence[Tensor]:
        """`tower_states`; a frozen tower runs without a graph."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tower_is_trained()):
            return self.tower_states(pixels)

    def embedded(self, inputs: Inputs) -> Embedded:
        """Rows as they enter the language model."""
        states = self.module.get_input_embeddings()(inputs.token_ids)
        is_picture = inputs.token_ids == self.image_token_id
        if inputs.pixels is None and not inputs.seen:
            if self.module.training and torch.is_grad_enabled() and not states.requires_grad:
                states.requires_grad_()  # nothing of these rows is trained: a step leaves no gradient
            return Embedded(states, is_picture, (), self._routing(inputs))
        seen = inputs.seen if inputs.pixels is None else self._seen(inputs.pixels)
        tokens, *added = self.projected(seen)
        kept = seen[0] if late_fusion_of(self.module) is not None else None
        states = _put_pictures(states, is_picture, tokens)
        return Embedded(states, is_picture, added, self._routing(inputs), seen=kept)

    def _routing(self, inputs: Inputs) -> Routing | None:
        return Routing(inputs.mask, inputs.roles) if has_experts(self.module) else None

    @abstractmethod
    def positions(self, is_picture: Tensor) -> Tensor:
        """Positions of the tokens of whole rows, `(..., batch, length)` int64, as the language model takes them.

        Args:
            is_picture: `(batch, length)`, True at a picture's tokens.
        """

    @abstractmethod
    def states(
        self, embedded: Embedded, mask: Tensor, causal: bool, cache: Cache | None = None
    ) -> Tensor:
        """States of the language model's output layer, `(batch, length, dim)`.

        Args:
            mask: `(batch, length)`, True where a token is real.
            causal: True, each token sees those before it (next-token prediction); False, all tokens of its row (embedding).
            cache: keys and values of the tokens before these, to which theirs are added; `mask` is then of all of them, `(batch, before + length)`, and `embedded.positions`
                says where these stand.
        """

    def told(self, embedded: Embedded, mask: Tensor) -> dict[str, Any]:
        """Keywords of the language model's call beside its own: transformers hands them on to its layers, and what was put into these reads them."""
        found: dict[str, Any] = {}
        if embedded.routing is not None:
            found["routing"] = embedded.routing
        if has_residual_enhancement(self.module):
            own = mask[:, -embedded.states.shape[1] :]
            found["detail"] = Detail(embedded.states, own, embedded.is_picture)
        return found

    def fused(self, vectors: Tensor, embedded: Embedded, words: Tensor | None) -> Tensor:
        """Vectors `(batch, dim)` fused with the raw picture and words of their rows (`fusion.ModalityFusion`), then with what the vision tower saw
        (`picture_focus.LateFusion`); as they are where the backbone has neither.

        Args:
            words: see `Inputs.words`.
        """
        is_picture = embedded.is_picture
        if (fusion := fusion_of(self.module)) is not None:
            is_word = torch.zeros_like(is_picture) if words is None else words
            vectors = fusion(vectors, embedded.states, {"image": is_picture, "text": is_word})
        late = late_fusion_of(self.module)
        if late is None or embedded.seen is None:
            return vectors
        has_picture = is_picture.any(dim=1)
        num_pictures = has_picture * (len(embedded.seen) // has_picture.sum().clamp(min=1))
        return late(vectors, seen_by_row(embedded.seen, num_pictures), has_picture)

    def output_states(self, inputs: Inputs, causal: bool) -> Tensor:
        """`states` of a batch."""
        return self.states(self.embedded(inputs), inputs.mask, causal)

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the next token, `(..., vocabulary)`, of output states `(..., dim)`."""
        return self.module.lm_head(states)

    def tower_is_trained(self) -> bool:
        """Whether what `tower_states` gives moves with training."""
        return any(
            value.requires_grad
            for name, value in self.module.named_parameters()
            if part_of(name) == "vision"
        )


def part_of(name: str) -> Part:
    """Which part of a backbone a parameter, or a layer, belongs to, by its name in the module."""
    if "merger" in name or "multi_modal_projector" in name:
        return "projector"
    return "vision" if "visual." in name or "vision_tower." in name else "language"


def attention_mask(mask: Tensor, causal: bool, embedded: Embedded) -> Tensor:
    """What is added to attention's scores, `(batch, 1, length, length)`: 0 where a token may look, the dtype's lowest number elsewhere.

    Args:
        mask: `(batch, length)`, True where a token is real; of those before the tokens of `embedded`, too, where there are more: `(batch, 1, length, all)`.
    """
    dtype, length, num_before = embedded.states.dtype, embedded.states.shape[1], embedded.num_before
    num_seen = mask.shape[1]
    allowed = mask[:, None, None, :].expand(-1, 1, length, -1)
    if causal:
        before = torch.ones(length, num_seen, dtype=torch.bool, device=allowed.device)
        allowed = allowed & before.tril(num_seen - length)
    if (branches := embedded.branches) is not None:
        is_near = (branches[:, :, None] == branches[:, None, :]) | (branches == 0)[:, None, :]
        allowed = allowed & is_near[:, None]
    if num_before is not None:
        is_before = torch.arange(length, device=mask.device) < num_before[:, None]
        allowed = allowed & ~(is_before[:, None, :, None] & ~is_before[:, None, None, :])
    blocked = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return blocked.masked_fill(~allowed, torch.finfo(dtype).min)


def torch_dtype(name: Dtype | None) -> torch.dtype | Literal["auto"]:
    """torch's dtype of that name; None: as it was saved."""
    return {None: "auto", "float32": torch.float32, "bfloat16": torch.bfloat16}[name]  # type: ignore[return-value]


def checkpoint_gradients(module: Any) -> Any:
    """Keep only each layer's input for the gradient and compute the rest again, in place.

    Measured on the default backbone (benchmarks/backbones.py): a tenth of the bytes kept for the gradient, 1.2 times the time of a step.

    Takes effect in training mode only. Reaches the picture tower, whose layers are run by `vision.run_block`, too.
    """
    kind = "activation" if hasattr(module, "activation_checkpointing_enable") else "gradient"
    # transformers 5.17 knows the second name alone, later ones warn of it
    getattr(module, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    return module


def _put_pictures(embedded: Tensor, is_picture: Tensor, features: Tensor) -> Tensor:
    """Visual tokens in the places kept for them, in order; `masked_scatter`, with a quicker gradient on CPU."""
    flat = embedded.reshape(-1, embedded.shape[-1])
    places = is_picture.reshape(-1).nonzero().squeeze(1)
    values = features.reshape(-1, features.shape[-1]).to(flat.dtype)
    return flat.index_copy(0, places, values).reshape(embedded.shape)
