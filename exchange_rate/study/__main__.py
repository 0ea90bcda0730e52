"""The command `python -m exchange_rate.study`."""

import sys

from exchange_rate.study.command import main
from moon_rec.command import run

if __name__ == "__main__":
    sys.exit(run(main))
