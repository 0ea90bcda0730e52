"""`python -m representation.core_region`."""

import sys

from moon_rec.command import run
from representation.core_region.command import main

if __name__ == "__main__":
    sys.exit(run(main))
