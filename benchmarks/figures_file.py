"""The JSON that a benchmark writes: looked at before hours of measuring, and replaced only where it is a benchmark's and `--overwrite` says so."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from moon_rec.outputs import OutputKind, add_overwrite_option, check_output, json_that


def _names_a_commit(found: Any) -> bool:
    return "commit" in found or any("commit" in one for one in found.values() if type(one) is dict)


FIGURES = OutputKind("a benchmark's figures", "", json_that(_names_a_commit))


def parsed(parser: ArgumentParser, argv: list[str] | None) -> Namespace:
    """The arguments of a benchmark whose `--out` is a file, which is looked at.

    Raises:
        MoonRecError: nothing can be written there, or what is there is not to be replaced.
    """
    add_overwrite_option(parser, "the figures")
    given = parser.parse_args(argv)
    out: Path | None = given.out
    overwrite = vars(given).pop("overwrite")  # settings are written down; this is none
    if out is not None:
        check_output(out, FIGURES, overwrite)
    return given
