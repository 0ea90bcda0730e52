"""The highest resident memory of a piece of work, in a process of its own under the allocator's default settings."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
{before}
start = peak()
{work}
print((peak() - start) // 1024)
"""


def added_mib(before: str, work: str) -> int:
    """By how many MiB `work` raises the peak that `before` left; both are programs. Of Linux' figures `VmHWM`: `ru_maxrss` begins at the parent's."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    program = PROGRAM.format(before=textwrap.dedent(before), work=textwrap.dedent(work))
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    words = [sys.executable, "-c", program]
    about = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, cwd=ROOT, env=environment | about
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
