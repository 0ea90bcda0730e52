"""How every command behaves: `--help` with a worked example, errors in one line, exit code 2.

A command module defines `main(argv: list[str] | None) -> None` and ends with `sys.exit(run(main))`.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

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
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
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
