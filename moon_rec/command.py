"""How every command behaves: `--help` with a worked example, errors in one line, exit code 2.

A command module defines `main(argv: list[str] | None) -> None` and ends with `sys.exit(run(main))`.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from moon_rec.bounds import MOST_COUNTED
from moon_rec.errors import MoonRecError

Main = Callable[[list[str] | None], None]


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults and a worked example, and fails in one line.

    Args:
        prog: how the command is called, such as `python -m ranking.train`.
        description: what it does, in a sentence or two.
        example: a whole command line that works on the demo's shop.
    """

    def __init__(self, *, prog: str, description: str, example: str = "", **options: object):
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"example:\n  {example}" if example else None,
            formatter_class=_HelpFormatter,
            **options,  # type: ignore[arg-type]
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see: {self.prog} --help)\n")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults behind each option; the example's lines kept as written."""


def count(text: str) -> int:
    """An option's `type`: a whole number of at least 1."""
    return _whole(text, 1, MOST_COUNTED, "no whole number of at least 1")


def seed_number(text: str) -> int:
    """An option's `type`: a whole number of at least 0."""
    return _whole(text, 0, 2**63 - 1, "no whole number of at least 0")


def id_number(text: str) -> int:
    """An option's `type`: an id, a whole number of 64 bits."""
    return _whole(text, -(2**63), 2**63 - 1, "no id: wanted a whole number of 64 bits")


def positive(text: str) -> float:
    """An option's `type`: a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _whole(text: str, least: int, most: int, fault: str) -> int:
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and len(digits) < 30
    if not is_number or not least <= int(text) <= most:
        shown = text if len(text) < 100 else f"{text[:100]} ..."
        raise argparse.ArgumentTypeError(f"{shown!r} is {fault}")
    return int(text)


def add_config_options(
    parser: argparse.ArgumentParser, file: str = "--config", about: str = "settings in a TOML file"
) -> None:
    """Add `file` (a TOML file) and a repeatable `--set name=value`, as `moon_rec.config.load_config` reads them."""
    parser.add_argument(file, type=Path, metavar="FILE", help=about)
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting over those of the file, dotted where nested; may be given again",
    )


def run(main: Main, argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0, 2 for the user's error (one line on stderr), 130 when interrupted."""
    try:
        main(list(argv) if argv is not None else None)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader, such as `head`, has seen enough; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MoonRecError as error:
        line = " ".join(str(error).split())
        print(f"error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: interrupted; nothing half-written was kept", file=sys.stderr)
        return 130
    return 0
