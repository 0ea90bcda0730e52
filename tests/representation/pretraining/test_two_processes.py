"""Pretraining on two processes: the log of one, and one encoder, written once."""

import sys

import numpy as np
import pytest
import torch

from moon_rec.files import read_json
from representation.encoder import ProductEncoder
from representation.pretraining import PretrainConfig, pretrain
from representation.pretraining.train import LOG_FILE
from tests.representation.training.test_distributed import together

SETTINGS = {"steps": 4, "batch_size": 9, "precision": "float32", "num_threads": 1, "log_every": 1}


@pytest.mark.slow  # as post-training's; the loop is the same, and gradients of two processes are among the quick tests
def test_two_processes_pretrain_as_one(little_shop, encoder_path, tmp_path):
    """Nine questions, whose answers have different lengths and some of which show no picture."""
    one, two = tmp_path / "one", tmp_path / "two"
    pretrain(little_shop, one, PretrainConfig.model_validate(SETTINGS), encoder_path)
    words = ["representation.pretrain", str(little_shop.path), "--start", str(encoder_path)]
    words += [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    said = together([sys.executable, "-m", *words, "--out", str(two)])
    assert said[0][0].split() == [str(two)] and said[1][0] == ""
    assert [both[1].count("pretrain on") for both in said] == [1, 0]
    wanted, found = (read_json(folder / LOG_FILE)["log"] for folder in (one, two))
    for entry, other in zip(wanted, found, strict=True):
        assert np.isclose(entry["loss"], other["loss"], rtol=1e-5)
        assert entry["num_tokens"] == other["num_tokens"]
    weights, others = (
        ProductEncoder.from_pretrained(folder, device="cpu").module.state_dict()
        for folder in (one, two)
    )
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, atol=1e-4, rtol=0, msg=name)
