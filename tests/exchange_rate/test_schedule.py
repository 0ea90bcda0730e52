"""Cells run in order of what they need, and the time left is the longer of shared work and longest chain."""

import pytest

from exchange_rate.cells import CellResult, CellSpec
from exchange_rate.schedule import Cell, Clock, run_cells
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

    monkeypatch.setattr("exchange_rate.schedule.run_cell", run_cell)
    known = {"alone": CellResult({}, {}, {}, {}, 4.0)}
    done = run_cells(
        chain(),
        str(tmp_path),
        workers=1,
        num_threads=1,
        known=lambda spec: known.get(spec.name),
        keep=lambda spec, result: kept.append(spec.name),
    )
    assert ran == ["long", "after", "other"]
    assert sorted(kept) == ["after", "alone", "long", "other"]
    assert list(done) == ["long", "after", "alone", "other"]


def test_the_bar_says_what_share_of_the_time_has_passed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("exchange_rate.schedule.time.monotonic", lambda: now[0])
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
