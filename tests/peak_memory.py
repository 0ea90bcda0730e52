"""The highest resident memory of a piece of work, in a process of its own under the allocator's default settings."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import resource
{before}
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{work}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


def added_mib(before: str, work: str) -> int:
    """By how many MiB `work` raises the peak that `before` left; both are programs (Linux: `ru_maxrss` is in KiB)."""
    if not sys.platform.startswith("linux"):
        pytest.skip("ru_maxrss has other units")
    program = PROGRAM.format(before=textwrap.dedent(before), work=textwrap.dedent(work))
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    words = [sys.executable, "-c", program]
    about = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, cwd=ROOT, env=environment | about
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
