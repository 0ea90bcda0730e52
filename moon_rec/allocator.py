"""Keep freed memory in the process, so that the next training step need not ask for it again.

The C library's allocator gives every block above 32 MB back to the system when it is freed, and the system clears
every page of the next one. Where batches are large (histories of thousands) that is up to half of a step, and it makes
cost grow faster than the histories. Kept memory is the process's until it ends; its peak stays what it was.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of the GNU C library
NEVER, STEP = -1, 64 * 2**20


def keep_freed_memory() -> bool:
    """Tell the allocator of this process, for good; False where it is none that can be told (not glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: STEP}
    return all(mallopt(name, value) == 1 for name, value in wanted.items())
