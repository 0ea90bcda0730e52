"""What rankers' differences show, decided once: the sentences say no more than the states that stand here.

A difference of two rankers is a `gain` or a `loss` where its interval lies on one side of zero, `none` where it holds zero, `no interval` where there is none, and
`missing` where it was not measured. How much of a gain is content follows from three differences together (`content`), never from one alone:

    all         a gain over the baseline; true vectors beat permuted ones, which show none themselves
    part        the same, but permuted vectors gain too
    not shown   a gain over the baseline, but true vectors are not told from permuted ones
    none        a gain over the baseline, but permuted vectors are better than true ones
    no gain     no gain over the baseline is shown: there is nothing to divide
    one seed    one training a side shows that two trainings differ, not that two rankers do
    no control  the study has no permuted vectors
"""

from dataclasses import dataclass

from exchange_rate.analysis.rankers import PAIRS
from exchange_rate.analysis.results import Comparison, Number, Results


@dataclass(frozen=True)
class Decided:
    """The states of the headline's ranker on the chosen encoder.

    Attributes:
        gain, cold_gain: over the baseline.
        permuted_gain: of permuted vectors over the baseline; over_permuted: of true vectors over permuted ones.
        content: what of the gain is content; see the module's docstring.
        is_one_seed: one training a side.
    """

    gain: str
    cold_gain: str
    permuted_gain: str
    over_permuted: str
    content: str
    is_one_seed: bool


def decide(found: Results) -> Decided:
    """The states of what was found."""
    first, *others = (found.comparison(*pair) for pair in PAIRS)
    gain, (permuted, over) = direction(_gain(first)), (direction(_gain(one)) for one in others)
    is_one_seed = found.about.num_seeds == 1
    return Decided(
        gain=gain,
        cold_gain=direction(None if first is None else first.gain.cold),
        permuted_gain=permuted,
        over_permuted=over,
        content=_content(gain, permuted, over, is_one_seed),
        is_one_seed=is_one_seed,
    )


def direction(number: Number | None) -> str:
    """`gain`, `loss`, `none`, `no interval` or `missing`."""
    if number is None or number.value is None:
        return "missing"
    if number.low is None or number.high is None:
        return "no interval"
    if number.low > 0:
        return "gain"
    return "loss" if number.high < 0 else "none"


def _gain(comparison: Comparison | None) -> Number | None:
    return None if comparison is None else comparison.gain.all


def _content(gain: str, permuted: str, over: str, is_one_seed: bool) -> str:
    if "missing" in (permuted, over):
        return "no control"
    if is_one_seed:
        return "one seed"
    if gain != "gain":
        return "no gain"
    if over == "gain":
        return "part" if permuted == "gain" else "all"
    return "none" if over == "loss" else "not shown"
