"""Cells that fail, studies that are stopped, outputs that were changed: what is kept, what runs again, what is said."""

import errno
import json
import threading
import time

import pytest

from exchange_rate.study import cell_files
from exchange_rate.study import command as study_command
from exchange_rate.study.cell_files import CellResult, CellSpec
from exchange_rate.study.cells import KINDS, run_cell
from exchange_rate.study.failures import ERROR, CellError, Failure, is_full_disk, one_line, told
from exchange_rate.study.lock import LOCK, locked
from exchange_rate.study.run import refuse_failures, run_study
from moon_rec import command
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.kept import begin_command, what_is_kept

OF_RUNS = ("run", "encoder_run", "seconds")
"""Columns of a study's table that name runs, or a clock's."""


def go(shop, plan, folder, tracker, **options):
    return run_study(shop, plan, folder / "work", tracker, workers=1, **options)


def figures(table):
    return table.select([name for name in table.columns if name not in OF_RUNS])


def fails(monkeypatch, kind, error, when=lambda spec: True):
    """Let the cells of a kind fail; `.pop()` mends them."""
    real, broken = KINDS[kind], [True]

    def cell(spec, folder, own):
        if broken and when(spec):
            raise error
        return real(spec, folder, own)

    monkeypatch.setitem(KINDS, kind, cell)
    return broken


def about_of(tracker, result):
    return json.loads((tracker.folder / result.id / "study.json").read_text())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("loss\nis nan"),
        MemoryError(),
        OSError(errno.EACCES, "Permission denied", "x.png"),
        StudyError("an error of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_cell_is_kept_with_its_error_and_run_again(
    shop, small, planted, tmp_path, memory, monkeypatch, capsys, error
):
    broken = fails(monkeypatch, "encoder", error, lambda spec: spec.labels["encoder"] == "random")
    first = go(shop, small, tmp_path, memory)
    own = [one for one in first.failed if one.is_own]
    assert [one.name for one in own] == ["encoder random"] and own[0].error == one_line(error)
    assert "\n" not in own[0].error
    idle = {one.name: one.error for one in first.failed if not one.is_own}
    assert set(idle.values()) == {"not run: encoder random failed"}
    assert set(idle) >= {
        "ranker random · CUBE · seed 0",
        "comparison random · CUBE against DIN on ids and counters",
    }
    kept = (first.folder / about_of(memory, first)["failed"][0]["folder"] / ERROR).read_text()
    assert kept.startswith(one_line(error)) and "Traceback" in kept
    assert first.table.filter(encoder="pretrained").height == 2  # the others ran
    said = capsys.readouterr().err
    assert said.count("cell 'encoder random'") == 1 and "the others go on" in said
    with pytest.raises(StudyError, match=r"1 cell failed: encoder random .* were not run"):
        refuse_failures(first)
    broken.pop()
    planted.calls.clear()
    second = go(shop, small, tmp_path, memory)
    assert second.failed == () and second.num_known + second.num_run == 16
    assert second.num_run == sum(planted.calls.values()) == len(first.failed)
    assert figures(second.table).equals(figures(go(shop, small, tmp_path / "b", memory).table))
    refuse_failures(second)


