"""The typed results of an analysis, one module a subject; `whole` has all of it."""

from exchange_rate.analysis.results.laws import Form, HeldOut, Law, LawPoint
from exchange_rate.analysis.results.metrics import (
    Blend,
    Candidate,
    Choice,
    Disagreement,
    Neighbour,
    Retrieved,
    SegmentEffect,
)
from exchange_rate.analysis.results.moved import Move, Moved
from exchange_rate.analysis.results.numbers import BySegment, Line, Named, Number, Result, Role
from exchange_rate.analysis.results.plan import NoisePart, Plan, PlanRow
from exchange_rate.analysis.results.rankers import Comparison, Ranker
from exchange_rate.analysis.results.rate import (
    Influence,
    LeftOutRate,
    PairRow,
    Paths,
    Rate,
    Shape,
    SplitUsers,
)
from exchange_rate.analysis.results.study import (
    About,
    AboutShop,
    Card,
    Counts,
    Covered,
    Definition,
    Encoder,
    Missing,
    OfRecipe,
    Reason,
    Run,
    Sentence,
)
from exchange_rate.analysis.results.whole import FORMAT_VERSION, Results, schema

__all__ = [
    "FORMAT_VERSION",
    "About",
    "AboutShop",
    "Blend",
    "BySegment",
    "Candidate",
    "Card",
    "Choice",
    "Comparison",
    "Counts",
    "Covered",
    "Definition",
    "Disagreement",
    "Encoder",
    "Form",
    "HeldOut",
    "Influence",
    "Law",
    "LawPoint",
    "LeftOutRate",
    "Line",
    "Missing",
    "Move",
    "Moved",
    "Named",
    "Neighbour",
    "NoisePart",
    "Number",
    "OfRecipe",
    "PairRow",
    "Paths",
    "Plan",
    "PlanRow",
    "Ranker",
    "Rate",
    "Reason",
    "Result",
    "Results",
    "Retrieved",
    "Role",
    "Run",
    "SegmentEffect",
    "Sentence",
    "Shape",
    "SplitUsers",
    "schema",
]
