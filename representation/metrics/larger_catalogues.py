"""Recall@k of searches among a million or a hundred million items, from their scores among those that there are.

A search's best relevant item has score s; so many other items of today's catalogue lie above it. Of items that a larger catalogue has besides, each lies above it with the probability
p = P(score of an item that is not relevant > s), so the number above is today's plus Binomial(new items, p), and the search hits where that is below k. At today's size this is
the measured recall itself. Notable choices:
- Up to the scores that today's items have, p is their share. Beyond, a Pareto tail (`pareto_tails`) of the few largest scores: a tail of a fixed share of the catalogue bends where it
  matters, at the nearest items. How many scores it takes is chosen by which of `COUNTS` best foretells today's catalogue from parts of it. `body="skew-normal"` fits the scores below the tail, too, and
  takes the tail's mass from that fit; it is no nearer where it was held out (docs/results.md), so shares are counted unless it is asked for.
- A search's p is a mean over its scale's remaining uncertainty.
- The interval has two parts. Users are drawn with replacement, with all their searches. And the model is wrong: parts of today's catalogue, a half to a sixteenth, say by how much. The part's
  prediction for `ratio^x` times its size equals what is measured today at some power x, which is 1 where the model is right; the root mean square of x - 1, and `UNSEEN` for what no
  part shows, is the deviation of the power to which the asked ratio is raised in each draw. So the error is carried on the log scale of the ratio.
- **Assumed**: items of the larger catalogue that are not relevant are drawn like today's; nothing relevant is added. A catalogue that grows by more of the same (copies, one category) has more
  near ones, one that grows by new categories has fewer. `benchmarks/larger_catalogues.py` holds it out.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from scipy import special

from moon_rec.errors import TableError
from moon_rec.estimate import Estimate
from moon_rec.progress import track
from moon_rec.seeds import generator
from representation.metrics.pareto_tails import Tails, fit_tails, nearness
from representation.metrics.recall import Rows, prepared
from representation.metrics.skew_normal import with_this_body
from representation.metrics.tail_scores import TailScores, tail_scores

Body = Literal["counted", "skew-normal"]
ASSUMED = "items that are not relevant are assumed to be drawn like today's, and none that is relevant to be added"
COUNTS = (15, 30, 60, 120)
"""Scores of a tail, one of these for all searches of a cut; a fourth of a part's at most."""
RATIOS, PARTS_A_RATIO, SMALLEST_PART = (2, 4, 8, 16), 2, 50
"""Parts of today's catalogue: one item in `ratio`, drawn anew for each search; none smaller."""
MOST_JUDGED = 2000
"""Searches that parts are judged by; more tell nothing more of the model."""
MOST_SCORES = RATIOS[-1] * (COUNTS[-1] + 10)
POWERS = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0])
"""Of a ratio of sizes; between them a recall is interpolated."""
UNSEEN = 0.15
"""Deviation of the power that parts of a catalogue do not show, from what larger ones held against it (`benchmarks/larger_catalogues.py`)."""
UNTOLD = 0.5
"""The same, where no part tells anything, for recall is alike in all of them."""
NODES, WEIGHTS = special.roots_hermitenorm(5)
"""Where a normal variable is taken, and how much each counts (Gauss and Hermite)."""
LARGEST_SIZE = 10**12