def test_a_study_of_which_every_cell_fails_is_tracked_all_the_same(
    shop, small, planted, tmp_path, memory, monkeypatch
):
    for kind in KINDS:
        fails(monkeypatch, kind, ValueError("a broken setting"))
    result = go(shop, small, tmp_path, memory)
    assert len(result.failed) == 16 and result.table.is_empty()
    assert [one.name for one in result.failed if one.is_own] == [
        "start",
        "ranker DIN on ids and counters · seed 0",
        "ranker DIN on ids and counters · seed 1",
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_ranker_without_an_auc_has_failed(shop, small, planted, tmp_path, memory, value, monkeypatch):  # fmt: skip
    real = KINDS["ranker"]

    def cell(spec, folder, own):
        found = real(spec, folder, own)
        if spec.labels == {"ranker": "CUBE", "role": "content", "encoder": "random", "seed": 1}:
            if value is None:
                del found.estimates["auc"]
            else:
                found.estimates["auc"] = cell_files.Estimate(value, value, value, 1, "")
        return found

    monkeypatch.setitem(KINDS, "ranker", cell)
    failed = {one.name: one.error for one in go(shop, small, tmp_path, memory).failed}
    assert failed["ranker random · CUBE · seed 1"].startswith(
        f"auc = {'nan' if value is None else value}: the training diverged"
    )
    assert "comparison random · CUBE against DIN on ids and counters" in failed
    assert (
        "ranker random · CUBE on permuted vectors · seed 0" not in failed
    )  # nothing that it reads has failed


def test_a_loss_that_is_no_number_is_a_failure(shop, small, planted, tmp_path, memory, monkeypatch):  # fmt: skip
    real = KINDS["pretraining"]

    def cell(spec, folder, own):
        found = real(spec, folder, own)
        found.numbers["pretraining_loss"] = float("nan")
        return found

    monkeypatch.setitem(KINDS, "pretraining", cell)
    failed = go(shop, small, tmp_path, memory).failed
    assert failed[0].kind == "pretraining" and "pretraining_loss = nan" in failed[0].error
    names = {one.name: one.error for one in failed}
    assert names["ranker pretrained · CUBE · seed 0"] == f"not run: {failed[0].name} failed"


@pytest.mark.parametrize("after", [0, 1, 7, 15])
def test_a_stopped_study_goes_on_and_gives_the_same_table_to_the_bit(
    shop, small, planted, tmp_path, memory, monkeypatch, capsys, after
):
    real = CellResult.save

    def save(self, folder, code=""):  # the kill comes between a cell's work and its result
        if sum(planted.calls.values()) > after:
            raise KeyboardInterrupt
        real(self, folder, code)

    begin_command(["study"])
    with monkeypatch.context() as patch:
        patch.setattr(CellResult, "save", save)
        with pytest.raises(KeyboardInterrupt):
            go(shop, small, tmp_path, memory)
    assert memory.runs(kind="study") == []
    said = f"cells ({after} finished cells); go on with: study"
    assert (said if after else "no cell is finished yet") in what_is_kept()
    planted.calls.clear()
    result = go(shop, small, tmp_path, memory)
    assert result.num_known == after and sum(planted.calls.values()) == 16 - after
    memory.all.clear()
    whole = go(shop, small, tmp_path / "whole", memory)
    assert figures(result.table).equals(figures(whole.table))


def test_a_full_disk_stops_the_study_and_says_what_is_kept(
    shop, small, planted, tmp_path, memory, monkeypatch
):
    full = OSError(errno.ENOSPC, "No space left on device")
    fails(monkeypatch, "ranker", full, lambda spec: spec.labels["encoder"] == "pretrained")
    with pytest.raises(StudyError, match=r"the disk is full: .* finished cells are kept") as error:
        go(shop, small, tmp_path, memory)
    assert "run the same command again" in str(error.value)


def test_a_full_disk_is_known_behind_other_errors():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise MoonRecError("scores cannot be written") from None
    except MoonRecError as error:
        assert is_full_disk(error)
    assert is_full_disk(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not is_full_disk(OSError(errno.EACCES, "Permission denied"))


@pytest.mark.parametrize("damage", ["changed", "gone", "added", "link", "result"])
def test_a_cell_whose_outputs_were_changed_runs_again(
    shop, small, planted, tmp_path, memory, monkeypatch, capsys, damage
):
    real = KINDS["start"]

    def cell(spec, folder, own):
        (own / "encoder").mkdir()
        (own / "encoder" / "weights").write_text("planted")
        return real(spec, folder, own)

    monkeypatch.setitem(KINDS, "start", cell)
    first = go(shop, small, tmp_path, memory)
    (start,) = first.folder.glob("start-*")
    weights = start / "encoder" / "weights"
    if damage == "changed":
        weights.write_text("PLANTED")
    elif damage == "added":
        (start / "encoder" / "adapter").touch()
    elif damage == "result":
        (start / "result.json").write_text("{")
    else:
        weights.unlink()
        if damage == "link":
            (tmp_path / "elsewhere").write_text("planted")
            weights.symlink_to(tmp_path / "elsewhere")
    planted.calls.clear()
    second = go(shop, small, tmp_path, memory)
    assert planted.calls == {"start": 1} and weights.read_text() == "planted"
    assert figures(second.table).equals(figures(first.table))
    assert "cell 'random weights' runs again: " in capsys.readouterr().err
    assert not weights.is_symlink()


def test_an_input_that_was_changed_while_the_study_runs_is_not_read(
    shop, small, planted, tmp_path, memory, monkeypatch
):
    real = KINDS["start"]

    def cell(spec, folder, own):
        (own / "encoder").write_text("planted")
        return real(spec, folder, own)

    def change(spec, folder, own):
        spec.input("start", folder).write_text("changed")
        return real(spec, folder, own)

    monkeypatch.setitem(KINDS, "start", cell)
    monkeypatch.setitem(KINDS, "pretraining", change)
    failed = {one.name: one.error for one in go(shop, small, tmp_path, memory).failed}
    assert "was changed since its cell was finished" in failed["encoder random"]


@pytest.mark.parametrize("inside", ["../../x", "/etc/passwd", "a/../../b", "a\0b"])
def test_outputs_are_names_below_their_folder(tmp_path, monkeypatch, inside):
    monkeypatch.setitem(KINDS, "start", lambda *_: CellResult({}, {}, {}, {"encoder": inside}))
    found = run_cell(CellSpec("start", "a", {}), str(tmp_path), 1, log_to_file=False)
    assert isinstance(found, CellError) and "no plain name" in found.line
    with pytest.raises(MoonRecError, match="no plain name"):
        CellResult({}, {}, {}, {"encoder": inside}).changed(tmp_path)


def test_a_link_in_a_cells_place_is_not_followed(tmp_path, monkeypatch):
    spec, elsewhere = CellSpec("start", "a", {}), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("years")
    cells = tmp_path / "cells"
    cells.mkdir()
    spec.folder(cells).symlink_to(elsewhere)
    monkeypatch.setitem(KINDS, "start", lambda *_: CellResult({}, {}, {}, {}))
    assert isinstance(run_cell(spec, str(cells), 1, log_to_file=False), CellResult)
    assert [path.name for path in elsewhere.iterdir()] == ["thesis.txt"]
    spec.folder(cells).rename(tmp_path / "real")
    spec.folder(cells).symlink_to(tmp_path / "real")
    with pytest.raises(MoonRecError, match="a link that leads out of"):
        CellResult.load(spec.folder(cells))


def test_a_run_of_the_same_key_with_other_figures_is_not_taken_for_the_cells(
    shop, small, planted, tmp_path, memory, capsys
):
    first = go(shop, small, tmp_path, memory)
    (run,) = [one for one in memory.all if one["kind"] == "encoder" and one["params"]["encoder"] == "random"]  # fmt: skip
    run["metrics"] = run["metrics"] | {"image_search_recall@10": 0.99}
    second = go(shop, small, tmp_path, memory)
    assert figures(second.table).equals(figures(first.table))
    assert f"run {run['id']} has its key but other figures" in capsys.readouterr().err


def test_two_studies_of_one_store_share_a_cells_run_and_count_it_once(
    shop, small, planted, tmp_path, memory
):
    first = go(shop, small, tmp_path, memory)
    count = len(memory.all)
    for run in [*memory.all]:  # as if another process had run the same cells at the same time
        if run["kind"] == "ranker":
            memory.all.append(run | {"id": f"{run['id']}-again"})
    second = go(shop, small, tmp_path, memory)
    assert len(second.table) == len(first.table) == 8
    assert len(memory.all) == count + 8 + 1  # the second study's own run alone is new


def test_what_is_told_of_failures():
    own = [Failure(f"cell {place}", "ranker", "no") for place in range(5)]
    idle = Failure("later", "comparison", "not run: cell 0 failed", ("cell 0",))
    assert told([]) == ""
    assert told(own[:1]) == "1 cell failed: cell 0 (no)"
    text = told([*own, idle])
    assert text.startswith("5 cells failed: cell 0 (no); cell 1 (no); cell 2 (no); 2 more; 1 were")
    assert len(one_line(ValueError("x" * 10_000))) < 700
    assert one_line(KeyError("a\x1b[31m")) == "KeyError: 'a\\x1b[31m'"


def test_two_studies_in_one_folder(shop, small, planted, tmp_path, memory, capsys):
    """The second one is refused, and nothing of the first is touched, or waits; a file that a dead process left locks nothing."""
    work = tmp_path / "work"
    work.mkdir()
    (work / LOCK).write_text('{"process": 1, "machine": "gone", "since": "long ago"}')
    inside, go_on = threading.Event(), threading.Event()

    def hold():
        with locked(work):
            inside.set()
            go_on.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(60)
    with pytest.raises(StudyError, match=rf"{work}: another study works there \(process \d+ on"):
        go(shop, small, tmp_path, memory)
    assert not planted.calls and not memory.all
    threading.Timer(0.3, go_on.set).start()
    start = time.monotonic()
    assert go(shop, small, tmp_path, memory, wait=True).failed == ()
    assert time.monotonic() - start > 0.2
    holder.join()
    assert "waiting for the one that works in" in capsys.readouterr().err


def test_a_lock_is_no_link(tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    (tmp_path / LOCK).symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(MoonRecError, match=LOCK), locked(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_the_command_ends_with_two_and_one_line_after_all_others(
    shop, small, planted, tmp_path, memory, monkeypatch, capsys
):
    fails(monkeypatch, "encoder", ValueError("no"), lambda spec: spec.labels["encoder"] == "random")
    monkeypatch.setattr(
        study_command, "Shop", type("S", (), {"open": staticmethod(lambda path: shop)})
    )
    monkeypatch.setattr(study_command, "Tracker", lambda uri: memory)
    monkeypatch.setattr(study_command, "load_config", lambda *_: small)
    code = command.run(study_command.main, ["shop", "--plan", "p.toml", "--out", str(tmp_path / "out"), "--workers", "1"])  # fmt: skip
    said = capsys.readouterr()
    assert code == 2 and "report: python -m exchange_rate.report" in said.out
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "1 cell failed: encoder random (ValueError: no)" in errors[0]
    assert "the same command again runs only what is missing" in errors[0]
    assert len(memory.runs(kind="study")) == 1
