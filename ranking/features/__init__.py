"""A shop -> the arrays a ranker reads: what train rows teach (saved with a ranker), requests, histories, context."""

from ranking.features.counters import CounterKind, counters_said
from ranking.features.feature_config import PERIODS, FeatureConfig, Period, add_feature_options
from ranking.features.preparation import Preparation
from ranking.features.requests import Catalogue, Requests
from ranking.features.tables import HISTORY_FEATURES, ITEM_FEATURES, RankingTables, read_features

__all__ = [
    "HISTORY_FEATURES",
    "ITEM_FEATURES",
    "PERIODS",
    "Catalogue",
    "CounterKind",
    "FeatureConfig",
    "Period",
    "Preparation",
    "RankingTables",
    "Requests",
    "add_feature_options",
    "counters_said",
    "read_features",
]
