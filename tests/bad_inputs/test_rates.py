"""Bad columns of paths and training, and bad draws of users, for the exchange rate."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from exchange_rate import fit_exchange_rate
from exchange_rate.estimation.draws import Draws
from tests.bad_inputs.harness import Case, check

NAN = float("nan")


def fit(name: str, says: tuple[str, ...], **changes: Any) -> Case:
    """`fit_exchange_rate` on four encoders of two seeds with some columns beside."""
    metric = np.repeat([0.1, 0.2, 0.3, 0.4], 2)
    columns = dict(metric=metric, auc=0.6 + metric, encoder=list("aabbccdd"), seed=[0, 1] * 4)
    return call(name, says, lambda: fit_exchange_rate(**(columns | changes)))


def call(name: str, says: tuple[str, ...], action: Callable[[], object]) -> Case:
    return Case(f"rates: {name}", lambda folder: action(), says)


def draws(count: int, encoders: str = "ab", **changes: Any) -> Draws:
    figures = dict.fromkeys(("metric", "outcome"), np.zeros((count, len(encoders))))
    return Draws(tuple(encoders), **(figures | changes))


CASES = [
    fit("an encoder on two paths", ("encoder 'b' has path 'p' in row 2 and 'q' in row 3", "give it one path"), path=list("pppqqqqq")),
    fit("a path without a name", ("path, row 4: None is no name",), path=[*"pppp", None, *"qqq"]),
    fit("a path too few", ("wanted columns of one length", "7 path"), path=list("ppppqqq")),
    fit("trained as a text", ("is_trained, row 0: 'yes'; wanted True or False",), is_trained=["yes"] * 8),
    fit("an encoder trained and not", ("encoder 'a' has is_trained True in row 0 and False in row 1",), is_trained=[True, False] * 4),
    fit("more noise shared than there is", ("shared_noise = 1.2", "from 0 to 1"), metric_error=0.01, shared_noise=1.2),
    fit("draws without an encoder", ("draws: no encoder 'd'", "a, b, c"), draws=draws(20, "abc")),
    call("draws of two shapes", ("metric (20, 2) and outcome (20, 3)", "a row a draw"), lambda: draws(20, outcome=np.zeros((20, 3)))),
    call("too few draws", ("3 draws of users; wanted 20 or more",), lambda: draws(3)),
    call("a draw that is NaN", ("draws: outcome[0, 0] (encoder 'a') is nan",), lambda: draws(20, outcome=np.full((20, 2), NAN))),
    call("halves of the metric alone", ("halves of shapes", "(splits, 2, 2)"), lambda: draws(20, metric_halves=np.zeros((5, 2, 2)))),
    call("an encoder drawn twice", ("wanted each once",), lambda: draws(20, "aa")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rates(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
