"""What a process keeps of a piece of work that is done."""

import gc
from collections.abc import Callable

import pytest

from benchmarks.soak import allocated


def bytes_kept(work: Callable[[], object], warm_up: int = 5, times: int = 20) -> float:
    """Mean over calls of what C's `malloc` has given out and not got back, after a warm-up; skips the test without glibc."""
    if not allocated():
        pytest.skip("only glibc tells what malloc has given out")
    for _ in range(warm_up):
        work()
    gc.collect()
    before = allocated()
    for _ in range(times):
        work()
    gc.collect()
    return (allocated() - before) / times
