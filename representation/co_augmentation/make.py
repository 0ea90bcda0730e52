"""Co-augmentation of a shop, once and offline: what is written and painted of each product, what of it the filter keeps, and a folder of that.

Of products listed before the cut alone, for nothing else is trained on. Two passes: all that is made goes into a file a few products at a time, with its scores; then what is kept is copied, so
that a quantile of all scores can decide and memory holds a few products' pictures.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from PIL import Image

from moon_rec.errors import EncoderError
from moon_rec.files import DIGEST_DIGITS, write_json
from moon_rec.outputs import atomic_folder
from moon_rec.progress import progress, say
from moon_rec.recorded import record
from moon_rec.shop import Shop
from moon_rec.shop.picture_pieces import PIECE
from moon_rec.shop.pictures import decode
from representation.co_augmentation.config import AugmentConfig
from representation.co_augmentation.contact_sheet import Made, contact_sheet, drawn_products
from representation.co_augmentation.cut_out import CutOut
from representation.co_augmentation.files import (
    ABOUT,
    AUGMENTATION,
    PICTURE_SCHEMA,
    PICTURES,
    SHEET,
    TITLE_SCHEMA,
    TITLES,
)
from representation.co_augmentation.generator import PicturePainter, Product, TitleWriter
from representation.co_augmentation.image_title_filter import (
    ImageTitleFilter,
    is_kept,
    least_score,
)
from representation.co_augmentation.titles import TemplateTitles, products_of
from representation.core_region.crops import box_columns
from representation.curation.entities import Gazetteer
from representation.model.prompt import TEXT_COLUMNS
from representation.report.sheet import save
from representation.training.picture_file import PictureFile

JPEG_QUALITY = 92
_MADE = "made.parquet"


@dataclass
class Counts:
    """What was made and what was kept, for the record and the terminal.

    Attributes:
        products, pictured: listed before the cut; of them with a picture.
        no_product: pictures in which nothing stands out, so nothing is made of them.
        made, kept: by `titles` and kind of picture.
        unscored: of what was kept, how many have no score because the title or the picture is missing; all without a filter.
        least: the scores that titles and pictures had to reach.
    """

    products: int = 0
    pictured: int = 0
    no_product: int = 0
    made: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    unscored: dict[str, int] = field(default_factory=dict)
    least: dict[str, float | None] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """In words."""
        said = [
            f"{self.products:,} products listed before the cut, {self.pictured:,} with a picture"
        ]
        if self.no_product:
            said.append(
                f"{self.no_product:,} pictures show nothing that stands out: nothing is made of them"
            )
        for name, made in self.made.items():
            least = self.least["titles" if name == "titles" else "pictures"]
            bar = "no filter" if least is None else f"a cosine of {least:.3f} or more"
            said.append(f"{name}: {made:,} made, {self.kept[name]:,} kept ({bar}; {self.unscored[name]:,} unscored)")  # fmt: skip
        return said


def augment(
    shop: Shop,
    out: Path | str,
    config: AugmentConfig,
    writer: TitleWriter | None = None,
    painter: PicturePainter | None = None,
    image_filter: ImageTitleFilter | None = None,
    overwrite: bool = False,
) -> Counts:
    """Make the folder `out`, whole or not at all.

    Args:
        writer: None: templates of entities.
        painter: None: products cut out of their ground.
        image_filter: None: all that is made is kept.

    Raises:
        EncoderError: no product is listed before the cut, or nothing was made of any.
        ShopError: a picture that cannot be decoded.
        MoonRecError: `out` exists, and is no co-augmentation or `overwrite` is false.
    """
    making = _Making(shop, config, writer, painter, image_filter)
    with atomic_folder(out, AUGMENTATION, overwrite) as folder:
        titles, scores = making.first_pass(folder / _MADE)
        kept = making.choose(titles, scores)
        counts = making.counts
        if not sum(counts.made.values()):
            raise EncoderError(
                f"{shop.path}: nothing was made of its {counts.products:,} products listed before the cut: no title has an entity to add and no picture shows a product that stands out"
            )
        titles.filter(kept["titles"]).write_parquet(folder / TITLES)
        _copy_kept(folder / _MADE, folder / PICTURES, kept["pictures"])
        (folder / _MADE).unlink()
        caption = f"{shop.title}, simulated: {shop.manifest.is_simulated}"
        save(contact_sheet(making.shown, counts.least, caption), folder / SHEET)
        about = {"shop": {"digest": shop.digest, "title": shop.title}, **making.about()}
        write_json(folder / ABOUT, {**about, "files": record(folder, ABOUT)})
    for line in counts.lines():
        say(line)
    return counts


class _Making:
    """One run; gathers counts and the sheet's products."""

    def __init__(
        self,
        shop: Shop,
        config: AugmentConfig,
        writer: TitleWriter | None,
        painter: PicturePainter | None,
        image_filter: ImageTitleFilter | None,
    ) -> None:
        self._shop, self._config, self._filter = shop, config, image_filter
        items = shop.items.filter(pl.col("listed_at") < shop.cut_time)
        told = (*TEXT_COLUMNS, *box_columns(items.collect_schema().names()))
        items = items.select("item_id", *told).join(shop.pictured("items"), on="item_id")
        self._items = items.sort("item_id").collect()
        if not self._items.height:
            raise EncoderError(f"{shop.path}: no product is listed before the cut; there is nothing to train on")  # fmt: skip
        ids = self._items["item_id"].to_numpy()
        self._pictures = PictureFile.of(shop, "items", ids)
        self._pictured = self._items["has_picture"].arg_true().to_numpy()
        self._writer: TitleWriter = writer or TemplateTitles(config.seed)
        self._painter: PicturePainter = painter or CutOut(self._other, config.side, config.seed)
        self.counts = Counts(self._items.height, len(self._pictured))
        self._on_sheet = drawn_products(ids[self._pictured], config.seed)
        self.shown: list[Made] = []

    def _other(self, random: np.random.Generator) -> Image.Image:
        """The picture of some product."""
        return self._decoded(int(random.choice(self._pictured)))

    def _decoded(self, row: int) -> Image.Image:
        data = self._pictures[row]
        return decode(data or b"", f"items.image of item {self._items['item_id'][row]}")

    def first_pass(self, file: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
        """All that is made: pictures into `file`, titles and the pictures' kinds and scores given back."""
        recogniser = Gazetteer.of_shop(self._shop, fold_plural=False)  # texts are written of them
        titles, scores = [pl.DataFrame(schema=TITLE_SCHEMA)], [_scores_of(_no_pictures())]
        schema = _no_pictures().to_arrow().schema
        with (
            pq.ParquetWriter(file, schema) as made,
            progress("co-augmentation", self._items.height) as bar,
        ):
            for piece in self._pieces():
                rows = np.arange(piece.start, piece.stop)
                own = [self._pictures[int(row)] for row in rows]
                products = products_of(self._items[piece], own, recogniser)
                titles.append(self._titles(products))
                found = self._expanded(products)
                made.write_table(found.to_arrow().cast(schema))
                scores.append(_scores_of(found))
                self._keep_for_sheet(products, titles[-1], found)
                bar.advance(len(products))
        return pl.concat(titles), pl.concat(scores)

    def _pieces(self) -> Iterator[slice]:
        for first in range(0, self._items.height, PIECE):
            yield slice(first, min(first + PIECE, self._items.height))

    def _titles(self, products: Sequence[Product]) -> pl.DataFrame:
        enriched = self._writer.enriched(products) if self._config.titles else [""] * len(products)
        scores = self._scores([one.image for one in products], enriched)
        rows = [
            (one.item_id, one.title, text, list(one.entities), score)
            for one, text, score in zip(products, enriched, scores, strict=True)
            if text and text != one.title
        ]
        return pl.DataFrame(rows, schema=TITLE_SCHEMA, orient="row")

    def _expanded(self, products: Sequence[Product]) -> pl.DataFrame:
        rows, titles = [], []
        for one in products:
            if one.picture is None or not self._config.pictures:
                continue
            found = self._painter.expanded(one, self._config.pictures)
            self.counts.no_product += not found
            for kind, picture in found.items():
                data = _encoded(picture)
                digest = hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]
                rows.append((one.item_id, kind, data, digest))
                titles.append(one.title)
        scores = self._scores([row[2] for row in rows], titles)
        rows = [(*row, score) for row, score in zip(rows, scores, strict=True)]
        return pl.DataFrame(rows, schema=PICTURE_SCHEMA, orient="row")

    def _scores(
        self, pictures: Sequence[bytes | None], titles: Sequence[str]
    ) -> list[float | None]:
        if self._filter is None or not len(titles):
            return [None] * len(titles)
        found = self._filter.scores(pictures, titles)
        return [float(one) if np.isfinite(one) else None for one in found]

    def _keep_for_sheet(
        self, products: Sequence[Product], titles: pl.DataFrame, pictures: pl.DataFrame
    ) -> None:
        for one in products:
            if one.item_id in self._on_sheet and one.picture is not None:
                is_own = pl.col("item_id") == one.item_id
                self.shown.append(Made(one, titles.filter(is_own), pictures.filter(is_own)))

    def choose(self, titles: pl.DataFrame, pictures: pl.DataFrame) -> dict[str, np.ndarray]:
        """Which titles and pictures are kept; counts them."""
        found, counts = {}, self.counts
        for name, frame in (("titles", titles), ("pictures", pictures)):
            scores = frame["score"].cast(pl.Float32).fill_null(np.nan).to_numpy()
            least = None if self._filter is None else least_score(scores, self._config)
            found[name] = is_kept(scores, least)
            counts.least[name] = least
        kinds = {"titles": (found["titles"], titles["score"].is_null().to_numpy())}
        for kind in self._config.pictures:
            of_kind = (pictures["kind"] == kind).to_numpy()
            bare = pictures["score"].is_null().to_numpy()
            kinds[kind] = found["pictures"][of_kind], bare[of_kind]
        for name, (kept, bare) in kinds.items():
            if name == "titles" and not self._config.titles:
                continue
            counts.made[name], counts.kept[name] = len(kept), int(kept.sum())
            counts.unscored[name] = int((kept & bare).sum())
        return found

    def about(self) -> dict[str, Any]:
        """What `augmentation.json` says beside the shop and the files."""
        counts = self.counts
        return {
            "config": self._config.model_dump(mode="json"),
            "generator": {**self._writer.about, **self._painter.about},
            "filter": None if self._filter is None else self._filter.about | {"least": counts.least},
            "products": {"listed": counts.products, "pictured": counts.pictured, "without_a_product": counts.no_product},
            "made": counts.made,
            "kept": counts.kept,
            "unscored": counts.unscored,
        }  # fmt: skip


def _no_pictures() -> pl.DataFrame:
    return pl.DataFrame(schema=PICTURE_SCHEMA)


def _scores_of(pictures: pl.DataFrame) -> pl.DataFrame:
    return pictures.select("item_id", "kind", "score")


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _copy_kept(made: Path, out: Path, kept: np.ndarray) -> None:
    """Those rows of a file that are kept, a row group at a time."""
    first = 0
    with pq.ParquetFile(made) as file, pq.ParquetWriter(out, file.schema_arrow) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            writer.write_table(table.filter(kept[first : first + table.num_rows]))
            first += table.num_rows
