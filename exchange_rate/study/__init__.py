"""A plan -> cells -> tracked runs: `python -m exchange_rate.study`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchange_rate.study.command import main
    from exchange_rate.study.plan import StudyConfig
    from exchange_rate.study.run import StudyResult, run_study

__all__ = ["StudyConfig", "StudyResult", "main", "run_study"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: the processes of cells need no MLflow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = {"StudyConfig": "plan", "main": "command"}.get(name, "run")
    return getattr(importlib.import_module(f"exchange_rate.study.{module}"), name)
