"""Weights kept in bfloat16 are trained in float32, and saved so: small steps are not lost, and what is opened again is what was trained."""

import numpy as np
import pytest
import torch

from moon_rec.files import read_json
from representation.encoder import ProductEncoder
from representation.model.backbone import BackboneConfig
from representation.model.lora import LoraConfig, merged_state, with_lora
from representation.posttraining import PosttrainConfig, posttrain
from representation.pretraining import PretrainConfig
from representation.pretraining.train import pretrain

STEPS = 20
COMMON = {"steps": STEPS, "batch_size": 8, "learning_rate": 2e-5, "num_threads": 1}


@pytest.fixture
def narrow(checkpoints) -> BackboneConfig:
    return BackboneConfig(checkpoint=str(checkpoints["embedding"]), image_size=32, dtype="bfloat16")


@pytest.mark.parametrize("loop", ["pretrain", "posttrain"])
def test_small_steps_move_all_weights(narrow, little_shop, tmp_path, loop):
    """Of a backbone that stayed in bfloat16, 2.5 % moved."""
    out = tmp_path / "out"
    if loop == "pretrain":
        pretrain(little_shop, out, PretrainConfig(backbone=narrow, **COMMON))
    else:
        mixture = {"text->title+image": 1.0}
        config = PosttrainConfig(backbone=narrow, mixture=mixture, precision="bfloat16", **COMMON)
        posttrain(little_shop, out, config)
    before = ProductEncoder.from_checkpoint(narrow, "cpu").module.state_dict()
    again = ProductEncoder.from_pretrained(out, "cpu", None)
    after = again.module.state_dict()
    assert {value.dtype for value in after.values()} == {torch.float32}
    moved = sum(int((after[name] != value.float()).sum()) for name, value in before.items())
    assert moved / sum(value.numel() for value in before.values()) > 0.99
    assert again.digest == read_json(out / "moon_rec.json")["digest"]


def test_saved_is_what_was_trained(narrow, little_shop, tmp_path, monkeypatch):
    kept = []
    save = ProductEncoder.save_pretrained
    monkeypatch.setattr(
        ProductEncoder,
        "save_pretrained",
        lambda self, *args, **named: (kept.append(self), save(self, *args, **named))[1],
    )
    pretrain(little_shop, tmp_path / "out", PretrainConfig(backbone=narrow, **COMMON))
    again = ProductEncoder.from_pretrained(tmp_path / "out", "cpu")
    items = little_shop.items.collect().head(9)
    found, wanted = (each.encode_items(items, progress=False) for each in (again, kept[0]))
    np.testing.assert_array_equal(found, wanted)


def test_adapters_over_bfloat16_are_saved_in_full(encoder, tmp_path):
    """What an adapter adds, small beside a weight, is in the folder's weights to float32's last digits, also where it is opened as it was saved."""
    encoder.module.to(torch.bfloat16)
    base = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    with_lora(encoder.module, LoraConfig(rank=2))
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if "lora_B" in name:
                value.normal_(std=2e-5)
    out = encoder.save_pretrained(tmp_path / "out")
    wanted = merged_state(encoder.module)
    for dtype in ("float32", None):
        again = ProductEncoder.from_pretrained(out, "cpu", dtype)
        found = again.module.state_dict()
        assert {value.dtype for value in found.values()} == {torch.float32}
        assert all(torch.equal(value, wanted[name]) for name, value in found.items())
        assert again.digest == encoder.digest
    changed = [wanted[name] != value.float() for name, value in base.items()]
    in_half = [wanted[name].bfloat16() != value for name, value in base.items()]
    count = sum(int(each.sum()) for each in changed)
    assert 0 < sum(int(each.sum()) for each in in_half) < count / 2, "bfloat16 would lose most"
