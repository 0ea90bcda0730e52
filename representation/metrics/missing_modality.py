"""Search recall where products lack their pictures or their words: left out, or completed (the question of MMPCBench).

Of the gallery's products a share loses its pictures, or its words (title, category, brand, attributes, description). Which ones is drawn by a seed, once: those of a smaller share are among those of a
larger one. A product is then shown by what is left; one with nothing left has no vector and is never found. Beside that each is completed (`co_augmentation.Completion`: a title written for the
picture or that of the product with the nearest picture; the picture of the product with the nearest words) and shown by both. Searches stay as they are.

The difference of completed and left out is over the same searches with the same products lacking, its interval over users (`moon_rec.shares`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import EncoderError
from moon_rec.estimate import Estimate
from moon_rec.progress import say
from moon_rec.seeds import generator
from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from moon_rec.shop.engagement import Engagement
from moon_rec.shop.shop import Period
from moon_rec.texts import has_text
from representation.co_augmentation.generator import Completion
from representation.core_region.crops import box_columns
from representation.interface import Encoder, Modality
from representation.metrics.recall import READINGS, search_recall
from representation.metrics.shop_metrics import SEARCHED_BY
from representation.model.prompt import TEXT_COLUMNS
from representation.sets.search_cases import MODALITIES, ShopSearches

Missing = Literal["pictures", "texts"]
MISSING: tuple[Missing, ...] = ("pictures", "texts")
SHARES = (0.0, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class MissingRow:
    """Recall of one form of search where a share of the products lacks a modality.

    Attributes:
        lacking: which one.
        share: of the products that have it.
        searched_by: of `MODALITIES`.
        recall: each shown by what is left of it.
        completed: those that lack it are completed; None where none lacks it.
        difference: completed less left out, paired.
        num_lacking, num_completed: products that lost it, and those of them that were completed.
    """

    lacking: Missing
    share: float
    searched_by: str
    recall: Estimate
    completed: Estimate | None
    difference: Estimate | None
    num_lacking: int
    num_completed: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_missing(
    shop: Shop,
    encoder: Encoder,
    completion: Completion,
    *,
    k: int = 10,
    shares: Sequence[float] = SHARES,
    missing: Sequence[Missing] = MISSING,
    period: Period = "test",
    engagement: Engagement = "purchased",
    seed: int = 0,
) -> list[MissingRow]:
    """A row for each modality, share and form of search that there are searches of.

    Args:
        completion: gives what is missing.
        seed: of which products lack a modality.

    Raises:
        EncoderError: the encoder reads one modality alone: nothing can stand in for it.
    """
    if not {"text", "image"} <= encoder.modalities:
        kinds = " and ".join(sorted(encoder.modalities))
        raise EncoderError(
            f"a missing modality is measured of encoders that read texts and pictures, and this one reads {kinds} alone; name another"
        )
    measuring = _Measuring(shop, encoder, completion, k, period, engagement)
    rows = []
    for lacking in missing:
        draws = generator(seed, "missing", lacking).random(len(measuring))
        for share in shares:
            rows += measuring.rows(lacking, share, draws < share)
    return rows


class _Measuring:
    """Of one encoder; what it makes of products whole, by words and by picture is computed once."""

    def __init__(
        self,
        shop: Shop,
        encoder: Encoder,
        completion: Completion,
        k: int,
        period: Period,
        engagement: Engagement,
    ) -> None:
        self._shop, self._encoder, self._completion = shop, encoder, completion
        self._k = k
        self._period: Period = period
        self._engagement: Engagement = engagement
        self._box = box_columns(shop.items.collect_schema().names())
        columns = ("item_id", *TEXT_COLUMNS, "image", *self._box)
        self._items = shop.items.select(*columns).sort("item_id").collect()
        self._has = {
            "pictures": self._items["image"].is_not_null().to_numpy(),
            "texts": self._items.select(has_text("title")).to_series().to_numpy(),
        }
        self._vectors = {"whole": self._encoded(self._items, np.logical_or(*self._has.values()))}
        self._vectors["pictures"] = self._encoded(self._items, self._has["texts"], "text")
        self._vectors["texts"] = self._encoded(self._items, self._has["pictures"], "image")
        searches = shop.in_period(shop.searches, period).sort("search_id").collect()
        self._queries = self._table(searches["search_id"], encoder.encode_queries(searches))

    def __len__(self) -> int:
        return self._items.height

    def _encoded(
        self, items: pl.DataFrame, can: np.ndarray, modality: Modality = "both"
    ) -> np.ndarray:
        """Vectors `(items, dim)`, NaN where there is nothing to encode."""
        found = np.full((items.height, self._encoder.dim), np.nan, np.float32)
        if can.any():
            shown = items.filter(pl.Series(can))
            found[can] = self._encoder.encode_items(shown, modality, progress=False)
        return found

    def _table(self, ids: pl.Series, vectors: np.ndarray) -> EmbeddingTable:
        known = np.isfinite(vectors).all(axis=1)
        return EmbeddingTable.from_arrays(
            ids.to_numpy()[known],
            vectors[known],
            encoder=self._encoder.digest,
            shop=self._shop.digest,
        )

    def rows(self, lacking: Missing, share: float, is_drawn: np.ndarray) -> Iterator[MissingRow]:
        """Of one modality and share."""
        is_drawn = is_drawn & self._has[lacking]
        left_out = np.where(is_drawn[:, None], self._vectors[lacking], self._vectors["whole"])
        plain, completed, count = self._hits(left_out), None, 0
        if is_drawn.any():
            filled, count = self._completed(lacking, is_drawn)
            whole = left_out.copy()
            known = np.isfinite(filled).all(axis=1)
            whole[np.flatnonzero(is_drawn)[known]] = filled[known]
            completed = self._hits(whole)
        say(f"{share:.0%} of {lacking} missing: {is_drawn.sum():,} products, {count:,} completed")
        for name, (hits, users) in plain.items():
            which = f" {SEARCHED_BY[name]} in the {self._period} period"
            words = READINGS["recall"].format(
                k=self._k,
                which=which,
                gallery=f"the gallery, {share:.0%} of its products without their {lacking}",
                engaged=f"{self._engagement} after it",
            )
            both = None if completed is None else completed[name][0]
            yield MissingRow(
                lacking,
                share,
                name,
                mean_share(hits, groups=users, definition=f"{words}, shown by what is left"),
                None if both is None else mean_share(both, groups=users, definition=f"{words}, completed"),
                None if both is None else mean_share(both - hits, groups=users, bounds=(-1, 1), definition=f"{words}: completed less left out, the same searches"),
                int(is_drawn.sum()),
                count,
            )  # fmt: skip

    def _completed(self, lacking: Missing, is_drawn: np.ndarray) -> tuple[np.ndarray, int]:
        """Vectors of the products that lack it, completed, NaN where they could not be; and how many were."""
        known = self._items.filter(pl.Series(~is_drawn & self._has["pictures"] & self._has["texts"]))  # fmt: skip
        # what is missing is not handed out, and what has nothing else has nothing to go by
        other: Missing = "texts" if lacking == "pictures" else "pictures"
        rows = self._items.filter(pl.Series(is_drawn))
        can = self._has[other][is_drawn]
        asked = rows.filter(pl.Series(can))
        if lacking == "pictures":
            asked = asked.drop(self._box)  # of the picture that it lacks
            given = self._completion.pictures(asked.drop("image"), known)
            found = asked.with_columns(image=pl.Series(given, dtype=pl.Binary))
        else:
            asked = asked.select("item_id", "image", *self._box)
            given = self._completion.titles(asked, known)
            found = asked.with_columns(title=pl.Series(given, dtype=pl.String))
        done = np.array([one is not None for one in given], dtype=bool)
        vectors = np.full((rows.height, self._encoder.dim), np.nan, np.float32)
        vectors[can] = self._encoded(found, done)
        return vectors, int(done.sum())

    def _hits(self, vectors: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By form of search whether each found, and who searched."""
        table = self._table(self._items["item_id"], vectors)
        searches = ShopSearches.of(self._shop, table, self._queries, self._period, self._engagement)
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in MODALITIES:
            cases = searches.cases[name]
            if len(cases):
                result = search_recall(**cases.over(searches.gallery), ks=(self._k,))
                found[name] = result.hits[:, 0], cases.users[result.searches]
        return found
