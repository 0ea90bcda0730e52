"""An encoder that writes a product's attributes first, and embeds what stands behind them.

Queries are embedded as every encoder here embeds them: nobody waits for words to be written of a search. Products are embedded once, offline; what that costs beside
plain embedding is measured by `benchmarks/reasoning.py`.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from representation.core_region.crops import boxes_in
from representation.encoder import ProductEncoder
from representation.encoders.frame_inputs import check_items, in_batches, pictures_of, row_names
from representation.interface import Modality
from representation.model.prompt import SEPARATOR, values_of
from representation.pretraining.objective import Dialogue
from representation.pretraining.questions import QUESTIONS
from representation.reasoning.roll_outs import RollOuts, as_inputs, draw, read
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

    def encode_items(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> np.ndarray:
        """See `ProductEncoder.encode_items`; vectors are the states behind what is written, greedily, of what the modality shows."""
        return self.written(frame, modality, batch_size, progress)[0]

    @torch.inference_mode()
    def written(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> tuple[np.ndarray, list[str], list[bool]]:
        """Vectors as `encode_items` gives them, what was written of each product, and whether it came to its end.

        Raises:
            As `encode_items`.
        """
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
        order = np.lexsort((np.array([len(row) for row in questions]), has))
        vectors = np.empty((frame.height, self.dim), np.float32)
        answers, has_ended = [""] * frame.height, [True] * frame.height
        for chosen in in_batches(order, batch_size, "products" * progress):
            drawn, found = self._written(chosen, questions, has, store, dialogue)
            vectors[chosen] = found
            for place, row in enumerate(chosen.tolist()):
                answers[row], has_ended[row] = drawn.answers[place], drawn.has_ended[place]
        return vectors, answers, has_ended

    def _written(
        self,
        chosen: np.ndarray,
        questions: list[list[int]],
        has: np.ndarray,
        store: PictureStore,
        dialogue: Dialogue,
    ) -> tuple[RollOuts, np.ndarray]:
        """Of some rows: what is written, and the vectors behind it."""
        pictured = chosen[has[chosen]]
        taken = store.take(pictured) if len(pictured) else None
        asked = [questions[row] for row in chosen]
        inputs = self.composer.batch(asked, taken).to(self.device)
        drawn = draw(self, asked, inputs, 1, dialogue.end, self.config.reasoning_tokens, None)
        rows, labels = as_inputs(self, drawn, inputs)
        was_training = self.module.training
        self.module.eval()
        found = read(self.backbone, rows, labels, 1.0).vectors.cpu().numpy()
        self.module.train(was_training)
        return drawn, found
