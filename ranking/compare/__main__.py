"""The command `python -m ranking.compare A B`."""

import sys

from moon_rec.command import run
from ranking.compare import main

if __name__ == "__main__":
    sys.exit(run(main))
