"""What was learnt of a shop's train rows before any training, and is saved with a ranker.

Notable choices
- Everything that turns a raw value into a row or a number is here, so the tables of any other shop or
  later period can be made for a ranker: the same ids get the same rows, all others row 0.
- An item that is known from an event before the cut alone, where the shop has events, has a row, so that histories can say which
  it was; it counts no impression, so it is cold, and prices of items that were shown alone make the price edges.
- Nothing after the cut enters, so a shop that only grew has the same preparation, with the same digest.
  (That the shop has searches at all is the one exception: it decides a model's shape.)
- On disk: `preparation.json` and one Parquet file a vocabulary, items and users with their train impressions
  (`train_impressions`): a scored shop need not hold the rows that the ranker was trained on. The digest is computed anew on reading, so a file that was changed by hand is told.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.config import make_config
from moon_rec.errors import MoonRecError, RankingError, first_line
from moon_rec.files import digest_of, read_json, write_json
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.integrity import UNREADABLE
from ranking.features.context import ContextColumn, context_names, refuse_answers
from ranking.features.counters import COUNTER_COLUMNS, CounterKind, Counters, with_counters
from ranking.features.feature_config import FeatureConfig
from ranking.features.impressions import cheapest_cut, read_period, request_bounds
from ranking.features.vocabulary import Vocabulary

FORMAT_VERSION = 2
ITEM_COLUMNS = {"item": "item_id", "category": "category", "brand": "brand"}
FILES = {
    "user": "users.parquet",
    "item": "items.parquet",
    "category": "categories.parquet",
    "brand": "brands.parquet",
    "query": "queries.parquet",
}


@dataclass(frozen=True, repr=False, eq=False)
class Preparation:
    """Vocabularies, price edges, scales of context, and where long requests are cut.

    Attributes:
        config: settings of the features.
        vocabularies: `user, item, category, brand, query` -> values known from train.
        item_counts: `(rows of the item vocabulary,)` train impressions of each; row 0, unknown, has none.
        user_counts: the same of users.
        price_edges: `(num_price_buckets - 1,)` quantiles of the train items' prices; none without prices.
        context: the columns in order, counters last.
        max_candidates: longer requests are cut.
        has_searches: whether the shop has searches at all.
    """

    config: FeatureConfig
    vocabularies: dict[str, Vocabulary]
    item_counts: np.ndarray
    user_counts: np.ndarray
    price_edges: np.ndarray
    context: tuple[ContextColumn, ...]
    max_candidates: int
    has_searches: bool

    @classmethod
    def fit(
        cls, shop: Shop, config: FeatureConfig | None = None, train: pl.DataFrame | None = None
    ) -> "Preparation":
        """Learn from the train period of a shop.

        Args:
            train: its impressions as `read_period` gives them, with their counters beside them, where they are at hand.

        Raises:
            RankingError: no train rows or only of one class, or context that cannot be read or that knows the label.
        """
        config = config or FeatureConfig()
        if train is None:
            train = with_counters(Counters.of(shop, config), read_period(shop, config, "train"))
        if train[config.label].n_unique() < 2:
            raise RankingError(
                f"{shop.path}: all {train.height} train impressions have {config.label} = "
                f"{train[config.label][0]}; a ranker needs both"
            )
        refuse_answers(train, config, shop.path)
        shown = _shown_or_read(shop, train, config)
        items = shop.items.select("item_id", "category", "brand", "price").collect()
        items = items.join(shown, on="item_id", how="inner").sort("item_id")
        users = train.group_by("user_id").len("shown").sort("user_id")
        texts = shop.in_period(shop.searches.select("time", "query_text"), "train")
        vocabularies = {
            "user": Vocabulary.of(users["user_id"]),
            "query": Vocabulary.of(texts.collect()["query_text"], config.min_query_count),
            **{name: Vocabulary.of(items[column]) for name, column in ITEM_COLUMNS.items()},
        }
        return cls(
            config=config,
            vocabularies=vocabularies,
            item_counts=_counts(items["shown"]),
            user_counts=_counts(users["shown"]),
            price_edges=_price_edges(items.filter(pl.col("shown") > 0)["price"], config),
            context=tuple(
                ContextColumn.fit(train, name, config)
                for name in (*context_names(config), *_counter_names(shop, train, config))
            ),
            max_candidates=config.max_candidates or cheapest_cut(np.diff(request_bounds(train))),
            has_searches=shop.searches.select(pl.len()).collect().item() > 0,
        )

    @property
    def num_embeddings(self) -> dict[str, int]:
        """Feature -> rows of its embedding table."""
        sizes = {name: vocabulary.num_rows for name, vocabulary in self.vocabularies.items()}
        return sizes | {"price": self.config.num_price_buckets + 1}

    @property
    def num_context(self) -> int:
        """Numeric columns, flags included."""
        return sum(column.width for column in self.context)

    @property
    def counters(self) -> CounterKind:
        """Which counters are read; none where all train rows have one time."""
        are_read = any(column.name in COUNTER_COLUMNS for column in self.context)
        return self.config.counters if are_read else "none"

    def price_rows(self, prices: np.ndarray) -> np.ndarray:
        """Bucket of each price, 0 where it is missing (NaN)."""
        return np.where(np.isnan(prices), 0, np.searchsorted(self.price_edges, prices, "right") + 1)

    @cached_property
    def digest(self) -> str:
        """16 hex digits of all of it: tables and rankers of equal ones fit."""
        return digest_of(
            [
                self.config.digest(),
                {name: vocabulary.digest() for name, vocabulary in self.vocabularies.items()},
                hashlib.sha256(self.item_counts.tobytes()).hexdigest(),
                hashlib.sha256(self.user_counts.tobytes()).hexdigest(),
                self._about(),
            ]
        )

    def _about(self) -> dict[str, object]:
        return {
            "price_edges": self.price_edges.tolist(),
            "context": [asdict(column) for column in self.context],
            "max_candidates": self.max_candidates,
            "has_searches": self.has_searches,
        }

    def save(self, folder: Path) -> None:
        """Write `preparation.json` and the vocabularies into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in FILES.items():
            frame = self.vocabularies[name].values.to_frame("value")
            if name in ("item", "user"):
                counts = self.item_counts if name == "item" else self.user_counts
                frame = frame.with_columns(train_impressions=counts[1:])
            frame.write_parquet(folder / file)
        about = {"format_version": FORMAT_VERSION, "digest": self.digest}
        config = self.config.model_dump(mode="json")
        write_json(folder / "preparation.json", about | {"config": config} | self._about())

    @classmethod
    def load(cls, folder: Path | str) -> "Preparation":
        """Read a saved preparation.

        Raises:
            RankingError: none there, one of another version, or one that was changed since.
        """
        folder = Path(folder)
        try:
            about = read_json(folder / "preparation.json")
            for file in FILES.values():
                refuse_bombs(folder / file)
            frames = {name: pl.read_parquet(folder / file) for name, file in FILES.items()}
        except UNREADABLE as error:  # a MoonRecError is a ValueError
            raise RankingError(f"no preparation at {folder}: {first_line(error)}") from None
        if not isinstance(about, dict):
            raise RankingError(
                f"{folder}/preparation.json is a {type(about).__name__}, wanted names and values; save the ranker again"
            )
        if about.get("format_version") != FORMAT_VERSION:
            raise RankingError(
                f"{folder}/preparation.json: format_version {about.get('format_version')!r}, "
                f"wanted {FORMAT_VERSION}; train the ranker again"
            )
        try:
            found = cls(
                # one saved before there were counters has none
                config=make_config(FeatureConfig, {"counters": "none"} | about["config"]),
                vocabularies={name: Vocabulary(frame["value"]) for name, frame in frames.items()},
                item_counts=_counts(frames["item"]["train_impressions"]),
                user_counts=_counts(frames["user"]["train_impressions"]),
                price_edges=np.array(about["price_edges"], dtype=np.float64),
                context=tuple(ContextColumn(**column) for column in about["context"]),
                max_candidates=about["max_candidates"],
                has_searches=about["has_searches"],
            )
            is_same = found.digest == about["digest"]
        except MoonRecError:
            raise
        except Exception as error:  # values of any type stand where ours should
            raise RankingError(
                f"{folder} is no preparation: {type(error).__name__}: {first_line(error)[:160]}; save the ranker again"
            ) from None
        if not is_same:
            raise RankingError(
                f"{folder} was changed after it was written (digest {found.digest}, recorded "
                f"{about['digest']}); save the ranker again"
            )
        return found


