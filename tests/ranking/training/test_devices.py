"""Where a training runs."""

import pytest
import torch
import torch.distributed as dist

from moon_rec.errors import RankingError
from ranking.config import RankerConfig
from ranking.training.devices import is_launched, process_group, rank, training_device, world_size


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_device(RankerConfig()).type == "cpu"
    assert training_device(RankerConfig(device="auto")).type == "cpu"
    with pytest.raises(RankingError, match="torch finds no GPU; set device=cpu"):
        training_device(RankerConfig(device="cuda"))


def test_each_local_rank_has_its_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert training_device(RankerConfig(device="auto")) == torch.device("cuda", 3)
    assert training_device(RankerConfig(device="cpu")) == torch.device("cpu")


def test_a_group_of_one_needs_no_launcher(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not is_launched() and (rank(), world_size()) == (0, 1)
    with process_group(torch.device("cpu")):
        assert dist.is_initialized() and (rank(), world_size()) == (0, 1)
        with process_group(torch.device("cpu")):
            pass
        assert dist.is_initialized()  # the inner block used the outer's and left it
    assert not dist.is_initialized()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert is_launched()
