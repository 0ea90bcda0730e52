"""What every encoder does alike, whatever is under it: reading the rows of a frame, and being moved, adapted, named and saved.

An encoder brings its own `tokens`, `prepare` and `embed` (`representation.trainable`); a frame is read by these, so an encoder reads what it is trained on.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from moon_rec.masking import masked_mean
from moon_rec.outputs import atomic_folder
from moon_rec.shop.pictures import decode
from representation.core_region.box import Box
from representation.core_region.crops import boxes_in, boxes_told, cut_at
from representation.encoders.checkpoint import ENCODER, Family, write_about
from representation.encoders.frame_inputs import (
    all_it_reads,
    check_items,
    digest_of_weights,
    in_batches,
    pictures_of,
    query_columns,
    row_names,
)
from representation.interface import Modality
from representation.model.lora import LoraConfig, merged_state, save_merged, tower_layers, with_lora
from representation.model.pixels import square
from representation.model.prompt import Richness, product_texts
from representation.recipes.mark import RecipeMark
from representation.trainable import Cut, Side, TextKind

if TYPE_CHECKING:
    computed_once = property
else:  # type checkers do not see that a cached property answers a protocol's property
    computed_once = cached_property


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One state a row, `(rows, dim)` in float32, of states `(rows, tokens, dim)`: their `mean` over real tokens, the first one's (`cls`), or the `last` real one's."""
    states = states.float()
    if pooling == "mean":
        return masked_mean(states, mask, dim=1)
    place = mask.sum(dim=1) - 1 if pooling == "last" else 0
    return states[torch.arange(len(mask), device=mask.device), place]


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """`pool` at unit length."""
    return functional.normalize(pool(states, mask, pooling), dim=-1)


class Seen(NamedTuple):
    """A row's picture, how it is cut, where its core region is, where that is known, and what an error calls it."""

    picture: Image.Image
    cut: Cut
    box: Box | None
    name: str

    def squares(self, size: int) -> np.ndarray:
        """What the encoder is shown of it, `(size, size, 3)` uint8; with a core region `(2, size, size, 3)`."""
        return cut_at(self.cut, self.picture, size, self.box, self.name)


