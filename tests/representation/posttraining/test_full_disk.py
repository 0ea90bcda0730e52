"""A disk that is full at any moment of a post-training: one line, what was saved stays, nothing half-written, and the command goes on when there is room."""

import errno
import os

import pytest
from safetensors import SafetensorError

from moon_rec import temporaries
from moon_rec.command import run
from representation.posttrain import main as posttrain
from representation.training import state
from tests.representation.posttraining.test_stopped import SETTINGS

MOMENTS = [
    *((temporaries.os, "fsync", nth) for nth in (1, 4, 9)),
    *((temporaries.os, "rename", nth) for nth in (1, 2, 3)),
    *((state, "save_file", nth) for nth in (1, 2, 5)),
]


@pytest.mark.parametrize(("where", "what", "nth"), MOMENTS, ids=str)
def test_a_full_disk_at_each_moment_of_a_training(
    little_shop, tmp_path, monkeypatch, capsys, where, what, nth
):
    out = tmp_path / "out"
    words = [str(little_shop.path), "--out", str(out), "--set", "steps=4"]
    for setting in [*SETTINGS[1:], "resume_every=2", "mixture={'text->title+image'=1.0}"]:
        words += ["--set", setting]
    taken, whole = [], getattr(where, what)

    def full(*args, **named):
        taken.append(1)
        if len(taken) == nth:
            if what == "save_file":
                raise SafetensorError("I/O error: No space left on device (os error 28)")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(*args, **named)

    monkeypatch.setattr(where, what, full)
    code = run(posttrain, words)
    monkeypatch.undo()
    if len(taken) < nth:
        pytest.skip("the training has fewer such moments")
    assert code == 2
    line = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert len(line) == 1 and "the disk is full (ENOSPC)" in line[0]
    assert not list(tmp_path.rglob(".*")), "temporaries are left"
    if (where, what, nth) == MOMENTS[0]:  # found before the training
        assert not list(tmp_path.iterdir())
        return
    if out.exists():
        assert f"{out} (whole)" in line[0] and "nothing is left to do" in line[0]
        return
    saves = list(tmp_path.glob("out.resume/step-*"))
    said = f"kept: {tmp_path}/out.resume (step " if saves else "nothing is kept"
    assert said in line[0] and ("go on" if saves else "begin again") in line[0]
    assert run(posttrain, words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
