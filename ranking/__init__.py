"""Stage 3: impressions and frozen vectors -> click probability. Importing this is light: no torch.

`python -m ranking.train`, `ranking.evaluate` and `ranking.compare` are the commands.
"""

from ranking.compare import compare, compare_seeds
from ranking.comparison import Comparison
from ranking.metrics import auc, calibration, gauc, log_loss, normalised_entropy

__all__ = [
    "Comparison",
    "auc",
    "calibration",
    "compare",
    "compare_seeds",
    "gauc",
    "log_loss",
    "normalised_entropy",
]
