"""A post-training that a signal stops says where it stands, and the command it names ends with the bits of one that nothing stopped."""

import shlex
import signal

import pytest
from safetensors.torch import load_file

from moon_rec.command import run
from representation.posttrain import main
from tests.stopping import stop_when

SETTINGS = [
    "steps=60", "batch_size=8", "precision=float32", "num_threads=1", "log_every=1", "backbone.image_size=16",
    "backbone.patch_size=4", "backbone.vision_dim=32", "backbone.vision_layers=1", "backbone.vision_heads=2", "backbone.vision_mlp_dim=48",
    "backbone.deepstack_layers=[0]", "backbone.text_dim=32", "backbone.text_layers=1", "backbone.text_heads=2", "backbone.text_mlp_dim=48",
    "backbone.vocabulary_size=400",
]  # fmt: skip


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_named_command_goes_on_to_the_same_bits(little_shop, tmp_path, signum):
    out, whole, errors = tmp_path / "my encoder", tmp_path / "whole", tmp_path / "errors"
    words = ["representation.posttrain", str(little_shop.path), "--out", str(out)]
    words += [word for setting in [*SETTINGS, "resume_every=20"] for word in ("--set", setting)]
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


def test_without_saves_it_says_that_it_begins_again(little_shop, tmp_path):
    out, errors = tmp_path / "encoder", tmp_path / "errors"
    words = ["representation.posttrain", str(little_shop.path), "--out", str(out)]
    settings = [*SETTINGS[1:], "steps=90", "checkpoint_steps=[5]"]
    words += [word for setting in settings for word in ("--set", setting)]
    early = tmp_path / "encoder-step-000005"
    ended = stop_when(early.exists, words, errors)
    assert ended.code == 143
    assert f"kept: {early} (an encoder) (resume_every is not set); begin again with: " in ended.last
    assert (early / "posttraining_log.json").is_file()
