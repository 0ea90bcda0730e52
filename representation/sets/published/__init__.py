"""Readers of published sets' layouts: files of a folder -> a `BenchmarkSet`. Each module says what of its layout is known, and what is not verified."""

from representation.sets.published.ground_truth import KaglLayout, QrelsLayout
from representation.sets.published.m5product import M5ProductLayout
from representation.sets.published.mbe import MbeLayout
from representation.sets.published.read import KINDS, read_set

__all__ = ["KINDS", "KaglLayout", "M5ProductLayout", "MbeLayout", "QrelsLayout", "read_set"]
