"""Public encoders that training starts from, and pairs of frozen towers: what does not fit together, or cannot be trained."""

import json
from pathlib import Path

import pytest

from tests.bad_inputs.harness import Case, check

POSTTRAIN = "representation.posttrain shop --start start --out new --set steps=1"
LOCKED = "representation.locked --text text --vision vision --out new"


def says(folder: str, **config: object):
    def write(workspace: Path) -> None:
        (workspace / folder).mkdir()
        (workspace / folder / "config.json").write_text(json.dumps(config))

    return write


def both(text: dict, vision: dict):
    def write(workspace: Path) -> None:
        says("text", **text)(workspace)
        says("vision", **vision)(workspace)

    return write


def a_locked_folder_without_its_own_file(workspace: Path) -> None:
    says("start", model_type="moon_rec_locked")(workspace)


CASES = [
    Case("public encoders: a start that is not read", POSTTRAIN, ("start: model_type 'gpt2'", "not one that is read here"), says("start", model_type="gpt2")),
    Case("public encoders: Qwen3.5", POSTTRAIN, ("model_type 'qwen3_5'", "left to right", "Qwen3-VL"), says("start", model_type="qwen3_5")),
    Case("public encoders: a mixture of experts", POSTTRAIN, ("mixture of experts", "take a dense one"), says("start", model_type="qwen3_5_moe")),
    Case("public encoders: a dual encoder without weights", POSTTRAIN, ("start", "model.safetensors"), says("start", model_type="clip")),
    Case("public encoders: a locked pair without moon_rec.json", POSTTRAIN, ("names a locked pair", "representation.locked"), a_locked_folder_without_its_own_file),
    Case("public encoders: no text tower", LOCKED.replace("--text text", "--text tables/text"), ("no encoder at 'tables/text'", "tables is a folder here without it"), says("vision", model_type="vit")),
    Case("public encoders: no vision tower", LOCKED.replace("--vision vision", "--vision tables/vision"), ("no encoder at 'tables/vision'", "tables is a folder here without it"), says("text", model_type="bert")),
    Case("public encoders: towers for both as a vision tower", LOCKED, ("vision: model_type 'clip' has towers for words, too", "dinov2"), both({"model_type": "bert"}, {"model_type": "clip", "vision_config": {}})),
    Case("public encoders: a setting that does not exist", f"{LOCKED} --set width=3", ("width",), both({"model_type": "bert"}, {"model_type": "vit"})),
    Case("public encoders: a width of nothing", f"{LOCKED} --set dim=0", ("dim",), both({"model_type": "bert"}, {"model_type": "vit"})),
    Case("public encoders: the place is taken", LOCKED.replace("new", "items"), ("items exists already", "moon_rec.json"), both({"model_type": "bert"}, {"model_type": "vit"})),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused(case, workspace, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check(case, workspace, capsys, monkeypatch)
