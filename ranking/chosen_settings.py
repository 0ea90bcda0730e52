"""Settings that the validation period chooses, once, for all rankers that are compared: the share of ids hidden in training, and how many epochs are trained.

Hidden ids train the row that stands for what training never saw: new items and users. How much of that a shop needs depends on how many it meets; how soon a
ranker overfits depends on its log. Both are measured: the ranker without content is trained with each of a few shares and one seed, each epoch is judged by
validation AUC, and share and epoch of the highest are taken for every ranker that is to be compared, content or not. The test period is not looked at.

Who trains a few rankers (`ranking.ways`) takes the share, and lets each training choose its own epoch; where rankers are many (a study) the number of epochs is shared, too.
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from moon_rec.errors import RankingError
from ranking.config import RankerConfig
from ranking.features import RankingTables
from ranking.metrics import auc

SHARES = (0.0, 0.1, 0.3)


@dataclass(frozen=True)
class ChosenSettings:
    """What was chosen.

    Attributes:
        unknown_rate: share of ids hidden in training. epochs: how many to train.
        validation_auc: share tried -> validation AUC after each epoch that was judged.
    """

    unknown_rate: float
    epochs: int
    validation_auc: dict[float, tuple[float, ...]]

    def __str__(self) -> str:
        tried = ", ".join(
            f"{share:g}: {max(one):.4f}" for share, one in self.validation_auc.items()
        )
        return f"unknown_rate = {self.unknown_rate:g}, chosen by the validation AUC of a ranker without content, at its best epoch ({tried})"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "validation_auc": {
                f"{share:g}": list(one) for share, one in self.validation_auc.items()
            }
        }

    @classmethod
    def from_dict(cls, about: dict[str, Any]) -> "ChosenSettings":
        """Of `as_dict`."""
        tried = {float(share): tuple(one) for share, one in about["validation_auc"].items()}
        return cls(about["unknown_rate"], about["epochs"], tried)


def choose_settings(
    tables: RankingTables, config: RankerConfig, shares: Sequence[float] = SHARES
) -> ChosenSettings:
    """Train the ranker without content with each share and take share and epoch of the best; of equal ones the first.

    Args:
        config: of the rankers to come; what reads vectors and `unknown_rate` are left aside, `epochs` is the most that are tried.
    """
    from ranking.training.course import train_ranker

    labels = tables.periods["validation"].labels
    found: dict[float, tuple[float, ...]] = {}
    for share in shares:
        plain = config.without_content(unknown_rate=share)
        ranker = train_ranker(tables, plain, description=f"hide {share:g} of the ids")
        judged = ranker.validation_auc or (auc(labels, ranker.predict(tables, "validation")),)
        found[share] = judged
    best = max(found, key=lambda share: max(found[share]))
    curve = found[best]
    epochs = curve.index(max(curve)) + 1 if config.follows_validation else config.epochs
    return ChosenSettings(best, epochs, found)


def add_choice_option(parser: ArgumentParser) -> None:
    """Add `--choose-unknown-rate` to a command that trains one ranker."""
    parser.add_argument(
        "--choose-unknown-rate",
        action="store_true",
        help=f"choose the share of ids hidden in training by validation AUC, of {', '.join(f'{share:g}' for share in SHARES)}: once, "
        "without content, for all seeds of the command; rankers that differ in content alone choose the same",
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
