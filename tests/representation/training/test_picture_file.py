"""Pictures read from a file one by one are those of the shop; trainings hold no table of them."""

import polars as pl
import pytest

from representation.training.picture_file import PictureFile
from tests.peak_memory import added_mib


def test_each_is_the_shops_own(little_shop):
    items = little_shop.items.select("item_id", "image").sort("item_id", descending=True).collect()
    some = items.filter(pl.col("item_id") % 3 != 0).sort("item_id")
    assert some["image"].null_count() == 1
    found = PictureFile.of(little_shop, "items", some["item_id"].to_numpy())
    assert list(found) == some["image"].to_list() and len(found) == some.height


def test_which_rows_have_one(little_shop):
    for table, key, column in (("items", "item_id", "image"), ("searches", "search_id", "query_image")):  # fmt: skip
        rows = little_shop.table(table).select(key, column).collect()
        found = little_shop.pictured(table).collect()
        assert found[key].to_list() == rows[key].to_list()
        assert found["has_picture"].to_list() == rows[column].is_not_null().to_list()
        of_bytes = rows.select(pl.col(column).hash(seed=0)).to_series()
        has = rows[column].is_not_null()
        assert found["picture_hash"].filter(has).to_list() == of_bytes.filter(has).to_list()
        assert found["picture_hash"].null_count() == rows[column].null_count()


@pytest.mark.slow
def test_a_training_holds_no_table_of_pictures(tmp_path):
    """96 MiB of pictures in row groups of 24 MiB, all of them read, by text and by picture."""
    before = f"""
        from pathlib import Path
        from benchmarks.heavy_shop import heavy_shop
        from representation.encoder import untrained_encoder
        from representation.model.backbone import BackboneConfig
        from representation.posttraining.config import PosttrainConfig
        from representation.posttraining.preparation import prepare
        backbone = BackboneConfig(image_size=16, patch_size=4, vision_dim=32, vision_layers=1, vision_heads=2,
            vision_mlp_dim=32, deepstack_layers=(0,), text_dim=32, text_layers=1, text_heads=2, text_mlp_dim=32,
            vocabulary_size=400, widths=(8,))
        folder = Path({str(tmp_path)!r})
        def prepared(shop, kind):
            config = PosttrainConfig(mixture={{kind: 1.0}}, batch_size=16, steps=2, backbone=backbone)
            prepare(shop, config, untrained_encoder(shop, backbone), None).batches.make(0)
        prepared(heavy_shop(folder / "little", 512, 24_000), "image->image")
        heavy = heavy_shop(folder / "heavy", 4096, 24_000)
        heavy.digest
    """
    work = """
        prepared(heavy, "text->richer-text")
        prepared(heavy, "image->image")
    """
    assert added_mib(before, work) < 60
