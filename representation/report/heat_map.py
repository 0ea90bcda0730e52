"""Where in a picture an encoder looks for given words: three readings of the same question, each a grid over the picture's visual tokens.

- **Attention**: put picture and words into one row, as a product is read (`prompt, picture, words`), and take how much the words' tokens attend to each visual
  token, mean over words, heads and layers; a grid that sums to 1. Some tokens are attended to whatever is asked (registers, corners), so the same for other
  words is taken as the measure: `against` holds the mean over them, and log2(attention / against) says what *these* words draw more attention to.
- **Gradient**: of the cosine between the words as a query and the picture as a product, by each visual token's strength: d cos / d a_j where token j enters the
  language model as (1 + a_j) times itself (its DeepStack features with it). That is gradient times input, summed over the token's width; signed, exact to first order.
- **Occlusion**: how far that cosine falls when a square of the picture is painted in the picture's mean colour: cos(whole) - cos(painted), of overlapping squares,
  each pixel the mean over the squares that cover it. Slower, but it asks what the encoder does, where attention only shows what it mixes.

Attention is no explanation (Jain and Wallace 2019), a gradient is local, and a painted square is a picture that the encoder never saw: where the three agree one
may believe them. Heat maps of MOON2.0 are from attention; how they are computed is not public, so all of this is our choice.

Weights are read through hooks on the language model's own attention modules, run eagerly for the purpose; nothing of the encoder is changed.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moon_rec.errors import EncoderError
from representation.encoder import ProductEncoder
from representation.model.attention_weights import eager, weights_of
from representation.model.backbone import Backbone, Embedded

SQUARES = 8
"""Steps along a side in which the painted square moves; the square is two steps wide."""

CHUNK = 16
"""Pictures at once: attention's weights and gradients are kept for as many."""


@dataclass(frozen=True)
class HeatMaps:
    """Readings of one text on pictures.

    Attributes:
        attention: `(pictures, side, side)` float64, each summing to 1.
        against: the same of the other texts, their mean; None without any.
        gradient: `(pictures, side, side)`, signed.
        occlusion: `(pictures, image_size, image_size)`, signed.
        cosine: `(pictures,)` cosine of the text as a query and the picture as a product.
    """

    attention: np.ndarray
    against: np.ndarray | None
    gradient: np.ndarray
    occlusion: np.ndarray
    cosine: np.ndarray

    @property
    def relative(self) -> np.ndarray | None:
        """log2 of attention over that of the other texts: +1 is twice as much."""
        return None if self.against is None else np.log2(self.attention / self.against)


def heat_maps(
    encoder: ProductEncoder,
    pictures: np.ndarray,
    text: str,
    against: Sequence[str] = (),
    layers: int | None = None,
) -> HeatMaps:
    """All three readings.

    Args:
        pictures: `(pictures, image_size, image_size, 3)` uint8, as `pixels.square` makes them.
        against: other texts, whose mean attention is the measure.
        layers: read the attention of so many last layers; None, of all.

    Raises:
        EncoderError: a text that holds no token, another family of encoder, or more layers than there are.
    """
    texts = [text, *against]
    mean = attention_maps(encoder, pictures, texts, layers)
    gradient, cosine = gradient_maps(encoder, pictures, text)
    return HeatMaps(
        attention=mean[0],
        against=mean[1:].mean(axis=0) if against else None,
        gradient=gradient,
        occlusion=occlusion_maps(encoder, pictures, text),
        cosine=cosine,
    )


@torch.no_grad()
def attention_maps(
    encoder: ProductEncoder, pictures: np.ndarray, texts: Sequence[str], layers: int | None = None
) -> np.ndarray:
    """Attention of each text's tokens to each picture's, float64 `(texts, pictures, side, side)`; each grid sums to 1."""
    modules = attention_modules(encoder)
    if layers is not None and not 1 <= layers <= len(modules):
        raise EncoderError(
            f"layers is {layers}; this encoder has {len(modules)}: name 1 to {len(modules)}"
        )
    chosen = modules[-layers:] if layers else modules
    prompt = encoder.composer.prompt(encoder.config.prompt.item_prompt)
    grids = []
    for words in _ids(encoder, texts):
        row = encoder.composer.embedded_row(prompt, True, words)
        places = [at for at, token in enumerate(row) if token == _picture_id(encoder)]
        first = places[-1] + 1 + encoder.composer.num_behind_picture
        asking = slice(first, first + len(words))
        for part in _chunks(pictures):
            inputs = encoder.composer.batch([row] * len(part), part).to(encoder.device)
            with _evaluating(encoder), eager(chosen), weights_of(chosen) as weights:
                encoder.embed(inputs)
            of_grid = places[encoder.layout.num_leading :]
            shares = [
                each[:, :, asking][..., of_grid].double().mean(dim=(1, 2)) for each in weights
            ]
            grids.append(torch.stack(shares).mean(dim=0).cpu().numpy())
    side = encoder.layout.side
    grid = np.concatenate(grids).reshape(len(texts), len(pictures), side, side)
    return grid / grid.sum(axis=(2, 3), keepdims=True)


