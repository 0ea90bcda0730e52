"""The share of ids hidden in training, chosen by the validation period.

Hidden ids train the row that stands for what training never saw: new items and users. How much of that a shop needs depends on how many it
meets, so it is measured: the ranker without content is trained once with each of a few shares, one epoch and one seed each, and the share with the
highest validation AUC is taken for every ranker that is to be compared, content or not. The test period is not looked at.
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from moon_rec.errors import RankingError
from ranking.config import RankerConfig
from ranking.features import RankingTables
from ranking.metrics import auc
from ranking.training.course import train_ranker

SHARES = (0.0, 0.1, 0.3)


@dataclass(frozen=True)
class HiddenIds:
    """What was chosen: `unknown_rate`, and the validation AUC of each share tried."""

    unknown_rate: float
    validation_auc: dict[float, float]

    def __str__(self) -> str:
        tried = ", ".join(f"{share:g}: {value:.4f}" for share, value in self.validation_auc.items())
        return f"unknown_rate = {self.unknown_rate:g}, chosen by the validation AUC of one epoch without content ({tried})"


def choose_unknown_rate(
    tables: RankingTables, config: RankerConfig, shares: Sequence[float] = SHARES
) -> HiddenIds:
    """Train the ranker without content with each share and take the best; of equal ones the first.

    Args:
        config: of the rankers to come; what reads vectors, several epochs and `unknown_rate` are left aside.
    """
    found = {}
    for share in shares:
        one = {"content": "none", "search": "none", "epochs": 1, "unknown_rate": share}
        plain = RankerConfig.reading(**config.model_dump() | one)
        ranker = train_ranker(tables, plain, description=f"hide {share:g} of the ids")
        labels = tables.periods["validation"].labels
        found[share] = auc(labels, ranker.predict(tables, "validation"))
    return HiddenIds(max(found, key=lambda share: found[share]), found)


def add_choice_option(parser: ArgumentParser) -> None:
    """Add `--choose-unknown-rate` to a command that trains rankers."""
    parser.add_argument(
        "--choose-unknown-rate",
        action="store_true",
        help=f"choose the share of ids hidden in training by validation AUC, of {', '.join(f'{share:g}' for share in SHARES)}: once, "
        "without content, for all rankers and seeds of the command",
    )


def refuse_chosen_twice(given: Namespace) -> None:
    """Raise RankingError where the share is to be chosen and given, or chosen by several processes."""
    if not given.choose_unknown_rate:
        return
    named = [word for word in given.settings if word.startswith("unknown_rate=")]
    if named:
        raise RankingError(f"--choose-unknown-rate and --set {named[0]}: give one of them")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RankingError(
            f"--choose-unknown-rate trains in one process, and {os.environ['WORLD_SIZE']} were started; choose it first in one, and give it as --set unknown_rate=NUMBER"
        )
