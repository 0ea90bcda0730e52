"""Batches of pairs, each of one kind of query and one kind of item, so that the form of a row never tells which item belongs to it.

A batch is the same however many processes share it: each makes the inputs of its own rows only, with the views that one process would make of them; ids and
masks are known to all.
"""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from moon_rec.seeds import generator, seed_of
from moon_rec.shop import Shop
from representation.co_augmentation.config import CoAugmentationConfig
from representation.co_augmentation.files import Augmentation
from representation.co_augmentation.shown import CoAugmented
from representation.core_region.crops import boxes_told, known_boxes
from representation.mixture.modality_driven import Objective
from representation.model.prompt import TEXT_COLUMNS, product_texts
from representation.negatives import HardNegatives, KnownPositives
from representation.posttraining.alignment_config import AlignmentConfig
from representation.posttraining.augmentation import (
    AugmentationConfig,
    Views,
    apply_views,
    draw_views,
)
from representation.posttraining.mixture import ItemKind, PairKind, QueryKind, text_kind
from representation.posttraining.own_words import OwnWords
from representation.posttraining.pair_batch import HardItems, PairBatch
from representation.posttraining.schedule import Schedule
from representation.trainable import Remembers, Rows, Side, TextKind, Trainable
from representation.training.distributed import share_of
from representation.training.picture_file import PictureFile
from representation.training.picture_store import MOST_SCRATCH_BYTES, PictureStore

Shown = tuple[list[list[int]], np.ndarray | Tensor | None]
"""Tokens of each row's text, empty where it shows none, and pictures of all rows or of none."""


