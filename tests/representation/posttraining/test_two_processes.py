"""The whole of post-training on two processes: the loss curve of one, and one encoder."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from representation.encoder import ProductEncoder
from representation.posttraining.train import LOG_FILE

ROOT = Path(__file__).parents[3]
SETTINGS = """
preset = "refinement"
steps = 6
batch_size = 9
hard_negatives = 2
num_negatives = 60
triplet_weight = 0.5
precision = "float32"
log_every = 1
own_picture_share = 0.0
own_words_share = 0.0
[mixture]
"image->richer-text+image" = 1.0
"text->richer-text" = 1.0
"""


def train(shop, start, out, processes, *words) -> None:
    """The command, once for each process, with the environment that torchrun gives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = out.with_suffix(".toml")
    settings.write_text(SETTINGS)
    line = [sys.executable, "-m", "representation.posttrain", str(shop.path), "--out", str(out)]
    line += ["--start", str(start), "--config", str(settings)]
    line += [part for word in words for part in ("--set", word)]
    started = []
    for number in range(processes):
        about = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": processes}
        about |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        about["CUDA_VISIBLE_DEVICES"] = ""
        environment = os.environ | {name: str(value) for name, value in about.items()}
        process = subprocess.Popen(
            line, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        started.append(process)
    said = [process.communicate(timeout=300)[1].decode() for process in started]
    assert all(process.returncode == 0 for process in started), said


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [(), ("chunk_size=2", "sharding=fsdp", "momentum=0", "loss=infonce")]
)
def test_two_processes_train_as_one(words, little_shop, encoder_path, tmp_path):
    """Curation, hard negatives, queue, triplets and an uneven share of nine pairs included."""
    logs = []
    for processes in (1, 2):
        out = tmp_path / f"out{processes}"
        train(little_shop, encoder_path, out, processes, *words)
        logs.append(json.loads((out / LOG_FILE).read_text()))
        assert ProductEncoder.from_pretrained(out, device="cpu").widths == (8, 16, 32)
    for one, two in zip(*(log["log"] for log in logs), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["batch_accuracy"] == pytest.approx(one["batch_accuracy"])
        assert (two["kind"], two["num_tokens"]) == (one["kind"], one["num_tokens"])
    assert logs[0]["num_pairs"] == logs[1]["num_pairs"] == 54
