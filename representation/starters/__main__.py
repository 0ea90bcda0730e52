"""The command `python -m representation.starters`."""

import sys

from moon_rec.command import run
from representation.starters.command import main

if __name__ == "__main__":
    sys.exit(run(main))
