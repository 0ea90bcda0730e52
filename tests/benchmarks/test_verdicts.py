"""The simulations of verdicts run, and one training a side is never called better there."""

import json

import numpy as np
import pytest

from benchmarks import verdicts
from ranking.judging.resampling import user_resamples


def test_the_command_simulates_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verdicts, "TRUTH_USERS", 300)
    monkeypatch.setattr(verdicts, "COUNTED", (5, 20))
    monkeypatch.setattr(verdicts, "CALIBRATION_USERS", (20,))
    monkeypatch.setattr(verdicts, "SEEDS", (1, 2))
    monkeypatch.setattr(verdicts, "POWER_SEEDS", (2,))
    out = tmp_path / "verdicts.json"
    verdicts.main(["--repeats", "2", "--resamples", "20", "--out", str(out)])
    found = json.loads(out.read_text())
    assert set(verdicts.PARTS) < set(found) and found["min_users"] == 20
    one = found["false"][0]
    assert one["seeds a side"] == 1
    assert [one[f"{metric}, after"] for metric in verdicts.METRICS] == [0, 0, 0]
    assert "| counted users |" in capsys.readouterr().out


@pytest.mark.parametrize("metric", verdicts.METRICS)
def test_users_are_added_until_as_many_count(metric):
    random = verdicts.generator(0, "test")
    rows = verdicts.draw_rows(random, 80)
    scores = [verdicts.draw_scores(random, rows, 0.6, 1.2)]
    num_users = verdicts.users_that_count(rows, metric, 20)
    kept, (given,) = verdicts.first_users(rows, scores, num_users)
    assert verdicts.statistic_of(metric, kept.labels, given, kept.users).counted == 20
    weights = np.stack(list(user_resamples(num_users, 5, seed=1)))
    statistic = verdicts.statistic_of(metric, kept.labels, given, kept.users)
    one_by_one = [statistic.value(one) for one in weights]
    at_once = verdicts.values_under(weights, metric, kept, given)
    assert at_once == pytest.approx(one_by_one, abs=1e-12)
