"""`python -m moon_rec track {send,list}`: what a store has not been sent yet."""

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moon_rec.addresses import MASK, shown_uri
from moon_rec.command import Parser
from moon_rec.errors import StudyError
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import Bar, progress, say
from moon_rec.tracking.address import absolute_uri, check_uri, sqlite_path
from moon_rec.tracking.journal import ENTRIES, PLACE_VARIABLE, JournalReader, places, run_folders
from moon_rec.tracking.sending import AwayError, Delivery, deliver
from moon_rec.tracking.store import Store

PROGRAM = "python -m moon_rec track"
_PLACES = f"default: the folder that {PLACE_VARIABLE} names, else moon_rec/journal in the user's folder of state and .moon_rec-journal in the working folder; with --track also the one beside a SQLite store"


def main(argv: list[str] | None = None) -> None:
    """Run one of the commands.

    Raises:
        StudyError: something could not be sent; it is kept.
    """
    refuse_many_processes("moon_rec track")
    options = _parser().parse_args(argv)
    options.run(options)


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Runs are written to a journal on disk before they are sent to MLflow. Send the runs that a store has not received, or list them.",
        example=f"{PROGRAM} send runs/study/.moon_rec-journal",
    )
    commands: Any = parser.add_subparsers(dest="command", required=True, metavar="{send,list}")
    words = {
        "send": (_send, "send what the stores have not, once; nothing is lost when that fails"),
        "list": (_list, "list the runs that wait to be sent"),
    }
    for name, (run, about) in words.items():
        one = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            example=f"{PROGRAM} {name} --track http://localhost:5000",
        )
        one.add_argument(
            "journal",
            nargs="*",
            type=Path,
            help=f"folders of journals or of single runs; {_PLACES}",
        )
        one.add_argument(
            "--track",
            metavar="URI",
            help="the store: with its password where it has one, for journals hold none. Without JOURNAL only what is meant for that store; "
            "with it, journals are sent there whatever they were meant for",
        )
        one.set_defaults(run=run)
    return parser


@dataclass
class _Tally:
    """What was sent, and what was not."""

    runs: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    faults: list[str] = field(default_factory=list)
    stores: dict[tuple[str, str], Store] = field(default_factory=dict)
    away: dict[tuple[str, str], str] = field(default_factory=dict)


def _send(options: argparse.Namespace) -> None:
    if options.track:
        check_uri(options.track)
    found = list(_waiting(options))
    if not found:
        print("nothing waits to be sent")
        return
    tally = _Tally()
    total = sum(sum(1 for _ in journal.read()) for journal in found)
    with progress("send", total) as bar:
        for journal in found:
            _send_run(journal, options.track, tally, bar)
    for store, count in sorted(tally.runs.items()):
        runs = "1 run" if count == 1 else f"{count:,} runs"
        print(f"sent {runs} to {store}")
    print(f"{tally.entries:,} entries sent, {len(tally.faults)} runs left")
    if tally.faults:
        more = f" (and {len(tally.faults) - 1} more)" if len(tally.faults) > 1 else ""
        raise StudyError(f"{tally.faults[0]}{more}; all of it is kept, send it again")


def _send_run(journal: JournalReader, track: str | None, tally: _Tally, bar: Bar) -> None:
    """Send one run, if nobody else does."""

    def advance(count: int) -> None:
        tally.entries += count
        bar.advance(count)

    name = journal.folder
    lock = journal.lock()
    if lock is None:
        tally.faults.append(f"{name} is being written or sent by another process")
        return
    try:
        opening = journal.opening()
        if opening is None:
            say(f"{name}: its first line was cut off, it holds no run and is removed")
            journal.remove()
            return
        store = _store(journal, opening, track, tally)
        if torn := journal.torn():
            say(f"{name}: {torn} bytes of a torn last line are cut off")
        delivery = Delivery(journal, opening, store)
        deliver(delivery, store, advance)
        for why in delivery.refused:
            say(f"{store.shown} refused one of {opening['name']!r}: {why}")
        tally.runs[store.shown] += 1
        journal.remove()
    except AwayError as error:
        tally.away[error.key] = str(error)
        tally.faults.append(f"{name}: {error}")
    except StudyError as error:
        tally.faults.append(f"{name}: {error}")
    finally:
        os.close(lock)


def _store(
    journal: JournalReader, opening: dict[str, Any], track: str | None, tally: _Tally
) -> Store:
    """The store to send a run to.

    Raises:
        StudyError: its address had a password, which the journal has not; or it can never work.
    """
    uri = track or journal.uri(opening)
    if track is None and MASK in uri:
        raise StudyError(f"{uri} had a password, which journals do not keep; name it: --track URI")
    key = (shown_uri(absolute_uri(uri)), str(opening["experiment"]))
    if key in tally.away:
        raise StudyError(tally.away[key])
    if key not in tally.stores:
        check_uri(uri)
        tally.stores[key] = Store(uri, key[1])
    return tally.stores[key]


def _waiting(options: argparse.Namespace) -> Iterator[JournalReader]:
    """Journals of runs, oldest first."""
    wanted = shown_uri(absolute_uri(options.track)) if options.track else None
    roots: list[Path] = list(options.journal)
    if not roots:
        roots = places(None)
        if options.track and sqlite_path(options.track) is not None:
            roots = places(options.track)
    folders: dict[Path, None] = {}
    for root in roots:
        if options.journal and not root.is_dir():
            raise StudyError(f"no journal at {root}; name a folder such as .moon_rec-journal")
        inner = [root] if (root / ENTRIES).is_file() else run_folders(root)
        folders |= dict.fromkeys(folder.absolute() for folder in inner)
    for folder in sorted(folders, key=lambda folder: folder.name):
        journal = JournalReader(folder)
        if not options.journal and wanted is not None:
            opening = journal.opening()
            if opening is not None and journal.uri(opening) != wanted:
                continue
        yield journal


def _list(options: argparse.Namespace) -> None:
    found = list(_waiting(options))
    for journal in found:
        opening = journal.opening()
        if opening is None:
            print(f"{journal.folder.name}  no run: its first line was cut off")
            continue
        sent, total = journal.sent().get("line", 0), sum(1 for _ in journal.read())
        begun = datetime.fromtimestamp(int(opening["time"]) / 1000, UTC)
        print(
            f"{journal.folder.name}  {begun:%Y-%m-%d %H:%M:%S} UTC  {opening['name']!r}, {sent:,} of {total:,} entries in {journal.uri(opening)}"
        )
    print(f"{len(found)} runs wait to be sent")
