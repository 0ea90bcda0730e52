"""Down-sample over-represented categories, so that the pairs' mix of categories nears the mix of what was shown.

The report aligns the two by down-sampling and gives no number. With n pairs in a category and its share e of all impressions before the cut, it keeps min(n, M e) pairs,
rounded up. The smaller the total M that is aimed at, the nearer the mix comes to exposure and the more pairs are lost: an exact match keeps min(n / e) pairs in all, which
is next to none where one category has few. So M is the largest that brings the mix within `wanted` of exposure, and never so small that less than the share `keep` of the
pairs stays.

- Distance is total variation: half the sum of absolute differences of shares, 0 for the same mix, 1 for disjoint ones. It never grows: where rounding would make it,
  in tiny frames, nothing is dropped.
- Categories with pairs that were never shown have a share of 0 and go first. Categories shown but without pairs cannot be made up for.
- Which pairs go is drawn by seed and kind of query from the pairs in their own order, so the order of rows changes nothing.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from moon_rec.seeds import generator
from moon_rec.shop import Shop

PAIR_ORDER = ("search_id", "query_item_id", "item_id")
BISECTIONS = 60


def categories(shop: Shop, depth: int = 0) -> pl.LazyFrame:
    """item_id and category of the items listed before the cut, the path cut to `depth` levels (0: whole)."""
    category = pl.col("category")
    if depth:
        category = category.str.split("/").list.head(depth).list.join("/")
    listed = pl.col("listed_at") < shop.cut_time
    return shop.items.filter(listed).select("item_id", category=category)


def exposure_mix(shop: Shop, depth: int = 0) -> pl.DataFrame:
    """Each category's share of all impressions before the cut: category, exposure; sorted. Without impressions, no rows."""
    return (
        shop.in_period(shop.impressions, "train")
        .select("item_id")
        .join(categories(shop, depth), on="item_id")
        .group_by("category")
        .len()
        .sort("category")
        .select("category", exposure=pl.col("len") / pl.col("len").sum())
        .collect(engine="streaming")
    )


def mix_of(pairs: pl.DataFrame, of_items: pl.LazyFrame) -> pl.DataFrame:
    """Pairs by category of their item: category, pairs; sorted."""
    counted = (
        pairs.lazy()
        .select("item_id")
        .join(of_items, on="item_id")
        .group_by("category")
        .len("pairs")
    )
    return counted.sort("category").collect(engine="streaming")


def distance(counts: pl.DataFrame, exposure: pl.DataFrame) -> float:
    """Total variation between the mix of pairs (`mix_of`) and that of exposure; NaN where either is empty."""
    both = _beside(counts, exposure)
    if not both["pairs"].sum() or not both["exposure"].sum():
        return float("nan")
    return _distance(both["pairs"].to_numpy(), both["exposure"].to_numpy())


def quotas(pairs: np.ndarray, exposure: np.ndarray, keep: float, wanted: float = 0.0) -> np.ndarray:
    """How many pairs each category keeps.

    Args:
        pairs, exposure: `(categories,)` pairs now, and shares of impressions.
        keep: least share of all pairs that stays.
        wanted: distance at which the mixes are near enough; nothing more is dropped.

    Returns:
        `(categories,)` int64, none above `pairs`.
    """
    if not pairs.any() or not exposure.any():
        return pairs.astype(np.int64)
    floor = int(np.ceil(keep * pairs.sum()))
    shown = exposure > 0
    never_shown = np.where(shown, 0, pairs)
    if pairs[shown].sum() >= max(floor, 1):
        kept = _aimed(pairs, exposure, _aim(pairs, exposure, floor, wanted))
    else:  # not even all pairs of the categories shown are enough: spread the rest over the others
        rest = floor - int(pairs[shown].sum())
        kept = np.where(shown, pairs, np.ceil(never_shown * rest / never_shown.sum()))
    if _distance(kept, exposure) > _distance(pairs, exposure):
        return pairs.astype(np.int64)
    return kept.astype(np.int64)


def rebalance(
    pairs: pl.DataFrame,
    of_items: pl.LazyFrame,
    exposure: pl.DataFrame,
    keep: float,
    wanted: float,
    seed: int,
    kind: str,
) -> pl.DataFrame:
    """The pairs that stay, in the order of `PAIR_ORDER`.

    Args:
        pairs: of one kind of query, with the columns of `posttraining.pairs.COLUMNS`.
        of_items: as `categories` gives it.
        exposure: as `exposure_mix` gives it.
        keep, wanted: as `quotas` has them.
        kind: names the draws.
    """
    counts = _beside(mix_of(pairs, of_items), exposure)
    kept = quotas(counts["pairs"].to_numpy(), counts["exposure"].to_numpy(), keep, wanted)
    quota = counts.select("category", quota=pl.Series(kept))
    rows = pairs.sort(*PAIR_ORDER)
    draws = generator(seed, "re-balance", kind).random(rows.height)
    return (
        rows.with_row_index("place")
        .with_columns(draw=pl.Series(draws))
        .lazy()
        .join(of_items, on="item_id")
        .join(quota.lazy(), on="category")
        .filter(pl.col("draw").rank("ordinal").over("category") <= pl.col("quota"))
        .sort("place")
        .select(pairs.columns)
        .collect(engine="streaming")
    )


def _beside(counts: pl.DataFrame, exposure: pl.DataFrame) -> pl.DataFrame:
    both = counts.join(exposure, on="category", how="full", coalesce=True)
    return both.fill_null(0).sort("category")


def _aimed(pairs: np.ndarray, exposure: np.ndarray, aim: float) -> np.ndarray:
    return np.minimum(pairs, np.ceil(aim * exposure))


def _aim(pairs: np.ndarray, exposure: np.ndarray, floor: int, wanted: float) -> float:
    """The largest aim that is near enough to exposure; if none is, the smallest that keeps `floor` pairs, or at which the mixes match as well as they can."""
    has_both = (exposure > 0) & (pairs > 0)
    aims = pairs[has_both] / exposure[has_both]
    match, most = float(aims.min()), float(aims.max())
    least = _bisect(lambda aim: _aimed(pairs, exposure, aim).sum() >= floor, 0.0, most)
    least = max(least, match)

    def is_near(aim: float) -> bool:
        return _distance(_aimed(pairs, exposure, -aim), exposure) <= wanted

    return -_bisect(is_near, -most, -least)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least number in (low, high] for which a condition holds that holds from there on; `high` where it holds nowhere."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _distance(pairs: np.ndarray, exposure: np.ndarray) -> float:
    return float(np.abs(pairs / pairs.sum() - exposure / exposure.sum()).sum() / 2)
