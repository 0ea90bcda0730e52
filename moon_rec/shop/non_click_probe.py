"""What sampled non-clicks give away: how well a model that knows nothing of content tells them from positives.

Notable choices
- The probe reads what any ranker knows of a pair before the page is shown, and nothing of texts or pictures: positives of the
  item so far, time since its listing, whether the user had it before, the share of the user's positives in its category.
  Each is cut into ranges and an additive logistic model over them is fitted on the train period, judged on what follows.
- A part of what it finds is real (popular things are clicked); the rest is the sampler's. Which is which a log of positives
  alone cannot say, so the figure is told, always, and a warning is given from `TELLING` on, and where cold items are told
  apart the wrong way round, which is the mark of a sampler that draws them too often or too seldom.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import minimize

from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from moon_rec.shop.leaks.knowledge import auc_of

TELLING = 0.75
"""Single logs of shown pages give such models .60 to .70."""
NUM_RANGES = 16
RIDGE = 1.0
NUM_RESAMPLES = 200
MOST_ROWS = 200_000
FEWEST = 20
"""Rows of either class below which nothing is said."""
DEFINITION = (
    "AUC, on rows after the cut, of a model that reads popularity so far, age, whether the user had the item before and the "
    "user's share of its category; 95 % over users"
)


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        all_rows: AUC after the cut; None where there are too few rows.
        cold: the same of items without a positive before the cut.
        single: AUC of each thing read, alone, in its own order.
    """

    all_rows: Estimate | None
    cold: Estimate | None
    single: dict[str, float]

    def warnings(self) -> list[str]:
        """What the owner of the log should know, each in a sentence."""
        found = []
        if self.all_rows is not None and self.all_rows.low > TELLING:
            name, value = max(self.single.items(), key=lambda each: abs(each[1] - 0.5))
            found.append(
                f"the sampling of non-clicks can be learnt without content: AUC {self.all_rows} ({name} alone {value:.3f}); "
                "judge rankers by their gain over ids only, or change popular_share, category_share or excluded"
            )
        if self.cold is not None and self.cold.high < 0.5:
            found.append(
                f"of cold items, non-clicks look more like clicks than clicks do: AUC {self.cold} without content; raise popular_share, "
                "so that new items are drawn less often"
            )
        if self.cold is not None and self.cold.low > TELLING:
            found.append(
                f"of cold items, clicks can be told without content: AUC {self.cold}; lower popular_share, so that new items are drawn more often"
            )
        return found


def probe_non_clicks(
    rows: pl.DataFrame, items: pl.DataFrame, cut_time: object, seed: int = 0
) -> Probe:
    """Fit the probe on the rows before the cut and judge it on the others.

    Args:
        rows: user_id, item_id, time, clicked: positives and sampled non-clicks, all of the log.
        items: item_id, listed_at, and category where there is one.
    """
    read = _readings(rows, items)
    is_late = (rows["time"] >= pl.Series([cut_time]).cast(rows["time"].dtype)[0]).to_numpy()
    labels, users = rows["clicked"].to_numpy().astype(bool), rows["user_id"].to_numpy()
    train, late = _sampled(~is_late, seed, "train"), _sampled(is_late, seed, "late")
    if not (_has_both(labels[train]) and _has_both(labels[late])):
        return Probe(None, None, {})
    width = NUM_RANGES + 1
    codes = np.column_stack(
        [
            number * width + _ranges(values, values[train])
            for number, values in enumerate(read.values())
        ]
    )
    weights = _fit(codes[train], labels[train])
    score = weights[codes[late]].sum(axis=1)
    single = {name: auc_of(values[late], labels[late]) for name, values in read.items()}
    early = rows.filter(pl.Series(~is_late & labels))["item_id"].unique()
    is_cold = ~rows["item_id"].is_in(early.implode()).to_numpy()[late]
    cold = is_cold if _has_both(labels[late][is_cold]) else None
    everything = _estimate(score, labels[late], users[late], seed)
    of_cold = (
        None
        if cold is None
        else _estimate(score[cold], labels[late][cold], users[late][cold], seed)
    )
    return Probe(everything, of_cold, single)


