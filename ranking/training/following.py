"""What a training tells a tracking store while it runs: curves from the first minute, however slow its steps are.

Notable choices
- A line of loss and rows a second every hundred steps, and every ten seconds where a hundred take longer; the loss is the mean since the line before.
- Validation AUC so far (`validation_auc_so_far`) after twenty seconds, then so seldom that it costs at most a twentieth of the time, and at the
  end: of at most 65,536 rows, whole requests evenly over the validation period. It chooses nothing: what chooses an epoch is `validation_auc`, of all rows.
- Nothing of it changes a bit of the training: scoring draws no random number and keeps the model's mode. With several processes only the lines are
  told, for all of them would have to score at the same step.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moon_rec.errors import RankingError
from ranking.content import ContentStores
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.trained import SCORING_ROWS

STEPS_BETWEEN_LINES = 100
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_JUDGEMENTS = 20.0
MOST_SHARE = 0.05
"""Of the time that judging may take."""
MOST_ROWS = 65_536

Log = Callable[[dict[str, float], int], None]
"""Takes figures and the step they are of, as `moon_rec.tracking.TrackedRun.log` does."""
Judge = Callable[[], float | None]
"""Validation AUC of the weights as they are; None where there is none."""


class Following:
    """The lines of one training.

    Args:
        log: where they go.
        judge: called now and then; None: no validation AUC is told.
        clock: seconds.
    """

    def __init__(self, log: Log, judge: Judge | None, clock: Callable[[], float] = time.monotonic):
        self._log, self._judge, self._clock = log, judge, clock
        self._losses: list[Tensor] = []
        self._rows = 0
        self._since = clock()
        self._judge_at = self._since + SECONDS_BETWEEN_JUDGEMENTS

    def step(self, step: int, loss: Tensor, rows: int) -> None:
        """Note a step that is done: its number, its loss, and how many rows it read."""
        self._losses.append(loss)
        self._rows += rows
        now = self._clock()
        if step % STEPS_BETWEEN_LINES == 0 or now - self._since >= SECONDS_BETWEEN_LINES:
            self._tell(step, now)
        if now >= self._judge_at:
            self._tell_judgement(step)

    def end(self, step: int) -> None:
        """The last line, and the last judgement."""
        if self._losses:
            self._tell(step, self._clock())
        self._tell_judgement(step)

    def _tell(self, step: int, now: float) -> None:
        seconds = max(now - self._since, 1e-9)
        loss = float(torch.stack(self._losses).mean())
        self._log({"loss": loss, "rows_per_second": self._rows / seconds}, step)
        self._losses.clear()
        self._rows, self._since = 0, now

    def _tell_judgement(self, step: int) -> None:
        if self._judge is None:
            return
        begin = self._clock()
        found = self._judge()
        took = self._clock() - begin
        self._since += took  # rows a second are those of the training
        self._judge_at = begin + took + max(SECONDS_BETWEEN_JUDGEMENTS, took / MOST_SHARE)
        if found is not None:
            self._log({"validation_auc_so_far": found}, step)


def judge_of(
    predict: Callable[[Loader], np.ndarray],
    tables: RankingTables,
    content: ContentStores | None,
    options: dict[str, Any],
) -> Judge:
    """AUC of some validation rows by `predict`, see above; weights that score no number give none.

    Args:
        options: further ones of `Loader`.
    """
    requests = tables.periods["validation"]
    number = requests.request_ids.size
    few = max(1, min(number, MOST_ROWS * number // max(requests.num_rows, 1)))
    chosen = np.unique(np.linspace(0, number - 1, few).astype(np.int64)) if number else np.arange(0)
    some = requests.take(chosen)
    loader = Loader(
        replace(tables, periods={"validation": some}),
        "validation",
        SCORING_ROWS,
        content,
        **options,
    )

    def judge() -> float | None:
        try:
            return auc(some.labels, predict(loader))
        except (
            RankingError
        ):  # one class alone, or weights that are not finite: the training tells these itself
            return None

    return judge
