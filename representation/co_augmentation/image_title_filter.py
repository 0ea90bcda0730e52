"""Whether a picture and a title belong together, by any encoder that reads both: MOON2.0's CLIP filter (arXiv 2511.12449).

A pair's score is the cosine of the picture, as a product, with the title, as a query; the paper's threshold is not public. An enriched title is held against the product's own picture,
an expanded picture against the product's own title. What lacks the other side has no score and is kept.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from moon_rec.errors import EncoderError
from representation.co_augmentation.config import AugmentConfig
from representation.interface import Encoder


class ImageTitleFilter:
    """Scores pairs.

    Args:
        encoder: CLIP, SigLIP, or one's own.
        name: where it came from.

    Raises:
        EncoderError: it does not read both.
    """

    def __init__(self, encoder: Encoder, name: str = "") -> None:
        if not {"text", "image"} <= encoder.modalities:
            kinds = " and ".join(sorted(encoder.modalities))
            raise EncoderError(
                f"--filter {name}: this encoder reads {kinds} alone, and a filter compares a picture with a title; name one that reads both, such as a CLIP"
            )
        self._encoder, self._name = encoder, name

    @property
    def about(self) -> dict[str, Any]:
        """Name and digest of the encoder."""
        return {"encoder": self._name, "encoder_digest": self._encoder.digest}

    def scores(self, pictures: Sequence[bytes | None], titles: Sequence[str]) -> np.ndarray:
        """Cosines `(pairs,)` float32 of pictures and titles, side by side; NaN where either is missing."""
        found = np.full(len(titles), np.nan, np.float32)
        both = [
            row
            for row, (data, title) in enumerate(zip(pictures, titles, strict=True))
            if data is not None and title
        ]
        if both:
            shown = pl.DataFrame({"image": [pictures[row] for row in both]})
            said = pl.DataFrame({"query_text": [titles[row] for row in both]})
            items = self._encoder.encode_items(shown, "image", progress=False)
            queries = self._encoder.encode_queries(said, progress=False)
            found[both] = (items * queries).sum(axis=1)
        return found


def least_score(scores: np.ndarray, config: AugmentConfig) -> float | None:
    """What a pair's score must reach: the threshold, or the quantile of the scores that are there; None where there is none."""
    known = scores[np.isfinite(scores)]
    if config.threshold is not None:
        return config.threshold
    return float(np.quantile(known, config.quantile, method="lower")) if len(known) else None


def is_kept(scores: np.ndarray, least: float | None) -> np.ndarray:
    """Boolean `(pairs,)`: those at least that good, and those without a score."""
    return ~(scores < (-np.inf if least is None else least))
