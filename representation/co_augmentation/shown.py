"""How a training's batch shows products: with their enriched titles and expanded pictures, in the steps that have them.

MOON2.0's positives and negatives carry an enriched title and n_c expanded pictures beside their own, h of (2L + (n_c + 1) V) x D (arXiv 2511.12449). Notable choices:
- A step is of one form: all its products, hard negatives among them, have as many pictures, so that the form of a row never tells which one belongs to a query. A product with fewer
  than n_c kept pictures shows its own again; one without an enriched title is shown by its own words.
- Which steps, and which pictures of a product, is drawn for the whole batch, whoever makes it.
- Queries have none of it, nor have the pictures and texts that are aligned within a product (L_intra). The encoder does not know of it: what it saves and embeds later is a product as it is.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from moon_rec.errors import ConfigError
from moon_rec.progress import say
from moon_rec.seeds import generator
from representation.co_augmentation.config import CoAugmentationConfig
from representation.co_augmentation.files import PICTURES, Augmentation
from representation.encoder import ProductEncoder
from representation.model.prompt import SEPARATOR, product_texts
from representation.trainable import TextKind, Trainable
from representation.training.picture_file import PictureFile
from representation.training.picture_store import PictureStore

Shown = tuple[list[list[int]], "np.ndarray | Tensor | None"]


class CoAugmented:
    """Of one training.

    Args:
        items: the products that batches show, ascending by `item_id`, with the columns of `prompt.TEXT_COLUMNS`.
        kinds: of texts that batches show of products.
        shows_pictures: whether batches show pictures of products.
    """

    def __init__(
        self,
        config: CoAugmentationConfig,
        augmentation: Augmentation,
        encoder: Trainable,
        items: pl.DataFrame,
        kinds: Sequence[TextKind],
        shows_pictures: bool,
        seed: int,
        scratch_bytes: int,
    ) -> None:
        self._config, self._seed = config, seed
        self._tokens: dict[TextKind, list[list[int]]] = {}
        if config.titles != "none":
            self._tokens = _tokens(config, augmentation, encoder, items, kinds)
        self._places = np.full((items.height, 0), -1, np.int64)
        if config.pictures != "none" and shows_pictures:
            self._places = _places(augmentation, items["item_id"])
            self._pictures = _store(augmentation, encoder, scratch_bytes)
        self._tell(items.height)

    def _tell(self, num_items: int) -> None:
        said = {kind: sum(map(bool, rows)) for kind, rows in self._tokens.items()}
        counts = [f"{count:,} have an enriched title" for count in list(said.values())[:1]]
        if self._places.shape[1]:
            pictured = (self._places >= 0).any(axis=1).sum()
            counts.append(f"{pictured:,} expanded pictures")
        say(
            f"co-augmentation: of {num_items:,} products {' and '.join(counts) or 'none has any'}; in {self._config.share:g} of the steps"
        )

    def is_in(self, step: int) -> bool:
        """Whether a step's products are shown so."""
        drawn = generator(self._seed, "co-augmented steps", step).random()
        return bool(drawn < self._config.share)

    def of(
        self, shown: Shown, kind: TextKind | None, rows: np.ndarray, own: slice, *names: str | int
    ) -> Shown:
        """What is shown of products of a step in place of `shown`.

        Args:
            shown: of the own rows: tokens, and pictures `(own, ...)` of all or of none.
            kind: of their texts; None: they show none.
            rows: of all products of the batch, on all processes; `own` of them are shown.
            names: of the stream that pictures are drawn by.
        """
        texts, pictures = shown
        if kind is not None and kind in self._tokens:
            further = [self._tokens[kind][row] for row in rows[own]]
            if self._config.titles == "beside":
                texts = [text + more for text, more in zip(texts, further, strict=True)]
            else:
                texts = [more or text for text, more in zip(texts, further, strict=True)]
        if pictures is not None and self._places.shape[1]:
            chosen = self._drawn(rows, *names)[own]
            pictures = self._with(torch.as_tensor(pictures), chosen)
        return texts, pictures

    def _drawn(self, rows: np.ndarray, *names: str | int) -> np.ndarray:
        """Places `(rows, count)` of expanded pictures, in a drawn order; -1 where a product has no more."""
        config = self._config
        count = config.num_pictures if config.pictures == "beside" else 1
        places = self._places[rows]
        ranks = generator(self._seed, "expanded pictures", *names).random(places.shape)
        order = np.argsort(np.where(places >= 0, ranks, 2.0), axis=1, kind="stable")[:, :count]
        found = np.full((len(rows), count), -1, np.int64)
        found[:, : order.shape[1]] = np.take_along_axis(places, order, axis=1)
        return found

    def _with(self, pictures: Tensor, chosen: np.ndarray) -> Tensor:
        """Own pictures `(rows, ...)` with those of `chosen` `(rows, count)` beside them or in their place."""
        has, count = torch.from_numpy(chosen >= 0), chosen.shape[1]
        is_square = pictures.ndim == 4
        squares = pictures[:, None] if is_square else pictures  # (rows, 1 or 2, side, side, 3)
        further = squares[:, None].repeat(1, count, *[1] * (squares.ndim - 1))
        if has.any():
            taken = self._pictures.take_to(chosen[chosen >= 0], pictures.device)
            further[has.to(pictures.device)] = taken[:, None] if is_square else taken
        if self._config.pictures == "instead":
            return further[:, 0, 0] if is_square else further[:, 0]
        return torch.cat([squares, further.flatten(1, 2)], dim=1)


