"""How every command behaves: `--help` with a worked example, errors in one line, exit code 2.

A command module defines `main(argv: list[str] | None) -> None` and ends with `sys.exit(run(main))`.
"""

import argparse
import importlib
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from moon_rec.bounds import MOST_COUNTED
from moon_rec.children import end_with_launcher
from moon_rec.errors import MoonRecError
from moon_rec.kept import begin_command, last_begun, note_options, what_is_kept, words_of_process
from moon_rec.signals import Stopped, asked, listening, tell_last_words
from moon_rec.surroundings import line_of_surroundings

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

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; the names of the options are remembered for the line of a command that is stopped."""
        found = super().parse_args(args, namespace)
        note_options(vars(found))
        return found

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see: {self.prog} --help)\n")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults behind each option; the example's lines kept as written."""


class _HelpAll(argparse.Action):
    """Prints the help and all settings of the class that `const` names."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        from moon_rec.config import listed  # pydantic only where it is asked

        module, _, name = self.const.partition(":")
        lines = listed(getattr(importlib.import_module(module), name))
        print(f"{parser.format_help()}\nall settings:", *lines, sep="\n")
        parser.exit(0)


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
    parser: argparse.ArgumentParser,
    file: str = "--config",
    about: str = "settings in a TOML file",
    *,
    kind: str = "",
    first: Mapping[str, str] | None = None,
) -> None:
    """Add `file` (a TOML file) and a repeatable `--set name=value`, as `moon_rec.config.load_config` reads them.

    Args:
        kind: the settings' class as `module:Class`, imported only where `--help-all` lists all of them.
        first: the few settings that most users change, with a word on each: `--help` ends with them.
    """
    if kind:
        lines = [f"  {name:<24}{words}" for name, words in (first or {}).items()]
        head = "settings to touch first, as --set NAME=VALUE (--help-all lists every one):"
        parser.epilog = "\n".join([f"{parser.epilog or ''}\n", head, *lines])
        parser.add_argument(
            "--help-all",
            action=_HelpAll,
            nargs=0,
            const=kind,
            default=argparse.SUPPRESS,
            help="show this, and every setting with its default, and exit",
        )
    parser.add_argument(file, type=Path, metavar="FILE", help=about)
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting, dotted if nested; overrides the file; may be repeated",
    )


def run(
    main: Main,
    argv: Sequence[str] | None = None,
    words: Sequence[str] | None = None,
    is_process: bool | None = None,
) -> int:
    """Run a command and give its exit code.

    0; 2 for what the user can mend, and for what the machine cannot do (a full disk, no memory), in one line on stderr; 128 and the signal's number
    where one stopped it: 130 for Ctrl-C, 143 for SIGTERM. The line of what was stopped names what is kept and the command that goes on
    (`moon_rec.kept`).

    Args:
        argv: the command's own words; None: those of this process.
        words: the whole command as a shell takes it; None: as the process was started, or the module of `main` and `argv`.
        is_process: the process ends with the command, and is ended where its way out takes too long; None: where `argv` is None.
    """
    is_process = argv is None if is_process is None else is_process
    if words is None:
        own = ["python", "-m", main.__module__, *(argv or [])]
        words = words_of_process() if is_process else own
    begin_command(list(words))
    if is_process:
        end_with_launcher()
    try:
        with listening(is_process):
            return _run(main, None if argv is None else list(argv))
    except KeyboardInterrupt as stopped:  # a second door: a signal just before the command, just after it, or while an error is told
        signum = stopped.signal if isinstance(stopped, Stopped) else signal.SIGINT
        tell_last_words(signum)
        return 128 + signum


def _run(main: Main, argv: list[str] | None) -> int:
    try:
        main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader, such as `head`, has seen enough; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except BaseException as error:
        signum = error.signal if isinstance(error, Stopped) else asked()
        if signum is None and isinstance(error, KeyboardInterrupt):
            signum = signal.SIGINT
        if signum is not None:  # libraries may have made another error of it
            tell_last_words(signum)
            return 128 + signum
        if isinstance(error, MoonRecError):
            _tell_error(" ".join(str(error).split()))
            return 2
        line = line_of_surroundings(error, last_begun())
        if line is None:
            raise
        _tell_error(f"{line}; {what_is_kept()}")
        return 2
    return 0


def _tell_error(line: str) -> None:
    """Say the last line of a command that failed."""
    print(f"error: {line}", file=sys.stderr, flush=True)
