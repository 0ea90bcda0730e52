"""Pretraining on the words that name a product: read off through the language model's own word embeddings, from its picture's tokens or from the vector.

Answers to questions teach a language model to speak of products; nothing in them asks that the vector of a picture lie where that of its words lies, which is what a search by words needs. Two tasks do:
- `picture_words`: the mean of a picture's tokens, as they enter the language model, names the product. It trains the projector, as LLaVA's first stage does (Liu et al. 2023, Visual Instruction Tuning,
  4.2: "feature alignment"), at a thirtieth of the cost, for the language model is not run.
- `vector_words`: the vector of a picture alone, and that of a title alone, name the product, before they are made unit length, read as the encoder's settings say (pooling, attention, parts such as fusion). It trains
  the language model for the use that post-training makes of it, which next-token prediction does not.

The words are those of title, main subject and attribute values, each token once. Let E be the embeddings of tokens, s the state and W the words' tokens: the loss is the cross-entropy of softmax(E s)
to the uniform distribution over W. That is the bag-of-words prediction of RetroMAE-2 (Liu et al. 2023, arXiv 2305.02564, section 3.2) and, of pictures, of Joulin et al. (2016, Learning
Visual Features from Large Weakly Supervised Data, 3.1). Taking a product's own title as what its title names is ours: both kinds of rows are to say the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from moon_rec.seeds import generator
from representation.core_region.box import Box
from representation.encoder import ProductEncoder
from representation.model.backbone import Inputs
from representation.model.prompt import category_leaves, values_of
from representation.pretraining.objective import IGNORED, pad_labels
from representation.trainable import Side
from representation.training.distributed import rank, share_of, world_size
from representation.training.picture_store import PictureStore

MOST_WORDS = 32
"""Tokens that name a product, at most."""


@dataclass
class NamingBatch:
    """Rows of pictures and rows of titles, and what each names: this process's.

    Attributes:
        sides: rows that are alike: pictures alone, titles alone.
        words: of each side `(rows, most)` int64, tokens that name the row's product, `IGNORED` behind them.
        weight: of the mean loss of the rows, so that its mean over processes is that over all rows.
        num_pairs: rows of all processes.
    """

    sides: tuple[Inputs, ...]
    words: tuple[Tensor, ...]
    weight: float
    num_pairs: int

    def to(self, device: torch.device) -> "NamingBatch":
        """The same on `device`."""
        sides = tuple(each.to(device) for each in self.sides)
        return replace(self, sides=sides, words=tuple(each.to(device) for each in self.words))

    @property
    def label(self) -> str:
        """Of none: all batches are alike."""
        return ""

    @property
    def num_tokens(self) -> int:
        """Real tokens of the own rows."""
        return sum(side.num_tokens for side in self.sides)


class NamingBatches:
    """Products in a seeded order, epoch by epoch, each as a picture and, where titles are named, too, as a title; every second step as queries show them.

    Args:
        items: what is named: `item_id`, title, category, attributes; each has a picture, in the order of `pictures`.
        batch_size: rows of a step.
        with_titles: half of a batch is of titles.
        boxes: where the core region of each picture is, as far as it is known.
    """

    def __init__(
        self,
        encoder: ProductEncoder,
        items: pl.DataFrame,
        pictures: Sequence[bytes | None],
        batch_size: int,
        with_titles: bool,
        seed: int,
        scratch_bytes: int,
        boxes: Sequence[Box | None] | None = None,
    ) -> None:
        self._encoder, self._seed, self._with_titles = encoder, seed, with_titles
        self._size = batch_size // 2 if with_titles else batch_size
        self._titles = values_of(items, "title")
        self._words = words_of(encoder, items)
        names = [f"items.image of item {item_id}" for item_id in items["item_id"]]
        self._pictures = PictureStore(
            pictures,
            names,
            encoder.layout.image_size,
            scratch_bytes=scratch_bytes,
            cut=encoder.cut,
            boxes=boxes,
        )

    def make(self, step: int) -> NamingBatch:
        """The batch of a step."""
        side: Side = "query" if step % 2 else "item"
        own = share_of(self._size, rank(), world_size())
        shown = self._rows(step)[own]
        pictures = self._pictures.take_to(shown, self._encoder.device)
        sides = [self._encoder.prepare(side, [[]] * len(shown), pictures)]
        if self._with_titles:
            titles = [self._titles[row] for row in shown]
            tokens = self._encoder.tokens(titles, side, "title")
            sides.append(self._encoder.prepare(side, tokens, None))
        words = pad_labels([self._words[row] for row in shown], MOST_WORDS)
        weight = world_size() * len(shown) / self._size
        num_rows = self._size * len(sides)
        return NamingBatch(tuple(sides), (words,) * len(sides), weight, num_rows)

    def remember_ahead(self, steps: int, folder: Path | None, shop_digest: str) -> None:
        """Have the encoder compute ahead what its frozen tower makes of the pictures that the first `steps` steps show.

        Args:
            folder: where it is kept for other trainings; None: in memory alone.
        """
        rows = np.unique(np.concatenate([self._rows(step) for step in range(steps)]))
        take = {"pictures named": (len(rows), lambda first, end: self._pictures.take(rows[first:end]))}  # fmt: skip
        self._encoder.remember({}, take, folder, shop_digest)

    def _rows(self, step: int) -> np.ndarray:
        """Products of a step: runs of an order that is drawn anew for each epoch."""
        places = np.arange(step * self._size, (step + 1) * self._size)
        count = len(self._titles)
        orders = {
            epoch: generator(self._seed, "named", int(epoch)).permutation(count)
            for epoch in np.unique(places // count)
        }
        return np.array([orders[place // count][place % count] for place in places])


def words_of(encoder: ProductEncoder, items: pl.DataFrame) -> list[list[int]]:
    """Tokens of title, main subject and attribute values of each product, each token once, up to `MOST_WORDS`."""
    values = [
        " ".join(pair["value"] for pair in pairs or [] if pair["value"])
        for pairs in values_of(items, "attributes")
    ]
    parts = zip(values_of(items, "title"), category_leaves(items), values, strict=True)
    texts = [" ".join(part for part in each if part) for each in parts]
    found = encoder.composer.texts(texts, 10_000, prompt=" ", are_shown=False)
    return [list(dict.fromkeys(tokens))[:MOST_WORDS] for tokens in found]


def naming_loss(
    encoder: ProductEncoder, sides: Sequence[Inputs], words: Sequence[Tensor], at_vector: bool
) -> Tensor:
    """Mean cross-entropy of all rows, in float32.

    Args:
        words: of each of `sides`, see `NamingBatch`.
        at_vector: read from the vector, else from the picture's tokens, of sides that all show one.
    """
    state = _at_vector if at_vector else _at_picture
    embeddings = encoder.module.get_input_embeddings().weight
    losses = []
    for inputs, named in zip(sides, words, strict=True):
        scores = functional.linear(state(encoder, inputs).to(embeddings.dtype), embeddings)
        losses.append(bag_loss(scores.float(), named))
    return torch.cat(losses).mean()


def bag_loss(scores: Tensor, words: Tensor) -> Tensor:
    """Cross-entropy `(rows,)` of the softmax of `scores` `(rows, vocabulary)` to the uniform distribution over each row's `words` `(rows, most)`."""
    is_word = words != IGNORED
    taken = scores.gather(1, words.clamp(min=0)).masked_fill(~is_word, 0.0)
    return scores.logsumexp(dim=1) - taken.sum(dim=1) / is_word.sum(dim=1).clamp(min=1)


def _at_vector(encoder: ProductEncoder, inputs: Inputs) -> Tensor:
    return encoder.unscaled(encoder.backbone.embedded(inputs), inputs)[0]


def _at_picture(encoder: ProductEncoder, inputs: Inputs) -> Tensor:
    embedded = encoder.backbone.embedded(inputs)
    tokens = embedded.states[embedded.is_picture]
    return tokens.unflatten(0, (len(inputs), -1)).mean(dim=1)
