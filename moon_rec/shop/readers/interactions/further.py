"""Which further columns of a log become context columns, and how they are read."""

from collections.abc import Sequence

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.files import Source
from moon_rec.shop.readers.interactions.typed import further_types, further_value
from moon_rec.shop.schema import columns_of

NESTED = (pl.List, pl.Struct, pl.Array, pl.Binary)


def further_columns(
    source: Source, names: list[str], keep: tuple[str, ...] | None, has_outcomes: bool
) -> dict[str, pl.Expr]:
    """Name -> value of the columns that are kept; what is left out is said.

    Args:
        names: columns without a role.
        keep: those that the user asks for; None keeps all, but of a log of positives none: of a sampled row they are not known.

    Raises:
        ShopError: a column that is asked for is not there.
    """
    if keep is not None:
        names = asked_for(source, names, keep, "log.keep")
    elif not has_outcomes and names:
        say(
            f"{source.name}: {', '.join(names)} are left out, for of a non-click they are not known; --set "
            f'log.keep=["{names[0]}"] gives a sampled row those of its positive'
        )
        names = []
    declared = set(columns_of("impressions"))
    taken = [name for name in names if name in declared]
    nested = [name for name in names if isinstance(source.columns[name], NESTED)]
    for found, why in (
        (taken, "a shop has a column of that name with another meaning"),
        (nested, "they are lists, structs or bytes"),
    ):
        if found:
            say(f"{source.name}: {', '.join(found)} left out: {why}")
    names = [name for name in names if name not in taken and name not in nested]
    if not source.is_text:
        return {name: pl.col(name) for name in names}
    types = further_types(source.frame, names)
    return {name: further_value(name, kind) for name, kind in types.items()}


def asked_for(source: Source, names: Sequence[str], keep: Sequence[str], setting: str) -> list[str]:
    """The columns that a user asks for, in their order.

    Raises:
        ShopError: one that is not among `names`.
    """
    unknown = [name for name in keep if name not in names]
    if unknown:
        raise ShopError(
            f"{source.name} has no column {unknown[0]!r} left to keep ({setting}): it has {', '.join(names) or 'none'}"
        )
    return list(keep)
