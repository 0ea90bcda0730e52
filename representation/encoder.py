"""ProductEncoder: products and queries to unit vectors, one shared backbone for both sides and all modalities."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from moon_rec.config import make_config
from moon_rec.errors import EncoderError
from moon_rec.files import digest_of
from moon_rec.shop import Shop
from representation.core_region.crops import CoreRegion
from representation.encoders.checkpoint import (
    ABOUT_FILE,
    Family,
    family_of,
    load_tokenizer,
    read_about,
    read_config,
)
from representation.encoders.dual import DualEncoder
from representation.encoders.frame_encoder import FrameEncoder, pool
from representation.encoders.frame_inputs import where_to
from representation.encoders.frozen_tower import FrozenTower
from representation.encoders.locked import LockedEncoder
from representation.encoders.parts import WithParts
from representation.encoders.qwen import (
    EMBEDDING_WIDTHS,
    LONGER,
    EncoderConfig,
    is_embedding_checkpoint,
    settings_of,
)
from representation.encoders.random_parts import random_parts
from representation.encoders.text import TextEncoder
from representation.interface import Encoder
from representation.mixture import Routing
from representation.model.backbone import Embedded, Inputs, part_of
from representation.model.backbone_config import BackboneConfig, Dtype
from representation.model.families import backbone_of, load_module
from representation.model.lora import (
    LoraConfig,
    with_lora,
)
from representation.model.picture_pruning import Pruning, pruned
from representation.model.pixels import PictureLayout, square
from representation.model.prompt import Richness
from representation.picture_focus import compression_of
from representation.picture_focus.compression import Places
from representation.trainable import Cut, Side, TextKind, Trainable


class ProductEncoder(WithParts, FrameEncoder):
    """Encodes products and queries.

    A vector is the mean of the output states over all real tokens of a row, with attention in both directions (MOON technical report, post-training
    architecture), at unit length; `EncoderConfig.pooling` and `attention` make it the last token's, causally, for checkpoints trained so. Its first `w` columns, made unit length again, are an embedding for each `w` in `widths` (Matryoshka).

    Attributes:
        modalities: text and image.
        backbone: the multimodal language model; its weights are `module`'s.
        config: picture size, widths and prompts.
        dim: width of a vector.
        widths: Matryoshka widths, rising, `dim` last.
    """

    modalities = frozenset({"text", "image"})
    features_are_small = False
    _core: CoreRegion | None = None

    def __init__(
        self, module: Any, tokenizer: PreTrainedTokenizerBase, config: EncoderConfig
    ) -> None:
        """Use `from_pretrained` or `build_encoder`."""
        self.module, self.tokenizer, self.config = module, tokenizer, config
        self.backbone = backbone_of(module, config.image_size, config.image_mean, config.image_std)
        self._compose()
        self.family = family_of({"model_type": module.config.model_type}, "the backbone")
        self._tower: FrozenTower | None = None
        self._pruning: Pruning | None = None
        self.dim = self.backbone.dim
        self.widths = config.widths
        if self.widths[-1] != self.dim:
            raise EncoderError(
                f"widths {self.widths} end at {self.widths[-1]}, and the backbone's states are {self.dim} wide; the two do not belong together"
            )
        config.added.check(module)

    def with_module(self, module: Any) -> Self:
        """The same encoder with other weights, of the same kind of module."""
        other = super().with_module(module)
        other.backbone = self.backbone.with_module(module)
        return other

    @property
    def layout(self) -> PictureLayout:
        """How a picture becomes tokens."""
        return self.backbone.layout

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | None = None, dtype: Dtype | None = None
    ) -> "ProductEncoder":
        """Open an encoder's folder.

        Args:
            device: `cpu`, `cuda` or another of torch's; None takes a GPU where there is one.
            dtype: of the weights; None: as they were saved on a GPU, float32 on a processor.

        Raises:
            EncoderError: no encoder at `path`, or one that this version cannot read.
        """
        folder = Path(path)
        about = read_about(folder)
        if about is None:
            raise EncoderError(
                f"no encoder at {folder} (no {ABOUT_FILE} in it); make one with python -m representation.pretrain, or name it as backbone.checkpoint"
            )
        if about["family"] not in ("qwen", "composed"):
            raise EncoderError(
                f"{folder} holds an encoder of family {about['family']}; a Qwen-VL is wanted here, or what representation.compose makes"
            )
        config = make_config(EncoderConfig, about["config"])
        place = where_to(device)
        wanted = dtype or (None if place.type == "cuda" else "float32")
        module = load_module(folder, wanted, config.added)
        module.to(place)
        return cls(module, load_tokenizer(folder, module), config)

    @classmethod
    def from_checkpoint(cls, config: BackboneConfig, device: str | None = None) -> "ProductEncoder":
        """Make an encoder of `config.checkpoint`, a plain Hugging Face folder or name; see `encoders.qwen` for what its files decide."""
        assert config.checkpoint is not None
        about = read_config(config.checkpoint)
        if family_of(about, config.checkpoint) == "composed":
            return cls._from_composed(config, device)
        place = where_to(device)
        dtype = config.dtype or ("bfloat16" if place.type == "cuda" else "float32")
        module = load_module(config.checkpoint, dtype)
        tokenizer = load_tokenizer(config.checkpoint, module)
        module.to(place)
        return cls(module, tokenizer, settings_of(config.checkpoint, config, module, tokenizer))

    @classmethod
    def _from_composed(cls, config: BackboneConfig, device: str | None) -> "ProductEncoder":
        """Of a LLaVA there is nothing to choose: `representation.compose` has chosen."""
        assert config.checkpoint is not None
        if read_about(config.checkpoint) is None:
            raise EncoderError(
                f"{config.checkpoint}: a LLaVA without {ABOUT_FILE}; make one of a vision tower and a language model with python -m representation.compose"
            )
        chosen = [name for name in config.changed() if name not in ("checkpoint", "dtype")]
        if chosen:
            raise EncoderError(
                f"backbone.{chosen[0]} changes nothing: {config.checkpoint} is an encoder with settings of its own; leave it out"
            )
        return cls.from_pretrained(config.checkpoint, device, config.dtype)

    @property
    def image_size(self) -> int:
        """Side of a picture, in pixels."""
        return self.layout.image_size

    @property
    def item_text(self) -> Richness:
        """What is said of a product."""
        return self.config.prompt.item_text

    @property
    def cut(self) -> Cut:
        """White margins make a picture a square; with a core region, so do they of it."""
        region = self.config.core_region
        if region is None:
            return square
        if self._core is None or self._core.config is not region:
            self._core = CoreRegion(region)
        return self._core

    @property
    def says_price(self) -> bool:
        """The price is in a product's richer text."""
        return self.config.prompt.with_price

    def tokens(self, texts: Sequence[str], side: Side, kind: TextKind) -> list[list[int]]:
        """Token ids of texts, cut to the length of their kind; the side's prompt comes with `prepare`. Those of an item's category and attributes carry their role, where experts are
        guided by it; a query's have none.
        """
        prompt = self.config.prompt
        lengths = {
            "words": prompt.query_tokens,
            "title": prompt.title_tokens,
            "richer": prompt.richer_tokens,
        }
        experts = self.config.experts
        guided = experts is not None and experts.guided and side == "item"
        return self.composer.texts(texts, lengths[kind], marked=guided)

    def prepare(
        self, side: Side, tokens: Sequence[list[int]], pictures: np.ndarray | Tensor | None
    ) -> Inputs:
        """See `Trainable.prepare`; rows may have several pictures each, `(rows, squares, image_size, image_size, 3)`."""
        start, count = self._start_of(side), 0
        if pictures is not None:
            squares = pictures.shape[1] if pictures.ndim == 5 else 1
            count = squares // self.composer.num_squares
        rows = [self.composer.embedded_row(start, count, text) for text in tokens]
        return self.batch(rows, pictures)

    def batch(self, rows: Sequence[list[int]], pictures: np.ndarray | Tensor | None) -> Inputs:
        """As `Composer.batch`; with what the tower makes of the pictures where `remember` was asked for."""
        if self._tower is None or pictures is None:
            return self.composer.batch(rows, pictures)
        squares = pictures.reshape(-1, *pictures.shape[-3:])
        return replace(self.composer.batch(rows, None), seen=self._tower.of(squares))

    def remember(
        self,
        tokens: Mapping[str, Sequence[list[int]]],
        pictures: Mapping[str, tuple[int, Callable[[int, int], np.ndarray]]],
        folder: Path | None,
        shop_digest: str,
    ) -> None:
        """Compute ahead what the vision tower, which is to stay as it is, makes of known pictures, and look it up from here on; see `Remembers.remember`.

        Texts have no tower of their own. From here on each picture goes through the tower alone, in float32; to about 1e-6 as before.
        """
        if self.config.core_region is not None:
            raise EncoderError(
                "what a tower makes of pictures is kept without core regions alone; leave out --features"
            )
        if self._tower is None:
            self._tower = FrozenTower(self.backbone)
        for what, (count, take) in pictures.items():
            self._tower.remember(count, take, what, folder, shop_digest)

    def _start_of(self, side: Side) -> list[int]:
        """Tokens of the side's prompt."""
        prompt = self.config.prompt
        return self.composer.prompt(prompt.query_prompt if side == "query" else prompt.item_prompt)

    @property
    def tower_parts(self) -> frozenset[str]:
        """The vision tower; of a Qwen-VL its projector, too, which is part of the tower's own module."""
        return self.backbone.tower_parts

    def part_of(self, name: str) -> str:
        """`vision`, `projector` or `language`."""
        return part_of(name)

    def adapt(self, config: LoraConfig, seed: int) -> None:
        """See `lora.with_lora`."""
        with_lora(self.module, config, seed)

    def with_pruned_pictures(self, keep: float, layers: int = 1) -> Self:
        """The same encoder, to embed with alone: of each picture's tokens a share goes on, see `model.picture_pruning`; 1 is this encoder itself.

        Args:
            keep: the share. layers: first layers of the language model whose attention says which.

        Raises:
            EncoderError: a share out of bounds, or more layers than there are.
        """
        pruning = Pruning(keep, layers)
        pruning.check(self.backbone)
        if keep == 1:
            return self
        other = copy.copy(self)
        other._pruning = pruning
        vars(other)["digest"] = digest_of([self.digest, "pruned", *pruning])
        return other

    def _write(self, folder: Path) -> None:
        if self._pruning is not None:
            raise EncoderError("pruned pictures are no setting of an encoder's folder; save the encoder that was pruned")  # fmt: skip
        super()._write(folder)

    def embed(self, inputs: Inputs) -> Tensor:
        """Unit vectors `(batch, dim)` in float32 of a batch; with gradients, for training.

        Raises:
            EncoderError: there is no token to embed: a tokenizer that makes none of any text.
        """
        return self._embedded(inputs)[0][0]

    def embed_for_losses(self, inputs: Inputs) -> Tensor:
        """`embed`, and behind each vector what losses are told besides, `(batch, dim + ...)`: the vector of the row's picture, `(batch, dim)`, where the encoder compresses pictures
        (`picture_focus.compression`); then what the gates of its experts did with the row, where it has experts (`mixture.Gates`).
        """
        vectors, routing = self._embedded(inputs)
        gates = [routing.rows()] if routing is not None else []
        return torch.cat([*vectors, *gates], dim=1)

    def _embedded(self, inputs: Inputs) -> tuple[list[Tensor], Routing | None]:
        if not inputs.token_ids.shape[1]:
            raise EncoderError(
                "the encoder's tokenizer makes no token of any of these texts; take its folder from whoever made it"
            )
        embedded = self.backbone.embedded(inputs)
        if self._pruning is not None:
            causal = self.config.attention == "causal"
            embedded, inputs = pruned(self.backbone, embedded, inputs, causal, self._pruning)
        return self._views(embedded, inputs), embedded.routing

    def vectors_of(self, embedded: Embedded, inputs: Inputs) -> Tensor:
        """`embed` of rows as they enter the language model."""
        return self._views(embedded, inputs)[0]

    def _views(self, embedded: Embedded, inputs: Inputs) -> list[Tensor]:
        """Unit vectors of the rows; behind them those of their pictures, where the encoder compresses these."""
        return [functional.normalize(one, dim=-1) for one in self.unscaled(embedded, inputs)]

    def unscaled(self, embedded: Embedded, inputs: Inputs) -> list[Tensor]:
        """As vectors are before they are made unit length, `(batch, dim)` in float32 each: of the rows, and, where the encoder compresses pictures, of these."""
        compression, pooling = compression_of(self.module), self.config.pooling
        places = Places.of(embedded.is_picture, inputs.mask)
        if compression is not None:
            entered = compression.enter(embedded.states, places)
            embedded = embedded._replace(states=entered, num_before=places.num_before)
            pooling = "last" if compression.config.note == "token" else pooling
        states = self.backbone.states(embedded, inputs.mask, self.config.attention == "causal")
        found = [pool(states, inputs.mask, pooling)]
        if compression is not None:
            found.append(compression.image_states(states, places, found[0]))
        return [self.backbone.fused(one, embedded, inputs.words) for one in found]