def gradient_maps(
    encoder: ProductEncoder, pictures: np.ndarray, text: str
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the cosine by each visual token's strength `(pictures, side, side)`, and the cosine `(pictures,)`; float64."""
    query, num_tokens = _query_vector(encoder, text), encoder.layout.num_tokens
    grids, cosines = [], []
    for part in _chunks(pictures):
        strength = torch.ones(len(part), num_tokens, device=encoder.device, requires_grad=True)
        cosine = picture_cosines(encoder, part, query, strength)
        (gradient,) = torch.autograd.grad(cosine.sum(), strength)
        grids.append(gradient.double().cpu().numpy())
        cosines.append(cosine.detach().double().cpu().numpy())
    side, leading = encoder.layout.side, encoder.layout.num_leading
    of_grid = np.concatenate(grids)[:, leading:]
    return of_grid.reshape(len(pictures), side, side), np.concatenate(cosines)


def picture_cosines(
    encoder: ProductEncoder, pictures: np.ndarray, query: Tensor, strength: Tensor | None = None
) -> Tensor:
    """Cosine of each picture, as a product without words, and the query `(dim,)`; `(pictures,)`.

    Args:
        strength: `(pictures, tokens)`, what each visual token is multiplied by as it enters the language model; ones where None.
    """
    prompt = encoder.composer.prompt(encoder.config.prompt.item_prompt)
    rows = [encoder.composer.embedded_row(prompt, True, [])] * len(pictures)
    inputs = encoder.composer.batch(rows, pictures).to(encoder.device)
    with _evaluating(encoder):
        embedded = encoder.backbone.embedded(inputs)
        return encoder.vectors_of(_scaled(embedded, strength), inputs) @ query


@torch.no_grad()
def occlusion_maps(
    encoder: ProductEncoder, pictures: np.ndarray, text: str, squares: int = SQUARES
) -> np.ndarray:
    """Fall of the cosine by pixel, `(pictures, image_size, image_size)` float64: the mean over the painted squares that cover it."""
    query = _query_vector(encoder, text)
    size = encoder.config.image_size
    step = max(1, size // squares)
    starts = range(0, size - step, step)
    sides = [slice(start, start + 2 * step) for start in starts]
    places = [(down, right) for down in sides for right in sides]
    maps, covered = np.zeros((len(pictures), size, size)), np.zeros((size, size))
    for square in places:
        covered[square] += 1
    for number, picture in enumerate(pictures):
        painted = np.repeat(picture[None], 1 + len(places), axis=0)
        for copy, square in zip(painted[1:], places, strict=True):
            copy[square] = picture.mean((0, 1)).round()
        parts = [picture_cosines(encoder, part, query) for part in _chunks(painted)]
        cosines = torch.cat(parts).double().cpu().numpy()
        for square, fall in zip(places, cosines[0] - cosines[1:], strict=True):
            maps[number][square] += fall
    return maps / covered


def attention_modules(encoder: Any) -> list[Any]:
    """The self-attention modules of the language model, first layer first.

    Raises:
        EncoderError: an encoder that is no multimodal language model with such modules.
    """
    layers = getattr(_language_model(encoder), "layers", [])
    modules = [getattr(layer, "self_attn", None) for layer in layers]
    if not modules or None in modules:
        raise EncoderError(
            f"{type(encoder).__name__} has no layers with self_attn in its language model: heat maps need a Qwen-VL or a composed encoder"
        )
    return modules


def _language_model(encoder: Any) -> Any:
    backbone = getattr(encoder, "backbone", None)
    if not isinstance(backbone, Backbone):
        raise EncoderError(
            f"{type(encoder).__name__} holds no multimodal language model: heat maps need a Qwen-VL or a composed encoder"
        )
    return backbone.language_model


def _picture_id(encoder: ProductEncoder) -> int:
    return encoder.backbone.image_token_id


def _ids(encoder: ProductEncoder, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text as a query has them."""
    ids = encoder.composer.texts(texts, encoder.config.prompt.query_tokens)
    for text, each in zip(texts, ids, strict=True):
        if not each:
            raise EncoderError(f"the text {text!r} holds no token; give some words")
    return ids


@torch.no_grad()
def _query_vector(encoder: ProductEncoder, text: str) -> Tensor:
    prompt = encoder.composer.prompt(encoder.config.prompt.query_prompt)
    row = encoder.composer.embedded_row(prompt, False, _ids(encoder, [text])[0])
    return encoder.embed(encoder.composer.batch([row], None).to(encoder.device))[0]


def _chunks(pictures: np.ndarray) -> Iterator[np.ndarray]:
    return (pictures[at : at + CHUNK] for at in range(0, len(pictures), CHUNK))


@contextlib.contextmanager
def _evaluating(encoder: ProductEncoder) -> Iterator[None]:
    """Without dropout, whatever the encoder is being used for."""
    was_training = encoder.module.training
    encoder.module.eval()
    try:
        yield
    finally:
        encoder.module.train(was_training)


def _scaled(embedded: Embedded, strength: Tensor | None) -> Embedded:
    """Visual tokens, and their DeepStack features, multiplied as they enter the language model."""
    if strength is None:
        return embedded
    states = embedded.states
    factors = torch.ones(states.shape[:2], dtype=strength.dtype, device=strength.device)
    factors = factors.masked_scatter(embedded.is_picture, strength)
    added = [layer * strength.view(*layer.shape[:2], 1).to(layer.dtype) for layer in embedded.added]
    return embedded._replace(states=states * factors[..., None].to(states.dtype), added=added)
