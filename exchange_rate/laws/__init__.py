"""Scaling laws: how a metric or AUC grows with tokens, negatives or history length. `python -m exchange_rate.laws points.csv`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchange_rate.laws.command import main

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: the fits alone need no figures."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from exchange_rate.laws import command

    return getattr(command, name)
