"""Draws of users, the same for all encoders: what the noise that their figures share is learnt from.

Every encoder of a study is measured on the same searches and every ranker on the same users' impressions. An easy draw of users lifts all of them together, which
moves the height of a line and not its slope. A standard error an encoder cannot say how much is shared; figures of all encoders under the same resampled users can
(Bibaut et al. 2024). This class holds such figures; who resamples fills it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exchange_rate.estimation.columns import Floats
from moon_rec.errors import StudyError

MIN_DRAWS = 20


@dataclass(frozen=True, eq=False)
class Draws:
    """Figures of all encoders under the same draws of users (with their searches).

    Attributes:
        encoders: names, in the order of the last axis everywhere.
        metric: `(draws, encoders)` the metric under each draw: users drawn with replacement, as many as there are.
        outcome: `(draws, encoders)` the outcome under the same draws: AUC, mean over the encoder's seeds, or its difference from permuted vectors.
        metric_halves, outcome_halves: `(splits, 2, encoders)` the same on the two halves of the users, split at random several times; None where it was not done.
        num_users: distinct users who were drawn from.
    """

    encoders: tuple[str, ...]
    metric: Floats
    outcome: Floats
    metric_halves: Floats | None = None
    outcome_halves: Floats | None = None
    num_users: int = 0

    def __post_init__(self) -> None:
        """Refuse figures that do not belong together.

        Raises:
            StudyError: other shapes, too few draws, names twice, or a figure that is not finite.
        """
        count = len(self.encoders)
        if len(set(self.encoders)) != count or not count:
            raise StudyError(
                f"draws: {count} encoders, {len(set(self.encoders))} names; wanted each once"
            )
        if self.metric.shape != self.outcome.shape or self.metric.shape[1:] != (count,):
            raise StudyError(
                f"draws: metric {self.metric.shape} and outcome {self.outcome.shape}; wanted (draws, {count}) of both, a row a draw of users"
            )
        if len(self.metric) < MIN_DRAWS:
            raise StudyError(
                f"draws: {len(self.metric)} draws of users; wanted {MIN_DRAWS} or more"
            )
        halves = [self.metric_halves, self.outcome_halves]
        shapes = {None if half is None else half.shape for half in halves}
        if len(shapes) != 1 or not all(
            one is None or (one[1:] == (2, count) and one[0]) for one in shapes
        ):
            raise StudyError(
                f"draws: halves of shapes {shapes}; wanted (splits, 2, {count}) of both, or none"
            )
        for name, values in (
            ("metric", self.metric),
            ("outcome", self.outcome),
            ("metric_halves", halves[0]),
            ("outcome_halves", halves[1]),
        ):
            if values is not None and not np.isfinite(values).all():
                place = tuple(int(one) for one in np.argwhere(~np.isfinite(values))[0])
                raise StudyError(
                    f"draws: {name}{list(place)} (encoder {self.encoders[place[-1]]!r}) is {values[place]}; leave that encoder out or draw again"
                )

    def of(self, encoders: Sequence[str]) -> "Draws":
        """The draws of these encoders, in this order.

        Raises:
            StudyError: an encoder that was not drawn with the others.
        """
        if missing := [name for name in encoders if name not in self.encoders]:
            raise StudyError(
                f"draws: no encoder {missing[0]!r}; users were drawn for {', '.join(self.encoders)}"
            )
        columns = [self.encoders.index(name) for name in encoders]
        halves = [
            None if half is None else half[:, :, columns]
            for half in (self.metric_halves, self.outcome_halves)
        ]
        return Draws(
            tuple(encoders),
            self.metric[:, columns],
            self.outcome[:, columns],
            halves[0],
            halves[1],
            self.num_users,
        )
