"""Cells run in order of what they need, a failed one stops no other, and the time left is the longer of shared work and longest chain."""

import os
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from exchange_rate.study import schedule
from exchange_rate.study.cell_files import CellResult, CellSpec
from exchange_rate.study.clock import Clock
from exchange_rate.study.failures import CellError
from exchange_rate.study.schedule import Cell, run_cells
from exchange_rate.study.workers import Workers
from moon_rec.errors import StudyError
from moon_rec.progress import Bar


def chain():
    def make(name):
        return lambda done: CellSpec("start", name, {"name": name})

    return [
        Cell("long", "a", (), make("long"), 10.0),
        Cell("after", "b", ("long",), make("after"), 5.0),
        Cell("alone", "b", (), make("alone"), 4.0),
        Cell("other", "b", (), make("other"), 3.0),
    ]


def test_time_left_is_the_longest_chain_or_the_shared_work():
    assert Clock(chain(), workers=2).left() == pytest.approx(15.0)
    assert Clock(chain(), workers=1).left() == pytest.approx(22.0)


def test_finished_cells_correct_the_others_of_their_kind():
    clock = Clock(chain(), workers=1)
    clock.finish("alone", seconds=8.0)  # twice what was expected
    assert clock.expected("other") == pytest.approx(6.0)
    # no other of its kind: all kinds speak, against twenty seconds' worth of what was expected
    assert clock.expected("long") == pytest.approx(10.0 * (8.0 + 20.0) / (4.0 + 20.0))
    clock.finish("long", seconds=10.0)
    assert clock.left() == pytest.approx(6.0 + 10.0)


def test_a_known_cell_corrects_nothing():
    clock = Clock(chain(), workers=1)
    clock.finish("alone", seconds=None)
    assert clock.expected("other") == pytest.approx(3.0)


def test_what_is_needed_runs_first_and_known_cells_do_not_run(monkeypatch, tmp_path):
    ran, kept = [], []

    def run_cell(spec, folder, num_threads, log_to_file):
        ran.append(spec.name)
        return CellResult({}, {}, {}, {})

    monkeypatch.setattr("exchange_rate.study.schedule.run_cell", run_cell)
    known = {"alone": CellResult({}, {}, {}, {}, 4.0)}
    done, failures = run_cells(
        chain(),
        str(tmp_path),
        workers=1,
        num_threads=1,
        known=lambda spec: known.get(spec.name),
        keep=lambda spec, result: kept.append(spec.name),
    )
    assert ran == ["long", "after", "other"]
    assert sorted(kept) == ["after", "alone", "long", "other"]
    assert list(done) == ["long", "after", "alone", "other"] and failures == []


def test_the_bar_says_what_share_of_the_time_has_passed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("exchange_rate.study.clock.time.monotonic", lambda: now[0])
    clock = Clock(chain(), workers=1)
    bar = Bar("study", 100)
    now[0] = 122.0
    clock.finish("long", seconds=10.0)
    clock.show(bar, 1, 4)
    assert bar.done == 64  # 22 seconds have passed, 12 are left
    clock.finish("alone", seconds=20.0)  # five times what was expected: the bar goes back
    clock.show(bar, 2, 4)
    assert bar.done == 35  # 40 are left
    for name in ("after", "other"):
        clock.finish(name, seconds=1.0)
    clock.show(bar, 4, 4)
    assert bar.done == 100


def go(monkeypatch, cells, outcome, workers=1):
    """Run cells whose outcome is `outcome(name)`: what is tried, what finished, and the failures by name."""
    ran = []

    def run_cell(spec, folder, num_threads, log_to_file=True):
        ran.append(spec.name)
        return outcome(spec.name) or CellResult({}, {}, {}, {})

    monkeypatch.setattr(schedule, "run_cell", run_cell)
    monkeypatch.setattr(schedule, "Workers", lambda count, function: Died(function))
    done, failures = run_cells(
        cells, "cells", workers, 1, lambda spec: None, lambda spec, result: None
    )
    return ran, list(done), {one.name: one.error for one in failures}


class Died:
    """Workers of which the first task lasts until the second one is begun; where that one's process dies, it takes the first along."""

    def __init__(self, function):
        self.function, self.open, self.num_begun = function, [], 0

    def submit(self, *arguments):
        found, future = self.function(*arguments), Future()
        self.num_begun += 1
        if self.num_begun == 1:
            self.open = [(future, found)]
            return future
        for one, result in [*self.open, (future, found)]:
            if isinstance(found, CellError) and found.line == "dies":
                one.set_exception(BrokenProcessPool())
            else:
                one.set_result(result)
        self.open = []
        return future

    def renew(self):
        self.open = []

    def close(self, at_once):
        pass


def test_a_failed_cell_stops_no_other_and_those_that_need_it_name_it(monkeypatch, capsys):
    cells = [*chain(), Cell("last", "c", ("after", "other"), chain()[1].make, 1.0)]
    ran, done, failed = go(
        monkeypatch, cells, lambda name: CellError("ValueError: no") if name == "long" else None
    )
    assert ran == ["long", "alone", "other"] and done == ["alone", "other"]
    assert failed == {
        "long": "ValueError: no",
        "after": "not run: long failed",
        "last": "not run: long failed",
    }
    assert "cell 'long'" in (said := capsys.readouterr().err) and "ValueError: no" in said


def test_a_specification_that_cannot_be_made_is_its_cells_failure(monkeypatch):
    def make(done):
        raise StudyError("no such metric")

    cells = [*chain(), Cell("chosen", "c", (), make, 50.0)]
    _, done, failed = go(monkeypatch, cells, lambda name: None)
    assert len(done) == 4 and failed == {"chosen": "no such metric"}


def test_a_full_disk_stops_the_study(monkeypatch):
    def outcome(name):
        return CellError("OSError: no space", stops=True) if name == "alone" else None

    with pytest.raises(StudyError, match=r"disk is full: cell 'alone'.* 2 finished cells are kept"):
        go(monkeypatch, chain(), outcome)


def test_a_process_that_dies_alone_is_its_cells_failure(monkeypatch):
    deaths = iter([True, True])

    def outcome(name):
        return CellError("dies") if name == "alone" and next(deaths, False) else None

    ran, done, failed = go(monkeypatch, chain(), outcome, workers=2)
    assert ran.count("alone") == 2 and list(failed) == ["alone"]
    assert "its process died" in failed["alone"]
    assert (
        done == ["long", "after", "other"] and ran.count("long") == 2
    )  # it was beside the first death


def test_workers_outlive_one_that_dies_and_end_at_once_when_stopped():
    workers = Workers(1, os._exit)
    with pytest.raises(BrokenProcessPool):
        workers.submit(9).result(60)
    workers.close(at_once=False)
    workers = Workers(1, time.sleep)
    workers.submit(0).result(60)
    sleeper, start = workers.submit(600), time.monotonic()
    while not sleeper.running():
        time.sleep(0.01)
    workers.close(at_once=True)
    assert time.monotonic() - start < 10
