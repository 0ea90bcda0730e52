"""A ranker's training that a signal stops says where it stands, and the command it names ends with the bits of one that nothing stopped."""

import shlex
import signal

import pytest
from safetensors.torch import load_file

from moon_rec.command import run
from ranking.features import RankingTables
from ranking.train import RankerConfig, main, train_ranker
from ranking.training.checkpoint import Checkpoints
from tests.stopping import stop_when

SETTINGS = ["batch_size=16", "tower=[4]", "embedding_dim=2", "attention_dim=2", "epochs=3", "num_threads=1"]  # fmt: skip


def words_of(planted, out) -> list[str]:
    words = ["ranking.train", str(planted.shop.path), "--out", str(out)]
    return [*words, *(word for setting in SETTINGS for word in ("--set", setting))]


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


def test_seeds_that_are_finished_are_kept(planted, tmp_path):
    out, errors = tmp_path / "rankers", tmp_path / "errors"
    words = [*words_of(planted, out), "--seeds", "3"]
    ended = stop_when((out / "seed-0").exists, words, errors, signal.SIGINT)
    assert ended.code == 130
    done = len(list(out.iterdir()))
    assert f"kept: {out} ({done} of 3 seeds); go on with: " in ended.last or done == 3
    assert ended.last.endswith(" --resume")


def test_without_checkpoints_it_says_that_it_begins_again(planted, tmp_path):
    errors = tmp_path / "errors"
    words = [*words_of(planted, tmp_path / "ranker"), "--set", "epochs=300"]
    ended = stop_when(lambda: "train:" in errors.read_text(), words, errors)
    assert ended.code == 143
    assert "nothing is kept (no --checkpoint-every is set); begin again with: " in ended.last
    assert [path.name for path in tmp_path.iterdir()] == ["errors"]


def test_overwrite_begins_anew_beside_checkpoints(planted, tmp_path, capsys):
    """Those of an earlier training go; without it they are named."""
    folder = tmp_path / "ranker.checkpoints"
    words = [*words_of(planted, tmp_path / "ranker")[1:], "--checkpoint-every", "500"]
    stopped = RankerConfig(content="none", epochs=3, batch_size=16, tower=(4,), embedding_dim=2, attention_dim=2)  # fmt: skip
    tables = RankingTables.build(planted.shop)
    with pytest.raises(ZeroDivisionError):
        train_ranker(
            tables,
            stopped,
            checkpoints=Checkpoints(folder, 40),
            log=lambda numbers, step: 1 / 0,
        )
    assert any(folder.glob("step-*"))
    assert run(main, words) == 2 and "--overwrite" in capsys.readouterr().err
    assert run(main, [*words, "--overwrite"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["ranker"]
