"""Titles written by a language model that sees: MOON2.0's T+ = MLLM_text(T, I, E) by any Qwen-VL, composed checkpoint or encoder pretrained here.

The model is shown picture, title and the entities that the title does not name, in its own chat turn, and writes by greedy decoding (`pretraining.grading.greedy_answers`). The paper's prompts are
not public; ours are below. An encoder pretrained here knows its own questions alone: it writes a title for a picture as it was taught (`pretraining.questions`), and asked for a richer one it writes what
it may, which is what the filter is for.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.texts import normal_texts
from representation.co_augmentation.generator import Product
from representation.core_region.crops import BOX_COLUMN
from representation.encoder import ProductEncoder
from representation.interface import Encoder
from representation.model.prompt import SEPARATOR
from representation.pretraining.grading import greedy_answers
from representation.pretraining.questions import QUESTIONS, Asked

ENRICH = "Write a richer title for the product, with these words."
_SHOWN = {"item_id": pl.Int64(), "image": pl.Binary(), BOX_COLUMN: pl.List(pl.Float64())}
TITLE = next(one.words for one in QUESTIONS if one.name == "title")


class WrittenTitles:
    """A `TitleWriter`; `for_pictures` writes a title that is missing.

    Raises:
        EncoderError: an encoder without a language model.
    """

    def __init__(self, encoder: Encoder, name: str = "", most_tokens: int = 32) -> None:
        if not isinstance(encoder, ProductEncoder):
            raise EncoderError(
                f"{name}: this encoder has no language model that writes; name a Qwen-VL, or what representation.compose or representation.pretrain makes"
            )
        self._encoder, self._name, self._most_tokens = encoder, name, most_tokens

    @property
    def about(self) -> dict[str, Any]:
        """Prompt, name and digest."""
        return {
            "titles": "written by a language model, greedily",
            "prompt": ENRICH,
            "encoder": self._name,
            "encoder_digest": self._encoder.digest,
        }

    def enriched(self, products: Sequence[Product]) -> list[str]:
        """See `TitleWriter.enriched`; "" where nothing is written."""
        contexts = [
            SEPARATOR.join(part for part in (one.title, ", ".join(one.unsaid)) if part)
            for one in products
        ]
        items = pl.DataFrame(
            [(one.item_id, one.image, one.box) for one in products], schema=_SHOWN, orient="row"
        )
        return self._written(ENRICH, contexts, items)

    def for_pictures(self, items: pl.DataFrame) -> list[str]:
        """A title for each picture, of nothing else.

        Args:
            items: `item_id`, `image`, and `core_box` where the shop has it.
        """
        return self._written(TITLE, [""] * items.height, items)

    def _written(self, words: str, contexts: Sequence[str], items: pl.DataFrame) -> list[str]:
        asked = [Asked(row, "title", words, context, "") for row, context in enumerate(contexts)]
        if not asked:
            return []
        pictures = items["image"].to_list()
        found = greedy_answers(self._encoder, asked, items, pictures, most_tokens=self._most_tokens)
        return normal_texts(found)
