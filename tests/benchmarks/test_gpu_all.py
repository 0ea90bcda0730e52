"""All GPU checks by one command: what it would run, what it says of figures, that one which fails or hangs stops no other, and that it asks for a GPU first."""

import importlib
import shlex
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_all, recipe_costs
from benchmarks.gpu_all import FAILS, HOLDS, LATE, SUMMARY, UNTRIED, Check, checks, main
from moon_rec.command import Parser, run
from moon_rec.errors import MoonRecError
from moon_rec.files import read_json
from representation.recipes.card import read_card
from tests.representation.conftest import little_shop  # noqa: F401

RESULTS = Path(gpu_all.__file__).parent / "results"
GIVEN = ["--shop", "runs/demo shop", "--weights", "runs/starters"]


class Parsed(Exception):
    pass


def test_a_dry_run_prints_commands_that_their_own_parsers_take(tmp_path, capsys, monkeypatch):
    main(["--out", str(tmp_path / "gpu"), *GIVEN, "--dry-run"])
    lines = [line.split("  # ")[0] for line in capsys.readouterr().out.splitlines()]
    every = checks("runs/demo shop", "runs/starters", tmp_path / "gpu")
    assert len(lines) == len(every) >= 9 and not (tmp_path / "gpu").exists()
    assert sum(one.seconds for one in every) <= gpu_all.SECONDS == 540
    plain = Parser.parse_args

    def parse_args(self, words=None, namespace=None):
        plain(self, words, namespace)
        raise Parsed

    monkeypatch.setattr(Parser, "parse_args", parse_args)
    for line in lines:
        python, _, module, *words = shlex.split(line)
        assert python == "python"
        with pytest.raises(Parsed):
            importlib.import_module(module).main(words)


@pytest.mark.parametrize("name", ["backbone", "encoder", "ranker", "search"])
def test_figures_of_an_earlier_run_are_told_in_a_line(name):
    (check,) = (one for one in checks("shop", "weights", Path("out")) if one.name == name)
    told = check.found(read_json(RESULTS / f"2026-11-26-gpu-{name}.json"))
    assert "\n" not in told and any(letter.isdigit() for letter in told)


def test_what_fails_or_hangs_stops_no_other_and_all_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(gpu_all, "SECONDS", 20.0)

    def timed(name, statement, found, seconds=15.0):
        words = ("timeit", "-n", "1", "-r", "1", statement)
        return Check(name, f"asked of {name}", words, seconds, found)

    ended = "import os; print('it is 3, wanted 4', flush=True); os._exit(2)"
    made = [
        timed("slow", "import time; time.sleep(60)", lambda found: found["not there"], 1.0),
        timed("bad", ended, lambda _: ""),
        timed("good", "pass", lambda _: "7 found"),
        timed("none", "pass", lambda _: "", 0.0),
    ]
    monkeypatch.setattr(gpu_all, "checks", lambda *_: made)
    out = tmp_path / "gpu"
    assert run(main, ["--out", str(out), *GIVEN]) == 2
    printed = capsys.readouterr()
    assert "3 of 4 checks: slow (not finished in time), bad (does not hold), none (not tried)" in printed.err  # fmt: skip
    found = read_json(out / SUMMARY)
    assert (found["gpu"], found["shop"]) == ("a card", "runs/demo shop") and found["date"]
    assert [one["outcome"] for one in found["checks"]] == [LATE, FAILS, HOLDS, UNTRIED]
    assert [one["seconds"] < 12 for one in found["checks"]] == [True] * 4
    assert "good | asked of good | 7 found | holds" in printed.out.splitlines()
    assert "bad | asked of bad | it is 3, wanted 4 | does not hold" in printed.out.splitlines()
    assert run(main, ["--out", str(out), *GIVEN]) == 2
    assert "--overwrite" in capsys.readouterr().err
    (out / "work").mkdir()
    (out / SUMMARY).unlink()
    with pytest.raises(MoonRecError, match="work exists already; name another --out"):
        main(["--out", str(out), *GIVEN, "--overwrite"])


def test_without_a_gpu_it_is_refused_and_nothing_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "gpu"
    with pytest.raises(MoonRecError, match="finds no GPU here, and all of these checks need one"):
        main(["--out", str(out), *GIVEN])
    shop = ["shop", "--work", str(tmp_path / "work"), "--device", "cuda"]
    with pytest.raises(MoonRecError, match="finds no GPU here; try --device cpu"):
        recipe_costs.main(shop)
    with pytest.raises(MoonRecError, match="--only loaders: no such check; there are search, rec"):
        main(["--out", str(out), *GIVEN, "--only", "loaders"])
    assert not list(tmp_path.iterdir())


def test_costs_of_a_recipe_from_random_weights(little_shop, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = [str(little_shop.path), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "costs.json")]  # fmt: skip
    recipe_costs.main([*words, "--recipes", "moon3", "--steps", "1", "--rounds", "1", "--batch-size", "6", "--products", "20"])  # fmt: skip
    found = read_json(tmp_path / "costs.json")
    card = read_card("moon3").line()
    assert found["cards"] == {"moon3": card} and f"moon3: {card}" in capsys.readouterr().out
    assert found["device"] == "cpu" and [row["recipe"] for row in found["rows"]] == ["plain", "moon3"]  # fmt: skip
    assert all(value > 0 for row in found["rows"] for value in row["over_plain"].values())
    assert found["rows"][1]["over_plain"]["parameters"] > 1 and "mib_peak" not in found["rows"][0]
    (told,) = (one.found(found) for one in checks("", "", tmp_path) if one.name == "recipes")
    assert told.startswith("plain ") and "; moon3 " in told
