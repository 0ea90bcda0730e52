"""A set and an encoder whose every answer is known: each word is a direction of its own, and a picture is its words as bytes."""

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import EncoderError
from representation.sets.benchmark_set import BenchmarkSet

COLOURS = ("red", "green", "blue")
SHAPES = ("mug", "lamp")
NUM_ITEMS = 60


class WordEncoder:
    """The sum of its words' directions, as an `Encoder`; words that it does not know are no direction, but a little of their own all the same.

    Args:
        words: the vocabulary, in the order of the directions.
        deaf: pictures are not looked at (their modality has collapsed), but for those of the words in `heard`.
    """

    def __init__(self, words, modalities=("text", "image"), deaf=False, heard=(), digest="a" * 16):
        self.words = {word: at for at, word in enumerate(words)}
        self.modalities, self.digest = frozenset(modalities), digest
        self.deaf, self.heard = deaf, set(heard)
        self.dim = len(words) + 1
        self.widths = (self.dim,)
        self.encoded_rows, self.seen_columns = 0, []

    def encode_items(self, frame, modality="both", batch_size=256, progress=True):
        wanted = {"both": {"text", "image"}}.get(modality, {modality})
        if not wanted <= self.modalities:
            raise EncoderError(f"modality {modality!r} is not read")
        self.seen_columns.append((modality, tuple(frame.columns)))
        texts, pictures = [""] * frame.height, [None] * frame.height
        if "text" in wanted:
            columns = [name for name in ("title", "category", "brand") if name in frame.columns]
            texts = [
                " ".join(filter(None, row)).replace("/", " ")
                for row in frame.select(columns).iter_rows()
            ]
        if "image" in wanted:
            pictures = frame["image"].to_list()
        return self._vectors(texts, pictures)

    def encode_queries(self, frame, batch_size=256, progress=True):
        none = [None] * frame.height
        texts = frame["query_text"].to_list() if "query_text" in frame.columns else none
        pictures = frame["query_image"].to_list() if "query_image" in frame.columns else none
        return self._vectors(texts, pictures)

    def _vectors(self, texts, pictures):
        self.encoded_rows += len(texts)
        vectors = np.zeros((len(texts), self.dim), np.float32)
        vectors[:, -1] = 0.01
        for row, (text, picture) in enumerate(zip(texts, pictures, strict=True)):
            seen = (text or "").lower().split()
            shown = picture.decode().split() if picture is not None else []
            seen += [word for word in shown if not self.deaf or word in self.heard]
            for word in seen:
                if word in self.words:
                    vectors[row, self.words[word]] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def word_set(**changed) -> BenchmarkSet:
    """60 products, each with a mark of its own (`m7`) in title and picture, a colour and a shape in the picture; queries by mark.

    The product query of item n seeks item n + 1, whose mark it says, too.
    """
    rows = []
    for number in range(NUM_ITEMS):
        colour, shape = COLOURS[number % 3], SHAPES[number // 3 % 2]
        rows.append(
            {
                "item_id": 10 + number,
                "title": f"m{number} thing",
                "category": f"Goods/{shape.capitalize()}",
                "attributes": [{"name": "colour", "value": colour}],
                "image": f"m{number} {colour} {shape}".encode(),
            }
        )
    asked = range(0, NUM_ITEMS, 2)
    ids = pl.Series("query_id", list(asked))
    answers = [[row] for row in asked]
    following = [[row + 1] for row in asked]
    fields = {
        "name": "words",
        "source": "made by a test",
        "is_simulated": True,
        "gallery": pl.DataFrame(rows),
        "queries": {
            "text": pl.DataFrame({"query_id": ids, "query_text": [f"m{row}" for row in asked]}),
            "image": pl.DataFrame(
                {"query_id": ids + 100, "query_image": [f"m{row}".encode() for row in asked]}
            ),
            "product": pl.DataFrame(
                {
                    "query_id": ids + 10,
                    "query_text": [f"m{row + 1} sought" for row in asked],
                    "query_image": [f"m{row + 1}".encode() for row in asked],
                    "query_item_id": ids + 10,
                }
            ),
        },
        "relevant": {"text": answers, "image": answers, "product": following},
        "excluded": {"product": answers},
    }
    return BenchmarkSet(**{**fields, **changed})


@pytest.fixture
def words():
    return [f"m{number}" for number in range(NUM_ITEMS)] + [*COLOURS, *SHAPES]


@pytest.fixture
def make_encoder(words):
    return lambda **options: WordEncoder(words, **options)


@pytest.fixture
def make_set():
    return word_set
