"""What moved against an older report."""

from exchange_rate.analysis.results.numbers import Number, Result


class Move(Result):
    """What an older report said, and what is said now."""

    what: str
    """What is compared."""
    old: Number | None
    """Then; null where it was not there."""
    new: Number | None
    """Now; null where it is not there."""
    old_verdict: str = ""
    """The verdict then; empty of what has none."""
    new_verdict: str = ""
    """The verdict now."""
    text: str = ""
    """What is to be said of it."""


class Moved(Result):
    """What moved against an older report."""

    name: str
    """Which report."""
    text: str
    """In sentences."""
    is_same_shop: bool
    """Whether both are of the same shop."""
    definitions: tuple[str, ...]
    """Definitions that differ, in words: these numbers do not compare."""
    headline: tuple[Move, ...]
    """Rates, their verdicts, the chosen metric."""
    encoders: tuple[Move, ...]
    """Metric and AUC of each encoder that is in one of them."""
