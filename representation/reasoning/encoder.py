"""An encoder that writes a product's attributes first, and embeds what stands behind them.

Queries are embedded as every encoder here embeds them: nobody waits for words to be written of a search. Products are written about once, offline
(`representation.write`), and embedded behind that in one pass each; what either costs beside plain embedding is measured by `benchmarks/reasoning.py`.
"""

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl
import torch

from moon_rec.errors import EncoderError
from moon_rec.files import digest_of
from representation.core_region.crops import boxes_in, boxes_told
from representation.encoder import ProductEncoder
from representation.encoders.frame_inputs import check_items, in_batches, pictures_of, row_names
from representation.interface import Modality
from representation.model.prompt import SEPARATOR, values_of
from representation.pretraining.objective import Dialogue
from representation.pretraining.questions import QUESTIONS
from representation.reasoning.roll_outs import Branched, as_drawn, draw, read, with_seen_pictures
from representation.reasoning.written import Answer, WrittenAttributes
from representation.training.picture_store import PictureStore

ATTRIBUTES = next(one for one in QUESTIONS if one.name == "attributes")


def dialogue_of(encoder: ProductEncoder) -> Dialogue:
    """The words around question and answer, lengths as the encoder's settings say."""
    config = encoder.config
    return Dialogue(encoder.composer, config.prompt.title_tokens, config.reasoning_tokens)


def questions_of(
    dialogue: Dialogue, items: pl.DataFrame, has_picture: Sequence[bool]
) -> list[list[int]]:
    """Token ids of the question for attributes, up to its answer, of each product of a frame."""
    shown = [values_of(items, name) for name in ATTRIBUTES.shown]
    contexts = [SEPARATOR.join(part for part in parts if part) for parts in zip(*shown, strict=True)]  # fmt: skip
    return dialogue.questions([ATTRIBUTES.words] * items.height, contexts, has_picture)


class ReasoningEncoder(ProductEncoder):
    """A `ProductEncoder` whose products are written about before they are embedded; `config.reasoning_tokens` says how long."""

    _written: WrittenAttributes | None = None

    def with_written(self, written: WrittenAttributes) -> "ReasoningEncoder":
        """The same encoder, which embeds behind what was written beforehand instead of writing itself."""
        other = copy.copy(self)
        other._written = written
        vars(other)["digest"] = digest_of([self.digest, written.digest])
        return other

    def with_pruned_pictures(self, keep: float, layers: int = 1) -> Self:
        """Refused: what is written is of whole pictures.

        Raises:
            EncoderError: always.
        """
        raise EncoderError(
            f"{keep:g} of a picture's tokens: an encoder that writes before it embeds reads whole pictures; leave it out, or embed with one that does not reason"
        )

    def encode_items(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> np.ndarray:
        """See `ProductEncoder.encode_items`; vectors are the states behind what is written, greedily, of what the modality shows, or behind what was written beforehand.

        Raises:
            EncoderError: nothing was written of a product, where it was to be beforehand, or of another modality.
        """
        if self._written is None:
            return self.written(frame, modality, batch_size, progress)[0]
        if "item_id" not in frame.columns:
            raise EncoderError("what was written is looked up by item_id, and the frame has none; give it that column")  # fmt: skip
        self._written.check(modality)
        answers = self._written.of(frame["item_id"].to_list())
        with boxes_told(self.cut if progress else None):
            return self._behind(frame, modality, batch_size, progress, answers)[0]

    def written(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> tuple[np.ndarray, list[Answer]]:
        """Vectors as `encode_items` gives them, and what was written of each product.

        Raises:
            As `encode_items`.
        """
        with boxes_told(self.cut if progress else None):
            return self._behind(frame, modality, batch_size, progress, None)

    def answers(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> list[Answer]:
        """What is written of each product, without vectors, which would take half of the time.

        Raises:
            As `encode_items`.
        """
        with boxes_told(self.cut if progress else None):
            return self._behind(frame, modality, batch_size, progress, None, embeds=False)[1]

    @torch.inference_mode()
    def _behind(
        self,
        frame: pl.DataFrame,
        modality: Modality,
        batch_size: int,
        progress: bool,
        answers: list[Answer] | None,
        embeds: bool = True,
    ) -> tuple[np.ndarray, list[Answer]]:
        """Vectors behind answers, and these; None: they are written now. Without `embeds` there are no vectors: they have no columns."""
        check_items(frame, modality, self.modalities)
        shown = frame if modality != "image" else frame.with_columns(title=pl.lit(""))
        names = row_names(frame, "item_id", "items.image of item")
        pictures = pictures_of(frame, "image") if modality != "text" else [None] * frame.height
        has = np.array([picture is not None for picture in pictures], dtype=bool)
        dialogue = dialogue_of(self)
        questions = questions_of(dialogue, shown, has.tolist())
        boxes = boxes_in(frame, names)
        store = PictureStore(
            pictures, names, self.image_size, keep=False, cut=self.cut, boxes=boxes
        )
        said = None if answers is None else self._tokens_of(answers)
        lengths = [len(row) + (len(said[at]) if said else 0) for at, row in enumerate(questions)]
        order = np.lexsort((np.array(lengths), has))
        vectors = np.zeros((frame.height, self.dim * embeds), np.float32)
        found: list[Answer] = answers or [Answer("")] * frame.height
        was_training = self.module.training
        self.module.eval()
        for chosen in in_batches(order, batch_size, "products" * progress):
            pictured = chosen[has[chosen]]
            taken = store.take(pictured) if len(pictured) else None
            asked = [questions[row] for row in chosen]
            inputs = self.composer.batch(asked, taken).to(self.device)
            if said is None:
                inputs = with_seen_pictures(self.backbone, inputs)
                most = self.config.reasoning_tokens
                drawn = draw(self, asked, inputs, 1, dialogue.end, most, None)
                for row, answer in zip(chosen.tolist(), drawn.answers, strict=True):
                    found[row] = answer
                told = [one.tokens or [] for one in drawn.answers]
            else:
                told = [said[row] for row in chosen]
            if not embeds:
                continue
            rolled = Branched.of(self, as_drawn(asked, told, dialogue.end), inputs)
            vectors[chosen] = read(self.backbone, rolled, 1.0).vectors.cpu().numpy()
        self.module.train(was_training)
        return vectors, found

    def _tokens_of(self, answers: Sequence[Answer]) -> list[list[int]]:
        """Of each answer, cut to what the encoder writes itself; texts whose tokens are not known are cut into theirs."""
        cut = self.composer.texts([one.text for one in answers], self.config.reasoning_tokens, are_shown=False)  # fmt: skip
        return [
            own if one.tokens is None else one.tokens for one, own in zip(answers, cut, strict=True)
        ]
