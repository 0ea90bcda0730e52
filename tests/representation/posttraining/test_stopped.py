"""A post-training that a signal stops says where it stands, and the command it names ends with the bits of one that nothing stopped."""

import os
import shlex
import signal

import pytest
from safetensors.torch import load_file

from moon_rec.command import run
from representation.posttrain import main
from representation.training import loop
from tests.stopping import stop_when

SETTINGS = [
    "steps=60", "batch_size=8", "precision=float32", "num_threads=1", "log_every=1", "backbone.image_size=16",
    "backbone.patch_size=4", "backbone.vision_dim=32", "backbone.vision_layers=1", "backbone.vision_heads=2", "backbone.vision_mlp_dim=48",
    "backbone.deepstack_layers=[0]", "backbone.text_dim=32", "backbone.text_layers=1", "backbone.text_heads=2", "backbone.text_mlp_dim=48",
    "backbone.vocabulary_size=400",
]  # fmt: skip


def words_of(shop, out, *settings) -> list[str]:
    words = [str(shop.path), "--out", str(out)]
    return [*words, *(word for setting in settings for word in ("--set", setting))]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_named_command_goes_on_to_the_same_bits(little_shop, tmp_path, signum):
    out, whole, errors = tmp_path / "my encoder", tmp_path / "whole", tmp_path / "errors"
    words = ["representation.posttrain", *words_of(little_shop, out, *SETTINGS, "resume_every=20")]
    resume = tmp_path / "my encoder.resume"
    ended = stop_when(lambda: any(resume.glob("step-*/state.json")), words, errors, signum)
    assert ended.code == 128 + signum and ended.seconds < 15
    (save,) = resume.iterdir()
    step = int(save.name.removeprefix("step-"))
    assert 20 <= step < 60 and f"kept: {resume} (step {step} of 60); go on with: " in ended.last
    assert not out.exists()
    command = ended.last.partition("go on with: ")[2]
    _, _, module, *again = shlex.split(command)
    assert module == words[0] and run(main, again) == 0
    assert not resume.exists()
    words[words.index(str(out))] = str(whole)
    assert run(main, words[1:]) == 0
    found, wanted = (load_file(each / "model.safetensors") for each in (out, whole))
    assert found.keys() == wanted.keys()
    assert all(bool((found[name] == value).all()) for name, value in wanted.items())
    logs = [(each / "posttraining_log.json").read_bytes() for each in (out, whole)]
    assert logs[0] == logs[1]


def test_without_saves_it_says_that_it_begins_again(little_shop, tmp_path, monkeypatch, capsys):
    out, save = tmp_path / "encoder", loop._Loop._save

    def struck(of, step):
        save(of, step)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Loop, "_save", struck)
    words = words_of(little_shop, out, *SETTINGS[1:], "steps=90", "checkpoint_steps=[5]")
    assert run(main, words) == 143
    last = capsys.readouterr().err.splitlines()[-1]
    early = tmp_path / "encoder-step-000005"
    assert f"kept: {early} (an encoder) (resume_every is not set); begin again with: " in last
    assert (early / "posttraining_log.json").is_file() and not out.exists()


def test_a_whole_encoder_beside_its_saves_needs_but_their_removal(
    little_shop, tmp_path, monkeypatch, capsys
):
    """As a kill leaves it just before that; saves of other settings are not its own."""
    out = tmp_path / "encoder"
    words = words_of(little_shop, out, *SETTINGS[1:], "steps=4", "resume_every=2", "checkpoint_steps=[3]")  # fmt: skip
    monkeypatch.setattr(loop, "drop_state", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(main, words)
    monkeypatch.undo()
    printed = capsys.readouterr()
    whole = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    resume = tmp_path / "encoder.resume"
    assert resume.is_dir() and printed.out == ""
    assert run(main, [*words, "--set", "learning_rate=1e-4"]) == 2
    assert "exists already" in capsys.readouterr().err and resume.is_dir()
    assert run(main, words) == 0
    printed = capsys.readouterr()
    assert f"what it went on from is removed: {resume}" in " ".join(printed.err.split())
    assert [line.split()[:3] for line in printed.out.splitlines()] == [
        [f"{out}-step-000003", "step", "3,"], [str(out), "step", "4,"]
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "encoder-step-000003"]
    assert all(path.read_bytes() == before for path, before in whole.items())
    assert run(main, words) == 2  # with nothing left beside it, it is as ever
    assert "--overwrite" in capsys.readouterr().err
