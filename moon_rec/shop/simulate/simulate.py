"""Simulate a shop: a catalogue, shoppers over it, and everything they saw and did, written as a shop's tables.

Rows are made and written a chunk of requests at a time, photos with them, so memory does not grow with the number of requests.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.data_folder import data_folder
from moon_rec.errors import ShopError
from moon_rec.progress import progress
from moon_rec.seeds import generator
from moon_rec.shop.schema import BOX_COLUMNS, TIME, TRUE_BOXES
from moon_rec.shop.shop import Shop
from moon_rec.shop.simulate.catalogue import Catalogue
from moon_rec.shop.simulate.config import DEFAULT_DRAWN_ITEMS, START, SimulationConfig
from moon_rec.shop.simulate.drawn import DrawnCatalogue
from moon_rec.shop.simulate.photos import Box, compose, encode
from moon_rec.shop.simulate.requests import BOTH, IMAGE, TEXT, Requests, World
from moon_rec.shop.simulate.words import query_words
from moon_rec.shop.writer import ShopWriter

ITEMS_AT_A_TIME = 1_024
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55+")
SPENDING = ("low", "middle", "high")


def simulate_shop(
    config: SimulationConfig,
    out: str | Path,
    data: str | Path | None = None,
    overwrite: bool = False,
) -> Shop:
    """Write a simulated shop to the folder `out` and open it; the same `config` gives the same bytes.

    Args:
        config: see `SimulationConfig`.
        out: the folder to make; it appears whole or not at all.
        data: the folder of Myntra's data set, for that catalogue; by default `myntra` in `moon_rec.data_folder()`.
        overwrite: replace `out` where it exists.

    Raises:
        ShopError: the catalogue's data are absent or broken.
        MoonRecError: `out` exists.
    """
    catalogue = _catalogue(config, data)
    world = World(catalogue, config)
    with ShopWriter(
        out,
        name=f"simulated-{config.catalogue}",
        source=f"simulated shoppers (seed {config.seed}) over {catalogue.source}",
        is_simulated=True,
        cut_time=config.cut_time,
        test_time=config.test_time,
        overwrite=overwrite,
    ) as writer:
        boxes = _Boxes()
        writer.write("items", _items(world, boxes))
        writer.write("users", _users(world))
        with progress("simulating requests", total=config.num_requests) as bar:
            next_search = 1
            for start in range(0, config.num_requests, config.chunk):
                count = min(config.chunk, config.num_requests - start)
                rng = generator(config.seed, "requests", start)
                when = (start + np.sort(rng.random(count)) * count) / config.num_requests
                requests = world.requests(when, rng)
                search_ids = np.where(
                    requests.is_search, next_search + np.cumsum(requests.is_search) - 1, 0
                )
                next_search += int(requests.is_search.sum())
                writer.write("searches", _searches(world, requests, search_ids, boxes))
                impressions, truth = _impressions(world, requests, search_ids, start + 1, rng)
                writer.write("impressions", impressions)
                writer.write("truth", truth)
                bar.advance(count)
        boxes.write(writer.folder / TRUE_BOXES)
    return Shop.open(out)


class _Boxes:
    """Where products are on pictures, as they are drawn."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, *Box]] = []

    def add(self, table: str, key: int, box: Box | None) -> None:
        if box is not None:
            self._rows.append((table, key, *box))

    def write(self, file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        pl.DataFrame(self._rows, schema=BOX_COLUMNS, orient="row").write_parquet(file)


def _catalogue(config: SimulationConfig, data: str | Path | None) -> Catalogue:
    if config.catalogue == "drawn":
        return DrawnCatalogue.make(
            config.num_items or DEFAULT_DRAWN_ITEMS, config.seed, config.image_size, config.clutter
        )
    from moon_rec.shop.simulate.myntra import MyntraCatalogue

    folder = Path(data) if data is not None else data_folder()
    if folder is None:
        raise ShopError(
            "no data folder for catalogue 'myntra': name it by --data or the variable MOON_REC_DATA"
        )
    return MyntraCatalogue.make(
        folder if data is not None else folder / "myntra", config.num_items, config.seed
    )


def _items(world: World, boxes: _Boxes) -> Iterator[pl.DataFrame]:
    catalogue = world.catalogue
    listed = np.round(world.listing.listed * 86_400).astype(np.int64) * 1_000_000
    with progress("catalogue pictures", total=len(catalogue)) as bar:
        for start in range(0, len(catalogue), ITEMS_AT_A_TIME):
            rows = np.arange(start, min(start + ITEMS_AT_A_TIME, len(catalogue)))
            images = []
            for item_id, (data, box) in zip(
                catalogue.item_ids[rows].tolist(), catalogue.shown(rows), strict=True
            ):
                images.append(data)
                boxes.add("items", item_id, box)
            frame = catalogue.items[start : start + len(rows)]
            yield frame.with_columns(
                pl.Series("image", images, dtype=pl.Binary), _time(listed[rows]).alias("listed_at")
            )
            bar.advance(len(rows))


def _users(world: World) -> pl.DataFrame:
    """Profiles that hint at, and do not tell, a shopper's tastes."""
    shoppers, count = world.shoppers, world.config.num_users
    rng = generator(world.config.seed, "profiles")
    band = np.where(
        rng.random(count) < 0.6,
        shoppers.segment % len(AGE_BANDS),
        rng.integers(len(AGE_BANDS), size=count),
    )
    level = np.digitize(shoppers.price_level + 0.6 * rng.standard_normal(count), [-0.45, 0.45])
    return pl.DataFrame(
        {
            "user_id": np.arange(1, count + 1),
            "age_band": [AGE_BANDS[k] for k in band],
            "spending": [SPENDING[k] for k in level],
        }
    )


def _searches(
    world: World, requests: Requests, search_ids: np.ndarray, boxes: _Boxes
) -> pl.DataFrame:
    """The chunk's searches with their words and photos."""
    config, catalogue = world.config, world.catalogue
    searched = np.flatnonzero(requests.is_search)
    with_photo = searched[np.isin(requests.kind[searched], (IMAGE, BOTH))]
    photos: dict[int, bytes] = {}
    for place, product in zip(
        with_photo, catalogue.products(requests.wanted[with_photo]), strict=True
    ):
        rng = generator(config.seed, "photo", int(search_ids[place]))
        made = compose(product, rng, config.photo_difficulty, config.image_size, config.clutter)
        photos[int(place)] = encode(made.picture)
        boxes.add("searches", int(search_ids[place]), made.box)
    texts: list[str | None] = []
    for place in searched.tolist():
        rng = generator(config.seed, "words", int(search_ids[place]))
        most = 3 if requests.kind[place] == BOTH else 5
        words = query_words(
            catalogue.words[requests.wanted[place]],
            rng,
            config.share_typos,
            int(rng.integers(2, most)),
        )
        texts.append(words if requests.kind[place] in (TEXT, BOTH) else None)
    return pl.DataFrame(
        {
            "search_id": search_ids[searched],
            "user_id": requests.users[searched] + 1,
            "time": _time(requests.searched_at[searched]),
            "query_text": pl.Series(texts, dtype=pl.String),
            "query_image": pl.Series(
                [photos.get(place) for place in searched.tolist()], dtype=pl.Binary
            ),
        }
    )


def _impressions(
    world: World,
    requests: Requests,
    search_ids: np.ndarray,
    first_request: int,
    rng: np.random.Generator,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The chunk's impressions, and their true click probabilities."""
    probability = world.click_probability(requests)
    chance = rng.random((3, *probability.shape))
    clicked = chance[0] < probability
    purchased = clicked & (chance[1] < world.purchase_probability(requests))
    carted = purchased | (clicked & (chance[2] < world.config.share_carted))
    line, slot = np.nonzero(requests.shown)
    cells = (line, slot)
    impressions = pl.DataFrame(
        {
            "request_id": first_request + line,
            "search_id": pl.Series(search_ids[line]).replace(0, None),
            "user_id": requests.users[line] + 1,
            "item_id": world.catalogue.item_ids[requests.rows[cells]],
            "time": _time(requests.shown_at[line]),
            "position": (slot + 1).astype(np.int32),
            "clicked": clicked[cells],
            "carted": carted[cells],
            "purchased": purchased[cells],
        }
    )
    truth = impressions.select(
        "request_id", "item_id", click_probability=pl.Series(probability[cells])
    )
    return impressions, truth


def _time(microseconds: np.ndarray) -> pl.Series:
    """Microseconds from the start of the shop as times."""
    start = (START - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    return pl.Series(microseconds + start).cast(TIME)