_OTHERS: dict[Family, type[TextEncoder | DualEncoder | LockedEncoder]] = {
    "text": TextEncoder,
    "dual": DualEncoder,
    "locked": LockedEncoder,
}
"""Families that are no `ProductEncoder`."""


def open_encoder(
    path_or_name: str | Path, device: str | None = None, dtype: Dtype | None = None
) -> Encoder:
    """Open whatever encodes products and queries: one of our folders, or a plain Hugging Face folder or name of a family that `encoders.checkpoint` lists.

    Args:
        device: `cpu`, `cuda` or another of torch's; None takes a GPU where there is one.
        dtype: of a Qwen-VL's weights; None: on a GPU bfloat16 for a plain folder, and as it was saved for one of ours; float32 on a processor. The smaller
            families are float32.

    Raises:
        EncoderError: nothing there, or a family that is not read here.
    """
    about = read_about(path_or_name)
    kind = _OTHERS.get(family_of(read_config(path_or_name), path_or_name))
    if kind is not None:
        return kind.from_pretrained(path_or_name, device)
    if about is not None:
        encoder = ProductEncoder.from_pretrained(path_or_name, device, dtype)
        if not encoder.config.reasoning_tokens:
            return encoder
        from representation.reasoning.encoder import ReasoningEncoder

        return ReasoningEncoder(encoder.module, encoder.tokenizer, encoder.config)
    widths = EMBEDDING_WIDTHS if is_embedding_checkpoint(path_or_name) else ()
    config = BackboneConfig(checkpoint=str(path_or_name), widths=widths, prompt=LONGER, dtype=dtype)
    return ProductEncoder.from_checkpoint(config, device)


