"""`python -m representation.recipes`."""

import sys

from moon_rec.command import run
from representation.recipes.command import main

if __name__ == "__main__":
    sys.exit(run(main))
