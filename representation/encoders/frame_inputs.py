"""What every encoder does with a frame before its model sees it, and with its weights to name them."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from moon_rec.errors import EncoderError
from moon_rec.files import DIGEST_DIGITS
from moon_rec.progress import progress as progress_bar
from representation.interface import Encoder, Modality
from representation.model.prompt import values_of

NEEDED = {"both": "title", "text": "title", "image": "image"}


def all_it_reads(encoder: Encoder) -> Modality:
    """The modality that shows an encoder all it can read: `both`, or the one kind it knows."""
    if {"text", "image"} <= encoder.modalities:
        return "both"
    return "text" if "text" in encoder.modalities else "image"


def check_items(frame: pl.DataFrame, modality: str, modalities: frozenset[str]) -> None:
    """
    Raises:
        EncoderError: no such modality, one that is not read, a column absent, or modality `image` and a row without a picture.
    """
    if modality not in NEEDED:
        raise EncoderError(f"modality {modality!r}: wanted both, text or image")
    wanted = {"text", "image"} if modality == "both" else {modality}
    if wanted - modalities:
        kinds = " and ".join(sorted(modalities))
        raise EncoderError(
            f"modality {modality!r}: this encoder reads {kinds} alone; ask for modality {kinds}"
        )
    need_column(frame, NEEDED[modality])
    if modality == "image":
        missing = frame["image"].is_null().arg_true()
        if len(missing):
            name = row_names(frame, "item_id", "items.image of item")[missing[0]]
            raise EncoderError(f"{name} is null where modality is image")


def query_columns(
    frame: pl.DataFrame, modalities: frozenset[str]
) -> tuple[list[str], list[bytes | None]]:
    """Texts in normal form (empty where null) and pictures of queries, of the kinds that are read.

    Raises:
        EncoderError: a row with none of them.
    """
    texts: Sequence[str | None] = [None] * frame.height
    pictures: list[bytes | None] = [None] * frame.height
    if "text" in modalities:
        texts = values_of(frame, "query_text")
    if "image" in modalities:
        pictures = pictures_of(frame, "query_image")
    for place, (text, picture) in enumerate(zip(texts, pictures, strict=True)):
        if not text and picture is None:
            row = row_names(frame, "search_id", "search")[place]
            if len(modalities) == 2:
                raise EncoderError(
                    f"{row} has neither query_text nor query_image; give one of them"
                )
            kind = next(iter(modalities))
            raise EncoderError(
                f"{row} has no query_{kind}, and this encoder reads {kind} alone; leave such queries out"
            )
    return [text or "" for text in texts], pictures


def need_column(frame: pl.DataFrame, name: str) -> None:
    """
    Raises:
        EncoderError: the frame has no such column.
    """
    if name not in frame.columns:
        raise EncoderError(f"the frame has no column {name!r}; it has {', '.join(frame.columns)}")


def row_names(frame: pl.DataFrame, column: str, kind: str) -> list[str]:
    """What an error calls each row."""
    if column in frame.columns:
        return [f"{kind} {value}" for value in frame[column]]
    return [f"{kind} in row {row}" for row in range(frame.height)]


def pictures_of(frame: pl.DataFrame, column: str) -> list[bytes | None]:
    """Encoded pictures; all None without the column."""
    return frame[column].to_list() if column in frame.columns else [None] * frame.height


def in_batches(order: np.ndarray, batch_size: int, description: str) -> Iterator[np.ndarray]:
    """Pieces of `order`, with a progress bar of that description (none where it is empty).

    Raises:
        EncoderError: a batch size below 1.
    """
    if batch_size < 1:
        raise EncoderError(f"batch_size {batch_size} must be at least 1")
    pieces = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    if not description:
        yield from pieces
        return
    with progress_bar(f"encode {description}", len(order)) as bar:
        for piece in pieces:
            yield piece
            bar.advance(len(piece))


def framing_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Special tokens that the tokenizer puts before and after a text."""
    bare = tokenizer.encode("a", add_special_tokens=False)
    full = tokenizer.encode("a", add_special_tokens=True)
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []


def pad_right(rows: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids `(batch, length)` int64 and the mask of real ones."""
    length = max(len(row) for row in rows)
    token_ids = np.full((len(rows), length), padding, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=bool)
    for place, row in enumerate(rows):
        token_ids[place, : len(row)] = row
        mask[place, : len(row)] = True
    return torch.from_numpy(token_ids), torch.from_numpy(mask)


def digest_of_weights(
    settings: str, tokenizer: PreTrainedTokenizerBase, weights: dict[str, Tensor]
) -> str:
    """16 hex digits of a config's digest, a vocabulary and weights: all that decides a vector."""
    state = hashlib.sha256(settings.encode())
    state.update(repr(sorted(tokenizer.get_vocab().items())).encode())
    for name, values in sorted(weights.items()):
        state.update(f"{name}{values.dtype}{tuple(values.shape)}".encode())
        flat = values.detach().cpu().reshape(-1).view(torch.uint8)  # a scalar has no bytes to view
        state.update(flat.numpy().data)
    return state.hexdigest()[:DIGEST_DIGITS]


def where_to(device: Any) -> torch.device:
    """`device`, or a GPU where there is one."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def in_float32(device: torch.device) -> AbstractContextManager[Any]:
    """Matrix products in float32 within the block, also where a training has them narrower.

    Only where it has: leaving `torch.autocast` drops the narrow copies of weights that all threads share. A batch made beside a step would have that step make them twice, and
    gradients add up otherwise.
    """
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
