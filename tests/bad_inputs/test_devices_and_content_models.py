"""Rankers trained where they cannot be, or gone on with from a content model that is not theirs."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ranking.training.checkpoint import CONTENT_MODEL, Position
from tests.bad_inputs.harness import Case, check

MAKE = "ranking.train shop --out new --content make --items items --queries queries --checkpoint-every 10"
FILE = f"new.checkpoints/{CONTENT_MODEL}"


def _written(content: bytes):
    def damage(folder: Path) -> None:
        (folder / FILE).parent.mkdir()
        (folder / FILE).write_bytes(content)

    return damage


def _of_another(folder: Path) -> None:
    (folder / FILE).parent.mkdir()
    about = {"position": json.dumps(asdict(Position("another")))}
    save_file({"model.out.weight": torch.zeros(1)}, folder / FILE, about)


def _of_halves(folder: Path) -> None:
    (folder / FILE).parent.mkdir()
    save_file({"model.out.weight": torch.zeros(1).half()}, folder / FILE)


def _without_position(folder: Path) -> None:
    (folder / FILE).parent.mkdir()
    save_file({"model.out.weight": torch.zeros(1)}, folder / FILE)


CASES = [
    Case("devices: a GPU that is not there", "ranking.train shop --out new --set device=cuda", ("torch finds no GPU", "set device=cpu")),
    Case("devices: an unknown one", "ranking.train shop --out new --set device=tpu", ("device", "'tpu'", "cuda")),
    Case("content model: one lies there, and --resume is not said", MAKE, (FILE, "unfinished training", "--resume"), _of_another),
    Case("content model: of another training", f"{MAKE} --resume", (FILE, "other settings, tables or vectors", "remove the folder"), _of_another),
    Case("content model: cut short", f"{MAKE} --resume", (FILE, "no content model", "remove it"), _written(b"\x08")),
    Case("content model: empty", f"{MAKE} --resume", (FILE, "no content model", "remove it"), _written(b"")),
    Case("content model: of halves", f"{MAKE} --resume", (FILE, "F16", "remove it"), _of_halves),
    Case("content model: without its position", f"{MAKE} --resume", (FILE, "no content model", "'position'"), _without_position),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused(case, workspace, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check(case, workspace, capsys, monkeypatch)