class FrameEncoder:
    """Encodes the rows of a frame, and can be trained (`representation.trainable.Trainable`).

    Attributes:
        family: which kind of encoder a folder of this one says that it is.
        modalities: which of `text` and `image` it reads.
        module: the weights.
        config: settings besides weights and tokenizer.
        dim: width of a vector.
        widths: Matryoshka widths, rising, `dim` last.
    """

    family: Family
    modalities: frozenset[str]
    module: Any
    tokenizer: Any
    config: Any
    dim: int
    widths: tuple[int, ...]

    def with_module(self, module: Any) -> Self:
        """The same encoder with other weights, of the same kind of module."""
        other = copy.copy(self)
        vars(other).pop("digest", None)  # of these weights
        other.module = module
        return other

    @computed_once
    def digest(self) -> str:
        """16 hex digits of the weights, the vocabulary and the settings: what decides the vectors. Computed once: train first, ask after."""
        return digest_of_weights(self._settings(), self.tokenizer, merged_state(self.module))

    def _settings(self) -> str:
        """What decides a vector besides weights and vocabulary."""
        return self.config.digest()

    def save_pretrained(
        self,
        path: str | Path,
        overwrite: bool = False,
        beside: Callable[[Path], None] | None = None,
        recipe: RecipeMark | None = None,
    ) -> Path:
        """Write weights, tokenizer and `moon_rec.json` to the folder `path`, atomically; LoRA adapters are added to the weights, and lie beside them, too.

        Args:
            beside: writes further files, such as the training's log, into the folder before it appears.
            recipe: that the training was of; None: of none.
        """
        with atomic_folder(path, ENCODER, overwrite) as folder:
            self._write(folder)
            write_about(folder, self.family, self.digest, self.config, recipe)
            if beside is not None:
                beside(folder)
        return Path(path)

    def _write(self, folder: Path) -> None:
        """Everything but `moon_rec.json`."""
        save_merged(self.module, folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    @property
    def image_size(self) -> int | None:
        """Side of the square that a picture becomes, in pixels; None: no picture is read."""
        return None

    @property
    def cut(self) -> Cut:
        """White margins make a picture a square."""
        return square

    @property
    def item_text(self) -> Richness:
        """What is said of a product."""
        return self.config.item_text

    @property
    def says_price(self) -> bool:
        """The price is in a product's richer text."""
        return self.config.with_price

    def adapt(self, config: LoraConfig, seed: int) -> None:
        """Each tower gets adapters; see `lora.tower_layers`."""
        with_lora(self.module, config, seed, tower_layers(self.module, config))

    def tokens(self, texts: Sequence[str], side: Side, kind: TextKind) -> list[list[int]]:
        """See `Trainable.tokens`."""
        raise NotImplementedError

    def prepare(
        self, side: Side, tokens: Sequence[list[int]], pictures: np.ndarray | Tensor | None
    ) -> Any:
        """See `Trainable.prepare`."""
        raise NotImplementedError

    def embed(self, inputs: Any) -> Tensor:
        """See `Trainable.embed`."""
        raise NotImplementedError

    def encode_items(
        self,
        frame: pl.DataFrame,
        modality: Modality | None = None,
        batch_size: int = 256,
        progress: bool = True,
    ) -> np.ndarray:
        """Unit vectors of products, float32 `(rows, dim)`, in the frame's order.

        Args:
            frame: columns of the items table, at least `title` (or `image` for modality `image`); columns that are absent count as null. With a core region,
                `core_box` says where the product is on its picture, as far as it is known.
            modality: `both` takes text, and the picture where there is one; None: all that this encoder reads.

        Raises:
            EncoderError: an unknown modality, one that is not read, a needed column absent, or modality `image` and a row without a picture.
        """
        modality = modality or all_it_reads(self)
        check_items(frame, modality, self.modalities)
        texts = [""] * frame.height
        if modality != "image":
            texts = product_texts(frame, self.item_text, self.says_price)
        pictures = pictures_of(frame, "image") if modality != "text" else [None] * frame.height
        names = row_names(frame, "item_id", "items.image of item")
        tokens = self.tokens(texts, "item", self.item_text)
        boxes = boxes_in(frame, names)
        with boxes_told(self.cut if progress else None):
            return self._encode(
                "item", tokens, pictures, names, boxes, batch_size, "products" * progress
            )

    def encode_queries(
        self, frame: pl.DataFrame, batch_size: int = 256, progress: bool = True
    ) -> np.ndarray:
        """Unit vectors of queries, float32 `(rows, dim)`, in the frame's order.

        Args:
            frame: `query_text` and `query_image`, either may be null or absent, not both; of an encoder that reads one of them, that one.

        Raises:
            EncoderError: a row with nothing in it that this encoder reads.
        """
        texts, pictures = query_columns(frame, self.modalities)
        names = row_names(frame, "search_id", "searches.query_image of search")
        tokens = self.tokens(texts, "query", "words")
        boxes = boxes_in(frame, names)
        with boxes_told(self.cut if progress else None):
            return self._encode(
                "query", tokens, pictures, names, boxes, batch_size, "queries" * progress
            )

    @torch.inference_mode()
    def _encode(
        self,
        side: Side,
        tokens: Sequence[list[int]],
        pictures: Sequence[bytes | None],
        names: Sequence[str],
        boxes: Sequence[Box | None] | None,
        batch_size: int,
        description: str,
    ) -> np.ndarray:
        """Rows sorted, so a batch holds little padding; the order never shows in the result. `names` say of which row a picture is."""
        cut = self.cut
        has_picture = np.array([picture is not None for picture in pictures], dtype=bool)
        order = np.lexsort((np.array([len(row) for row in tokens]), has_picture))
        vectors = np.empty((len(tokens), self.dim), dtype=np.float32)
        was_training = self.module.training
        self.module.eval()
        for chosen in in_batches(order, batch_size, description):
            for rows in (chosen[~has_picture[chosen]], chosen[has_picture[chosen]]):
                if not len(rows):
                    continue
                shown = None
                if has_picture[rows[0]]:
                    shown = (
                        Seen(
                            decode(pictures[row] or b"", where=names[row]),
                            cut,
                            None if boxes is None else boxes[row],
                            names[row],
                        )
                        for row in map(int, rows)
                    )
                found = self._vectors(side, [tokens[row] for row in rows], shown)
                vectors[rows] = found.cpu().numpy()
        self.module.train(was_training)
        return vectors

    def _vectors(
        self, side: Side, tokens: Sequence[list[int]], shown: Iterable[Seen] | None
    ) -> Tensor:
        """Unit vectors of rows that all have a picture (and words where `tokens` are some), or none has. Pictures come decoded one at a time."""
        squares = None
        if shown is not None:
            assert self.image_size is not None
            squares = np.stack([one.squares(self.image_size) for one in shown])
        return self.embed(self.prepare(side, tokens, squares).to(self.device))
