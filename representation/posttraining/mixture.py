"""The nine kinds of pairs of the report's first post-training stage (its Table 2), and how much of each."""

from typing import Literal, NamedTuple

from moon_rec.config import nearest
from moon_rec.errors import ConfigError
from representation.mixture.modality_driven import Objective
from representation.trainable import TextKind

QueryKind = Literal["text", "image", "title+image", "richer-text+image"]
ItemKind = Literal["richer-text", "image", "title+image", "richer-text+image"]


class PairKind(NamedTuple):
    """A query of one form against an item of one form."""

    query: QueryKind
    item: ItemKind

    @property
    def name(self) -> str:
        """As settings and logs spell it, such as `image->title+image`."""
        return f"{self.query}->{self.item}"

    @property
    def shows_pictures(self) -> bool:
        """Whether its queries or its items show any."""
        return any("image" in form for form in self)

    @property
    def shows(self) -> Objective:
        """What its queries show: which of MOON2.0's alignments between products it is."""
        return self.query if self.query in ("text", "image") else "both"


TABLE_2: dict[str, float] = {
    "text->richer-text": 0.2,
    "text->image": 0.2,
    "text->title+image": 0.2,
    "text->richer-text+image": 0.5,
    "image->image": 0.2,
    "image->title+image": 0.5,
    "image->richer-text+image": 0.2,
    "title+image->title+image": 0.5,
    "richer-text+image->richer-text+image": 0.1,
}
"""Billions of pairs of each kind, as read from the report's Table 2: 2.6 in all."""

CATALOGUE_KINDS = (
    "text->image",
    "image->image",
    "image->title+image",
    "image->richer-text+image",
)
"""Kinds that are left when products are their own queries: a title must not find an item that shows it."""

KINDS = {name: PairKind(*name.split("->")) for name in TABLE_2}  # type: ignore[arg-type]


def text_kind(form: ItemKind) -> TextKind | None:
    """Which text an item of that form shows."""
    if form == "image":
        return None
    return "title" if form.startswith("title") else "richer"


def check_mixture(mixture: dict[str, float]) -> dict[str, float]:
    """The mixture as it is; refuse an unknown kind, a negative weight, or nothing at all.

    Raises:
        ConfigError: one of these.
    """
    for name, weight in mixture.items():
        if name not in KINDS:
            raise ConfigError(
                f"mixture has no kind {name!r}{nearest(name, KINDS)}; it knows {', '.join(KINDS)}"
            )
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"mixture.{name} = {weight}: wanted a weight of 0 or more")
    if not sum(mixture.values()) > 0:
        raise ConfigError("mixture: every weight is 0; give at least one kind of pairs a weight")
    return mixture
