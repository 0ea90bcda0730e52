"""The GPU benchmarks where there is no GPU: one line, nothing written."""

import pytest
import torch

from benchmarks import gpu_backbone, gpu_encoder, gpu_loader, gpu_ranker, gpu_search
from moon_rec.errors import MoonRecError


@pytest.mark.parametrize("benchmark", [gpu_backbone, gpu_encoder, gpu_loader])
def test_a_missing_gpu_is_named(monkeypatch, tmp_path, benchmark):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    work = tmp_path / "work"
    with pytest.raises(MoonRecError, match="finds no GPU here; try --device cpu") as caught:
        benchmark.main([str(tmp_path / "shop"), "--work", str(work)])
    assert "\n" not in str(caught.value)
    assert not work.exists()


@pytest.mark.parametrize("benchmark", [gpu_ranker, gpu_search])
def test_a_missing_gpu_is_named_before_any_work(monkeypatch, tmp_path, benchmark):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("faiss.get_num_gpus", lambda: 0)
    with pytest.raises(MoonRecError, match=r"(finds|sees) no GPU") as caught:
        benchmark.main(["--out", str(tmp_path / "found.json")])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
