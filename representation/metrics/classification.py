"""Zero-shot classification: a product's label is the one whose text's vector is nearest by cosine.

Notable choices:
- Texts that hold the label would give it away, so products are shown by title, by picture, or by both, never by category, attributes, brand or description.
  A title may still name its category or colour (`Blue gown in viscose`): the column `image` is the honest reading of what was learnt from pictures.
- Of t labels that are equally near, each is named for a t-th of the product: what naming any of them at random gives on average. Equal is equal in float64, as in
  `search.exact`.
- Macro precision, recall and F1 are means over the labels that the measured products have (scikit-learn's `average="macro"` with those labels and
  `zero_division=0`); labels that no measured product has can still be predicted, wrongly.
- Intervals: Wilson's, of accuracy over products; of the macro means at the effective count (`moon_rec.shares`) that their variance says, by bootstrap over products, each
  figure computed anew from a resample, over the labels in it. Resamples give the variance alone: they hold fewer of the rare labels, which moves their mean (by .02 and
  more at 105 labels). At 0 and at 1 resamples are all alike, and each label's products count as what they weigh.
- Beside them: `majority`, the share of the most frequent label among the measured products, and `chance`, one over the count of labels.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from moon_rec.shares import interval, mean_share
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.labels import LabelTask
from representation.search.exact import top_rows
from representation.search.folded import Folded
from representation.search.scores import exact_scores
from representation.search.ties import tied_units, ties_with_next
from representation.sets.contestant import (
    LABELLED_TYPES,
    Contestant,
    LabelledType,
    NotMeasured,
    Vectors,
)

FIGURES = ("accuracy", "precision", "recall", "f1")
WORDS = {
    "accuracy": "share of products whose nearest label is theirs",
    "precision": "mean over labels of the share of products so labelled that are of the label",
    "recall": "mean over labels of the share of a label's products so labelled",
    "f1": "mean over labels of the harmonic mean of precision and recall",
}


@dataclass(frozen=True)
class Classified:
    """How well products, shown one way, were told apart.

    Attributes:
        figures: accuracy, precision, recall, f1.
        majority, chance: accuracy of always naming the most frequent label, and of naming any.
        num_labels: labels to choose from.
        rows: `(products,)` gallery rows, rising.
        right: `(products,)` float64, whether each was labelled rightly; a t-th where the label is one of t nearest.
    """

    figures: dict[str, Estimate]
    majority: float
    chance: float
    num_labels: int
    rows: np.ndarray
    right: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        figures = {name: each.as_dict() for name, each in self.figures.items()}
        beside = {name: getattr(self, name) for name in ("majority", "chance", "num_labels")}
        return figures | beside


def classify(
    contestant: Contestant, tasks: list[LabelTask], config: BenchmarkConfig
) -> dict[str, dict[LabelledType, Classified | NotMeasured]]:
    """Every task with every way to show a product."""
    found: dict[str, dict[LabelledType, Classified | NotMeasured]] = {
        task.name: {} for task in tasks
    }
    all_rows = (
        np.unique(np.concatenate([task.rows for task in tasks])) if tasks else np.empty(0, np.int64)
    )
    labels = {task.name: contestant.labels(task.texts) for task in tasks}
    for kind in LABELLED_TYPES:
        vectors = (
            contestant.labelled(kind, all_rows)
            if all_rows.size
            else NotMeasured("no labelled products")
        )
        for task in tasks:
            found[task.name][kind] = _classified(task, kind, vectors, labels[task.name], config)
    return found


def nearest_labels(items: np.ndarray, labels: np.ndarray) -> csr_array:
    """Labels named for each item: `(items, dim)` and `(labels, dim)` unit rows -> weights `(items, labels)`, 1 a row, shared among equals."""
    items, labels = np.asarray(items, np.float32), np.asarray(labels, np.float32)
    nearest = top_rows(items, labels, 2)
    row, label = np.arange(len(items)), nearest[:, 0]
    if nearest.shape[1] > 1:
        is_tied = ties_with_next(items, labels, nearest)
        at = np.flatnonzero(is_tied)
        row, label = row[~is_tied], label[~is_tied]
        folded, asked = Folded(labels), items[at]
        score = exact_scores(asked, labels, np.arange(len(at)), nearest[at, 0])
        for which, unit in tied_units(folded, asked, score):
            members, of = folded.rows(unit)
            row = np.concatenate([row, at[which[of]]])
            label = np.concatenate([label, members])
    weight = 1 / np.bincount(row, minlength=len(items))[row]
    return csr_array((weight, (row, label)), shape=(len(items), len(labels)))


def judge(
    rows: np.ndarray,
    truth: np.ndarray,
    named: csr_array,
    definition: str = "",
    seed: int = 0,
    num_resamples: int = 1000,
) -> Classified:
    """Figures of the labels `named` `(products, labels)`, as `nearest_labels` weighs them, against the true ones `(products,)`."""
    count, num_labels = len(truth), named.shape[1]  # type: ignore[index]
    right = _right(truth, named)
    values = _figures(truth, named, right, np.ones((1, count), np.int64))[:, 0]
    random = generator(seed, "classification", count)
    step = max(1, 2_000_000 // max(count, num_labels))
    parts = []
    for first in range(0, num_resamples, step):
        drawn = random.integers(0, count, size=(min(step, num_resamples - first), count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])
        parts.append(_figures(truth, named, right, times))
    variance = np.concatenate(parts, axis=1).var(axis=1)
    of_labels = np.bincount(truth)
    of_labels = of_labels[of_labels > 0]
    # a mean over labels weighs a label's products by one over their number
    uneven = count * float(np.sum(1 / of_labels)) / len(of_labels) ** 2
    low, high = interval(values, variance, count, largest_effect=uneven)
    is_tied = (np.diff(named.indptr) > 1).mean()
    figures = {
        name: Estimate(
            float(values[at]),
            float(low[at]),
            float(high[at]),
            count,
            f"{WORDS[name]}; {definition}",
            tied=float(is_tied),
        )
        for at, name in enumerate(FIGURES)
    }
    own = mean_share(right)
    figures["accuracy"] = replace(figures["accuracy"], low=own.low, high=own.high)
    majority = float(np.bincount(truth).max() / count)
    return Classified(figures, majority, 1 / num_labels, num_labels, rows, right)


def _classified(
    task: LabelTask,
    kind: LabelledType,
    vectors: Vectors | NotMeasured,
    labels: Vectors | NotMeasured,
    config: BenchmarkConfig,
) -> Classified | NotMeasured:
    if len(task.rows) < config.fewest_labelled:
        return NotMeasured(
            f"{len(task.rows)} labelled products, fewer than fewest_labelled = {config.fewest_labelled}"
        )
    if isinstance(vectors, NotMeasured):
        return vectors
    if isinstance(labels, NotMeasured):
        return labels
    items = vectors.unit[np.searchsorted(vectors.rows, task.rows)]
    named = nearest_labels(items, labels.unit)
    definition = (
        f"{task.name}, {len(task.labels):,} labels, products shown by {kind.replace('+', ' and ')}, nearest label text by cosine, zero-shot;"
        f" {task.num_left_out:,} more without one such label left out"
    )
    return judge(task.rows, task.truth, named, definition, config.seed, config.num_resamples)


def _right(truth: np.ndarray, named: csr_array) -> np.ndarray:
    """`(products,)` weight of each one's true label among those named."""
    product = np.repeat(np.arange(len(truth)), np.diff(named.indptr))
    is_true = named.indices == truth[product]
    return np.bincount(product[is_true], named.data[is_true], minlength=len(truth))


def _figures(
    truth: np.ndarray, named: csr_array, right: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """`(4, resamples)` of products drawn `times` `(resamples, products)`."""
    ours, place = np.unique(truth, return_inverse=True)
    of = csr_array((np.ones(len(truth)), (place, np.arange(len(truth)))))
    true_of, right_of = (of @ times.T).T, (of @ (right[:, None] * times.T)).T
    named_of = (named.T.tocsr()[ours] @ times.T).T
    present = true_of > 0
    precision = np.divide(right_of, named_of, out=np.zeros_like(right_of), where=named_of > 0)
    recall = np.divide(right_of, true_of, out=np.zeros_like(right_of), where=present)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    accuracy = right_of.sum(axis=1) / times.sum(axis=1)
    count = present.sum(axis=1)
    macro = [np.where(present, figure, 0).sum(axis=1) / count for figure in (precision, recall, f1)]
    return np.stack([accuracy, *macro])
