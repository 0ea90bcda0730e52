"""Commands for one process that torchrun starts as many: one line, of the first, and nothing written."""

import importlib

import pytest

from moon_rec.command import run

ONE = [
    *(f"representation.{name}" for name in ("benchmark", "bring", "curate", "embed", "look", "recall")),
    *(f"ranking.{name}" for name in ("compare", "evaluate", "handover.__main__", "score", "ways.__main__")),
    *(f"exchange_rate.{name}" for name in ("demo", "report", "study")),
    "moon_rec.doctor",
    "moon_rec.shop.commands",
]  # fmt: skip


@pytest.mark.parametrize("module", ONE)
def test_is_refused_once(module, monkeypatch, capsys, tmp_path):
    main = importlib.import_module(module).main
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = []
    for number in ("0", "1"):
        monkeypatch.setenv("RANK", number)
        try:
            code = run(main, [])
        except SystemExit as stopped:
            code = stopped.code
        assert code == 2
        said.append("".join(capsys.readouterr()))
    assert said[0].startswith("error: ") and said[0].count("\n") == 1 and said[1] == ""
    assert "made for one process, and 2 were started; start it with python -m" in said[0]
    assert not list(tmp_path.iterdir())
