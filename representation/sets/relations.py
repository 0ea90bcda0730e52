"""Substitutes and complements of products, from a period of a shop's log or from a table of pairs.

Substitutes stand in for each other, complements go with each other (McAuley et al. 2015, Inferring Networks of Substitutable and Complementary Products: "also viewed" and "bought
after viewing" against "also bought" and "bought together"). From a log, in one period alone:
- **complements**: bought by the same user within `window_days`, of different categories. A product without a category is none.
- **substitutes**: clicked after the same search, and never bought together (by one user within the window).
Both go in both directions. From a table (`pairs_of_table`) a pair goes from `item_a` to `item_b`, as Amazon's lists and ESCI's judgements do.

Notable choices, ours:
- Categories are compared as whole paths.
- Products of the query's title, or of its picture's bytes, are taken out of its answers and out of its ranking, as for product queries.
- A purchase on an impression and one among `events` are alike. A pair belongs to a period only when both acts do.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from moon_rec.errors import MoonRecError, ShopError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.engagement import engagements
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.readers.interactions.files import open_source
from moon_rec.shop.readers.interactions.typed import value_reading
from moon_rec.shop.shop import Period
from moon_rec.texts import normal_text
from moon_rec.values import as_ours, read_as, shown

Relation = Literal["substitute", "complement"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
Rows = list[list[int]]

WINDOW_DAYS = 7
SPELLINGS: dict[str, Relation | None] = {
    "substitute": "substitute", "s": "substitute", "also_viewed": "substitute", "also_view": "substitute", "buy_after_viewing": "substitute",
    "complement": "complement", "c": "complement", "also_bought": "complement", "also_buy": "complement", "bought_together": "complement",
    "exact": None, "e": None, "irrelevant": None, "i": None,
}  # fmt: skip
"""What a table may write, in small letters; None: such pairs are counted and left out. One letter is ESCI's (Reddy et al. 2022), the words are Amazon's metadata's."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Related:
    """Products of a gallery, and what each is related to.

    Attributes:
        rows: gallery rows asked about, rising.
        answers: for each the gallery rows that it is related to.
        excluded: for each the rows taken out of its ranking: its own, and those that show it.
        asked: in words, what makes a pair; printed beside every number.
    """

    rows: list[int]
    answers: Rows
    excluded: Rows
    asked: str

    def some(self, places: np.ndarray) -> "Related":
        """Those at some places, rising."""
        rows = [self.rows[at] for at in places]
        answers, excluded = ([of[at] for at in places] for of in (self.answers, self.excluded))
        return Related(rows, answers, excluded, self.asked)

    def moved(self, place: np.ndarray) -> "Related":
        """In a gallery where row r stands at `place[r]`, an order-preserving choice of rows."""
        answers, excluded = (
            [place[rows].tolist() for rows in of] for of in (self.answers, self.excluded)
        )
        return Related(place[self.rows].tolist(), answers, excluded, self.asked)


def pairs_of_log(
    shop: Shop, period: Period = "test", window_days: int = WINDOW_DAYS
) -> dict[Relation, pl.DataFrame]:
    """Pairs (item_a, item_b) of each relation, each pair once, in both directions, sorted.

    Raises:
        ShopError: an unknown period.
    """
    together = _bought_together(shop, period, window_days).collect(engine="streaming")
    clicked = engagements(shop, "clicked", period).select("search_id", "item_id")
    viewed = (
        clicked.rename({"item_id": "item_a"})
        .join(clicked.rename({"item_id": "item_b"}), "search_id")
        .filter(pl.col("item_a") != pl.col("item_b"))
        .select("item_a", "item_b")
        .unique()
        .join(together.lazy(), ["item_a", "item_b"], "anti")
        .collect(engine="streaming")
    )
    category = shop.items.select("item_id", "category").collect()
    for side in ("item_a", "item_b"):
        named = category.rename({"item_id": side, "category": f"category_of_{side}"})
        together = together.join(named, side)
    across = pl.col("category_of_item_a") != pl.col("category_of_item_b")  # null: neither
    complements = together.filter(across).select("item_a", "item_b")
    found: dict[Relation, pl.DataFrame] = {"substitute": viewed, "complement": complements}
    return {name: pairs.sort("item_a", "item_b") for name, pairs in found.items()}


def _bought_together(shop: Shop, period: Period, window_days: int) -> pl.LazyFrame:
    """Pairs (item_a, item_b) bought by one user within the window, in both directions, each once."""
    acts = [shop.impressions, *([shop.events] if shop.events is not None else [])]
    bought = pl.concat(
        shop.in_period(one.filter("purchased"), period).select("user_id", "item_id", "time")
        for one in acts
    ).unique()
    window = window_days * _DAY
    # of any two within the window, the later is in the earlier's stretch of that length or in the next
    stretch = pl.col("time").dt.epoch("us") // int(window.total_seconds() * 1e6)
    first = bought.with_columns(stretch=stretch).rename({"item_id": "item_a"})
    second = first.rename({"item_a": "item_b", "time": "later"})
    second = pl.concat([second, second.with_columns(pl.col("stretch") - 1)])
    gap = pl.col("later") - pl.col("time")
    found = (
        first.join(second, ["user_id", "stretch"])
        .filter((gap >= timedelta(0)) & (gap <= window) & (pl.col("item_a") != pl.col("item_b")))
        .select("item_a", "item_b")
    )
    other_way = found.select(item_a="item_b", item_b="item_a")
    return pl.concat([found, other_way]).unique()