def open_trainable(path: str | Path, device: str | None = None) -> Trainable:
    """Open an encoder's folder to train it: one of ours, or the plain folder of a text or dual encoder.

    Raises:
        EncoderError: no encoder there, or one that is not trained here.
    """
    if (Path(path) / "config.json").is_file():
        kind = _OTHERS.get(family_of(read_config(path), path))
        if kind is not None:
            encoder = kind.from_pretrained(path, device)
            if "image" in encoder.modalities:
                assert encoder.image_size  # refused where it has none
            return encoder
    encoder = ProductEncoder.from_pretrained(path, device)
    if encoder.config.reasoning_tokens:
        raise EncoderError(
            f"{path} writes attributes before it embeds, which post-training would not train; post-train what it started from, and reason after that"
        )
    return encoder


def build_encoder(shop: Shop, out: str | Path, config: BackboneConfig, seed: int = 0) -> Path:
    """Make an untrained encoder and save it at `out`: random weights and a tokenizer learnt from the shop's texts before the cut, or a checkpoint's own."""
    return untrained_encoder(shop, config, seed).save_pretrained(out)


def untrained_encoder(
    shop: Shop, config: BackboneConfig, seed: int = 0, device: str | None = None
) -> ProductEncoder:
    """As `build_encoder`, not saved; on `device`, by default a GPU where there is one."""
    if config.checkpoint is not None:
        return ProductEncoder.from_checkpoint(config, device)
    module, tokenizer, settings = random_parts(shop, config, seed)
    module.to(where_to(device))
    return ProductEncoder(module, tokenizer, settings)
