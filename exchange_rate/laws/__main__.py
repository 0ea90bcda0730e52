"""The command `python -m exchange_rate.laws`."""

import sys

from exchange_rate.laws.command import main
from moon_rec.command import run

if __name__ == "__main__":
    sys.exit(run(main))