def pairs_of_table(path: Path, shop: Shop) -> dict[Relation, pl.DataFrame]:
    """Pairs (item_a, item_b) of each relation, from a file with columns `item_a`, `item_b`, `relation` (CSV, TSV, JSON lines, Parquet, packed or not), ids as the user writes them.

    What is left out is said with its count: pairs that are neither relation (ESCI's exact and irrelevant), ids that the shop does not know, a product and itself.

    Raises:
        ShopError: a file that cannot be read, a column that is missing, a relation of another spelling, an id that is none; no pair left.
    """
    try:
        source = open_source([path])
        frame = source.collect(source.frame)
    except MoonRecError as error:
        raise ShopError(str(error)) from None
    wanted = ("item_a", "item_b", "relation")
    if missing := [name for name in wanted if name not in frame.columns]:
        raise ShopError(
            f"{path}: column {missing[0]} is missing: it has {', '.join(frame.columns)}; rename columns to {', '.join(wanted)}"
        )
    relation = as_ours(frame["relation"], pl.String(), str(path), error=ShopError)
    spelt = relation.str.strip_chars().str.to_lowercase()
    unknown = (~spelt.is_in(list(SPELLINGS))).arg_true()
    if unknown.len():
        row = int(unknown[0])
        raise ShopError(
            f"{path}: relation row {row}: {shown(relation[row])} is none that is known ({unknown.len():,} rows); write substitute or complement, ESCI's letters or Amazon's words ({', '.join(SPELLINGS)})"
        )
    ids = {side: _ids(frame[side], str(path), shop) for side in ("item_a", "item_b")}
    known = shop.items.select("item_id").collect()["item_id"].implode()
    pairs = pl.DataFrame({**ids, "relation": spelt.replace_strict(SPELLINGS, return_dtype=pl.String)})  # fmt: skip
    is_known = pl.col("item_a").is_in(known) & pl.col("item_b").is_in(known)
    kept = pairs.filter(
        pl.col("relation").is_not_null() & is_known.fill_null(False) & (pl.col("item_a") != pl.col("item_b"))
    )  # fmt: skip
    if not kept.height:
        raise ShopError(
            f"{path}: none of its {pairs.height:,} pairs is a substitute or complement between two products of shop {shop.name}; give its item ids as they are in its log"
        )
    if left := pairs.height - kept.height:
        neither = pairs["relation"].null_count()
        strange = pairs.height - pairs.filter(is_known.fill_null(False)).height
        say(
            f"{path}: {left:,} of {pairs.height:,} pairs left out: {neither:,} of neither relation, {strange:,} with a product that the shop has not, the rest a product and itself"
        )
    return {
        name: kept.filter(pl.col("relation") == name)
        .select("item_a", "item_b")
        .unique()
        .sort("item_a", "item_b")
        for name in RELATIONS
    }


def _ids(column: pl.Series, where: str, shop: Shop) -> pl.Series:
    """The shop's ids of a column that a user wrote; null where it knows none."""
    names = OwnNames.of(shop.path, "item")
    if names.is_kept:
        return names.numbers(names.written(column, where)).rename(column.name)
    wanted = pl.Int64()
    how = value_reading(column.name, column.dtype, wanted)
    return read_as(column, how, wanted, where, error=ShopError)


def related(gallery: pl.DataFrame, pairs: pl.DataFrame, asked: str) -> Related:
    """Pairs as rows of a gallery; a pair of which a product is not in it, or of which one shows the other, is none.

    Args:
        gallery: as of a benchmark set, ascending by item_id.
        pairs: item_a, item_b.
        asked: see `Related`.
    """
    rows = shown_rows(gallery)
    answered = rows.rename({"item_id": "item_b", "row": "answer"})
    is_other_picture = pl.col("picture").ne_missing(pl.col("picture_answer"))
    answers = (
        pairs.join(rows.rename({"item_id": "item_a"}), "item_a")
        .join(answered, "item_b", suffix="_answer")
        .filter(pl.col("title") != pl.col("title_answer"))
        .filter(is_other_picture | pl.col("picture").is_null())
    )
    found = answers.sort("row", "answer").group_by("row", maintain_order=True).agg("answer")
    asked_rows = found["row"].to_list()
    return Related(asked_rows, found["answer"].to_list(), rows_alike(rows, asked_rows), asked)


def shown_rows(gallery: pl.DataFrame) -> pl.DataFrame:
    """What tells whether one product shows another: row, item_id, title in normal form, hash of the picture's bytes (null without one)."""
    return gallery.select(
        "item_id",
        title=normal_text("title"),
        picture=pl.when(pl.col("image").is_not_null()).then(pl.col("image").hash(seed=0)),
    ).with_row_index("row")


def rows_alike(rows: pl.DataFrame, asked: list[int]) -> Rows:
    """For each of the rows asked about: itself, and the rows of its title or of its picture, rising.

    Args:
        rows: of `shown_rows`, all of the gallery.
    """
    products = rows[asked]
    alike = [
        products.join(rows.select(by, alike="row"), by).select("row", "alike")
        for by in ("picture", "title")
    ]
    own = products.select("row", alike="row")
    found = pl.concat([*alike, own]).unique().sort("row", "alike")
    return found.group_by("row", maintain_order=True).agg("alike")["alike"].to_list()
