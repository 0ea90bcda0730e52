"""What a study has shown, decided once: sentences, tables and figures of the report say no more than the states that stand here.

A difference of two rankers is a `gain` or a `loss` where its interval lies on one side of zero, `none` where it holds zero, `no interval` where there is none, and
`missing` where it was not measured. How much of a gain is content follows from three differences together (`content`), never from one alone:

    all         a gain over ids only; true vectors beat permuted ones, which show none themselves
    part        the same, but permuted vectors gain too
    not shown   a gain over ids only, but true vectors are not told from permuted ones
    none        a gain over ids only, but permuted vectors are better than true ones
    no gain     no gain over ids only is shown: there is nothing to divide
    one seed    one training a side shows that two trainings differ, not that two rankers do
    no control  the study has no permuted vectors
"""

from dataclasses import asdict, dataclass
from typing import Any

Data = dict[str, Any]
PAIRS = ("content against baseline", "permuted against baseline", "content against permuted")


@dataclass(frozen=True)
class Decided:
    """The states of a study.

    Attributes:
        gain, cold_gain: of the chosen encoder's ranker over ids only.
        permuted_gain: of permuted vectors over ids only; over_permuted: of true vectors over permuted ones.
        content: what of the gain is content; see the module's docstring.
        is_one_seed: one training a side.
        best: the metric with the smallest left-out error; None where none has one.
        rivals: metrics that are not told from the best.
        best_is: `alone`, `among others`, `no better than the mean`, or `unknown`.
    """

    gain: str
    cold_gain: str
    permuted_gain: str
    over_permuted: str
    content: str
    is_one_seed: bool
    best: str | None
    rivals: tuple[str, ...]
    best_is: str

    def as_dict(self) -> Data:
        """Plain values for JSON."""
        return asdict(self) | {"rivals": list(self.rivals)}


def decide(data: Data) -> Decided:
    """The states of what `exchange_rate.analysis.study_analysis` found."""
    pairs = {pair: data["comparison"].get(pair, {}) for pair in PAIRS}
    gain, permuted, over = (direction(pairs[pair].get("auc_gain")) for pair in PAIRS)
    is_one_seed = data["study"]["num_seeds"] == 1
    best, rivals, best_is = _best(data["candidates"])
    return Decided(
        gain=gain,
        cold_gain=direction(pairs[PAIRS[0]].get("auc_gain_cold")),
        permuted_gain=permuted,
        over_permuted=over,
        content=_content(gain, permuted, over, is_one_seed),
        is_one_seed=is_one_seed,
        best=best,
        rivals=rivals,
        best_is=best_is,
    )


def direction(number: Data | None) -> str:
    """`gain`, `loss`, `none`, `no interval` or `missing`."""
    if not number or number["value"] is None:
        return "missing"
    if number["low"] is None or number["high"] is None:
        return "no interval"
    if number["low"] > 0:
        return "gain"
    return "loss" if number["high"] < 0 else "none"


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


def _best(candidates: list[Data]) -> tuple[str | None, tuple[str, ...], str]:
    best = next((one for one in candidates if one["is_best"]), None)
    if best is None:
        return None, (), "unknown"
    rivals = tuple(one["metric"] for one in candidates if one["is_told_from_best"] is False)
    if not best["is_told_from_mean"]:
        return best["metric"], rivals, "no better than the mean"
    return best["metric"], rivals, "among others" if rivals else "alone"
