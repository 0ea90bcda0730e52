"""A ranker's training that a signal stops says where it stands, and the command it names ends with the bits of one that nothing stopped."""

import os
import shlex
import signal

import polars as pl
import pytest
from safetensors.torch import load_file

from moon_rec.command import run
from ranking.features import RankingTables
from ranking.train import RankerConfig, main, train_ranker
from ranking.trained import TrainedRanker
from ranking.training.checkpoint import Checkpoints
from ranking.training.trainer import LocalTrainer
from tests.ranking.conftest import plant_part
from tests.stopping import stop_when

SETTINGS = ["batch_size=16", "tower=[4]", "embedding_dim=2", "attention_dim=2", "epochs=2", "num_threads=1"]  # fmt: skip
FEW = ["--set", "batch_size=128", "--set", "epochs=1"]
"""Steps, where nothing has to be struck in their midst."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A third of the requests: enough steps to be stopped in their midst."""
    return plant_part(tmp_path_factory.mktemp("planted"), pl.col("request_id") % 3 == 1)


def words_of(planted, out) -> list[str]:
    words = ["ranking.train", str(planted.shop.path), "--out", str(out)]
    return [*words, *(word for setting in SETTINGS for word in ("--set", setting))]


def after(monkeypatch, of, name, whole, signum) -> None:
    """Signal this process once a call of that name is done."""

    def struck(*given, **named):
        found = whole(*given, **named)
        os.kill(os.getpid(), signum)
        return found

    monkeypatch.setattr(of, name, struck)


def test_the_named_command_goes_on_to_the_same_bits(planted, tmp_path):
    out, whole, errors = tmp_path / "ranker", tmp_path / "whole", tmp_path / "errors"
    words = [*words_of(planted, out), "--checkpoint-every", "40"]
    folder = tmp_path / "ranker.checkpoints"
    ended = stop_when(lambda: any(folder.glob("step-*/position.json")), words, errors)
    assert ended.code == 143 and ended.seconds < 15
    (save,) = folder.iterdir()
    step = int(save.name.removeprefix("step-"))
    assert f"kept: {folder} (step {step:,}); go on with: " in ended.last
    command = ended.last.partition("go on with: ")[2]
    assert command.endswith(" --resume")
    _, _, module, *again = shlex.split(command)
    assert module == "ranking.train" and run(main, again) == 0
    assert not folder.exists()
    assert run(main, words_of(planted, whole)[1:]) == 0
    found, wanted = (load_file(each / "weights.safetensors") for each in (out, whole))
    assert found.keys() == wanted.keys()
    assert all(bool((found[name] == value).all()) for name, value in wanted.items())


def test_seeds_that_are_finished_are_kept(planted, tmp_path, monkeypatch, capsys):
    out = tmp_path / "rankers"
    save = TrainedRanker.save
    after(monkeypatch, TrainedRanker, "save", save, signal.SIGINT)
    words = [*words_of(planted, out), *FEW, "--seeds", "3"]
    assert run(main, words[1:], words=["python", "-m", *words]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in out.iterdir()] == ["seed-0"]
    assert f"kept: {out} (1 of 3 seeds); go on with: " in last and last.endswith(" --resume")


def test_without_checkpoints_it_says_that_it_begins_again(planted, tmp_path, monkeypatch, capsys):
    after(monkeypatch, LocalTrainer, "steps", LocalTrainer.steps, signal.SIGTERM)
    assert run(main, words_of(planted, tmp_path / "ranker")[1:]) == 143
    last = capsys.readouterr().err.splitlines()[-1]
    assert "nothing is kept (no --checkpoint-every is set); begin again with: " in last
    assert not list(tmp_path.iterdir())


def test_a_whole_ranker_beside_its_checkpoints_needs_but_their_removal(
    planted, tmp_path, monkeypatch, capsys
):
    """As a kill leaves it just before that."""
    words = [*words_of(planted, tmp_path / "ranker")[1:], *FEW, "--checkpoint-every", "10"]
    monkeypatch.setattr(Checkpoints, "remove", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(main, words)
    monkeypatch.undo()
    digests = {
        path: path.read_bytes() for path in (tmp_path / "ranker").iterdir() if path.is_file()
    }
    assert (tmp_path / "ranker.checkpoints").is_dir()
    assert run(main, [*words, "--resume", "--set", "seed=1"]) == 2
    assert "was trained with other settings" in capsys.readouterr().err
    assert (tmp_path / "ranker.checkpoints").is_dir()
    assert run(main, [*words, "--resume"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "trained already; what it went on from is removed: " in said
    assert [path.name for path in tmp_path.iterdir()] == ["ranker"]
    assert all(path.read_bytes() == whole for path, whole in digests.items())


def test_overwrite_begins_anew_beside_checkpoints(planted, tmp_path, capsys):
    """Those of an earlier training go; without it they are named."""
    folder = tmp_path / "ranker.checkpoints"
    words = [*words_of(planted, tmp_path / "ranker")[1:], "--checkpoint-every", "500"]
    stopped = RankerConfig(content="none", epochs=2, batch_size=128, tower=(4,), embedding_dim=2, attention_dim=2)  # fmt: skip
    tables = RankingTables.build(planted.shop)
    with pytest.raises(ZeroDivisionError):
        train_ranker(
            tables,
            stopped,
            checkpoints=Checkpoints(folder, 10),
            log=lambda numbers, step: 1 / 0,
        )
    assert any(folder.glob("step-*"))
    assert run(main, words) == 2 and "--overwrite" in capsys.readouterr().err
    assert run(main, [*words, *FEW, "--overwrite"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["ranker"]
