"""Encoders that cannot be merged."""

import shutil

import pytest

from moon_rec.files import read_json, write_json
from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, build_encoder
from representation.merging.adapters import adapter_deltas
from representation.model.lora import LoraConfig, with_lora
from tests.bad_inputs.harness import Case, check
from tests.representation.conftest import TINY

MERGE = "representation.merge a b --out new"


@pytest.fixture(scope="module")
def pair(good_workspace, tmp_path_factory):
    """Two encoders of one build, the second with an adapter."""
    folder = tmp_path_factory.mktemp("pair")
    build_encoder(Shop.open(good_workspace / "shop"), folder / "a", TINY)
    encoder = ProductEncoder.from_pretrained(folder / "a", device="cpu")
    with_lora(encoder.module, LoraConfig(rank=2))
    encoder.save_pretrained(folder / "b")
    return folder


def larger_pictures(folder):
    encoder = ProductEncoder.from_pretrained(folder / "a", device="cpu")
    encoder.config = encoder.config.model_copy(update={"image_size": 32})
    encoder.save_pretrained(folder / "b", overwrite=True)


def of_adapter(**values):
    def damage(folder):
        path = folder / "b" / "adapter" / "adapter_config.json"
        write_json(path, read_json(path) | values)

    return damage


def adapter(folder):
    return adapter_deltas(folder / "b")


CASES = [
    Case("merge: one alone", MERGE.replace(" b", ""), ("average of one encoder", "name two")),
    Case("merge: a folder that is not there", MERGE.replace(" b", " ./none"), ("no encoder at './none'",)),
    Case("merge: into one of them", MERGE.replace("new", "a --overwrite"), ("the input a",)),
    Case("merge: shares beyond 1", f"{MERGE} --weights .6 .6", ("weights sum to 1.2, wanted 1",)),
    Case("merge: too many shares", f"{MERGE} --weights .2 .3 .5", ("3 weights for 2 encoders",)),
    Case("merge: a share of nothing", f"{MERGE} --weights 1 0", ("--weights", "'0' is no number above 0")),
    Case("merge: a share beyond 1", f"{MERGE} --weights 2 .1", ("weight 2: wanted above 0, at most 1",)),
    Case("merge: a scale without a base", f"{MERGE} --scale .7", ("scale", "name the base")),
    Case("merge: a base without a scale", f"{MERGE} --task-arithmetic a", ("needs a scale",)),
    Case("merge: shares and a scale", f"{MERGE} --task-arithmetic a --scale 1 --weights .5 .5", ("weights and scale", "name one")),
    Case("merge: two bases", f"{MERGE} --task-arithmetic a --adapters a", ("--adapters", "--task-arithmetic")),
    Case("merge: a scale beyond reason", f"{MERGE} --task-arithmetic a --scale 11", ("scale 11: wanted above 0, at most 10",)),
    Case("merge: no adapter", "representation.merge a a --adapters b --out new", ("a has no adapter/", "not trained with lora, or has experts")),
    Case("merge: an adapter of another kind", adapter, ("use_dora = True", "plain low-rank"), of_adapter(use_dora=True)),
    Case("merge: an adapter of another rank", adapter, ("does not fit r = 3",), of_adapter(r=3)),
    Case("merge: an adapter without a rank", adapter, ("r = 'two'", "wanted numbers"), of_adapter(r="two")),
    Case("merge: an adapter that was changed", "representation.merge b --adapters a --scale 1 --out new", ("b", "adapter/adapter_config.json"), of_adapter(r=3)),
    Case("merge: pictures of another size", MERGE, ("b does not go with a", "setting image_size is 32, wanted 16", "trained from the same one"), larger_pictures),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_merging(case, pair, tmp_path, capsys, monkeypatch):
    workspace = tmp_path / "workspace"
    shutil.copytree(pair, workspace)
    check(case, workspace, capsys, monkeypatch)
