"""Two processes train as one does with the same global batch, and a killed training goes on. One training a launch: each takes some seconds."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from moon_rec.errors import EncoderError
from moon_rec.files import read_json
from representation.encoder import ProductEncoder
from representation.posttraining import PosttrainConfig, posttrain
from representation.training.distributed import (
    SharedEncoder,
    is_main,
    mean_of_processes,
    processes,
    rank,
    wait,
    world_size,
)
from representation.training.state import resume_folder
from representation.training.training_log import LOG_FILE

ROOT = Path(__file__).parents[3]
SETTINGS = {
    "preset": "refinement",
    "loss": "infonce",  # with a temperature that is learnt beside the model
    "steps": 10,
    "batch_size": 9,  # five rows for one process, four for the other
    "learning_rate": 2e-3,
    "log_every": 1,
    "precision": "float32",
    "num_threads": 1,
    "num_negatives": 40,
    "momentum": 0,  # with one, see posttraining/test_two_processes.py; fsdp takes none
    "triplet_weight": 0.1,
    "curation": "none",
    # with pictures on both sides, on one and on none: the picture tower is not always used
    "mixture": {"image->image": 1.0, "text->title+image": 1.0, "text->richer-text": 1.0},
}


def command(shop, encoder_path, out, settings):
    """The words that post-train with `settings`."""
    words = [str(shop.path), "--start", str(encoder_path), "--out", str(out)]
    for name, value in settings.items():
        nested = value.items() if isinstance(value, dict) else [(None, value)]
        for inner, each in nested:
            words += ["--set", f"{name}={each}" if inner is None else f"{name}.{inner}={each}"]
    return [sys.executable, "-m", "representation.posttrain", *words]


def started(words, number=0, count=1, port=0):
    """A process with the environment that torchrun gives."""
    about = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "MASTER_PORT": port}
    about |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": 1, "CUDA_VISIBLE_DEVICES": ""}
    environment = os.environ | {name: str(value) for name, value in about.items()}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def together(words):
    """What two processes print and say, once both are done."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [started(words, number, 2, port) for number in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said[0][1][-3000:] + said[1][1]
    return said


def losses_of(folder):
    return np.array([entry["loss"] for entry in read_json(folder / LOG_FILE)["log"]])


@pytest.fixture(scope="module")
def alone(little_shop, encoder_path, tmp_path_factory):
    """The folder of an encoder trained by one process."""
    out = tmp_path_factory.mktemp("alone") / "encoder"
    posttrain(little_shop, out, PosttrainConfig.model_validate(SETTINGS), encoder_path)
    return out


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"sharding": "ddp"}, marks=pytest.mark.slow),
        pytest.param({"sharding": "fsdp", "chunk_size": 4}, marks=pytest.mark.slow),
    ],
    ids=["ddp", "fsdp"],
)
def test_two_train_as_one(little_shop, encoder_path, tmp_path, alone, values):
    """With spatial and hard negatives and a queue, plain and with gradient caching; the encoder saved is the one trained."""
    out = tmp_path / "encoder"
    said = together(command(little_shop, encoder_path, out, SETTINGS | values))
    assert "post-train on pairs" in said[0][1] and str(out) in said[0][0]
    assert "post-train" not in said[1][1] and said[1][0] == "" and "deprecated" not in said[1][1]
    found, wanted = losses_of(out), losses_of(alone)
    assert len(found) == SETTINGS["steps"] and np.abs(found - wanted).max() < 1e-4
    assert np.ptp(wanted) > 0.1
    one, other = (
        ProductEncoder.from_pretrained(folder, device="cpu").backbone.state_dict()
        for folder in (alone, out)
    )
    assert set(one) == set(other)
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, atol=1e-3, rtol=0, msg=name)


@pytest.mark.slow
def test_killed_and_started_again(little_shop, encoder_path, tmp_path):
    """By a signal that no program can answer: the bits are those of a training left alone."""
    settings = SETTINGS | {"steps": 60, "resume_every": 2}
    out = tmp_path / "encoder"
    process = started(command(little_shop, encoder_path, out, settings))
    deadline = time.monotonic() + 120
    while not list(resume_folder(out).glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not out.exists()
    config, first = PosttrainConfig.model_validate(settings), []
    posttrain(little_shop, out, config, encoder_path, on_log=lambda step, _: first.append(step))
    assert first[0] > 2
    posttrain(little_shop, tmp_path / "whole", config, encoder_path)
    digests = [ProductEncoder.from_pretrained(path).digest for path in (out, tmp_path / "whole")]
    assert digests[0] == digests[1]


def test_one_process_is_as_if_there_were_none(encoder):
    with processes():
        assert (rank(), world_size(), is_main()) == (0, 1, True)
        wait()
        assert mean_of_processes(torch.tensor(3.0)).item() == 3.0
        shared = SharedEncoder(encoder, "fsdp")
        assert shared.whole() is encoder
    with pytest.raises(EncoderError, match="sharding 'zero': wanted ddp or fsdp"):
        SharedEncoder(encoder, "zero")  # type: ignore[arg-type]
