"""Title to picture, on a little shop with small random towers: the late blocks are the tower's own, what is held out, going on, the ceiling."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks import title_to_picture
from benchmarks.pair_training import held_in
from benchmarks.title_features import split_of
from benchmarks.title_recall import ceiling, recalls
from benchmarks.title_to_picture import main
from benchmarks.title_towers import (
    FRAME,
    LateBlocks,
    WholeTower,
    altered,
    early_states,
    resized,
)
from moon_rec.errors import MoonRecError
from representation.encoders.locked import LockedConfig
from representation.model.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel
from tests.representation.conftest import little_shop  # noqa: F401
from tests.representation.encoders.conftest import checkpoints  # noqa: F401

TUNED = "tuned + words + colour"


@pytest.fixture(scope="module")
def model() -> EfficientNetLiteModel:
    torch.manual_seed(0)
    found = EfficientNetLiteModel(EfficientNetLiteConfig()).eval()
    for convolution in found.modules():
        if isinstance(convolution, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(convolution.weight)
    # as after a training: means and variances of their own
    for name, value in found.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return found


@pytest.fixture(scope="module")
def starters(model, checkpoints, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("starters")
    (folder / "minilm").symlink_to(checkpoints["bert"])
    model.save_pretrained(folder / "efficientnet-lite0")
    return folder


@pytest.mark.parametrize(
    ("first", "size", "grid"),
    [(5, (64, 64), (8, 8)), (9, (80, 60), (5, 4)), (12, (96, 72), (3, 3))],
)
def test_late_blocks_as_matrix_products_are_the_tower(model, size, first, grid):
    pictures = torch.randn(3, 3, *size)
    kept = early_states(model, pictures, first).detach()
    late = LateBlocks(model, size, first)
    found = late(kept)
    states = kept.float().unflatten(1, (-1, *grid))  # float16 rounds them
    for block in model.blocks[first:]:
        states = block(states)
    states = functional.relu6(model.head_norm(model.head(states)))
    wanted = states.mean(dim=(2, 3))
    assert (wanted[0] - wanted[1]).norm() > 0.1 * wanted[0].norm()  # it sees
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        whole = model(pixel_values=pictures).pooler_output
    assert (found - whole).norm() < 0.01 * whole.norm()
    weights = torch.randn_like(wanted)
    (found * weights).sum().backward()
    model.zero_grad()
    (wanted * weights).sum().backward()
    scale = (model.head_norm.weight / (model.head_norm.running_var + 1e-3).sqrt())[:, None]
    wanted_gradient = model.head.weight.grad.flatten(1) / scale.detach()
    relative = (late.head.weight.grad - wanted_gradient).norm() / wanted_gradient.norm()
    assert relative < 0.01


def test_a_whole_tower_sees_plain_and_altered_pictures(model):
    frames = torch.randint(0, 256, (4, *FRAME, 3), dtype=torch.uint8)
    tower = WholeTower(model, (64, 48), LockedConfig(), frames)
    rows = torch.tensor([2, 0])
    plain = model(pixel_values=(resized(frames[rows], (64, 48)) - 0.5) / 0.5).pooler_output
    torch.testing.assert_close(tower(rows, None), plain)
    random = torch.Generator().manual_seed(0)
    assert (tower(rows, random) - plain).norm() > 0.01 * plain.norm()


def test_altered_pictures_stay_near_their_own_and_show_white_outside():
    frames = torch.full((50, *FRAME, 3), 255, dtype=torch.uint8)
    frames[:, 20:60, 20:40] = torch.tensor([200, 30, 30], dtype=torch.uint8)
    views = altered(frames, FRAME, torch.Generator().manual_seed(1))
    assert views.min() >= 0 and views.max() <= 1
    middle = views[:, :, 35:45, 25:35].mean(dim=(2, 3))
    assert (middle[:, 0] > middle[:, 1] + 0.3).all()
    corner = views[:, :, 0, 0]
    assert (corner > 0.7).all()  # darker by light and contrast alone
    assert len({tuple(view.flatten()[::97].tolist()) for view in views}) == 50


def test_the_ceiling_counts_products_of_one_title():
    titles = ["shirt"] * 20 + ["mug", "bag"]
    assert ceiling(titles, np.array([0, 20])) == pytest.approx(
        {"R@1": (1 / 20 + 1) / 2, "R@10": (0.5 + 1) / 2, "R@50": 1.0}
    )


def test_a_tie_counts_against_the_title():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    asked = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert recalls(asked, gallery, np.array([0, 2])) == {1: 0.5, 10: 1.0, 50: 1.0}


def test_the_three_parts_are_disjoint_and_all():
    split = split_of(50, 0, 10, 5)
    assert [len(part) for part in split] == [35, 5, 10]
    assert sorted(np.concatenate(split)) == list(range(50))


def given(shop, starters, work, *more):
    words = [str(shop.path), "--weights", str(starters), "--work", str(work), "--out", str(work / "out.json")]  # fmt: skip
    words += ["--held-out", "4", "--validation", "4", "--batch-size", "8", "--hidden", "16", "--dim", "8", "--views", "2"]  # fmt: skip
    return [
        *words,
        "--height",
        "32",
        "--width",
        "32",
        "--image-size",
        "32",
        "--look-every",
        "1",
        *more,
    ]


def test_trains_from_where_it_was_stopped_and_asks_for_what_is_held_out_once(
    little_shop,  # noqa: F811
    starters,
    tmp_path,
    monkeypatch,
    capsys,
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trained_on = []
    queries = title_to_picture._Pair.queries

    def watched(self, rows):
        if self.training:
            trained_on.extend(rows.tolist())
        return queries(self, rows)

    monkeypatch.setattr(title_to_picture._Pair, "queries", watched)
    more = ["--epochs", "2", "--contestants", "ridge", "hidden", TUNED, "both tuned", "sum"]
    main(given(little_shop, starters, whole, *more))
    record = json.loads((whole / "out.json").read_text())
    split = split_of(record["products"], 0, 4, 4)
    assert set(trained_on) <= set(split.train.tolist())
    assert record["sum"]["best"]["members"] == ["hidden", TUNED, "both tuned"]
    assert all(record[name]["recall"]["R@10"]["count"] == 4 for name in more[3:])
    save = title_to_picture.saved_state

    def stop(*saved):
        save(*saved)
        raise KeyboardInterrupt

    monkeypatch.setattr(title_to_picture, "saved_state", stop)
    with pytest.raises(KeyboardInterrupt):
        main(given(little_shop, starters, parts, "--epochs", "2", "--contestants", TUNED))
    monkeypatch.setattr(title_to_picture, "saved_state", save)
    main(given(little_shop, starters, parts, "--epochs", "2", "--contestants", TUNED))
    again = json.loads((parts / "out.json").read_text())
    for name in ("epoch", "loss", "R@10"):
        assert [point[name] for point in again[TUNED]["curve"]] == [
            point[name] for point in record[TUNED]["curve"]
        ]
    assert again[TUNED]["recall"] == record[TUNED]["recall"]
    assert "together" in capsys.readouterr().out


def test_whole_training_as_on_a_gpu(little_shop, starters, tmp_path):  # noqa: F811
    name = "both tuned + words + colour"
    main(given(little_shop, starters, tmp_path, "--epochs", "1", "--whole", "--contestants", name))
    held = held_in(tmp_path / f"minilm-efficientnet-lite0-0-{name.replace(' ', '')}.safetensors")
    trained, before = held["parts"]["pair"], EfficientNetLiteModel.from_pretrained(starters / "efficientnet-lite0")  # fmt: skip
    for key in ("stem.weight", "blocks.3.depthwise.weight", "head.weight"):
        assert not torch.equal(trained[f"tower.model.{key}"], before.state_dict()[key])
    assert any(key.startswith("read.") for key in trained)


def test_what_cannot_be_done_is_one_line(little_shop, starters, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MoonRecError, match="finds no GPU here; try --device cpu"):
        main(given(little_shop, starters, tmp_path / "one", "--device", "cuda"))
    with pytest.raises(MoonRecError, match="give smaller --held-out and --validation"):
        main(given(little_shop, starters, tmp_path / "one", "--held-out", "100000"))
    assert not (tmp_path / "one").exists()
