"""Settings of late fusion and compression tokens that do nothing, or that nothing can follow: one line, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, build_encoder
from representation.picture_focus import CompressionConfig, LateFusionConfig
from representation.posttraining import PosttrainConfig, posttrain
from tests.bad_inputs.harness import Case, check
from tests.representation.conftest import TINY

POSTTRAIN = "representation.posttrain shop --out new"


@pytest.fixture(scope="module")
def encoders(good_workspace, tmp_path_factory) -> Path:
    """A plain encoder, and one with both parts."""
    folder = tmp_path_factory.mktemp("encoders")
    backbone = TINY.model_copy(update={"vocabulary_size": 300})
    build_encoder(Shop.open(good_workspace / "shop"), folder / "plain", backbone)
    encoder = ProductEncoder.from_pretrained(folder / "plain", device="cpu")
    encoder.add_late_fusion(LateFusionConfig(), 0)
    encoder.add_compression_tokens(CompressionConfig(), 0)
    encoder.save_pretrained(folder / "focused")
    return folder


def started(name: str, **settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = PosttrainConfig.model_validate({"steps": 2, "batch_size": 4, **settings})
        return posttrain(Shop.open(folder / "shop"), folder / "new", config, folder / name)

    return act


CASES = [
    Case("picture focus: a note that is none", f"{POSTTRAIN} --set compression_tokens.note=words", ("compression_tokens.note", "'token' or 'pooled'")),
    Case("picture focus: a gate that is neither", f"{POSTTRAIN} --set late_fusion.keep_state=some", ("late_fusion.keep_state",)),
    Case("picture focus: all weight on pictures", f"{POSTTRAIN} --set visual_weight=1", ("visual_weight = 1", "less than 1")),
    Case("picture focus: weight below nothing", f"{POSTTRAIN} --set visual_weight=-.1", ("visual_weight = -0.1",)),
    Case("picture focus: a weight that nothing reads", started("plain", visual_weight=0.5), ("visual_weight = 0.5 changes nothing", "set compression_tokens")),
    Case("picture focus: late fusion twice", started("focused", late_fusion={}), ("late_fusion: the encoder of --start has it already", "leave it out")),
    Case("picture focus: compression twice", started("focused", compression_tokens={}), ("compression_tokens: the encoder of --start has it already", "leave it out")),
    Case("picture focus: embeddings that no step would train", started("plain", compression_tokens={}, trained_parts=["vision"]), ("compression_tokens: its embeddings are trained", "name 'language' in it")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_picture_focus(case, workspace, encoders, capsys, monkeypatch):
    for folder in encoders.iterdir():
        shutil.copytree(folder, workspace / folder.name)
    check(case, workspace, capsys, monkeypatch)
