"""Rows of tokens from prompts, pictures and texts, and batches of them for the backbone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from moon_rec.errors import EncoderError
from representation.encoders.frame_inputs import framing_tokens
from representation.mixture.guided import split_roles
from representation.model.backbone import Inputs
from representation.model.pixels import PictureLayout
from representation.model.prompt import CONTENT
from representation.model.tokenizer import (
    IMAGE_PAD,
    PADDING,
    SPECIAL_TOKENS,
    VISION_END,
    VISION_START,
    encode_plain,
)

LENGTH_STEP = 4
"""Ragged batches are padded to a multiple of this: each new shape costs a matrix library some preparation, and it keeps only so many."""

_SHOWN = 1 << 40
"""Added to the ids of what a row shows in words; a token id with its role is less (`mixture.guided`)."""
CONTENT_ID = -1
"""Among a prompt's token ids, the place of picture and text."""


class Composer:
    """Knows the tokenizer and how many visual tokens a picture takes.

    Args:
        num_squares: that stand for a picture: 2, where its core region stands behind it.
        slots: whether an embedded row has a slot behind its picture, and one at its end (`picture_focus.compression`).
        tells_words: `Inputs.words` says which tokens are of a product's or a search's own words, and no prompt's.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        layout: PictureLayout,
        num_squares: int = 1,
        tells_words: bool = False,
        slots: tuple[bool, bool] = (False, False),
    ) -> None:
        known = tokenizer.get_vocab()
        needed = [PADDING, IMAGE_PAD, VISION_START, VISION_END]
        missing = [name for name in needed if name not in known]
        if missing:
            raise EncoderError(
                f"the tokenizer has no {', '.join(missing)}: it is neither a Qwen-VL's nor of an encoder that representation.compose made"
            )
        self.tokenizer, self.layout, self._tells_words = tokenizer, layout, tells_words
        self._start, _ = framing_tokens(tokenizer)  # of a text: Gemma and Llama begin with one
        self.special = {name: known[name] for name in SPECIAL_TOKENS if name in known}
        self.num_squares = num_squares
        self._pictures = num_squares * [
            self.special[VISION_START],
            *[self.special[IMAGE_PAD]] * layout.num_tokens,
            self.special[VISION_END],
        ]
        image, note = slots
        self._image_slot = [self.special[VISION_END]] * image  # what stands there does not matter
        self._note_slot = [self.special[VISION_END]] * note

    @property
    def num_behind_picture(self) -> int:
        """Tokens between those of a row's picture and its words: what ends a picture, and its slot."""
        return 1 + len(self._image_slot)

    def prompt(self, text: str) -> list[int]:
        """Token ids of our own words, in which special tokens count as such; `CONTENT_ID` where they say `{content}`."""
        before, place, behind = text.partition(CONTENT)
        ids = self.tokenizer.encode(before, add_special_tokens=False) if before else []
        return [*ids, CONTENT_ID, *self.prompt(behind)] if place else ids

    def texts(
        self,
        texts: Sequence[str],
        length: int,
        prompt: str = "",
        marked: bool = False,
        are_shown: bool = True,
    ) -> list[list[int]]:
        """Token ids of other people's words behind a `prompt` of ours, cut to `length`; special tokens' names in them are plain characters.

        Args:
            marked: ids carry the roles that texts are marked with (`mixture.guided`).
            are_shown: they are what a row shows of a product or a search, no question or answer about it. Where `tells_words`, ids carry that, as they do roles; `batch` takes it off.
        """
        tokenizer: Any = self.tokenizer
        step = _SHOWN if self._tells_words and are_shown else 0
        return [
            [token + step for token in ids[:length]]
            for ids in encode_plain(tokenizer, texts, prompt=prompt, marked=marked)
        ]

    def row(self, prompt: list[int], num_pictures: int, text: list[int]) -> list[int]:
        """Prompt, the places of each picture (with its core region), then text; these two where the prompt has a place for them."""
        content = self._pictures * int(num_pictures) + text
        if CONTENT_ID not in prompt:
            return [*self._start, *prompt, *content]
        place = prompt.index(CONTENT_ID)
        return [*self._start, *prompt[:place], *content, *prompt[place + 1 :]]

    def embedded_row(self, prompt: list[int], num_pictures: int, text: list[int]) -> list[int]:
        """`row` of what is made a vector, with its slots: that of pictures behind the last of them."""
        content = self._image_slot + text if num_pictures else text
        return self.row(prompt, num_pictures, content) + self._note_slot

    def batch(self, rows: Sequence[list[int]], pictures: np.ndarray | Tensor | None) -> Inputs:
        """Pad rows on the right to the longest.

        Args:
            pictures: `(rows with a picture, image_size, image_size, 3)` uint8, in row order, an array or a tensor on any device; `(rows, squares, ...)` of several; None or empty
                without pictures.
        """
        length = max(len(row) for row in rows)
        if any(len(row) != length for row in rows):
            length = -(-length // LENGTH_STEP) * LENGTH_STEP
        token_ids = np.full((len(rows), length), self.special[PADDING], dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=bool)
        for place, row in enumerate(rows):
            token_ids[place, : len(row)] = row
            mask[place, : len(row)] = True
        pixels = None
        if pictures is not None and len(pictures):
            pixels = self.layout.pixels(pictures.reshape(-1, *pictures.shape[-3:]))
        tokens, words = _split_shown(torch.from_numpy(token_ids))
        plain, roles = split_roles(tokens)
        return Inputs(plain, torch.from_numpy(mask), pixels, roles, words=words)


def _split_shown(tokens: Tensor) -> tuple[Tensor, Tensor | None]:
    """Token ids, and where they are of what a row shows in words, each of the shape of `tokens`; None where none is."""
    is_shown = tokens >= _SHOWN
    return (tokens - _SHOWN * is_shown, is_shown) if is_shown.any() else (tokens, None)
