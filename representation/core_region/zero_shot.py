"""Detectors that are told in words what to look for: transformers' `AutoModelForZeroShotObjectDetection` (OWL-ViT, OWLv2, Grounding DINO and the like).

Pictures, words and boxes go through the checkpoint's own processor, so a box is what transformers itself makes of the model's outputs. Of the boxes above `threshold` the one of the highest score is the core
region. What is asked for is the title, in small letters with a full stop behind it (Grounding DINO's model card asks for both); without a title, `a product`.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from moon_rec.errors import EncoderError, first_line
from representation.core_region.box import Box, within
from representation.model.quiet_transformers import quiet

THRESHOLD = 0.1
MOST_WORDS = 10
"""Of a title: OWL-ViT's text tower reads 16 tokens."""
NO_TITLE = "a product"


class ZeroShot:
    """See the module.

    Args:
        model, processor: transformers'.
        threshold: least score of a box.
    """

    def __init__(self, model: Any, processor: Any, threshold: float = THRESHOLD) -> None:
        self.model, self.processor, self.threshold = model.eval(), processor, threshold

    @classmethod
    def from_pretrained(cls, path: str | Path, threshold: float = THRESHOLD) -> "ZeroShot":
        """Open a folder or a name on the hub.

        Raises:
            EncoderError: nothing there, or no model that transformers takes for such a detector.
        """
        try:
            with quiet():
                model = AutoModelForZeroShotObjectDetection.from_pretrained(
                    path, trust_remote_code=False
                )
                processor = AutoProcessor.from_pretrained(path, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise EncoderError(
                f"no zero-shot detector at {path}: {first_line(error)}; name a folder of OWL-ViT, OWLv2 or Grounding DINO with its processor"
            ) from None
        return cls(model, processor, threshold)

    @torch.inference_mode()
    def boxes(self, pictures: Sequence[Image.Image], titles: Sequence[str]) -> list[Box | None]:
        """See `Detector.boxes`; pictures one by one, for their sizes differ."""
        return [self._box(*pair) for pair in zip(pictures, titles, strict=True)]

    def _box(self, picture: Image.Image, title: str) -> Box | None:
        words = [[asked_for(title)]]
        inputs = self.processor(
            text=words, images=[picture.convert("RGB")], return_tensors="pt", truncation=True
        )
        outputs = self.model(**inputs)
        after = self.processor.post_process_grounded_object_detection
        options: dict[str, Any] = {"target_sizes": [(picture.height, picture.width)]}
        if "text_threshold" in inspect.signature(after).parameters:  # Grounding DINO's, of words
            options |= {"text_threshold": 0.0, "input_ids": inputs["input_ids"]}
        found = after(outputs, threshold=self.threshold, **options)[0]
        scored = zip(found["boxes"].tolist(), found["scores"].tolist(), strict=True)
        boxes = [
            within(Box(x0, y0, x1, y1, score), *picture.size) for (x0, y0, x1, y1), score in scored
        ]
        return max((box for box in boxes if box), key=lambda box: box.score, default=None)


def asked_for(title: str) -> str:
    """What is looked for: a title's first words, in small letters, with a full stop."""
    words = title.lower().split()[:MOST_WORDS] or NO_TITLE.split()
    return " ".join(words).rstrip(".,;:!?") + "."
