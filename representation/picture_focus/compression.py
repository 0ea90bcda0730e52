"""NoteLLM-2's compression of a picture to a token before the words (mICL, arXiv 2405.16789).

    row:    prompt, picture, <IMG_EMB>, words, <NOTE_EMB>
    vectors: n_v, the state at <IMG_EMB>, of the picture alone; n_m, the state at <NOTE_EMB>, of all
    loss:   L = (1 - w) L_m + w L_v         each the contrastive loss, of these vectors of both sides (`posttraining/step.py`)

The paper writes a prompt with two slots, "compress the image into one word" and "compress this note into one word", before a causal language model, and reads the
state in front of <IMG_EMB> and the last one. Its published weights are 9 to 1, `visual_weight` w = .1 here. Ours -> theirs: `tokens` -> the embeddings of <IMG_EMB> and of the slot at the end.
Notable choices, ours:
- Two trained embeddings in place of the two sentences: they cost two tokens and no vocabulary; a tokenizer stays as it was.
- An encoder that attends in both directions would let <IMG_EMB> read the words. So what stands before and at it sees nothing that stands behind it; the words see all. Under causal
  attention that is so anyway.
- A row without a picture has no <IMG_EMB>, and its n_v is its n_m: a search by words learns to find the picture's own vector, too.
- With `note = "pooled"` there is no token at the end, and n_m is what the encoder pools.
An encoder does not start as it was: its vector is read elsewhere, and the picture no longer sees the words.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moon_rec.errors import EncoderError
from moon_rec.seeds import seed_of
from representation.picture_focus.config import CompressionConfig

NAME = "compression"
"""Of the part in a backbone's module."""
_LOOKED_AT = 256
"""Embeddings whose size new ones are given."""


class Places(NamedTuple):
    """Where a batch's slots are, `(batch,)` int64 each.

    Attributes:
        image: of <IMG_EMB>; -1 in a row without a picture.
        last: of the row's last token: <NOTE_EMB>, where there is one.
    """

    image: Tensor
    last: Tensor

    @property
    def num_before(self) -> Tensor:
        """Tokens up to and with <IMG_EMB>, which see nothing behind it; 0 in a row without a picture."""
        return self.image + 1

    @classmethod
    def of(cls, is_picture: Tensor, mask: Tensor) -> "Places":
        """
        Args:
            is_picture: `(batch, length)`, True at a picture's tokens, which one token ends and <IMG_EMB> follows.
            mask: `(batch, length)`, True where a token is real.
        """
        numbers = torch.arange(mask.shape[1], device=mask.device)
        end = torch.where(is_picture, numbers, -1).amax(dim=1)
        return cls(torch.where(end >= 0, end + 2, end), mask.sum(dim=1) - 1)


class Compression(nn.Module):
    """The embeddings of the slots.

    Attributes:
        tokens: of <IMG_EMB>, and of <NOTE_EMB> where there is one, `(1 or 2, dim)`.
    """

    def __init__(self, dim: int, config: CompressionConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Parameter(torch.zeros(2 if config.note == "token" else 1, dim))

    def enter(self, states: Tensor, places: Places) -> Tensor:
        """States that enter the language model, `(batch, length, dim)`, with the slots' embeddings in their places."""
        tokens = self.tokens.to(states.dtype)
        numbers = torch.arange(states.shape[1], device=states.device)
        is_image = numbers == places.image[:, None]
        states = torch.where(is_image[..., None], tokens[0], states)
        if self.config.note == "token":
            is_note = numbers == places.last[:, None]
            states = torch.where(is_note[..., None], tokens[1], states)
        return states

    def image_states(self, states: Tensor, places: Places, otherwise: Tensor) -> Tensor:
        """The states at <IMG_EMB>, `(batch, dim)` in the dtype of `otherwise`, which stands for a row without one."""
        rows = torch.arange(len(states), device=states.device)
        found = states[rows, places.image.clamp(min=0)].to(otherwise.dtype)
        return torch.where((places.image >= 0)[:, None], found, otherwise)


def compression_of(module: nn.Module) -> Compression | None:
    """The slots that were put into a backbone's module; None: it has none."""
    return getattr(module, NAME, None)


def put_compression(module: Any, config: CompressionConfig, seed: int = 0) -> None:
    """Put slots into a backbone's module, in place: embeddings drawn with the seed, of the size that words' have.

    Raises:
        EncoderError: it has them already.
    """
    if compression_of(module) is not None:
        raise EncoderError(
            "the encoder has compression_tokens already; leave them out, or start from an encoder without"
        )
    words = module.get_input_embeddings()
    made = Compression(module.config.text_config.hidden_size, config)
    made.to(words.weight.device, words.weight.dtype)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, NAME))
        some = torch.arange(min(_LOOKED_AT, len(words.weight)), device=words.weight.device)
        size = words(some).float().square().mean().sqrt()  # as they enter: Gemma scales them
        drawn = torch.randn(made.tokens.shape).to(size.device) * size
        made.tokens.copy_(drawn)
    setattr(module, NAME, made.train(module.training))
