"""What a study or a table of points has shown -> one page: `python -m exchange_rate.report`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchange_rate.report.command import main
    from exchange_rate.report.write import Report, write_points_report, write_report

__all__ = ["Report", "main", "write_points_report", "write_report"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: figures and words alone need no MLflow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "command" if name == "main" else "write"
    return getattr(import_module(f"exchange_rate.report.{module}"), name)
