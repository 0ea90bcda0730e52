"""How a target item reads a user's past: one interface, a module a paper."""

from ranking.behaviour.bst import BST
from ranking.behaviour.combination import Combination
from ranking.behaviour.cube import CUBE
from ranking.behaviour.dien import DIEN
from ranking.behaviour.din import DIN
from ranking.behaviour.dmf import DMF
from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Query, Target
from ranking.behaviour.make import MAKE
from ranking.behaviour.scores import SimilarityScores
from ranking.behaviour.similarity_attention import SimilarityAwareAttention
from ranking.behaviour.simtier import SimTier
from ranking.behaviour.vector import TargetVector

__all__ = [
    "BST",
    "CUBE",
    "DIEN",
    "DIN",
    "DMF",
    "MAKE",
    "BehaviourModule",
    "Behaviours",
    "Combination",
    "Interest",
    "Query",
    "SimTier",
    "SimilarityAwareAttention",
    "SimilarityScores",
    "Target",
    "TargetVector",
]
