"""The loop that both stages share: what pretraining has by it, as post-training has (tests/representation/posttraining)."""

import gc
import json
import os
import signal
import weakref

import pytest
import torch
from safetensors.torch import load_file

from moon_rec.command import run
from moon_rec.errors import ConfigError, EncoderError
from representation import pretrain as command
from representation.encoder import ProductEncoder
from representation.model.lora import LoraConfig
from representation.pretraining import PretrainConfig, pretrain
from representation.pretraining.train import LOG_FILE
from representation.training import loop
from tests.representation.keeping_store import KeepingStore

SETTINGS = {
    "steps": 6, "batch_size": 8, "precision": "float32", "num_threads": 1, "log_every": 1, "learning_rate": 3e-3
}  # fmt: skip


class _Stopped(Exception):
    pass


def stop_after(step):
    def told(at, _):
        if at == step:
            raise _Stopped

    return told


def weights_of(folder):
    return load_file(folder / "model.safetensors")


def grade(encoder: ProductEncoder) -> dict[str, float]:
    """Draws numbers, as decoding by chance would, and finds the encoder ready to be read."""
    assert not encoder.module.training and not torch.is_grad_enabled()
    torch.rand(7)
    return {"first_weight": float(next(iter(encoder.module.parameters())).reshape(-1)[0])}


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, dropout=0.3)], ids=["whole", "LoRA"])
def test_pretraining_goes_on_to_the_same_bits(little_shop, encoder_path, tmp_path, lora):
    """With grades and checkpoints on its way, it ends as one without saves, grades, or interruption."""
    kept = PretrainConfig(
        **SETTINGS, lora=lora, resume_every=2, checkpoint_steps=(3,), grade_every=3
    )
    plain = PretrainConfig(**SETTINGS, lora=lora)
    pretrain(little_shop, tmp_path / "plain", plain, encoder_path)
    whole = pretrain(little_shop, tmp_path / "whole", kept, encoder_path, grade=grade)
    out = tmp_path / "out"
    with pytest.raises(_Stopped):
        pretrain(little_shop, out, kept, encoder_path, stop_after(5), grade=grade)
    with pytest.raises(EncoderError, match=r"saved with answer_tokens = 32, now it is 3;"):
        other = kept.model_copy(update={"answer_tokens": 3})
        pretrain(little_shop, out, other, encoder_path, grade=grade)
    steps = []
    made = pretrain(
        little_shop, out, kept, encoder_path, lambda step, _: steps.append(step), grade=grade
    )
    assert steps == [5, 6, 6] and not (tmp_path / "out.resume").exists()
    assert [one.step for one in made] == [3, 6] and made[0].path.name == "out-step-000003"
    assert [one[1:] for one in made] == [one[1:] for one in whole]
    for other in (tmp_path / "plain", tmp_path / "whole"):
        wanted, found = weights_of(other), weights_of(out)
        assert all(torch.equal(found[name], value) for name, value in wanted.items())
    logs = [json.loads((folder / LOG_FILE).read_text()) for folder in (out, tmp_path / "whole")]
    assert logs[0]["log"] == logs[1]["log"] and logs[0]["grades"] == logs[1]["grades"]
    assert [one["step"] for one in logs[0]["grades"]] == [0, 3, 6]
    assert (out / "adapter").is_dir() == (lora is not None)


def test_grades_are_of_the_encoder_as_it_is_then(little_shop, encoder_path, tmp_path):
    settings = PretrainConfig(**SETTINGS, checkpoint_steps=(3,), grade_every=3)
    made = pretrain(little_shop, tmp_path / "out", settings, encoder_path, grade=grade)
    encoders = [
        ProductEncoder.from_pretrained(path, device="cpu")
        for path in (encoder_path, *(one.path for one in made))
    ]
    with torch.no_grad():
        wanted = [grade(encoder)["first_weight"] for encoder in encoders]
    told = json.loads((tmp_path / "out" / LOG_FILE).read_text())["grades"]
    assert [one["first_weight"] for one in told] == wanted and len(set(wanted)) == 3
    with pytest.raises(ConfigError, match="grade_every = 3 changes nothing"):
        pretrain(little_shop, tmp_path / "other", settings, encoder_path)
    assert not (tmp_path / "other").exists()


def words_of(shop, out, *settings):
    given = [f"{name}={value}" for name, value in SETTINGS.items() if name != "steps"]
    return [str(shop.path), "--out", str(out), *(word for each in (*given, *settings) for word in ("--set", each))]  # fmt: skip


def test_a_signal_saves_the_step_and_the_same_command_goes_on(
    little_shop, encoder_path, tmp_path, monkeypatch, capsys
):
    out, keep = tmp_path / "encoder", loop._Loop._keep

    def struck(self, step, ending):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        keep(self, step, ending)

    monkeypatch.setattr(loop._Loop, "_keep", struck)
    words = words_of(little_shop, out, "steps=9", "resume_every=5")
    words += ["--start", str(encoder_path)]
    assert run(command.main, words) == 143
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"kept: {out}.resume (step 3 of 9); go on with: " in last and not out.exists()
    monkeypatch.undo()
    assert run(command.main, words) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == [str(out)] and "going on after step 3 of 9" in printed.err
    assert not (tmp_path / "encoder.resume").exists()


def test_the_command_tracks(little_shop, encoder_path, tmp_path, monkeypatch):
    store = KeepingStore()
    monkeypatch.setattr("moon_rec.tracking.Tracker", store)
    words = words_of(little_shop, tmp_path / "out", "steps=2")
    assert (
        run(command.main, [*words, "--start", str(encoder_path), "--track", "sqlite:///x.db"]) == 0
    )
    digest = ProductEncoder.from_pretrained(encoder_path).digest
    assert (store.uri, store.name, store.kind) == ("sqlite:///x.db", "out", "pretraining")
    assert store.reads == {"shop": little_shop.digest, "start": digest}
    assert store.params["batch_size"] == 8 and store.artifacts == [LOG_FILE]
    log = json.loads((tmp_path / "out" / LOG_FILE).read_text())["log"]
    assert store.metrics["loss"] == log[-1]["loss"]


def test_a_training_leaves_no_encoder_behind(little_shop, encoder_path, tmp_path, monkeypatch):
    """A process that trains many, as a study does, would fill the memory with encoders and their optimisers."""
    trained, go = [], loop._Loop.go

    def watched(self):
        trained.append(weakref.ref(self.encoder))
        return go(self)

    monkeypatch.setattr(loop._Loop, "go", watched)
    settings = PretrainConfig(**SETTINGS | {"steps": 1})
    pretrain(little_shop, tmp_path / "out", settings, encoder_path)
    gc.collect()
    assert len(trained) == 1 and trained[0]() is None
