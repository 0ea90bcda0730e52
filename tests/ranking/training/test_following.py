"""A training that is followed has curves within its first minute, whatever its speed, and is the same to the bit."""

import numpy as np
import pytest
import torch

from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import auc
from ranking.train import RankerConfig, train_ranker
from ranking.training import following
from ranking.training.following import Following

SMALL = {"epochs": 1, "batch_size": 64, "tower": (8,), "attention_dim": 4, "embedding_dim": 4}


class Clock:
    """Seconds that pass only as they are told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def followed(seconds_a_step, steps, judgement_takes=0.0):
    """Lines of a training as (second, step, figures)."""
    clock, lines, calls = Clock(), [], []

    def judge():
        clock.now += judgement_takes
        calls.append(clock.now)
        return 0.6

    one = Following(lambda figures, step: lines.append((clock.now, step, figures)), judge, clock)
    for step in range(1, steps + 1):
        clock.now += seconds_a_step
        one.step(step, torch.tensor(1 / step), 64)
    return lines, calls, one, clock


@pytest.mark.parametrize("seconds", [0.01, 0.5, 4.0, 15.0])
def test_curves_within_the_first_minute(seconds):
    """Before, a line came every hundred steps: with steps of a second after the first minute, and without rows a second or validation."""
    lines, *_ = followed(seconds, int(60 / seconds))
    early = [figures for second, _, figures in lines if second <= 60]
    assert sum("loss" in figures for figures in early) >= 2
    assert sum("validation_auc_so_far" in figures for figures in early) >= 2
    rates = [figures["rows_per_second"] for figures in early if "loss" in figures]
    assert rates == pytest.approx([64 / seconds] * len(rates))


def test_a_line_has_the_mean_loss_since_the_line_before():
    lines, *_ = followed(0.01, 250)
    losses = [(step, figures["loss"]) for _, step, figures in lines if "loss" in figures]
    wanted = [np.mean([1 / step for step in range(low, low + 100)]) for low in (1, 101)]
    assert [step for step, _ in losses] == [100, 200]
    assert [loss for _, loss in losses] == pytest.approx(wanted)


def test_judging_takes_a_small_part_of_the_time_and_is_no_part_of_the_rows_a_second():
    lines, calls, _, clock = followed(1.0, 4_000, judgement_takes=30.0)
    assert len(calls) * 30 / clock.now < 0.06
    rates = [figures["rows_per_second"] for _, _, figures in lines if "loss" in figures]
    assert rates == pytest.approx([64.0] * len(rates))


def test_what_is_left_is_told_at_the_end():
    lines, _, one, _ = followed(0.01, 7)
    assert not lines
    one.end(7)
    assert [set(figures) for _, _, figures in lines] == [
        {"loss", "rows_per_second"},
        {"validation_auc_so_far"},
    ]


def test_a_followed_training_is_the_same_to_the_bit(planted, monkeypatch):
    """It is judged after each step here; the last judgement is the AUC of the trained ranker on the rows that it looks at."""
    monkeypatch.setattr(following, "SECONDS_BETWEEN_JUDGEMENTS", 0.0)
    monkeypatch.setattr(following, "MOST_SHARE", 1e9)
    monkeypatch.setattr(following, "MOST_ROWS", 150)
    tables = RankingTables.build(planted.shop, FeatureConfig(history_length=4))
    config = RankerConfig(content="cube", **SMALL)
    vectors = planted.items, planted.queries
    lines = []
    one = train_ranker(
        tables, config, *vectors, log=lambda figures, step: lines.append((step, figures))
    )
    other = train_ranker(tables, config, *vectors)
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    judged = [
        figures["validation_auc_so_far"]
        for _, figures in lines
        if "validation_auc_so_far" in figures
    ]
    assert len(judged) > 20
    requests = tables.periods["validation"]
    chosen = np.unique(np.linspace(0, requests.request_ids.size - 1, 25).astype(int))
    rows = np.isin(requests.row_requests(), chosen)
    assert rows.sum() == 150
    wanted = auc(requests.labels[rows], one.predict(tables, "validation")[rows])
    assert judged[-1] == pytest.approx(wanted, abs=1e-9)
