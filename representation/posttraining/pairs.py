"""Positive pairs from the logs before the cut: what was searched, and what was then engaged with.

The report pairs text, image and product queries with engaged items; how each form of query is drawn from the logs is not public. Here:
- `text`: the words of a search; `image`: its photo. A search by both gives either alone too (`split_mixed`).
- `title+image`: photo and words of a search by both, the log's nearest to a picture with a short text.
- `richer-text+image`: a product. The query is another product that the shopper engaged with after the same search (`query_engagement`), the item is the one
  engaged with in the end. A pair of products with the same title is left out: it would give the answer away word by word.
Besides, since a small shop's log holds few photos and words, a product's own picture, altered (`augmentation.py`), can stand for a photo of it, and some of its own words
(`own_words.py`) for a search: `own_pairs`.
Only searches, engagements and items listed before the cut are used. An item of the same SPU may be a query's answer: siblings are wanted neighbours.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from moon_rec.errors import ConfigError, EncoderError
from moon_rec.files import digest_of
from moon_rec.shop import Shop
from moon_rec.shop.engagement import Engagement, engagements
from moon_rec.texts import has_text, normal_text
from representation.curation.files import read_curation, read_pairs
from representation.posttraining.mixture import QueryKind

if TYPE_CHECKING:
    from representation.posttraining.config import PosttrainConfig

COLUMNS = ("search_id", "query_item_id", "item_id", "spu_id", "has_image")


def logged_pairs(
    shop: Shop,
    engagement: Engagement = "purchased",
    query_engagement: Engagement = "clicked",
    split_mixed: bool = True,
) -> dict[QueryKind, pl.DataFrame]:
    """All positive pairs before the cut, by form of query.

    Returns:
        For each form: search_id, query_item_id (null unless the query is a product), item_id, spu_id, and has_image of the item; sorted, so the same logs
        give the same order.
    """
    items = known_items(shop)
    engaged = (
        engagements(shop, engagement, period="train")
        .select("search_id", "item_id")
        .join(items, on="item_id", how="inner")
    )
    searches = shop.in_period(shop.searches, "train")
    searches = searches.select("search_id", has_text=has_text("query_text")).join(
        shop.pictured("searches").select("search_id", has_photo="has_picture"), on="search_id"
    )
    pairs = engaged.join(searches, on="search_id", how="inner").collect()
    by_words, by_photo = pl.col("has_text"), pl.col("has_photo")
    both = by_words & by_photo
    chosen: dict[QueryKind, pl.Expr] = {
        "text": by_words if split_mixed else by_words & ~by_photo,
        "image": by_photo if split_mixed else by_photo & ~by_words,
        "title+image": both,
    }
    found: dict[QueryKind, pl.DataFrame] = {
        kind: _tidy(pairs.filter(rows)) for kind, rows in chosen.items()
    }
    found["richer-text+image"] = _product_pairs(shop, pairs, items, query_engagement)
    return found


def known_items(shop: Shop) -> pl.LazyFrame:
    """item_id, spu_id and has_image of the items listed before the cut: all that training may see."""
    has_image = shop.pictured("items").select("item_id", has_image="has_picture")
    listed = shop.items.filter(pl.col("listed_at") < shop.cut_time).select("item_id", "spu_id")
    return listed.join(has_image, on="item_id", how="left", maintain_order="left")


def own_pairs(shop: Shop) -> pl.DataFrame:
    """Each product listed before the cut as its own query: a view of its picture, if it has one, or some of its words are to find it. Columns as `logged_pairs` has them."""
    items = known_items(shop).sort("item_id").collect()
    return items.select(
        search_id=-1 - pl.int_range(pl.len(), dtype=pl.Int64),  # each a search of its own
        query_item_id="item_id",
        item_id="item_id",
        spu_id="spu_id",
        has_image="has_image",
    )


def catalogue_pairs(shop: Shop) -> dict[QueryKind, pl.DataFrame]:
    """Pairs for a shop whose log holds no search: each product is its own query, by its title or by a view of its picture.

    In the form of `logged_pairs`; meant for the kinds of `mixture.CATALOGUE_KINDS`, whose items do not show what the query is.
    """
    own = own_pairs(shop).filter("has_image")
    none = own.clear()
    return {"text": own, "image": own, "title+image": none, "richer-text+image": none}


class CuratedPairs:
    """Pairs that `representation.curate` wrote, to be trained on.

    Attributes:
        digest: of the files.
    """

    def __init__(self, folder: Path | str, shop: Shop, config: "PosttrainConfig") -> None:
        """
        Raises:
            ConfigError: settings that curate or pair anew, or that read the log otherwise than the curation did.
            EncoderError: no curation in the folder, one of another shop, or changed files.
        """
        self.folder = Path(folder)
        if config.curation is not None or config.pairs != "log":
            raise ConfigError(
                f"--pairs {folder} beside {'curation' if config.curation is not None else 'pairs=catalogue'}: its pairs are curated; name one of the two"
            )
        self._pairs = read_pairs(folder, shop)
        about = read_curation(self.folder)
        for name in ("engagement", "query_engagement", "split_mixed"):
            own = getattr(config, name)
            if about.get(name) != own:
                raise ConfigError(
                    f"--pairs {folder} was curated with {name} = {about.get(name)!r}, this training has {own!r}: known positives would be others; set {name} alike"
                )
        self.digest = digest_of(about["files"])

    def read(self, whole: dict[QueryKind, pl.DataFrame]) -> dict[QueryKind, pl.DataFrame]:
        """The pairs by form of query.

        Args:
            whole: all pairs of the log, as `logged_pairs` gives them.

        Raises:
            EncoderError: other columns, or no pair at all.
        """
        found: dict[QueryKind, pl.DataFrame] = {
            kind: self._pairs.get(kind, frame.clear()) for kind, frame in whole.items()
        }
        if not any(frame.height for frame in found.values()):
            raise EncoderError(f"{self.folder} holds no pair; curate with fewer steps")
        for kind, frame in found.items():
            if frame.columns != list(COLUMNS):
                raise EncoderError(
                    f"{self.folder / kind}.parquet has columns {', '.join(frame.columns)}; wanted {', '.join(COLUMNS)}: curate again"
                )
        return found


def _product_pairs(
    shop: Shop, pairs: pl.DataFrame, items: pl.LazyFrame, kind: Engagement
) -> pl.DataFrame:
    titles = shop.items.select("item_id", title=normal_text("title"))
    queries = (
        engagements(shop, kind, period="train")
        .select("search_id", query_item_id="item_id")
        .join(
            items.filter("has_image").select("item_id"), left_on="query_item_id", right_on="item_id"
        )
        .join(titles.rename({"title": "query_title"}), left_on="query_item_id", right_on="item_id")
    )
    together = (
        pairs.lazy()
        .join(queries, on="search_id", how="inner")
        .join(titles, on="item_id", how="inner")
        .filter(
            (pl.col("query_item_id") != pl.col("item_id"))
            & (pl.col("query_title") != pl.col("title"))
        )
    )
    return _tidy(together.collect())


def _tidy(pairs: pl.DataFrame) -> pl.DataFrame:
    if "query_item_id" not in pairs.columns:
        pairs = pairs.with_columns(query_item_id=pl.lit(None, dtype=pl.Int64))
    return pairs.select(COLUMNS).sort("search_id", "query_item_id", "item_id")
