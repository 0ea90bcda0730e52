"""The command `python -m ranking.compare A B`. The function of that name is `ranking.compare`, in significance.py."""

import sys

from moon_rec.command import run
from ranking.judging.side_by_side import main

if __name__ == "__main__":
    sys.exit(run(main))
