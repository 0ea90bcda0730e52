"""Freed memory stays, seen from the pages that are asked for again."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from moon_rec.allocator import keep_freed_memory
kept = keep_freed_memory() if {keeps} else True
import numpy as np
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    for _ in range(4):
        np.ones(16_000_000)
use()
before = faults()
use()
print(kept, faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells the GNU C library")
def test_kept_memory_is_not_asked_for_again():
    faults = {}
    for keeps in (False, True):
        words = [sys.executable, "-c", PROGRAM.format(keeps=keeps)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        told, number = done.stdout.split()
        assert told == "True"
        faults[keeps] = int(number)
    assert faults[True] < 100 < faults[False]
