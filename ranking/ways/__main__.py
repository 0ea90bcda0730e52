"""The command `python -m ranking.ways`."""

import sys

from moon_rec.command import run
from ranking.ways.comparison import main

if __name__ == "__main__":
    sys.exit(run(main))
