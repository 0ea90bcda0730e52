"""ProductEncoder: products and queries to unit vectors, one shared backbone for both sides and all modalities."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from moon_rec.config import make_config
from moon_rec.errors import EncoderError
from moon_rec.masking import masked_mean
from moon_rec.outputs import atomic_folder
from moon_rec.shop import Shop
from representation.encoders.checkpoint import (
    ABOUT_FILE,
    ENCODER,
    Family,
    family_of,
    load_tokenizer,
    read_about,
    read_config,
    write_about,
)
from representation.encoders.dual import DualEncoder
from representation.encoders.frame_inputs import (
    check_items,
    computed_once,
    digest_of_weights,
    in_batches,
    pictures_of,
    query_columns,
    row_names,
    where_to,
)
from representation.encoders.frozen_tower import FrozenTower
from representation.encoders.locked import LockedEncoder
from representation.encoders.qwen import (
    EMBEDDING_WIDTHS,
    LONGER,
    EncoderConfig,
    is_embedding_checkpoint,
    settings_of,
)
from representation.encoders.text import TextEncoder
from representation.interface import Encoder, Modality
from representation.model.backbone import BackboneConfig, Dtype, Inputs, part_of
from representation.model.families import backbone_of, load_module
from representation.model.lora import (
    LoraConfig,
    merged_state,
    save_merged,
    with_lora,
)
from representation.model.pixels import PictureLayout, square
from representation.model.prompt import product_texts
from representation.model.qwen import random_backbone, scale_tokens
from representation.model.token_rows import Composer
from representation.model.tokenizer import shop_texts, token_rarity, train_tokenizer
from representation.trainable import Cut, Side, TextKind, Trainable
from representation.training.picture_store import PictureStore


class ProductEncoder:
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

    def __init__(
        self, module: Any, tokenizer: PreTrainedTokenizerBase, config: EncoderConfig
    ) -> None:
        """Use `from_pretrained` or `build_encoder`."""
        self.tokenizer, self.config = tokenizer, config
        self.backbone = backbone_of(module, config.image_size, config.image_mean, config.image_std)
        self.composer = Composer(tokenizer, self.layout)
        self._tower: FrozenTower | None = None
        self.dim = self.backbone.dim
        self.widths = config.widths
        if self.widths[-1] != self.dim:
            raise EncoderError(
                f"widths {self.widths} end at {self.widths[-1]}, and the backbone's states are {self.dim} wide; the two do not belong together"
            )

    @property
    def module(self) -> Any:
        """transformers' model, whose weights are the encoder's: what is trained, wrapped and saved."""
        return self.backbone.module

    def with_module(self, module: Any) -> "ProductEncoder":
        """The same encoder with other weights, of the same kind of module."""
        other = copy.copy(self)
        vars(other).pop("digest", None)  # of these weights
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
        module = load_module(folder, dtype or (None if place.type == "cuda" else "float32"))
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
    def family(self) -> Family:
        """Which kind of encoder a folder of this one says that it is."""
        return family_of({"model_type": self.module.config.model_type}, "the backbone")

    def save_pretrained(
        self,
        path: str | Path,
        overwrite: bool = False,
        beside: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write weights, tokenizer and `moon_rec.json` to the folder `path`, atomically; LoRA adapters are added to the weights, and lie beside them, too.

        Args:
            beside: writes further files, such as the training's log, into the folder before it appears.
        """
        with atomic_folder(path, ENCODER, overwrite) as folder:
            save_merged(self.module, folder)
            self.tokenizer.save_pretrained(folder)
            write_about(folder, self.family, self.digest, self.config)
            if beside is not None:
                beside(folder)
        return Path(path)

    @computed_once
    def digest(self) -> str:
        """16 hex digits of the weights, the tokenizer and the config: what decides the vectors. Computed once: train first, ask after."""
        state = merged_state(self.module)
        return digest_of_weights(self.config.digest(), self.tokenizer, state)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.module.device

    @property
    def image_size(self) -> int:
        """Side of a picture, in pixels."""
        return self.layout.image_size

    @property
    def cut(self) -> Cut:
        """White margins make a picture a square."""
        return square

    @property
    def says_price(self) -> bool:
        """The price is in a product's richer text."""
        return self.config.prompt.with_price

    def tokens(self, texts: Sequence[str], side: Side, kind: TextKind) -> list[list[int]]:
        """Token ids of texts, cut to the length of their kind; the side's prompt comes with `prepare`."""
        prompt = self.config.prompt
        lengths = {
            "words": prompt.query_tokens,
            "title": prompt.title_tokens,
            "richer": prompt.richer_tokens,
        }
        return self.composer.texts(texts, lengths[kind])

    def prepare(
        self, side: Side, tokens: Sequence[list[int]], pictures: np.ndarray | Tensor | None
    ) -> Inputs:
        """See `Trainable.prepare`."""
        prompt = self.config.prompt
        start = self.composer.prompt(prompt.query_prompt if side == "query" else prompt.item_prompt)
        rows = [self.composer.row(start, pictures is not None, text) for text in tokens]
        return self._batch(rows, pictures)

    def _batch(self, rows: Sequence[list[int]], pictures: np.ndarray | Tensor | None) -> Inputs:
        """As `Composer.batch`; with what the tower makes of the pictures where `remember` was asked for."""
        if self._tower is None or pictures is None:
            return self.composer.batch(rows, pictures)
        return replace(self.composer.batch(rows, None), seen=self._tower.of(pictures))

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
        if self._tower is None:
            self._tower = FrozenTower(self.backbone)
        for what, (count, take) in pictures.items():
            self._tower.remember(count, take, what, folder, shop_digest)

    def part_of(self, name: str) -> str:
        """`vision`, `projector` or `language`."""
        return part_of(name)

    def adapt(self, config: LoraConfig, seed: int) -> None:
        """See `lora.with_lora`."""
        with_lora(self.module, config, seed)

    def embed(self, inputs: Inputs) -> Tensor:
        """Unit vectors `(batch, dim)` in float32 of a batch; with gradients, for training.

        Raises:
            EncoderError: there is no token to embed: a tokenizer that makes none of any text.
        """
        if not inputs.token_ids.shape[1]:
            raise EncoderError(
                "the encoder's tokenizer makes no token of any of these texts; take its folder from whoever made it"
            )
        causal = self.config.attention == "causal"
        states = self.backbone.output_states(inputs, causal).float()
        if self.config.pooling == "mean":
            pooled = masked_mean(states, inputs.mask, dim=1)
        else:
            last = inputs.mask.sum(dim=1) - 1
            pooled = states[torch.arange(len(last), device=last.device), last]
        return functional.normalize(pooled, dim=-1)

    def encode_items(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> np.ndarray:
        """Unit vectors of products, float32 `(rows, dim)`, in the frame's order.

        Args:
            frame: columns of the items table, at least `title` (or `image` for modality `image`); columns that are absent count as null.
            modality: `both` takes text, and the picture where there is one.

        Raises:
            EncoderError: an unknown modality, a needed column absent, or modality `image` and a row without a picture.
        """
        check_items(frame, modality, self.modalities)
        prompt = self.config.prompt
        texts = [""] * frame.height
        if modality != "image":
            texts = product_texts(frame, prompt.item_text, prompt.with_price)
        names = row_names(frame, "item_id", "items.image of item")
        pictures = pictures_of(frame, "image") if modality != "text" else [None] * frame.height
        length = prompt.item_tokens(prompt.item_text)
        return self._encode(
            prompt.item_prompt, texts, length, pictures, names, batch_size, "products" * progress
        )

    def encode_queries(
        self, frame: pl.DataFrame, batch_size: int = 256, progress: bool = True
    ) -> np.ndarray:
        """Unit vectors of queries, float32 `(rows, dim)`, in the frame's order.

        Args:
            frame: `query_text` and `query_image`, either may be null or absent, not both.

        Raises:
            EncoderError: a row with neither text nor picture.
        """
        texts, pictures = query_columns(frame, self.modalities)
        names = row_names(frame, "search_id", "searches.query_image of search")
        prompt = self.config.prompt
        return self._encode(
            prompt.query_prompt,
            texts,
            prompt.query_tokens,
            pictures,
            names,
            batch_size,
            "queries" * progress,
        )

    @torch.inference_mode()
    def _encode(
        self,
        prompt: str,
        texts: Sequence[str],
        length: int,
        pictures: Sequence[bytes | None],
        names: Sequence[str],
        batch_size: int,
        description: str,
    ) -> np.ndarray:
        """Rows sorted by length, so a batch holds little padding; the order never shows in the result."""
        start = self.composer.prompt(prompt)
        has_picture = np.array([picture is not None for picture in pictures], dtype=bool)
        ids = self.composer.texts(texts, length)
        rows = [
            self.composer.row(start, bool(has), text)
            for has, text in zip(has_picture, ids, strict=True)
        ]
        order = np.lexsort((np.array([len(row) for row in rows]), has_picture))
        store = PictureStore(pictures, names, self.config.image_size, keep=False)
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        was_training = self.module.training
        self.module.eval()
        for chosen in in_batches(order, batch_size, description):
            shown = chosen[has_picture[chosen]]
            decoded = store.take(shown) if len(shown) else None
            inputs = self._batch([rows[row] for row in chosen], decoded).to(self.device)
            vectors[chosen] = self.embed(inputs).cpu().numpy()
        self.module.train(was_training)
        return vectors


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
    family = family_of(read_config(path_or_name), path_or_name)
    if family == "text":
        return TextEncoder.from_pretrained(path_or_name, device)
    if family == "dual":
        return DualEncoder.from_pretrained(path_or_name, device)
    if family == "locked":
        return LockedEncoder.from_pretrained(path_or_name, device)
    if about is not None:
        return ProductEncoder.from_pretrained(path_or_name, device, dtype)
    widths = EMBEDDING_WIDTHS if is_embedding_checkpoint(path_or_name) else ()
    config = BackboneConfig(checkpoint=str(path_or_name), widths=widths, prompt=LONGER, dtype=dtype)
    return ProductEncoder.from_checkpoint(config, device)


def open_trainable(path: str | Path, device: str | None = None) -> Trainable:
    """Open an encoder's folder to train it: one of ours, or the plain folder of a text or dual encoder.

    Raises:
        EncoderError: no encoder there, or one that is not trained here.
    """
    if (Path(path) / "config.json").is_file():
        family = family_of(read_config(path), path)
        if family == "text":
            return TextEncoder.from_pretrained(path, device)
        if family == "locked":
            return LockedEncoder.from_pretrained(path, device)
        if family == "dual":
            encoder = DualEncoder.from_pretrained(path, device)
            assert encoder.image_size  # refused where it has none
            return encoder
    return ProductEncoder.from_pretrained(path, device)


def build_encoder(shop: Shop, out: str | Path, config: BackboneConfig, seed: int = 0) -> Path:
    """Make an untrained encoder and save it at `out`: random weights and a tokenizer learnt from the shop's texts before the cut, or a checkpoint's own."""
    return untrained_encoder(shop, config, seed).save_pretrained(out)


def untrained_encoder(
    shop: Shop, config: BackboneConfig, seed: int = 0, device: str | None = None
) -> ProductEncoder:
    """As `build_encoder`, not saved; on `device`, by default a GPU where there is one."""
    if config.checkpoint is not None:
        return ProductEncoder.from_checkpoint(config, device)
    texts = shop_texts(shop)
    tokenizer = train_tokenizer(texts, config.vocabulary_size)
    vocabulary = tokenizer.get_vocab()
    module: Any = random_backbone(config, vocabulary, len(vocabulary), seed)
    if config.token_scale:
        scale_tokens(module, token_rarity(tokenizer, texts), config.token_scale)
    module.to(where_to(device))
    dim = config.text_dim
    widths = (*[width for width in sorted(set(config.widths)) if width < dim], dim)
    settings = EncoderConfig(
        image_size=config.side,
        widths=widths,
        prompt=config.prompt,
        pooling=config.pooling or "mean",
        attention=config.attention or "bidirectional",
    )
    return ProductEncoder(module, tokenizer, settings)