def _readings(rows: pl.DataFrame, items: pl.DataFrame) -> dict[str, np.ndarray]:
    """What is known of each row strictly before its time, by name."""
    about = rows.select("item_id").join(items, on="item_id", how="left", maintain_order="left")
    time = rows["time"].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
    listed = about["listed_at"].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
    clicked = rows["clicked"].to_numpy().astype(bool)
    item, user = _codes(rows["item_id"]), _codes(rows["user_id"])
    read = {
        "positives of the item so far": _count_before(item, time, clicked),
        "time since it was listed": (time - listed).astype(float),
        "whether the user had it before": np.minimum(
            _count_before(user * (item.max() + 1) + item, time, clicked), 1
        ),
    }
    if "category" in about.columns and about["category"].n_unique() > 1:
        category = _codes(about["category"].fill_null(""))
        own = _count_before(user * (category.max() + 1) + category, time, clicked)
        read["the user's share of its category"] = own / np.maximum(
            _count_before(user, time, clicked), 1
        )
    return read


def _count_before(keys: np.ndarray, time: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """For each row, how many counted rows of its key have an earlier time."""
    order = np.lexsort((time, keys))
    begins = np.r_[True, (np.diff(keys[order]) != 0) | (np.diff(time[order]) != 0)]
    total = np.r_[0, np.cumsum(counted[order])]
    first_of_moment = np.maximum.accumulate(np.where(begins, np.arange(order.size), 0))
    new_key = np.r_[True, np.diff(keys[order]) != 0]
    first_of_key = np.maximum.accumulate(np.where(new_key, np.arange(order.size), 0))
    found = np.empty(order.size)
    found[order] = total[first_of_moment] - total[first_of_key]
    return found


def _codes(values: pl.Series) -> np.ndarray:
    return (values.rank("dense").to_numpy() - 1).astype(np.int64)


def _sampled(chosen: np.ndarray, seed: int, name: str) -> np.ndarray:
    """Places of the chosen rows, at most `MOST_ROWS` of them, ascending."""
    places = np.flatnonzero(chosen)
    if places.size <= MOST_ROWS:
        return places
    return np.sort(generator(seed, "probe", name).choice(places, MOST_ROWS, replace=False))


def _has_both(labels: np.ndarray) -> bool:
    return min(int(labels.sum()), int((~labels).sum())) >= FEWEST


def _ranges(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The range of each value; the ranges hold about equally many train rows."""
    edges = np.unique(np.quantile(train, np.arange(1, NUM_RANGES) / NUM_RANGES))
    return np.searchsorted(edges, values, side="right")


def _fit(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A weight for each code, and the constant last: logistic regression with a ridge, by L-BFGS."""
    number, target = codes.shape[1] * (NUM_RANGES + 1), labels.astype(float)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = weights[codes].sum(axis=1) + weights[-1]
        value = np.logaddexp(0, logits) - target * logits
        slope = 1 / (1 + np.exp(-logits)) - target
        gradient = np.zeros(number + 1)
        for column in codes.T:
            gradient[:number] += np.bincount(column, slope, minlength=number)
        gradient[:number] += RIDGE * weights[:number]
        gradient[-1] = slope.sum()
        return float(value.sum() + RIDGE / 2 * (weights[:number] ** 2).sum()), gradient

    return minimize(loss, np.zeros(number + 1), jac=True, method="L-BFGS-B").x


def _estimate(score: np.ndarray, labels: np.ndarray, users: np.ndarray, seed: int) -> Estimate:
    """AUC and its percentile interval, users drawn with replacement."""
    _, place = np.unique(score, return_inverse=True)
    _, user = np.unique(users, return_inverse=True)
    random, number = generator(seed, "probe", "users"), int(user.max()) + 1
    found = []
    for _ in range(NUM_RESAMPLES):
        weight = np.bincount(random.integers(0, number, number), minlength=number)[user]
        positives = np.bincount(place, weight * labels)
        negatives = np.bincount(place, weight * ~labels)
        if positives.sum() and negatives.sum():
            below = np.cumsum(negatives) - negatives / 2
            found.append(positives @ below / (positives.sum() * negatives.sum()))
    low, high = np.quantile(found, [0.025, 0.975])
    value = auc_of(score, labels)
    return Estimate(value, float(low), float(high), number, DEFINITION)
