"""A post-training that diverges after a save keeps it, and goes on from it with a lower rate, and only so."""

import json

import pytest
import torch
from safetensors.torch import load_file

from moon_rec.errors import EncoderError
from representation.encoder import ProductEncoder
from representation.model.backbone import Inputs
from representation.posttraining import PosttrainConfig, posttrain, train
from representation.training import loop
from representation.training.optimisation import descend
from representation.training.state import resume_folder

SETTINGS = {
    "steps": 8,
    "batch_size": 8,
    "precision": "float32",
    "mixture": {"text->title+image": 1.0},
    "resume_every": 2,
    "num_threads": 1,
    "log_every": 1,
}


@pytest.fixture
def settings(tiny_config) -> PosttrainConfig:
    return PosttrainConfig(backbone=tiny_config, learning_rate=1e-3, **SETTINGS)


def spoil(monkeypatch, at: int, value: float) -> None:
    """At that step, counted from 0, one gradient is no number, as long as the rate is not lowered."""

    def spoiled(optimizer, loss, step, config, look):
        if step == at and config.learning_rate == 1e-3:
            optimizer.param_groups[0]["params"][0].grad[0] = value
        return descend(optimizer, loss, step, config, look)

    monkeypatch.setattr(loop, "descend", spoiled)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_goes_on_from_the_last_good_step_with_a_lower_rate(
    little_shop, settings, tmp_path, monkeypatch, value, capsys
):
    out = tmp_path / "out"
    spoil(monkeypatch, 5, value)
    with pytest.raises(EncoderError, match="diverged at step 6: the norm of the gradients is") as e:
        posttrain(little_shop, out, settings)
    folder = resume_folder(out)
    assert (
        f"{folder} keeps the last good step: give the same command with a learning_rate below 0.001"
        in str(e.value)
    )
    assert not out.exists() and (folder / "step-00000004").is_dir()
    for name in ("weights", "optimiser"):
        saved = load_file(folder / "step-00000004" / f"{name}.safetensors")
        assert all(bool(torch.isfinite(value).all()) for value in saved.values())
    with pytest.raises(
        EncoderError, match=r"diverged with learning_rate = 0.001; go on with a lower"
    ):
        posttrain(little_shop, out, settings)
    other = settings.model_copy(update={"learning_rate": 5e-4, "batch_size": 4})
    with pytest.raises(EncoderError, match="saved with batch_size = 8"):
        posttrain(little_shop, out, other)
    posttrain(little_shop, out, settings.model_copy(update={"learning_rate": 5e-4}))
    log = json.loads((out / train.LOG_FILE).read_text())
    assert log["learning_rate_lowered"] == [{"step": 4, "learning_rate_before": 1e-3}]
    assert [entry["step"] for entry in log["log"]] == list(range(1, 9))
    assert not folder.exists()


def test_a_lower_rate_alone_is_no_reason_to_go_on(little_shop, settings, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(
        loop._Loop, "_note", lambda self, batch, step, *_: 1 / 0 if step == 5 else None
    )
    with pytest.raises(ZeroDivisionError):
        posttrain(little_shop, out, settings)
    monkeypatch.undo()
    lower = settings.model_copy(update={"learning_rate": 5e-4})
    with pytest.raises(EncoderError, match=r"saved with learning_rate = 0.001, now it is 0.0005"):
        posttrain(little_shop, out, lower)


def test_what_learnt_nothing_is_told(little_shop, settings, tmp_path, monkeypatch, capsys):
    far = settings.model_copy(update={"learning_rate": 10.0, "resume_every": None})
    posttrain(little_shop, tmp_path / "out", far)
    told = capsys.readouterr().err
    assert "warning: the loss ends at" in told and "a guess among all candidates has" in told
    monkeypatch.setattr(ProductEncoder, "embed", _one_for_all)
    posttrain(little_shop, tmp_path / "same", far.model_copy(update={"learning_rate": 1e-3}))
    assert "warning: the encoder has collapsed: two items" in capsys.readouterr().err


def _one_for_all(self: ProductEncoder, inputs: Inputs) -> torch.Tensor:
    """The same vector for all rows, which depends on a weight."""
    first = next(iter(self.backbone.parameters())).reshape(-1)[: self.dim].float()
    return torch.nn.functional.normalize(first, dim=0).expand(len(inputs.mask), -1)


def test_encoder_and_log_appear_as_one(little_shop, settings, tmp_path, monkeypatch):
    """What fails between the two leaves neither."""
    monkeypatch.setattr("representation.training.training_log.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        posttrain(little_shop, tmp_path / "out", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["out.resume"]
