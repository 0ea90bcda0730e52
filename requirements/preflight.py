"""Before anything is installed: is this a machine on which it can work? One line and exit code 2 where not."""

from __future__ import annotations

import platform
import sys


def complaint() -> str | None:
    """What stands in the way, with the way out; None where nothing does."""
    if sys.version_info < (3, 11):  # noqa: UP036 (an older Python is what this looks for)
        return f"Python {platform.python_version()} is too old; wanted 3.11 or newer: make setup PYTHON=python3.11"
    if platform.system() != "Linux":
        return (
            f"no fbgemm wheel exists for {platform.system()}, and pip would silently fall back to torchrec 0.1.0; "
            "run in Linux instead, such as a container: docker run -it -v $PWD:/moon_rec -w /moon_rec python:3.11 make demo"
        )
    if sys.maxsize < 2**32:
        return "this Python is a 32-bit build; torch needs a 64-bit one"
    return None


if __name__ == "__main__":
    found = complaint()
    if found:
        sys.exit(print(f"error: {found}", file=sys.stderr) or 2)
