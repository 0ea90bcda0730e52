"""Settings of experts, alignment and filtering that do nothing, or that nothing can follow: one line, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, build_encoder
from representation.mixture import ExpertsConfig
from representation.posttraining import PosttrainConfig, posttrain
from tests.bad_inputs.harness import Case, check
from tests.representation.conftest import TINY

BACKBONE = TINY.model_copy(update={"vocabulary_size": 300})
POSTTRAIN = "representation.posttrain shop --out new"


@pytest.fixture(scope="module")
def encoders(good_workspace, tmp_path_factory) -> Path:
    """An encoder without experts, and one with."""
    folder = tmp_path_factory.mktemp("encoders")
    build_encoder(Shop.open(good_workspace / "shop"), folder / "plain", BACKBONE)
    encoder = ProductEncoder.from_pretrained(folder / "plain", device="cpu")
    encoder.add_experts(ExpertsConfig(num_experts=2, top_k=1), 0)
    encoder.save_pretrained(folder / "experts")
    return folder


def _started(name: str, **settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = PosttrainConfig.model_validate({"steps": 2, "batch_size": 4, **settings})
        return posttrain(Shop.open(folder / "shop"), folder / "new", config, folder / name)

    return act


def _lost(folder: Path) -> None:
    """The settings of its experts are taken out of the encoder's folder."""
    about = folder / "experts" / "moon_rec.json"
    text = about.read_text()
    about.write_text(text[: text.index('"experts": {')] + '"experts": null}}')


CASES = [
    Case(
        "mixtures: more routed experts a token than there are",
        f"{POSTTRAIN} --set experts.num_experts=3 --set experts.guided=true",
        ("top_k = 2 wants as many experts besides the guided two, and num_experts = 3", "raise that"),
    ),
    Case(
        "mixtures: a share of guided tokens without guided experts",
        f"{POSTTRAIN} --set experts.guided_share=0.5",
        ("guided_share = 0.5 changes nothing", "set guided"),
    ),
    Case(
        "mixtures: filtering without hard negatives",
        f"{POSTTRAIN} --set filtering.scale=3",
        ("filtering", "changes nothing: hard_negatives is 0"),
    ),
    Case(
        "mixtures: alignment of items without pictures",
        f"{POSTTRAIN} --set mixture.text->richer-text=1 --set alignment.query_views=false",
        ("alignment", "no item of this mixture shows a picture"),
    ),
    Case(
        "mixtures: an entropy of weights that are not there",
        f"{POSTTRAIN} --set alignment.sparsity_weight=0.5",
        ("sparsity_weight = 0.5 changes nothing", "objective_weights is false"),
    ),
    Case(
        "mixtures: a balance of no experts",
        _started("plain", balance_weight=0.5),
        ("balance_weight = 0.5 changes nothing: the encoder has no experts", "set experts"),
    ),
    Case(
        "mixtures: weights by no experts",
        _started("plain", alignment={"objective_weights": True}),
        ("alignment.objective_weights = True", "it has none; set experts"),
    ),
    Case(
        "mixtures: experts twice",
        _started("experts", experts={"num_experts": 4}),
        ("the encoder of --start has experts already", "leave experts out"),
    ),
    Case(
        "mixtures: a folder that has forgotten its experts",
        _started("experts"),
        ("experts", "its weights lack"),
        _lost,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mixtures(case, workspace, encoders, capsys, monkeypatch):
    for folder in encoders.iterdir():
        shutil.copytree(folder, workspace / folder.name)
    check(case, workspace, capsys, monkeypatch)