def _shown_or_read(shop: Shop, train: pl.DataFrame, config: FeatureConfig) -> pl.DataFrame:
    """item_id and `shown`, its train impressions: none for an item that only histories hold, from an event before the cut."""
    shown = train.group_by("item_id").agg(shown=pl.len())
    if shop.events is not None:
        acts = shop.in_period(shop.events.filter(pl.col(config.history_kind)), "train")
        read = acts.select("item_id").unique().collect(engine="streaming")
        read = read.join(shown, on="item_id", how="anti")
        shown = pl.concat([shown, read.with_columns(shown=pl.lit(0, shown["shown"].dtype))])
    return shown


def _counter_names(shop: Shop, train: pl.DataFrame, config: FeatureConfig) -> tuple[str, ...]:
    """The counters that train rows can teach: none where no row is before another."""
    if config.counters == "none":
        return ()
    if train["start"].n_unique() > 1:
        return COUNTER_COLUMNS
    say(
        f"{shop.path}: all {train.height:,} train impressions have the time {train['start'][0]}, so none is before another: no counters are read"
    )
    return ()


def _counts(shown: pl.Series) -> np.ndarray:
    """Impressions by row of a vocabulary; row 0, unknown, has none."""
    return np.append(0, shown.to_numpy()).astype(np.int64)


def _price_edges(prices: pl.Series, config: FeatureConfig) -> np.ndarray:
    known = prices.drop_nulls().to_numpy()
    steps = np.linspace(0, 1, config.num_price_buckets + 1)[1:-1]
    return np.quantile(known, steps) if known.size else np.zeros(0)
