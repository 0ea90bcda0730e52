"""Options that commands on a shop share, and the line that says that a shop is simulated."""

from argparse import ArgumentParser
from pathlib import Path
from typing import get_args

from moon_rec.command import seed_number
from moon_rec.shop.engagement import Engagement
from moon_rec.shop.shop import Period, Shop

ON_VALIDATION = "period of the searches; choose settings on validation only"


def add_shop(parser: ArgumentParser) -> None:
    """Add the shop's folder."""
    parser.add_argument("shop", type=Path, help="a shop's folder")


def add_period(parser: ArgumentParser, about: str = ON_VALIDATION) -> None:
    """Add `--period`: whose searches."""
    parser.add_argument("--period", choices=get_args(Period), default="test", help=about)


def add_engagement(
    parser: ArgumentParser, about: str, option: str = "--engagement", default: str = "purchased"
) -> None:
    """Add an option that is a kind of engagement."""
    parser.add_argument(option, choices=get_args(Engagement), default=default, help=about)


def add_seed(parser: ArgumentParser, about: str = "seed of the draw") -> None:
    """Add `--seed`, 0 where it is not given."""
    parser.add_argument("--seed", type=seed_number, default=0, help=about)


def add_device(parser: ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument("--device", help="cpu, cuda ...; default: a GPU if there is one")


def about_simulation(shop: Shop, what: str = "all of it") -> list[str]:
    """The line that says that `what` is simulated; none where the shop is real."""
    return [f"{what} is simulated: {shop.source}"] if shop.is_simulated else []
