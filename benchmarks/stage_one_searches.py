"""What is asked of encoders: titles and photos of products held out of all training, whose own picture is to be found; and how often it is."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.own_photo_recall import KS, own_recall, rendered
from moon_rec.errors import ShopError
from moon_rec.seeds import generator
from moon_rec.shop import Shop


class Searches(NamedTuple):
    """What is asked, of products held out.

    Attributes:
        gallery: products with a picture, all of them or so many, those that are sought among them: item_id, title, image; ascending.
        items: `(searches,)` ids of the products sought, ascending.
        queries: by kind, `query_text` and `query_image` of each.
    """

    gallery: pl.DataFrame
    items: np.ndarray
    queries: dict[str, pl.DataFrame]


def held_out_searches(
    shop: Shop,
    most: int,
    seed: int,
    most_in_gallery: int | None = None,
    is_validation: bool = False,
) -> Searches:
    """Up to `most` products listed from the cut on, that have a title and a picture.

    Args:
        most_in_gallery: of all products with a picture, so many are drawn beside those that are sought; None: all.
        is_validation: seek other ones, the next `most` of the same order: settings are chosen on them, and never on those that are measured.

    Raises:
        ShopError: there are fewer than two.
    """
    gallery = shop.items.filter(pl.col("image").is_not_null()).sort("item_id").collect()
    later = gallery.filter((pl.col("listed_at") >= shop.cut_time) & (pl.col("title") != ""))
    if later.height < 2:
        raise ShopError(
            f"{shop.path}: {later.height} products with a title and a picture are listed from its cut on, and what is measured is held out of training; move the cut"
        )
    ids = later["item_id"].to_numpy()
    order = generator(seed, "held out").permutation(ids)
    chosen = np.sort(order[most : 2 * most] if is_validation else order[:most])
    if len(chosen) < 2:
        raise ShopError(
            f"{shop.path}: of {len(ids)} products listed from its cut on {len(chosen)} are left for validation; lower --searches"
        )
    asked = later.filter(pl.col("item_id").is_in(chosen.tolist()))
    if most_in_gallery is not None:
        others = gallery.filter(~pl.col("item_id").is_in(chosen.tolist()))["item_id"].to_numpy()
        kept = generator(seed, "gallery").permutation(others)[: max(most_in_gallery - len(chosen), 0)]  # fmt: skip
        gallery = gallery.filter(pl.col("item_id").is_in([*chosen.tolist(), *kept.tolist()]))
    photos = rendered(asked.select("item_id", "image"), seed)
    kinds = {"query_text": pl.String, "query_image": pl.Binary}
    none = [None] * len(chosen)
    texts = {"query_text": asked["title"], "query_image": none}
    pictures = {"query_text": none, "query_image": photos}
    queries = {
        name: pl.DataFrame(columns, schema=kinds)
        for name, columns in (("text", texts), ("picture", pictures))
    }
    return Searches(gallery, chosen, queries)


def measure(
    path: Path, searches: Searches, seed: int, features: tuple[Path, str] | None = None
) -> pl.DataFrame:
    """Of every search, by kind (`modality`), the share of its top k's hold of the product sought: a column `hit@k`, a row a search.

    Args:
        features: folder of what the frozen tower makes of pictures, and the shop's digest.
    """
    from representation.encoder import open_encoder
    from representation.training.picture_store import PictureStore

    encoder: Any = open_encoder(path)
    if features is not None:
        pictures = [*searches.gallery["image"], *searches.queries["picture"]["query_image"]]
        store = PictureStore(pictures, [f"picture {row}" for row in range(len(pictures))], encoder.image_size, keep=False)  # fmt: skip
        take = {"pictures sought": (len(pictures), lambda first, end: store.take(range(first, end)))}  # fmt: skip
        encoder.remember({}, take, *features)
    vectors = encoder.encode_items(searches.gallery, modality="image")
    ids, frames = searches.gallery["item_id"].to_numpy(), []
    for name, queries in searches.queries.items():
        found = own_recall(vectors, ids, encoder.encode_queries(queries), searches.items, seed)
        hits = {f"hit@{k}": found.hits[:, at] for at, k in enumerate(KS)}
        frame = pl.DataFrame({"search_id": searches.items[found.searches], **hits})
        frames.append(frame.with_columns(modality=pl.lit(name)))
    return pl.concat(frames)
