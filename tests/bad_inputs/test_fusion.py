"""Settings of fusion and residual enhancement that do nothing, or that nothing can follow, and folders that have lost theirs: one line, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, build_encoder
from representation.fusion import FusionConfig, ResidualEnhancementConfig
from representation.posttraining import PosttrainConfig, posttrain
from representation.reasoning import ReasonConfig, reason
from tests.bad_inputs.harness import Case, check
from tests.representation.conftest import TINY

BACKBONE = TINY.model_copy(update={"vocabulary_size": 300})
POSTTRAIN = "representation.posttrain shop --out new"


@pytest.fixture(scope="module")
def encoders(good_workspace, tmp_path_factory) -> Path:
    """A plain encoder, and one with both parts."""
    folder = tmp_path_factory.mktemp("encoders")
    build_encoder(Shop.open(good_workspace / "shop"), folder / "plain", BACKBONE)
    encoder = ProductEncoder.from_pretrained(folder / "plain", device="cpu")
    encoder.add_fusion(FusionConfig(), 0)
    encoder.add_residual_enhancement(ResidualEnhancementConfig(), 0)
    encoder.save_pretrained(folder / "fused")
    return folder


def _started(name: str, **settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = PosttrainConfig.model_validate({"steps": 2, "batch_size": 4, **settings})
        return posttrain(Shop.open(folder / "shop"), folder / "new", config, folder / name)

    return act


def _reasoned(name: str, **settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = ReasonConfig.model_validate({"steps": 2, "batch_size": 4, **settings})
        return reason(Shop.open(folder / "shop"), folder / "new", config, folder / name)

    return act


def _lost(part: str) -> Callable[[Path], None]:
    """The settings of a part are taken out of the encoder's folder, its weights stay."""

    def change(folder: Path) -> None:
        from moon_rec.files import read_json, write_json

        about = read_json(folder / "fused" / "moon_rec.json")
        about["config"][part] = None
        write_json(folder / "fused" / "moon_rec.json", about)

    return change


CASES = [
    Case(
        "fusion: heads that do not divide the width",
        _started("plain", fusion={"heads": 5}),
        ("fusion.heads = 5 does not divide 32", "take a number that does"),
    ),
    Case(
        "fusion: of nothing",
        f"{POSTTRAIN} --set fusion.modalities=[]",
        ("fusion.modalities",),
    ),
    Case(
        "fusion: a modality that is none",
        f'{POSTTRAIN} --set fusion.modalities=["video"]',
        ("fusion.modalities", "'image' or 'text'"),
    ),
    Case(
        "fusion: twice",
        _started("fused", fusion={"heads": 4}),
        ("fusion: the encoder of --start has it already", "leave it out"),
    ),
    Case(
        "fusion: residual enhancement twice, in reasoning",
        _reasoned("fused", residual_enhancement={"rank": 4}),
        ("residual_enhancement: the encoder of --start has it already", "leave it out"),
    ),
    Case(
        "fusion: what no step would train",
        _started("plain", residual_enhancement={"rank": 4}, trained_parts=["vision"]),
        ("residual_enhancement changes nothing: it starts at zero", "name 'language' in it"),
    ),
    Case(
        "fusion: tokens that are neither",
        f"{POSTTRAIN} --set residual_enhancement.tokens=words",
        ("residual_enhancement.tokens", "'all' or 'picture'"),
    ),
    Case(
        "fusion: a folder that has forgotten its heads, and keeps their weights",
        _started("fused"),
        ("fusion", "weights"),
        _lost("fusion"),
    ),
    Case(
        "fusion: a folder that has forgotten its residual enhancement",
        _started("fused"),
        ("residual_enhancement", "weights"),
        _lost("residual_enhancement"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fusion(case, workspace, encoders, capsys, monkeypatch):
    for folder in encoders.iterdir():
        shutil.copytree(folder, workspace / folder.name)
    check(case, workspace, capsys, monkeypatch)
