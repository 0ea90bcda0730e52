"""How a target item reads a user's past: one interface, a module a paper."""

from ranking.behaviour.combination import Combination
from ranking.behaviour.cube import CUBE
from ranking.behaviour.din import DIN
from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Query, Target

__all__ = [
    "CUBE",
    "DIN",
    "BehaviourModule",
    "Behaviours",
    "Combination",
    "Interest",
    "Query",
    "Target",
]