def check_co_augmentation(config: CoAugmentationConfig | None, encoder: Trainable) -> None:
    """
    Raises:
        ConfigError: text or pictures beside others for an encoder that reads one of each, or pictures for one that reads none.
    """
    if config is None:
        return
    if config.pictures != "none" and "image" not in encoder.modalities:
        raise ConfigError(
            f"co_augmentation.pictures = {config.pictures!r}: the encoder reads text alone; set it to 'none'"
        )
    for name in ("titles", "pictures"):
        if getattr(config, name) == "beside" and not isinstance(encoder, ProductEncoder):
            raise ConfigError(
                f"co_augmentation.{name} = 'beside': only a language model reads several in a row, and this encoder has none; set it to 'instead' or 'none'"
            )


def _tokens(
    config: CoAugmentationConfig,
    augmentation: Augmentation,
    encoder: Trainable,
    items: pl.DataFrame,
    kinds: Sequence[TextKind],
) -> dict[TextKind, list[list[int]]]:
    """What is put beside or in place of each product's text, by kind of text; empty where there is no enriched title."""
    with_titles = items.join(augmentation.titles, on="item_id", how="left", maintain_order="left")
    enriched = [text or "" for text in with_titles["enriched"]]
    found: dict[TextKind, list[list[int]]] = {}
    for kind in kinds:
        if config.titles == "beside":
            texts = [f"{SEPARATOR}{text}" if text else "" for text in enriched]
            found[kind] = encoder.tokens(texts, "item", "title")
            continue
        texts = enriched
        if kind == "richer":
            renamed = with_titles.with_columns(title=pl.col("enriched"))
            texts = product_texts(renamed, "richer", encoder.says_price)
        rows = encoder.tokens(texts, "item", kind)
        found[kind] = [row if text else [] for row, text in zip(rows, enriched, strict=True)]
    return found


def _places(augmentation: Augmentation, item_ids: pl.Series) -> np.ndarray:
    """Where the expanded pictures of each product lie in the file, `(products, most of one)`; -1 behind the last."""
    rows = pl.DataFrame({"item_id": item_ids}).with_row_index("row")
    found = augmentation.pictures.with_row_index("place").join(rows, on="item_id").sort("place")
    found = found.with_columns(turn=pl.int_range(pl.len()).over("row"))
    turns = found["turn"].to_numpy()
    places = np.full((len(item_ids), int(turns.max(initial=-1)) + 1), -1, np.int64)
    places[found["row"].to_numpy(), turns] = found["place"].to_numpy()
    return places


def _store(augmentation: Augmentation, encoder: Trainable, scratch_bytes: int) -> PictureStore:
    file = Path(augmentation.folder) / PICTURES
    rows = augmentation.pictures.iter_rows()
    names = [f"{file}: {kind} picture of item {item_id}" for item_id, kind in rows]
    places = np.arange(len(names))
    pictures = PictureFile.of_pieces(augmentation.pieces, places, str(file)) if names else []
    assert encoder.image_size is not None
    given = {"scratch_bytes": scratch_bytes, "cut": encoder.cut}
    return PictureStore(pictures, names, encoder.image_size, **given)
