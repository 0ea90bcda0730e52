"""Every way of using content beside ids and counters: trained, scored, compared, with permuted controls and costs."""

from ranking.ways.comparison import compare_ways
from ranking.ways.result import WayResult
from ranking.ways.variations import Variation, run_all

__all__ = ["Variation", "WayResult", "compare_ways", "run_all"]