def recall_in_larger_catalogues(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: Rows,
    sizes: Sequence[int],
    ks: Sequence[int] = (10,),
    *,
    num_missing: np.ndarray | None = None,
    excluded: Rows | None = None,
    users: np.ndarray | None = None,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 400,
    body: Body = "counted",
) -> dict[int, dict[int, Estimate]]:
    """Hit recall of the searches of `search_recall`, by k and by size of the catalogue.

    Args:
        queries, gallery, relevant, ks, num_missing, excluded, users: as there.
        sizes: items with a vector, today's at least.
        seed: of the draws of users and parts.
        level: of the intervals.
        body: how the share of items above a score below the tail is known: by counting, or by a skew-normal distribution of each search's scores.

    Raises:
        TableError: as there; a size below today's; a k above a fortieth of today's items (25 where they are fewer than 1,000), or too few items to take parts of; a body of another name.
    """
    if body not in get_args(Body):
        raise TableError(f"body={body!r} is none: name one of {', '.join(get_args(Body))}")
    queries, gallery, cuts, searches, wanted, removed, _ = prepared(
        queries, gallery, relevant, ks, num_missing, excluded, users
    )
    sizes = _sizes(sizes, len(gallery))
    largest = max(len(gallery) // 40, 25)
    if len(gallery) <= RATIOS[0] * SMALLEST_PART or cuts[-1] > largest:
        raise TableError(
            f"recall@{cuts[-1]} among more than {len(gallery):,} items is not foretold by parts of them: wanted k of at most {largest:,}, and more than {RATIOS[0] * SMALLEST_PART} items; take a smaller k or measure on a larger catalogue"
        )
    scores = tail_scores(queries, gallery, searches, wanted, removed, min(MOST_SCORES, len(gallery)))  # fmt: skip
    groups = None if users is None else np.asarray(users)[searches]
    return extrapolate(scores, len(gallery), sizes, cuts, groups, seed, level, num_resamples, body)


def extrapolate(
    scores: TailScores,
    num_items: int,
    sizes: Sequence[int],
    cuts: Sequence[int],
    users: np.ndarray | None = None,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 400,
    body: Body = "counted",
) -> dict[int, dict[int, Estimate]]:
    """As `recall_in_larger_catalogues`, of scores at hand."""
    count = len(scores.best)
    if not count:
        nothing = float("nan")
        return {k: {size: Estimate(nothing, nothing, nothing, 0, _definition(k, size, num_items, body), level) for size in sizes} for k in cuts}  # fmt: skip
    chosen, errors = _judged(scores, num_items, cuts, seed, body)
    found: dict[int, dict[int, Estimate]] = {}
    for k, length, error in zip(cuts, chosen, errors, strict=True):
        deviation = float(np.hypot(error, UNSEEN))
        found[k] = {}
        for size in sizes:
            curve = _curve(scores, num_items, size / num_items, length, k, body)
            drawn = [*_draws(curve, deviation, users, seed, num_resamples)]
            low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
            value = float(curve[:, POWERS == 1].mean())
            found[k][size] = Estimate(value, min(float(low), value), max(float(high), value), count, _definition(k, size, num_items, body), level)  # fmt: skip
    return found


def _judged(
    scores: TailScores, num_items: int, cuts: Sequence[int], seed: int, body: Body
) -> tuple[list[int], np.ndarray]:
    """Scores of a tail for each cut, and the deviation of the power at which parts with such tails foretell today's recall."""
    random = generator(seed, "larger catalogues", "parts")
    if len(scores.best) > MOST_JUDGED:
        scores = scores.of(np.sort(random.choice(len(scores.best), MOST_JUDGED, replace=False)))
    one = 1 / len(scores.best)
    falls: list[list[float]] = [[] for _ in cuts]
    missed: list[list[list[float]]] = [[[] for _ in COUNTS] for _ in cuts]
    measured = [
        float(_curve(scores, num_items, 1.0, COUNTS[0], k, body)[:, 0].mean()) for k in cuts
    ]
    ratios = [one for one in RATIOS if num_items / one >= SMALLEST_PART] * PARTS_A_RATIO
    for ratio in track(ratios, "parts of today's catalogue", len(ratios)):
        part = scores.thinned(ratio, random)
        for at, (k, now) in enumerate(zip(cuts, measured, strict=True)):
            for place, length in enumerate(COUNTS):
                curve = _curve(part, num_items / ratio, ratio, length, k, body).mean(axis=0)
                missed[at][place].append(float(np.interp(-now, -curve, POWERS)) - 1)
            falls[at].append(float(curve[0]) - now)
    # a recall that does not fall says nothing of the power: a part counts by its fall, and a fall of one search with an error of UNTOLD is always added
    weight = np.square(falls)[:, None, :]
    total = (weight * np.square(missed)).sum(axis=2) + (one * UNTOLD) ** 2
    errors = np.sqrt(total / (weight.sum(axis=2) + one**2))
    best = errors.argmin(axis=1)
    return [COUNTS[at] for at in best], errors.min(axis=1)


def _curve(
    scores: TailScores, num_items: float, ratio: float, length: int, k: int, body: Body
) -> np.ndarray:
    """Probability that each search hits among `num_items` times each power of `ratio`, `(searches, powers)`, the mean over what its tail may be."""
    others = np.minimum(length, np.maximum(scores.num_others // 4, 1))
    tails = fit_tails(scores, np.minimum(others, scores.largest.shape[1] - 1))
    share = scores.above / np.maximum(scores.num_others, 1)
    if body == "skew-normal":
        tails, share = with_this_body(scores, tails)
    new = num_items * (ratio**POWERS - 1)
    weights = np.ones(len(scores.best))
    shape = tails.shape(weights)
    excess, spread = tails.log_excess(weights, shape)
    total = np.zeros((len(excess), len(new)))
    for node, weight in zip(NODES, WEIGHTS / WEIGHTS.sum(), strict=True):
        total += weight * _hits(scores, tails, share, shape, excess + node * spread, new, k)
    return total


def _draws(
    curve: np.ndarray, deviation: float, users: np.ndarray | None, seed: int, num_resamples: int
) -> Iterator[float]:
    """Recalls of users drawn anew, at a power drawn anew; `curve` is `(searches, powers)`."""
    random = generator(seed, "larger catalogues")
    count = len(curve)
    group = np.arange(count) if users is None else np.unique(users, return_inverse=True)[1].ravel()
    num_groups = int(group.max()) + 1
    for _ in range(num_resamples):
        weights = random.multinomial(num_groups, np.full(num_groups, 1 / num_groups))[group]
        power = max(1 + deviation * random.normal(), 0.0)
        yield float(np.interp(power, POWERS, weights @ curve / max(weights.sum(), 1)))


def _hits(
    scores: TailScores,
    tails: Tails,
    share: np.ndarray,
    shape: float,
    log_excess: np.ndarray,
    new: np.ndarray,
    k: int,
) -> np.ndarray:
    """Probability that each search hits among today's and `new` items, `(searches, sizes)`."""
    best = nearness(scores.best)
    is_tail = best > tails.threshold
    beyond = np.where(is_tail, tails.beyond(best, shape, log_excess), share)  # fmt: skip
    # a random order puts a tied item above the first of r relevant ones with probability 1 / (r + 1)
    tie = 1 / (scores.num_best + 1.0)
    beyond = np.clip(beyond + scores.tied / np.maximum(scores.num_others, 1) * tie, 0, 1)
    now = scores.above + np.round(scores.tied * tie)
    left = (k - 1 - now)[:, None]
    # P(Binomial(n, p) <= k) = 1 - I_p(k + 1, n - k)
    free = np.maximum(left, 0)
    found = 1 - special.betainc(free + 1, np.maximum(new - free, 0.5), beyond[:, None])
    found = np.where(new[None, :] <= left, 1.0, found)
    is_lost = (left < 0) | ~np.isfinite(scores.best)[:, None]
    return np.where(is_lost, 0.0, found)


def _sizes(sizes: Sequence[int], num_items: int) -> list[int]:
    for size in sizes:
        if not num_items <= size <= LARGEST_SIZE:
            raise TableError(
                f"a catalogue of {size:,} items cannot be extrapolated to from {num_items:,}: wanted at least as many, and at most {LARGEST_SIZE:,}"
            )
    return sorted({int(size) for size in sizes})


def _definition(k: int, size: int, num_items: int, body: Body) -> str:
    fitted = "" if body == "counted" else f" by a {body} body"
    return f"extrapolated{fitted} from {num_items:,} items: share of searches whose top {k} of {size:,} items would hold at least one item engaged with; {ASSUMED}"
