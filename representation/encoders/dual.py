"""Dual encoders: CLIP, MetaCLIP 2 and SigLIP, one tower for words and one for pictures, whose vectors meet in one space.

Baselines for search by words and by picture, and starts of post-training. Radford et al., CLIP, 2021; Zhai et al., SigLIP, 2023; Tschannen et al., SigLIP 2, 2025;
Chuang et al., MetaCLIP 2, 2025. Notable choices:
- SigLIP 2 comes in two builds, told apart by `model_type`: checkpoints of fixed resolution are `siglip` (transformers' `SiglipModel` with a vocabulary of 256,000), NaFlex
  ones are `siglip2` (`Siglip2Model`; a picture keeps its shape).
- Pictures go through the checkpoint's own processor (PIL's, named directly: torchvision is not needed), so CLIP cuts out the middle of a picture and fixed
  SigLIP stretches it, as they were trained.
- SigLIP reads lower case, ended by its end token and padded behind it to the tower's full length, whatever its tokenizer's settings say: it was trained so
  (the authors in google-research/big_vision issue 157, and transformers pull request 43101), and its state at the last place is the vector.
- These models have no vector of words and picture together. Ours for an item or query with both is the mean of the two unit vectors, `text_weight` on the
  words, at unit length again; where one of them is missing, the other alone. Training has the same definition: text through its tower, pictures through theirs.
- A picture is cut to a square by the processor, in uint8, and its values normalised with the batch: what reading and training share. NaFlex checkpoints make
  no squares, and are read only.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import (
    CLIPModel,
    MetaClip2Model,
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
from representation.encoders.checkpoint import (
    load_tokenizer,
    load_weights,
    read_about,
    read_config,
    settings_in,
)
from representation.encoders.frame_encoder import FrameEncoder, Seen
from representation.encoders.frame_inputs import (
    framing_tokens,
    pad_right,
    where_to,
)
from representation.encoders.strangers import refuse_large_pictures
from representation.model.backbone import Inputs
from representation.model.pixels import as_bytes
from representation.model.prompt import RICHER_ALONE, Richness
from representation.model.tokenizer import encode_plain
from representation.trainable import Cut, Side, TextKind

FAMILIES: dict[str, tuple[Any, Any]] = {
    "clip": (CLIPModel, CLIPImageProcessorPil),
    "metaclip_2": (MetaClip2Model, CLIPImageProcessorPil),
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


class DualEncoder(FrameEncoder):
    """Encodes words and pictures, each by its own tower.

    Attributes:
        modalities: text and image.
        dim: width of a vector.
        widths: `(dim,)`: these models are not trained for prefixes.
    """

    family = "dual"
    modalities = frozenset({"text", "image"})

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        processor: Any,
        config: DualConfig,
    ) -> None:
        """Use `from_pretrained`."""
        self.module: Any = model
        self.tokenizer, self.processor, self.config = tokenizer, processor, config
        settings: Any = model.config
        self._is_clip = settings.model_type in ("clip", "metaclip_2")
        self._is_naflex = settings.model_type == "siglip2"
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

    def _write(self, folder: Path) -> None:
        """A plain Hugging Face folder."""
        super()._write(folder)
        self.processor.save_pretrained(folder)

    def _settings(self) -> str:
        """The picture processor's, too."""
        return f"{self.config.digest()}{self.processor.to_json_string()}"

    @property
    def image_size(self) -> int:
        """Side of a picture, in pixels.

        Raises:
            EncoderError: a NaFlex checkpoint, whose pictures keep their shape.
        """
        if self._is_naflex:
            raise EncoderError(
                "a NaFlex checkpoint (siglip2) keeps each picture's shape and is read only; to train take one of fixed resolution, such as google/siglip2-base-patch16-224"
            )
        return self.module.config.vision_config.image_size

    @property
    def cut(self) -> Cut:
        """The checkpoint's own processor makes the square: CLIP cuts out the middle, SigLIP stretches."""
        return partial(_cut, self.processor)

    def tokens(self, texts: Sequence[str], side: Side, kind: TextKind) -> list[list[int]]:
        """Token ids, cut to the tower's length within the frame that `prepare` puts around them."""
        start, end = self._frame()
        tokenizer: Any = self.tokenizer
        plain = encode_plain(tokenizer, texts, lower=not self._is_clip)
        return [ids[: self._length - len(start) - len(end)] for ids in plain]

    def prepare(
        self, side: Side, tokens: Sequence[list[int]], pictures: np.ndarray | Tensor | None
    ) -> Inputs:
        """See `Trainable.prepare`; a row without words has no token where it has a picture."""
        start, end = self._frame()
        rows = [start + ids + end if ids or pictures is None else [] for ids in tokens]
        longest = max(1, *map(len, rows)) if self._is_clip else self._length
        padding: Any = self.tokenizer.pad_token_id or 0
        token_ids, mask = pad_right([*rows, [padding] * longest], padding)
        pixels = as_bytes(pictures) if pictures is not None and len(pictures) else None
        return Inputs(token_ids[:-1], mask[:-1], pixels)

    def part_of(self, name: str) -> str:
        """`text` or `vision`, or the `projector` of either into the common space."""
        return {"text_model": "text", "vision_model": "vision"}.get(name.split(".")[0], "projector")

    def embed(self, inputs: Inputs) -> Tensor:
        """Unit vectors `(rows, dim)` in float32, with gradients: of words, of pictures, or the mean of both as `text_weight` says."""
        if inputs.pixels is None:
            return self._words(inputs.token_ids, inputs.mask)
        factor = self.processor.rescale_factor
        mean, std = (
            torch.tensor(each, device=inputs.pixels.device)[:, None, None]
            for each in (self.processor.image_mean, self.processor.image_std)
        )
        pixels = (inputs.pixels.permute(0, 3, 1, 2).float() * factor - mean) / std
        return self._together(inputs, self._pictures(pixel_values=pixels))

    def _vectors(
        self, side: Side, tokens: Sequence[list[int]], shown: Iterable[Seen] | None
    ) -> Tensor:
        if shown is None or not self._is_naflex:
            return super()._vectors(side, tokens, shown)
        pictures = [one.picture for one in shown]
        shaped = self.processor(images=pictures, return_tensors="pt").to(self.device)
        words = self.prepare(side, tokens, np.zeros((0, 0, 0, 3), dtype=np.uint8))
        return self._together(words.to(self.device), self._pictures(**shaped))

    def _together(self, words: Inputs, pictures: Tensor) -> Tensor:
        """Unit vectors of rows with a picture each, from these and the words that some have."""
        has_words = words.mask.any(dim=1)
        spoken = has_words.nonzero().squeeze(1)
        if not len(spoken):
            return pictures
        weight = self.config.text_weight
        found = torch.where(has_words[:, None], (1 - weight) * pictures, pictures)
        of_words = self._words(words.token_ids[spoken], words.mask[spoken])
        return functional.normalize(found.index_add(0, spoken, weight * of_words), dim=-1)

    def _words(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors `(rows, dim)` of framed token ids."""
        known = {"attention_mask": mask.long()} if self._is_clip else {}
        found = self.module.get_text_features(input_ids=token_ids, **known)
        return functional.normalize(found.pooler_output.float(), dim=-1)

    def _pictures(self, **shown: Tensor) -> Tensor:
        """Unit vectors `(pictures, dim)` of pictures as the tower reads them."""
        found = self.module.get_image_features(**shown)
        return functional.normalize(found.pooler_output.float(), dim=-1)

    def _frame(self) -> tuple[list[int], list[int]]:
        """Tokens before and behind a text."""
        if self._is_clip:
            return framing_tokens(self.tokenizer)
        ending: Any = self.tokenizer.eos_token_id
        return [], [ending]


def _cut(processor: Any, picture: Image.Image, side: int) -> np.ndarray:
    """A picture as the processor cuts it, before its values are normalised: `(side, side, 3)` uint8."""
    found = processor(images=[picture], do_rescale=False, do_normalize=False, return_tensors="np")
    pixels = np.asarray(found["pixel_values"][0])
    assert pixels.shape == (3, side, side)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)).astype(np.uint8)


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