class Batches:
    """Turns a step's pairs into inputs; texts are tokenised and pictures decoded once.

    In memory: texts and ids, and as uint8 the pictures seen so far (see `PictureStore`): about 1 GB for 41,000 products and as many photos.
    Of larger shops the decoded pictures are in a scratch file of at most `scratch_bytes`, for products and photos alike. Files' bytes are on the disk (`PictureFile`),
    and only where the schedule shows pictures.

    On a GPU the pictures of a batch travel as bytes and are altered there (`augmentation.apply_views`); on a processor all of a batch is made on it.

    Photos are altered anew each time they are used, as `augmentation` says (without it, or without `alter_photos`: never). A product paired with itself is shown as an altered view of its picture, or, among
    searches by words, by words drawn from its own (`own_words`; None: by its title).

    Attributes:
        schedule: which pairs a step takes.

    Args:
        known: what is never a negative.
        hard: draws hard negatives, `num_hard` to each pair, shown in the form of the kind's items. Those without a picture where the kind shows pictures, and
            those not listed before the cut, count as none.
        rank, world_size: make the inputs of this process's share of the rows only.
        alignment: which views of queries and items a batch has besides.
        co_augmentation: how products are shown in further ways, and these (`co_augmentation.shown`); None: as they are.
    """

    def __init__(
        self,
        shop: Shop,
        encoder: Trainable,
        schedule: Schedule,
        known: KnownPositives,
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
        own_words: OwnWords | None = None,
        hard: HardNegatives | None = None,
        num_hard: int = 0,
        rank: int = 0,
        world_size: int = 1,
        scratch_bytes: int = MOST_SCRATCH_BYTES,
        alter_photos: bool = True,
        alignment: AlignmentConfig | None = None,
        co_augmentation: tuple[CoAugmentationConfig, Augmentation] | None = None,
    ) -> None:
        self._encoder, self.schedule, self._alignment = encoder, schedule, alignment
        self._of_photos = augmentation if alter_photos else None
        self._of_products = augmentation or AugmentationConfig()
        self._seed, self._own_words = seed, own_words
        self._known, self._hard, self._num_hard = known, hard, num_hard
        self._rank, self._world_size = rank, world_size
        listed = shop.items.filter(pl.col("listed_at") < shop.cut_time)
        listed = listed.select("item_id", "spu_id", *TEXT_COLUMNS)
        items = listed.join(shop.pictured("items"), on="item_id").sort("item_id").collect()
        self._item_ids = items["item_id"].to_numpy()
        self._spu_ids = items["spu_id"].to_numpy()
        self._has_image = items["has_picture"].to_numpy()
        self._texts = {
            "title": product_texts(items, "title"),
            "richer": product_texts(items, "richer", encoder.says_price),
        }
        self._tokens: dict[tuple[Side, TextKind], list[list[int]]] = {}
        of_forms = {text_kind(kind.item) for kind in schedule.pairs}
        said: list[TextKind] = [kind for kind in ("title", "richer") if kind in of_forms]
        for kind in said:
            self._tokens_of("item", kind)
        self._size, self._device = encoder.image_size or 1, encoder.device
        self._cut = encoder.cut
        forms = {form for kind in schedule.pairs for form in kind}
        shows = any("image" in form for form in forms)
        self._images = self._store(shop, "items", self._item_ids if shows else None, scratch_bytes)
        self._augmented = None
        if co_augmentation is not None:
            shows = any("image" in kind.item for kind in schedule.pairs)
            of_items = (encoder, items, said, shows, seed, scratch_bytes)
            self._augmented = CoAugmented(*co_augmentation, *of_items)
        searches = _used_searches(shop, schedule)
        self._search_ids = searches["search_id"].to_numpy()
        words = [text or "" for text in searches["query_text"]]
        self._words = encoder.tokens(words, "query", "words")
        shows = any(kind.query in ("image", "title+image") for kind in schedule.pairs)
        ids = self._search_ids if shows else None
        self._photos = self._store(shop, "searches", ids, scratch_bytes)

    def _store(
        self, shop: Shop, table: str, ids: np.ndarray | None, scratch_bytes: int
    ) -> PictureStore:
        """Pictures of the rows of `ids`; None: none is shown."""
        what = {"items": "items.image of item", "searches": "searches.query_image of search"}
        ids = np.zeros(0, np.int64) if ids is None else ids
        names = [f"{what[table]} {key}" for key in ids]
        pictures = PictureFile.of(shop, table, ids) if len(ids) else []
        return PictureStore(
            pictures,
            names,
            self._size,
            scratch_bytes=scratch_bytes,
            cut=self._cut,
            boxes=known_boxes(shop, table, ids, names, self._cut),
        )

    def _tokens_of(self, side: Side, kind: TextKind) -> list[list[int]]:
        """Tokens of the products' texts as a side shows them, made once."""
        if (side, kind) not in self._tokens:
            self._tokens[side, kind] = self._encoder.tokens(self._texts[kind], side, kind)
        return self._tokens[side, kind]

    @property
    def _is_far(self) -> bool:
        """Whether pictures travel to another device than this processor."""
        return self._device.type != "cpu"

    def decode_ahead(self) -> None:
        """Decode all pictures that the steps need, on all cores and with progress, instead of each when it is first needed.

        Hard negatives are decoded when needed, and kept too. Processes of one machine share the work, and what comes of it.
        """
        if self._world_size > 1 and not (self._images.is_shared or self._photos.is_shared):
            return
        products, searches = self._shown()
        with boxes_told(self._cut):
            self._images.decode_ahead(products, "products' pictures")
            self._photos.decode_ahead(searches, "shoppers' photos")

    def remember_ahead(self, folder: Path | None, shop_digest: str) -> None:
        """Have an encoder with frozen towers compute ahead what they make of the texts and pictures that the steps show; altered pictures and drawn words are never the same twice.

        Args:
            folder: where the towers' outputs are kept; None: in memory alone. Of several processes each keeps them in memory.
        """
        if not isinstance(self._encoder, Remembers):
            return
        forms = {form for kind in self.schedule.pairs for form in kind}
        said: set[tuple[Side, TextKind]] = set()
        for kind in self.schedule.pairs:
            if (text := text_kind(kind.item)) is not None:
                said.add(("item", text))
            if kind.query == "richer-text+image":
                said.add(("query", "richer"))
            elif kind.query != "image" and self._own_words is None:
                said.add(("query", "title"))
        tokens = {
            f"{kind}s of products": self._tokens_of(side, kind) for side, kind in sorted(said)
        }
        if forms & {"text", "title+image"} and self._words:
            tokens["searches"] = self._words
        shown, photos = (np.unique(places) for places in self._shown())
        pictures = {
            what: (len(places), lambda first, end, of=store, at=places: of.take(at[first:end]))
            for what, store, places in (
                ("products' pictures", self._images, shown),
                (
                    "shoppers' photos",
                    self._photos,
                    photos if self._of_photos is None else photos[:0],
                ),
            )
            if len(places)
        }
        self._encoder.remember(tokens, pictures, folder, shop_digest)

    def _shown(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the products and of the searches whose pictures the steps show."""
        products, searches = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for query, item, rows in self.schedule.used():
            if "image" in item:
                products.append(self._places(rows["item_id"]))
            is_product = rows["query_item_id"].is_not_null()
            if query != "text":
                products.append(self._places(rows["query_item_id"].filter(is_product)))
            if query in ("image", "title+image"):
                ids = rows["search_id"].filter(~is_product).to_numpy()
                searches.append(np.searchsorted(self._search_ids, ids))
        return np.concatenate(products), np.concatenate(searches)

    def make(self, step: int) -> PairBatch:
        """The batch of a step."""
        kind, rows = self.schedule.rows(step)
        own = share_of(rows.height, self._rank, self._world_size)
        item_rows = self._places(rows["item_id"])
        if kind.query == "richer-text+image":
            query_rows = self._places(rows["query_item_id"])[own]
            shown = self._shown_of("query", query_rows, "richer-text+image")
        else:
            shown = self._searches(rows, item_rows, own, kind.query, step)
        return PairBatch(
            kind=kind,
            queries=self._encoder.prepare("query", *shown),
            items=self._items(item_rows, own, kind.item, step, "positives"),
            blocked=self._blocked(rows, own),
            rows=rows,
            item_ids=_tensor(rows["item_id"]),
            spu_ids=_tensor(rows["spu_id"]),
            search_ids=_tensor(rows["search_id"]),
            own=own,
            hard=self._hard_items(kind, rows, item_rows, own, step),
            query_views=self._query_views(kind, shown),
            item_views=self._item_views(kind, item_rows[own]),
        )

    def _query_views(self, kind: PairKind, shown: Shown) -> dict[Objective, Rows]:
        """Queries of words and picture by their words alone and by their picture alone."""
        if kind.shows != "both" or self._alignment is None or not self._alignment.query_views:
            return {}
        texts, pictures = shown
        return {
            "text": self._encoder.prepare("query", texts, None),
            "image": self._encoder.prepare("query", [[]] * len(texts), pictures),
        }

    def _item_views(self, kind: PairKind, rows: np.ndarray) -> tuple[Rows, ...]:
        """Items by their pictures alone, and by their texts alone: richer ones unless the kind shows titles."""
        if self._alignment is None or not self._alignment.intra_weight or "image" not in kind.item:
            return ()
        of_all = self._tokens_of("item", "title" if kind.item == "title+image" else "richer")
        texts = self._encoder.prepare("item", [of_all[row] for row in rows], None)
        pictures = self._encoder.prepare("item", *self._shown_of("item", rows, "image"))
        return pictures, texts

    def _places(self, item_ids: pl.Series) -> np.ndarray:
        return np.searchsorted(self._item_ids, item_ids.to_numpy())

    def _blocked(self, rows: pl.DataFrame, own: slice) -> Tensor:
        ids, spu_ids = rows["item_id"].to_numpy(), rows["spu_id"].to_numpy()
        positives = np.arange(own.start, own.stop)
        return torch.from_numpy(self._known.blocked(rows[own], ids, spu_ids, positives))

    def _hard_items(
        self, kind: PairKind, rows: pl.DataFrame, item_rows: np.ndarray, own: slice, step: int
    ) -> HardItems | None:
        if self._hard is None or not self._num_hard:
            return None
        has_picture = "image" in kind.item
        ids = self._hard.draw(rows, self._num_hard, step, has_picture)
        places = np.searchsorted(self._item_ids, ids).clip(max=len(self._item_ids) - 1)
        mask = self._item_ids[places] == ids
        if has_picture:
            mask &= self._has_image[places]
        places = np.where(mask, places, item_rows[:, None])
        ids = np.where(mask, ids, -1)
        spu_ids = np.where(mask, self._spu_ids[places], -1)
        blocked = self._known.blocked(rows[own], ids.reshape(-1), spu_ids.reshape(-1))
        of_own = slice(own.start * self._num_hard, own.stop * self._num_hard)
        return HardItems(
            items=self._items(places.reshape(-1), of_own, kind.item, step, "hard negatives"),
            ids=torch.from_numpy(ids),
            spu_ids=torch.from_numpy(spu_ids),
            mask=torch.from_numpy(mask),
            is_clicked=torch.from_numpy(self._hard.is_clicked(rows, ids) & mask),
            blocked=torch.from_numpy(blocked | ~mask.reshape(-1)),
        )

    def _items(self, rows: np.ndarray, own: slice, kind: ItemKind, step: int, role: str) -> Rows:
        """The own rows among products of the batch, with what co-augmentation adds to a step's."""
        shown = self._shown_of("item", rows[own], kind)
        if self._augmented is not None and self._augmented.is_in(step):
            shown = self._augmented.of(shown, text_kind(kind), rows, own, role, step)
        return self._encoder.prepare("item", *shown)

    def _shown_of(self, side: Side, rows: np.ndarray, kind: ItemKind) -> Shown:
        """What a side shows of products."""
        texts: list[list[int]] = [[]] * len(rows)
        if (said := text_kind(kind)) is not None:
            of_all = self._tokens_of(side, said)
            texts = [of_all[row] for row in rows]
        return texts, self._images.take_to(rows, self._device) if "image" in kind else None

    def _searches(
        self, rows: pl.DataFrame, item_rows: np.ndarray, own: slice, kind: QueryKind, step: int
    ) -> Shown:
        """What is shown of queries of searches, then products as their own queries: by words, or by a view of their picture."""
        is_own = (rows["query_item_id"] == rows["item_id"]).fill_null(False).to_numpy()
        search_rows = np.searchsorted(self._search_ids, rows["search_id"].to_numpy()[~is_own])
        product_rows = item_rows[is_own]
        searches, products = parts_of(own, len(search_rows))
        texts: list[list[int]] = [[]] * (own.stop - own.start)
        if kind != "image":
            texts = [self._words[row] for row in search_rows[searches]]
            texts += self._product_words(product_rows, products, step)
        if kind == "text":
            return texts, None
        random = generator(self._seed, "views", step)
        noise = None
        if self._is_far:
            noise = torch.Generator(self._device).manual_seed(seed_of(self._seed, "noise", step))
        photos = self._photo_views(search_rows, searches, random)
        views = self._product_views(product_rows, products, random, noise)
        return texts, torch.cat([photos, views])

    def _product_words(self, rows: np.ndarray, own: slice, step: int) -> list[list[int]]:
        if self._own_words is None:
            titles = self._tokens_of("query", "title")
            return [titles[row] for row in rows[own]]
        drawn = self._own_words.draw(self._item_ids[rows], generator(self._seed, "own words", step))
        return self._encoder.tokens(drawn[own], "query", "words")

    def _photo_views(self, rows: np.ndarray, own: slice, random: np.random.Generator) -> Tensor:
        photos = self._photos.take_to(rows[own], self._device)
        if self._of_photos is None or not len(rows):
            return photos
        views = draw_views(len(rows), self._size, self._of_photos, random, new_ground=False)
        return _altered(photos, views.some(own))

    def _product_views(
        self,
        rows: np.ndarray,
        own: slice,
        random: np.random.Generator,
        noise: torch.Generator | None,
    ) -> Tensor:
        pictures = self._images.take_to(rows[own], self._device)
        if not len(rows):
            return pictures
        views = draw_views(len(rows), self._size, self._of_products, random, True, noise).some(own)
        assert views.grounds is not None
        others = views.grounds.others
        if len(pictures) == len(rows):
            return _altered(pictures, views, pictures[torch.from_numpy(others)])
        return _altered(pictures, views, self._images.take_to(rows[others], self._device))


def _altered(pictures: Tensor, views: Views, others: Tensor | None = None) -> Tensor:
    """Views of pictures where these are; a picture and its core region are altered alike."""
    if pictures.ndim < 5:
        return apply_views(pictures, views, others)
    each = [
        apply_views(pictures[:, place], views, None if others is None else others[:, place])
        for place in range(pictures.shape[1])
    ]
    return torch.stack(each, 1)


def parts_of(own: slice, first: int) -> tuple[slice, slice]:
    """Where `own` lies within the first `first` rows, and within those after them."""
    before = slice(min(own.start, first), min(own.stop, first))
    return before, slice(max(own.start - first, 0), max(own.stop - first, 0))


def _tensor(column: pl.Series) -> Tensor:
    return torch.from_numpy(column.to_numpy().copy())


def _used_searches(shop: Shop, schedule: Schedule) -> pl.DataFrame:
    """The searches that some pair of the schedule needs, by search_id."""
    wanted = [
        rows.select("search_id")
        for kind, rows in schedule.pairs.items()
        if kind.query != "richer-text+image"
    ]
    if not wanted:
        return shop.searches.head(0).select("search_id", "query_text").collect()
    needed = pl.concat(wanted).unique()
    return (
        shop.in_period(shop.searches, "train")
        .join(needed.lazy(), on="search_id", how="semi")
        .select("search_id", "query_text")
        .sort("search_id")
        .collect()
    )
