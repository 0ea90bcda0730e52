"""The offline default: what cannot be reached from a picture's border without crossing much colour. No weights, no title.

Geodesic saliency (Wei, Wen, Zhu and Sun, "Geodesic saliency using background priors", ECCV 2012): a picture's border is mostly ground, and ground is connected and even. The distance of a pixel is the
least sum of colour steps along any path to the border. Theirs is over patches with a soft border; here it is over single pixels of the picture made small, by scipy's Dijkstra. Otsu's threshold (1979) on the
distances parts product and ground, holes are filled, and the box is around all connected parts that are not small beside the largest.
"""

from collections.abc import Sequence
from functools import cache
from typing import cast

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from representation.core_region.box import Box

SIDE = 64
"""Longest side that a picture is made small to, in pixels."""
SMALL_PART = 0.1
"""Parts of less than this share of the largest are no part of the product."""
LEAST_STEP = 1e-3
"""Colour step between equal pixels: an edge of zero is none to scipy."""
_BINS = 64


class Foreground:
    """See the module."""

    def boxes(self, pictures: Sequence[Image.Image], titles: Sequence[str]) -> list[Box | None]:
        """See `Detector.boxes`; None of a picture of one colour."""
        return [foreground_box(picture) for picture in pictures]


def foreground_box(picture: Image.Image) -> Box | None:
    """The box of what stands out from a picture's border; its score is the share of the box that stands out."""
    found = foreground_parts(picture)
    if found is None:
        return None
    box = _around(found)
    across, down = picture.width / found.shape[1], picture.height / found.shape[0]
    return Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down, box.score)


def foreground_parts(picture: Image.Image) -> np.ndarray | None:
    """What stands out from a picture's border, boolean `(height, width)` of the picture made small; None of a picture of one colour."""
    small = picture.convert("YCbCr")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    distance = border_distance(np.asarray(small, dtype=np.float64))
    return _parts(distance, least_range=2 * LEAST_STEP * sum(distance.shape))


def border_distance(pixels: np.ndarray) -> np.ndarray:
    """Least sum of colour steps from each pixel to the border, `(height, width)`.

    Args:
        pixels: `(height, width, channels)`.
    """
    height, width = pixels.shape[:2]
    ends = _neighbours(height, width)
    flat = pixels.reshape(height * width, -1)
    steps = np.linalg.norm(flat[ends[0]] - flat[ends[1]], axis=1) + LEAST_STEP
    graph = csr_matrix((steps, (ends[0], ends[1])), shape=(len(flat), len(flat)))
    places = np.arange(height * width).reshape(height, width)
    border = np.unique(np.concatenate([places[0], places[-1], places[:, 0], places[:, -1]]))
    found = dijkstra(graph, directed=False, indices=border, min_only=True)
    return found.reshape(height, width)


def parts_box(values: np.ndarray, least_range: float) -> Box | None:
    """The box around connected parts above Otsu's threshold, but the small ones; None where all values are about equal.

    Args:
        values: `(height, width)`, the higher, the more a pixel is the product's.
        least_range: of the values, for any part to stand out: of distances what steps between equal pixels alone make.
    """
    found = _parts(values, least_range)
    return None if found is None else _around(found)


def _parts(values: np.ndarray, least_range: float) -> np.ndarray | None:
    """The connected parts that `parts_box` is around, boolean as `values`."""
    if values.size == 0 or np.ptp(values) <= least_range:
        return None
    stands_out = ndimage.binary_fill_holes(values > otsu(values))
    parts, count = cast(tuple[np.ndarray, int], ndimage.label(stands_out))
    sizes = ndimage.sum_labels(np.ones(values.shape), parts, range(1, count + 1))
    return np.isin(parts, 1 + np.flatnonzero(sizes >= SMALL_PART * sizes.max()))


def _around(kept: np.ndarray) -> Box:
    """The box around what is kept, scored by the share of it that is."""
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    x0, y0, x1, y1 = (int(side) for side in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return Box(x0, y0, x1, y1, float(kept[y0:y1, x0:x1].mean()))


def otsu(values: np.ndarray) -> float:
    """The threshold of the largest variance between the values on its two sides (Otsu 1979), over 64 bins."""
    counts, edges = np.histogram(values, _BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * centres)
    total = below[-1]
    between = (sums[-1] * below / total - sums) ** 2 / np.maximum(below * (total - below), 1)
    return float(centres[int(between.argmax())])


@cache
def _neighbours(height: int, width: int) -> np.ndarray:
    """Places of pixels that lie side by side or one above the other, `(2, pairs)`."""
    places = np.arange(height * width).reshape(height, width)
    across = np.stack([places[:, :-1].ravel(), places[:, 1:].ravel()])
    down = np.stack([places[:-1].ravel(), places[1:].ravel()])
    return np.concatenate([across, down], axis=1)
