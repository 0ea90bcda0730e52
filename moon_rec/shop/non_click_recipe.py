"""How a shop's non-clicks came about, where nobody recorded them: a field of the manifest, said beside every AUC.

AUC on sampled non-clicks is AUC of telling clicks from that sample: another recipe gives another figure (Krichene and Rendle 2020),
so the two are never set side by side in silence.
"""

from dataclasses import asdict, dataclass
from typing import Any

from moon_rec.shown import visible

EXAMPLE = '{"sampler": "moon_rec", "number": 4, "rules": "uniformly", "seed": 0, "probe": null}'
MOST_TEXT = 1_000


@dataclass(frozen=True)
class ProbeAuc:
    """AUC of a model that reads no content, on rows after the cut (`non_click_probe`), with its 95 % interval over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class NonClickRecipe:
    """How non-clicks were drawn.

    Attributes:
        sampler: what drew them.
        number: a positive.
        rules: among which items, how, and what is never drawn, in words.
        seed: of the draws.
        probe: what the sampling gives away without content; None where there were too few rows to say.
    """

    sampler: str
    number: int
    rules: str
    seed: int
    probe: ProbeAuc | None = None

    def is_as(self, other: "NonClickRecipe | None") -> bool:
        """Whether another recipe is this one, whatever its probe found on its log."""
        if other is None:
            return False
        same = ("sampler", "number", "rules", "seed")
        return all(getattr(self, name) == getattr(other, name) for name in same)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, values: object) -> "NonClickRecipe | None":
        """The recipe of plain values; None of null.

        Raises:
            ValueError: they are none; says what was wanted.
        """
        if values is None:
            return None
        wanted = {"sampler": str, "number": int, "rules": str, "seed": int}
        if not isinstance(values, dict) or not values.keys() <= {*wanted, "probe"}:
            raise ValueError(f"{str(values)[:80]!r} is no recipe, wanted null or such as {EXAMPLE}")
        for name, kind in wanted.items():
            value = values.get(name)
            fits = isinstance(value, kind) and not isinstance(value, bool)
            if not fits or (isinstance(value, str) and not 0 < len(value) <= MOST_TEXT):
                raise ValueError(f"{name} is {value!r:.80}, wanted {kind.__name__} as in {EXAMPLE}")
        return cls(**{name: values[name] for name in wanted}, probe=_probe(values.get("probe")))


def non_clicks_said(recipe: NonClickRecipe | None, before: str = "", is_brief: bool = False) -> str:
    """What is said of non-clicks beside every AUC: "" where they were observed.

    Args:
        before: what stands before the words, such as "; ", where there are any.
        is_brief: that they are sampled, and how many, for titles; the whole recipe stands beside.
    """
    if recipe is None:
        return ""
    if is_brief:
        return f"{before}non-clicks sampled ({recipe.number} a positive)"
    probe = recipe.probe
    told = "" if probe is None else (
        f"; a model without content tells them with AUC {probe.value:.3f} [{probe.low:.3f}, {probe.high:.3f}]"
    )  # fmt: skip
    rules = visible(recipe.rules)
    return (
        f"{before}non-clicks sampled ({recipe.number} a positive {rules}; seed {recipe.seed}{told})"
    )


def other_recipes(a: NonClickRecipe | None, b: NonClickRecipe | None) -> str:
    """A warning that two figures rest on different non-clicks; "" where they rest on the same."""
    if a == b or (a is not None and a.is_as(b)):
        return ""
    one, other = (non_clicks_said(each) or "non-clicks observed" for each in (a, b))
    return f"different non-clicks: A has {one}, B has {other}; an AUC of one says nothing beside an AUC of the other"


def _probe(values: object) -> ProbeAuc | None:
    if values is None:
        return None
    names = ("value", "low", "high")
    good = isinstance(values, dict) and values.keys() == set(names) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        for value in values.values()
    )  # fmt: skip
    if not good or not isinstance(values, dict):
        raise ValueError(
            f"probe is {str(values)[:80]!r}, wanted null or value, low and high from 0 to 1"
        )
    return ProbeAuc(*(float(values[name]) for name in names))
