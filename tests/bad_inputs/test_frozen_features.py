"""Outputs of frozen towers that are another shop's, another tower's, of other pictures, or broken: never taken up in silence."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from representation.encoders.frozen_features import FrozenFeatures
from tests.bad_inputs.harness import Case, check

OURS = "towera-96-shopa.safetensors"
ROWS = [np.full((2, 2, 3), value, np.uint8) for value in range(3)]


def _remembered(folder):
    """What a training does first; the features are right whatever lies in the folder."""
    features = FrozenFeatures(lambda row: torch.full((1, 4), float(row.flat[0])), 4)
    features.remember(len(ROWS), lambda a, b: ROWS[a:b], "pictures", folder / "kept" / OURS)
    assert features.of(ROWS)[:, 0].tolist() == [0, 1, 2]


def _kept(name, change=lambda tables: tables):
    def damage(folder):
        (folder / "kept").mkdir()
        tables = {"digests": torch.zeros(1, 16, dtype=torch.uint8), "features": torch.ones(1, 4)}
        save_file(change(tables), folder / "kept" / name)

    return damage


def _truncated(folder):
    _kept(OURS)(folder)
    file = folder / "kept" / OURS
    file.write_bytes(file.read_bytes()[:-9])


ANEW = (OURS, "cannot be used", "computed anew")
CASES = [
    Case("frozen features: of another shop", _remembered, ("towera-96-shopb", "of another shop: not taken up"), _kept("towera-96-shopb.safetensors"), told=True),
    Case("frozen features: of another tower", _remembered, ("of another tower: not taken up",), _kept("towerb-96-shopa.safetensors"), told=True),
    Case("frozen features: of another size of pictures", _remembered, ("of another size of pictures: not taken up",), _kept("towera-64-shopa.safetensors"), told=True),
    Case("frozen features: truncated", _remembered, ANEW, _truncated, told=True),
    Case("frozen features: of another width", _remembered, (*ANEW, "do not fit"), _kept(OURS, lambda tables: tables | {"features": torch.ones(1, 5)}), told=True),
    Case("frozen features: of a narrow type", _remembered, (*ANEW, "wanted uint8 and float32"), _kept(OURS, lambda tables: tables | {"features": torch.ones(1, 4, dtype=torch.bfloat16)}), told=True),
    Case("frozen features: not finite", _remembered, (*ANEW, "not finite"), _kept(OURS, lambda tables: tables | {"features": torch.full((1, 4), torch.nan)}), told=True),
    Case("frozen features: a file in place of a folder", "representation.posttrain shop --out new --features shop/manifest.json", ("--features shop/manifest.json is a file", "name a folder")),
    Case("frozen features: of an encoder that is trained whole", "representation.posttrain shop --out new --features kept --set steps=1", ("features kept change nothing", "leave them out")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frozen_features(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
