"""Boxes of a shop's column `core_box` reach every place in which an encoder with a core region is shown the shop's pictures."""

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import EncoderError
from moon_rec.shop import Shop, ShopWriter
from moon_rec.shop.pictures import decode
from moon_rec.shop.schema import KEYS, PICTURES
from representation.co_augmentation import written
from representation.co_augmentation.completion import NearestProduct, WrittenWords
from representation.co_augmentation.config import AugmentConfig
from representation.co_augmentation.make import _Making
from representation.core_region.box import Box
from representation.core_region.config import CoreRegionConfig
from representation.core_region.crops import CoreRegion
from representation.embed import embed_shop
from representation.encoder import ProductEncoder
from representation.metrics.missing_modality import measure_missing
from representation.posttraining import PosttrainConfig
from representation.posttraining.preparation import prepare
from representation.pretraining import PretrainConfig
from representation.pretraining.grading import Grader
from representation.pretraining.train import Naming, Pretraining
from representation.reasoning import ReasonConfig
from representation.reasoning.encoder import ReasoningEncoder
from representation.reasoning.grading import WritingGrader
from representation.reasoning.train import Reasoning
from representation.sets.contestant import EncoderContestant
from representation.sets.shop_set import shop_benchmark_set
from representation.training.picture_store import PictureStore
from representation.write import write_shop


def boxed(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """With a box on each picture that differs from row to row."""
    side = 4.0 + pl.col(KEYS[table][0]) % 11
    box = pl.concat_list(pl.lit(1.0), pl.lit(2.0), side, pl.lit(14.0))
    return frame.with_columns(core_box=pl.when(pl.col(PICTURES[table]).is_not_null()).then(box))


@pytest.fixture(scope="module")
def shop(little_shop, tmp_path_factory) -> Shop:
    out = tmp_path_factory.mktemp("boxes") / "shop"
    times = {"cut_time": little_shop.cut_time, "test_time": little_shop.test_time}
    with ShopWriter(out, name="boxed", source="a test", is_simulated=True, **times) as writer:
        for table in ("items", "searches"):
            writer.write(table, boxed(little_shop.table(table).collect(), table))
        writer.write("impressions", little_shop.impressions.collect())
    return Shop.open(out)


@pytest.fixture(scope="module")
def true(shop) -> dict[bytes, set[Box]]:
    """The boxes of each picture, by its pixels."""
    found: dict[bytes, set[Box]] = {}
    for table, column in PICTURES.items():
        for data, sides in shop.table(table).select(column, "core_box").collect().iter_rows():
            if data is not None:
                found.setdefault(decode(data).tobytes(), set()).add(Box(*sides))
    return found


@pytest.fixture
def seeing(encoder_path) -> ProductEncoder:
    found = ProductEncoder.from_pretrained(encoder_path, "cpu")
    found.add_core_region(CoreRegionConfig(detector="none"))
    return found


def writing(encoder: ProductEncoder) -> ReasoningEncoder:
    config = encoder.config.model_copy(update={"reasoning_tokens": 2})
    return ReasoningEncoder(encoder.module, encoder.tokenizer, config)


def curated_and_batched(shop, encoder, folder):
    given = {"steps": 2, "batch_size": 8, "hard_negatives": 1, "own_picture_share": 0.5}
    config = PosttrainConfig.model_validate({**given, "curation": {"hardest_query": True}})
    batches = prepare(shop, config, encoder, None, 0, 1, None, None).batches
    for step in range(2):
        batches.make(step)


def asked_and_named(shop, encoder, folder):
    config = {"steps": 2, "batch_size": 8}
    Pretraining(shop, PretrainConfig.model_validate(config)).prepare(encoder).make(0)
    config |= {"objective": "vector_words"}
    Naming(shop, PretrainConfig.model_validate(config)).prepare(encoder).make(0)


def benchmarked(shop, encoder, folder):
    bench = shop_benchmark_set(shop, labelled="gallery")
    contestant = EncoderContestant("seeing", encoder, bench, folder)
    contestant.items("image")
    contestant.with_others_pictures()
    contestant.labelled("title+image", np.arange(5))
    for kind in bench.queries:
        contestant.queries(kind)


def reasoned(shop, encoder, folder):
    config = ReasonConfig.model_validate({"steps": 2, "batch_size": 4})
    Reasoning(shop, config).prepare(writing(encoder)).make(0)


def completed(shop, encoder, folder):
    measure_missing(shop, encoder, NearestProduct(encoder), shares=(0.5,), missing=("texts",))
    titles = WrittenWords(encoder, written.WrittenTitles(encoder, most_tokens=1))
    measure_missing(shop, encoder, titles, shares=(0.1,), missing=("texts",))


def enriched(shop, encoder, folder):
    writer = written.WrittenTitles(encoder, most_tokens=1)
    making = _Making(shop, AugmentConfig.model_validate({"pictures": []}), writer, None, None)
    making.first_pass(folder / "made.parquet")


DOORS = {
    "embed": lambda shop, encoder, folder: embed_shop(encoder, shop, folder / "vectors"),
    "benchmark": benchmarked,
    "post-training, its curation": curated_and_batched,
    "pretraining": asked_and_named,
    "its grades": lambda shop, encoder, folder: Grader.of(shop, 5).estimates(encoder),
    "reasoning": reasoned,
    "its grades of what is written": lambda shop, encoder, folder: WritingGrader.of(
        shop, 5
    ).estimates(writing(encoder)),
    "write": lambda shop, encoder, folder: write_shop(writing(encoder), shop, folder / "w.parquet"),
    "missing words": completed,
    "enriched titles": enriched,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_picture_is_cut_at_its_own_box(door, shop, true, seeing, tmp_path, monkeypatch):
    seen = []
    plain = CoreRegion.in_box

    def in_box(self, picture, size, box):
        seen.append((picture.tobytes(), box))
        return plain(self, picture, size, box)

    monkeypatch.setattr(CoreRegion, "in_box", in_box)
    DOORS[door](shop, seeing, tmp_path)
    assert seen
    for pixels, box in seen:
        assert box in true[pixels]


def test_a_box_off_its_picture_is_named_by_its_row(shop, seeing):
    few = shop.items.filter(pl.col("item_id").is_in([102, 103])).sort("item_id").collect()
    off = few.with_columns(core_box=pl.Series([[0.0, 0.0, 4.0, 4.0], [30.0, 30.0, 40.0, 40.0]]))
    said = (
        r"items.image of item 103: core_box, a box of \(30.0, .*\) is not on a picture of 16 x 16"
    )
    with pytest.raises(EncoderError, match=said):
        seeing.encode_items(off, progress=False)
    boxes = [Box(*sides) for sides in off["core_box"]]
    store = PictureStore(few["image"].to_list(), ["a", "b"], 16, cut=seeing.cut, boxes=boxes)
    with pytest.raises(EncoderError, match=r"b: core_box, a box of"):
        store.take([0, 1])


def test_pictures_without_a_box_are_counted_where_a_shop_is_embedded(
    little_shop, seeing, tmp_path, capsys
):
    """Each table by itself; the next run begins anew."""
    few = little_shop.items.filter(pl.col("item_id") < 104).collect()
    seeing.encode_items(few, progress=False)
    embed_shop(seeing, little_shop, tmp_path / "vectors")
    said = [line for line in capsys.readouterr().err.splitlines() if "core region" in line]
    wanted = "core region: {0} of {0} pictures have no box; the whole picture stands in its place"
    assert said == [wanted.format(47), wanted.format(160)]
