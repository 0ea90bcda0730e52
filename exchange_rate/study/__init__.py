"""A plan -> cells -> tracked runs: `python -m exchange_rate.study`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchange_rate.study.plan import StudyConfig
    from exchange_rate.study.run import StudyResult, main, run_study

__all__ = ["StudyConfig", "StudyResult", "main", "run_study"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: the processes of cells need no MLflow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from exchange_rate.study import plan, run

    return plan.StudyConfig if name == "StudyConfig" else getattr(run, name)
