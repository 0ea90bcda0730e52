"""Settings of a training that do nothing here: refused before anything is read for it, nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moon_rec.shop import Shop
from representation.pretraining import PretrainConfig, pretrain
from tests.bad_inputs.harness import Case, check
from tests.representation.conftest import TINY

BACKBONE = TINY.model_copy(update={"vocabulary_size": 300})


def _pretrain(**settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = PretrainConfig(steps=4, batch_size=8, backbone=BACKBONE, **settings)
        return pretrain(Shop.open(folder / "shop"), folder / "new", config)

    return act


CASES = [
    Case(
        "training: compiled layers without a GPU",
        _pretrain(compile_layers=True),
        ("compile_layers = True is for a GPU", "leave it out"),
    ),
    Case(
        "training: grades that nothing gives",
        _pretrain(grade_every=2),
        ("grade_every = 2 changes nothing", "leave it out"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_training(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
