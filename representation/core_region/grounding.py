"""Qwen-VL as a detector, as MOON v1 has it (Qwen2.5-VL grounding, given picture and title): a prompt, and a reader of the boxes in what is answered.

The prompt's wording and the parser are ours; MOON's are not public. Qwen's own cookbooks ask for JSON with `bbox_2d`, and their answers have other forms, too: text around the JSON, fences, an older
`<|box_start|>(x,y),(x,y)<|box_end|>`. Qwen2.5-VL answers in pixels of the picture that it was shown, Qwen3-VL in thousandths of its sides. What is no box is none: it is never guessed at.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from PIL import Image

from representation.core_region.box import Box, within

Unit = Literal["pixels", "thousandths"]
"""What a model's coordinates are."""
Answer = Callable[[Image.Image, str], str]
"""What a model says to a picture and a prompt."""

PROMPT = 'Find the product "{title}" in the picture. Answer with JSON alone: {{"bbox_2d": [x1, y1, x2, y2]}}, the smallest box around all of it. If it is not there, answer {{"bbox_2d": null}}.'
MOST_CHARACTERS = 4_000
"""Of an answer that are read."""
MOST_OPENINGS = 32
"""Brackets in an answer at which JSON is looked for: an answer of brackets alone takes no time."""
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_PAIRS = re.compile(rf"\({_NUMBER},{_NUMBER}\)\s*,\s*\({_NUMBER},{_NUMBER}\)")
_BOX_KEYS = ("bbox_2d", "bbox", "box")


class Grounding:
    """See the module.

    Args:
        answer: asks the model.
        unit: of its coordinates.
    """

    def __init__(self, answer: Answer, unit: Unit = "pixels") -> None:
        self.answer = answer
        self.unit: Unit = unit

    def boxes(self, pictures: Sequence[Image.Image], titles: Sequence[str]) -> list[Box | None]:
        """See `Detector.boxes`. A model says no score: a box's is 1."""
        return [
            read_box(self.answer(picture, prompt_of(title)), *picture.size, self.unit)
            for picture, title in zip(pictures, titles, strict=True)
        ]


def prompt_of(title: str) -> str:
    """What is asked; a title cannot end its quotation."""
    return PROMPT.format(title=" ".join(title.replace('"', "'").split()) or "on sale")


def read_box(answer: str, width: int, height: int, unit: Unit = "pixels") -> Box | None:
    """The first box that an answer names, within the picture; None where it names none that is one.

    Args:
        width, height: of the picture, in pixels.
    """
    across, down = (width, height) if unit == "thousandths" else (1000, 1000)
    for sides in _candidates(answer[:MOST_CHARACTERS]):
        x0, y0, x1, y1 = sides
        if x1 > x0 and y1 > y0:
            scaled = (x0 * across / 1000, y0 * down / 1000, x1 * across / 1000, y1 * down / 1000)
            found = within(Box(*scaled), width, height)
            if found is not None:
                return found
    return None


def _candidates(answer: str) -> Iterator[tuple[float, float, float, float]]:
    """All that looks like four sides, in the answer's order: of JSON anywhere in it, then of Qwen's older form."""
    decoder, place = json.JSONDecoder(), 0
    for _ in range(MOST_OPENINGS):
        start = _next_opening(answer, place)
        if start < 0:
            break
        try:
            value, place = decoder.raw_decode(answer, start)
        except (ValueError, RecursionError):
            place = start + 1
            continue
        yield from _in_json(value)
    for match in _PAIRS.finditer(answer):
        yield tuple(map(float, match.groups()))  # type: ignore[misc]


def _next_opening(text: str, place: int) -> int:
    found = [at for at in (text.find("{", place), text.find("[", place)) if at >= 0]
    return min(found, default=-1)


def _in_json(value: Any, depth: int = 0) -> Iterator[tuple[float, float, float, float]]:
    if depth > 4:
        return
    if isinstance(value, dict):
        for key in _BOX_KEYS:
            yield from _in_json(value.get(key), depth + 1)
    elif isinstance(value, list) and len(value) == 4 and all(map(_is_number, value)):
        yield tuple(map(float, value))  # type: ignore[misc]
    elif isinstance(value, list):
        for one in value:
            yield from _in_json(one, depth + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
