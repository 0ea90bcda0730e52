"""Dual encoders: CLIP and SigLIP, one tower for words and one for pictures, whose vectors meet in one space.

Baselines for search by words and by picture. Radford et al., CLIP, 2021; Zhai et al., SigLIP, 2023; Tschannen et al., SigLIP 2, 2025. Notable choices:
- SigLIP 2 comes in two builds, told apart by `model_type`: checkpoints of fixed resolution are `siglip` (transformers' `SiglipModel` with a vocabulary of 256,000), NaFlex
  ones are `siglip2` (`Siglip2Model`; a picture keeps its shape).
- Pictures go through the checkpoint's own processor (PIL's, named directly: torchvision is not needed), so CLIP cuts out the middle of a picture and fixed
  SigLIP stretches it, as they were trained.
- SigLIP reads lower case, ended by its end token and padded behind it to the tower's full length, whatever its tokenizer's settings say: it was trained so
  (the authors in google-research/big_vision issue 157, and transformers pull request 43101), and its state at the last place is the vector.
- These models have no vector of words and picture together. Ours for an item or query with both is the mean of the two unit vectors, `text_weight` on the
  words, at unit length again; where one of them is missing, the other alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import (
    CLIPModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Siglip2Model,
    SiglipModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from moon_rec.bounds import Share
from moon_rec.config import Config, Rules, make_config
from moon_rec.errors import EncoderError, first_line
from moon_rec.outputs import atomic_folder
from moon_rec.shop.pictures import decode
from representation.encoders.checkpoint import (
    ENCODER,
    load_tokenizer,
    load_weights,
    read_about,
    read_config,
    settings_in,
    write_about,
)
from representation.encoders.frame_inputs import (
    check_items,
    computed_once,
    digest_of_weights,
    framing_tokens,
    in_batches,
    pictures_of,
    query_columns,
    row_names,
    where_to,
)
from representation.encoders.strangers import refuse_large_pictures
from representation.interface import Modality
from representation.model.prompt import RICHER_ALONE, Richness, product_texts
from representation.model.quiet_transformers import quiet
from representation.model.tokenizer import encode_plain

FAMILIES: dict[str, tuple[Any, Any]] = {
    "clip": (CLIPModel, CLIPImageProcessorPil),
    "siglip": (SiglipModel, SiglipImageProcessorPil),
    "siglip2": (Siglip2Model, Siglip2ImageProcessorPil),
}


class DualConfig(Config):
    """What a dual encoder needs besides weights, tokenizer and picture processor.

    Attributes:
        text_weight: of the words' unit vector in the mean with the picture's.
        item_text, with_price: what is said of a product, see `prompt.product_texts`; cut to the length that the text tower reads.
    """

    text_weight: Share = 0.5
    item_text: Richness = "richer"
    with_price: bool = False

    counts_when: ClassVar[Rules] = {"with_price": RICHER_ALONE}


class DualEncoder:
    """Encodes words and pictures, each by its own tower.

    Attributes:
        modalities: text and image.
        dim: width of a vector.
        widths: `(dim,)`: these models are not trained for prefixes.
    """

    modalities = frozenset({"text", "image"})

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        processor: Any,
        config: DualConfig,
    ) -> None:
        """Use `from_pretrained`."""
        self.model, self.tokenizer, self.processor, self.config = (
            model,
            tokenizer,
            processor,
            config,
        )
        settings: Any = model.config
        self._is_clip = settings.model_type == "clip"
        self._length: int = settings.text_config.max_position_embeddings
        self.dim: int = (
            settings.projection_dim if self._is_clip else settings.vision_config.hidden_size
        )
        self.widths = (self.dim,)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | None = None, **settings: Any
    ) -> "DualEncoder":
        """Open a folder or a name on the hub.

        Args:
            device: `cpu`, `cuda` or another of torch's; None takes a GPU where there is one.
            settings: of `DualConfig`, in place of those saved.

        Raises:
            EncoderError: no such checkpoint.
        """
        about = read_config(path)
        kind, processor_kind = FAMILIES[about["model_type"]]
        model = load_weights(kind, path, torch.float32)
        torch.nn.Module.to(model, where_to(device))
        said = (read_about(path) or {}).get("config", {})
        config = make_config(DualConfig, {**said, **settings})
        return cls(
            model, load_tokenizer(path, model), _processor(processor_kind, path, model), config
        )

    def save_pretrained(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write a plain Hugging Face folder and our settings beside it, atomically."""
        with atomic_folder(path, ENCODER, overwrite) as folder:
            with quiet():
                self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            self.processor.save_pretrained(folder)
            write_about(folder, "dual", self.digest, self.config)
        return Path(path)

    @computed_once
    def digest(self) -> str:
        """16 hex digits of the weights, the vocabulary, the picture processor and the config. Computed once."""
        said = f"{self.config.digest()}{self.processor.to_json_string()}"
        return digest_of_weights(said, self.tokenizer, self.model.state_dict())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def encode_items(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> np.ndarray:
        """Unit vectors of products, float32 `(rows, dim)`, in the frame's order; see `interface.Encoder`.

        Raises:
            EncoderError: an unknown modality, a needed column absent, or modality `image` and a row without a picture.
        """
        check_items(frame, modality, self.modalities)
        texts = [""] * frame.height
        if modality != "image":
            texts = product_texts(frame, self.config.item_text, self.config.with_price)
        pictures = pictures_of(frame, "image") if modality != "text" else [None] * frame.height
        names = row_names(frame, "item_id", "items.image of item")
        return self._encode(texts, pictures, names, batch_size, "products" * progress)

    def encode_queries(
        self, frame: pl.DataFrame, batch_size: int = 256, progress: bool = True
    ) -> np.ndarray:
        """Unit vectors of queries, float32 `(rows, dim)`, in the frame's order.

        Raises:
            EncoderError: a row with neither text nor picture.
        """
        texts, pictures = query_columns(frame, self.modalities)
        names = row_names(frame, "search_id", "searches.query_image of search")
        return self._encode(texts, pictures, names, batch_size, "queries" * progress)

    @torch.inference_mode()
    def _encode(
        self,
        texts: Sequence[str],
        pictures: Sequence[bytes | None],
        names: Sequence[str],
        batch_size: int,
        description: str,
    ) -> np.ndarray:
        has_picture = np.array([picture is not None for picture in pictures], dtype=bool)
        has_text = np.array([bool(text) for text in texts], dtype=bool) | ~has_picture
        share = np.where(has_picture, self.config.text_weight, 1.0)
        tokens = self._tokens(texts)
        order = np.lexsort((np.array([len(row) for row in tokens]), has_picture))
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for chosen in in_batches(order, batch_size, description):
            spoken, shown = chosen[has_text[chosen]], chosen[has_picture[chosen]]
            if len(spoken):
                found = self.embed_texts([tokens[row] for row in spoken]).cpu().numpy()
                vectors[spoken] = share[spoken, None] * found
            if len(shown):
                decoded = [
                    decode(pictures[int(row)] or b"", where=names[int(row)]) for row in shown
                ]
                weight = np.where(has_text[shown], 1 - share[shown], 1.0)[:, None]
                vectors[shown] += weight * self.embed_pictures(decoded).cpu().numpy()
        return functional.normalize(torch.from_numpy(vectors), dim=-1).numpy()

    def embed_texts(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors `(rows, dim)` of token ids, with gradients."""
        longest = max(len(row) for row in rows) if self._is_clip else self._length
        padding: Any = self.tokenizer.pad_token_id
        token_ids = torch.full((len(rows), longest), padding or 0)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for place, row in enumerate(rows):
            token_ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        model: Any = self.model
        known = {"attention_mask": mask.to(self.device)} if self._is_clip else {}
        found = model.get_text_features(input_ids=token_ids.to(self.device), **known)
        return functional.normalize(found.pooler_output.float(), dim=-1)

    def embed_pictures(self, pictures: Sequence[Any]) -> Tensor:
        """Unit vectors `(pictures, dim)` of RGB pictures (PIL), with gradients."""
        inputs = self.processor(images=list(pictures), return_tensors="pt").to(self.device)
        model: Any = self.model
        return functional.normalize(
            model.get_image_features(**inputs).pooler_output.float(), dim=-1
        )

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if self._is_clip:
            start, end = framing_tokens(self.tokenizer)
        else:
            ending: Any = self.tokenizer.eos_token_id
            start, end = [], [ending]
        room = self._length - len(start) - len(end)
        tokenizer: Any = self.tokenizer
        plain = encode_plain(tokenizer, texts, lower=not self._is_clip)
        return [start + ids[:room] + end for ids in plain]


def _processed(processor: Any) -> Any:
    """A small picture as the processor gives it."""
    white = Image.new("RGB", (8, 8), (255, 255, 255))
    return processor(images=[white], return_tensors="pt")["pixel_values"]


def _processor(kind: Any, path: str | Path, model: Any) -> Any:
    """The checkpoint's picture processor; its family's, at the tower's size, where the folder has none."""
    files = ("preprocessor_config.json", "processor_config.json")
    said = {file: settings_in(path, file) for file in files}
    if any(said.values()):
        for file, settings in said.items():
            refuse_large_pictures(f"{path}/{file}", settings)
        try:
            found = kind.from_pretrained(str(path))
            shape = tuple(_processed(found)[0].shape)
        except Exception as error:  # of a stranger's file, of any type
            raise EncoderError(
                f"{path}: its picture processor does not work: {type(error).__name__}: {first_line(error)[:160]}; take the published file"
            ) from None
        side = getattr(model.config.vision_config, "image_size", None)
        if kind is not Siglip2ImageProcessorPil and shape != (3, side, side):
            raise EncoderError(
                f"{path}: its picture processor makes pictures {shape}, the model reads (3, {side}, {side}); the two do not belong together"
            )
        return found
    vision = model.config.vision_config
    if kind is Siglip2ImageProcessorPil:
        return kind(patch_size=vision.patch_size, max_num_patches=vision.num_patches)
    side = {"height": vision.image_size, "width": vision.image_size}
    if kind is CLIPImageProcessorPil:
        return kind(size={"shortest_edge": vision.image_size}, crop_size=side)
    return kind(size=side, resample=2)
