"""Each Qwen-VL family goes through both training stages as it is, whole or by LoRA, and comes out as a folder that opens."""

import numpy as np
import pytest

from representation.encoder import ProductEncoder, open_encoder
from representation.model.backbone import BackboneConfig
from representation.model.lora import LoraConfig
from representation.posttraining import PosttrainConfig
from representation.posttraining.train import posttrain
from representation.pretraining import PretrainConfig
from representation.pretraining.train import pretrain

SIZES = {"qwen2_5": 28, "embedding": 32}
"""Side of a picture; Qwen3-VL itself is what all other tests of training train."""


@pytest.mark.parametrize("family", list(SIZES))
def test_post_training_by_lora(checkpoints, little_shop, tmp_path, family):
    backbone = BackboneConfig(
        checkpoint=str(checkpoints[family]), image_size=SIZES[family], widths=(8,)
    )
    config = PosttrainConfig(
        backbone=backbone, steps=2, batch_size=4, lora=LoraConfig(rank=2), gradient_checkpointing=True, precision="float32",
    )  # fmt: skip
    posttrain(little_shop, tmp_path / "out", config)
    before = ProductEncoder.from_checkpoint(backbone, "cpu")
    after = open_encoder(tmp_path / "out", "cpu")
    assert isinstance(after, ProductEncoder) and after.config == before.config
    old, new = before.module.state_dict(), after.module.state_dict()
    assert old.keys() == new.keys()
    moved = {name for name in old if not bool((old[name] == new[name]).all())}
    assert moved and all("language_model.layers" in name for name in moved)
    items = little_shop.items.collect().head(5)
    difference = after.encode_items(items, progress=False) - before.encode_items(
        items, progress=False
    )
    assert np.abs(difference).max() > 1e-4
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("family", ["qwen2_5"])
def test_pretraining_whole(checkpoints, little_shop, tmp_path, family):
    backbone = BackboneConfig(checkpoint=str(checkpoints[family]), image_size=56)
    pretrain(
        little_shop, tmp_path / "out", PretrainConfig(backbone=backbone, steps=2, batch_size=4)
    )
    assert open_encoder(tmp_path / "out", "cpu").config.image_mean[0] == pytest.approx(0.48145466)
