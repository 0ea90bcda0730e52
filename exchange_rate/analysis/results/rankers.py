"""Rankers side by side, and compared on the same rows."""

from exchange_rate.analysis.results.numbers import BySegment, Named, Number, Result, Role


class Ranker(Result):
    """One ranker of the study, with its baseline."""

    name: str
    """In the plan."""
    content: str
    """What it is called when it reads vectors."""
    baseline: str
    """The ranker without vectors beside it; empty where there is none."""
    permuted: str
    """What it is called on permuted vectors; empty where there is no control."""
    differences: tuple[str, ...]
    """Settings other than those of content in which it differs from its baseline."""
    auc_baseline: Number
    """AUC of the baseline."""
    auc: Number
    """AUC on the chosen encoder."""
    gain: BySegment
    """The one minus the other."""
    rate: Number
    """Its exchange rate among trained encoders, of AUC."""
    verdict: str
    """Of that rate."""
    num_runs: int
    """Its runs on vectors."""


class Comparison(Result):
    """Two rankers on the same rows."""

    ranker: str
    """Which, as the plan calls it."""
    role: Role
    """The role in which it is compared."""
    name: str
    """What it is called in that role."""
    against_role: Role
    """The role that it is compared with."""
    against: str
    """What it is called in that one."""
    encoder: str
    """Whose vectors are read; empty of a reference, which reads none."""
    auc: BySegment
    """AUC of the one that is compared."""
    auc_against: BySegment
    """AUC of the other one."""
    gain: BySegment
    """The one minus the other, paired."""
    by_segment: tuple[Named, ...] = ()
    """The same on the products of each segment that the study names."""
    share: BySegment
    """Share of the way from the other one to the best possible; simulated shops only."""
    best: BySegment
    """AUC of the true click probability; simulated shops only."""
