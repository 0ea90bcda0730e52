"""Is a folder from elsewhere what it says it is, and whole? `python -m moon_rec verify PATH`.

Looks at every artifact in the folder, or below it, by the reader of its kind; compares the digests that they name of each other; prints what was looked at and what
was found. Nothing of the folder is run, nothing is written. The first fault is the error's line.
"""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.table import Table

from exchange_rate.evidence.draw_file import DRAWS, read_draw_file
from exchange_rate.evidence.neighbour_file import NEIGHBOURS, read_neighbour_file
from exchange_rate.evidence.study_file import read_about_draws
from moon_rec.command import Parser, run
from moon_rec.console import table_console
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.files import read_json
from moon_rec.processes import refuse_many_processes
from moon_rec.shown import as_console_text, plain_name, visible
from moon_rec.verification import Seen, Verified, tree_findings, verify_shop, verify_table

MOST_ARTIFACTS = 1_000
MOST_DEPTH = 8
Look = Callable[[Path], Verified]


def main(argv: list[str] | None = None) -> None:
    """Print a table of what was looked at; raise for the first fault."""
    refuse_many_processes("moon_rec verify")
    parser = Parser(
        prog="python -m moon_rec verify",
        description="Verify folders that someone else made: shops, encoders, embedding tables, rankers, curations, co-augmentations, checkpoints, studies and reports, one or many below "
        "one folder. Sizes are bounded, digests are computed again and compared with those recorded. Nothing of the folder is run, nothing is written.",
        example="python -m moon_rec verify runs/demo",
    )
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="a folder")
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong")
    options = parser.parse_args(argv)
    seen = list(findings(options.paths))
    if not options.quiet:
        table = Table("looked at", "found")
        for one in seen:
            mark = "WRONG: " if one.fault else ""
            table.add_row(as_console_text(one.subject), as_console_text(mark + one.found))
        table_console().print(table)
    faults = [one.fault for one in seen if one.fault]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise MoonRecError(f"{faults[0]}{more}")


def findings(paths: Sequence[Path]) -> Iterator[Seen]:
    """All that was looked at in the folders, in order.

    Raises:
        MoonRecError: a path that is no folder, or one in which nothing is known.
    """
    verified: list[tuple[str, Verified]] = []
    for path in paths:
        if not path.is_dir():
            raise MoonRecError(
                f"{path} is no folder; name the folder of a shop, an encoder, a ranker ..."
            )
        of_tree = [
            Seen(f"{path}: {one.subject}", one.found, one.fault) for one in tree_findings(path)
        ]
        yield from of_tree
        if any(one.fault for one in of_tree):
            continue  # what leads elsewhere, or is a pickle, is not opened
        artifacts = list(_artifacts(path))
        if not artifacts:
            raise MoonRecError(
                f"{path} holds nothing that is known: no {', '.join(mark for mark, _ in _kinds())}; name the folder that holds one of these"
            )
        for folder, look in artifacts:
            found = look(folder)
            verified.append((str(folder), found))
            for one in found.seen:
                yield Seen(f"{folder} ({found.kind}): {one.subject}", one.found, one.fault)
    yield from _named(verified)


def _kinds() -> list[tuple[str, Look]]:
    """Mark of a kind -> who looks at it. Modules that need torch load when a folder of theirs is met."""
    return [
        ("manifest.json", verify_shop),
        ("table.json", verify_table),
        ("moon_rec.json", lambda folder: _representation().verify_encoder(folder)),
        ("ranker.json", lambda folder: _ranking().verify_ranker(folder)),
        ("curation.json", lambda folder: _representation().verify_curation(folder)),
        ("augmentation.json", lambda folder: _representation().verify_augmentation(folder)),
        ("position.json", lambda folder: _ranking().verify_checkpoint(folder)),
        ("state.json", lambda folder: _representation().verify_save(folder)),
        ("report.json", verify_report),
        ("mlflow.db", verify_study),
        ("config.json", lambda folder: _representation().verify_checkpoint(folder)),
    ]


def _representation():
    from representation import verification

    return verification


def _ranking():
    from ranking import verification

    return verification


def _artifacts(path: Path) -> Iterator[tuple[Path, Look]]:
    """Folders that carry a mark, at `path` and below it, no deeper than `MOST_DEPTH`; below an encoder or a ranker nothing is its own."""
    count = 0
    for where, folders, names in os.walk(path):
        folders.sort()
        folder = Path(where)
        marks = [(mark, look) for mark, look in _kinds() if mark in names]
        for mark, look in marks[:1] if "mlflow.db" not in names else marks:
            if mark == "config.json" and _is_no_model(folder / mark):
                continue
            count += 1
            if count > MOST_ARTIFACTS:
                raise MoonRecError(
                    f"{path} holds more than {MOST_ARTIFACTS:,} artifacts; name one of them"
                )
            yield folder, look
            if mark in ("moon_rec.json", "ranker.json", "config.json"):
                folders.clear()
        if len(folder.relative_to(path).parts) >= MOST_DEPTH:
            folders.clear()


def _is_no_model(file: Path) -> bool:
    try:
        found = read_json(file)
    except MoonRecError:
        return False  # whoever opens it says what is wrong
    return not isinstance(found, dict) or "model_type" not in found


def verify_report(folder: Path) -> Verified:
    """A report: its figures can be read. Its page is HTML, which no one can vouch for."""
    found = Verified("report")

    def look() -> str:
        about = read_json(folder / "report.json")
        if not isinstance(about, dict) or not {"scope", "headline"} <= about.keys():
            raise StudyError(f"{folder / 'report.json'} is that of no report; write it again")
        return (
            "reads; its page is HTML from whoever made it: make your own with exchange_rate.report"
        )

    found.look("report.json", look)
    return found


def verify_study(folder: Path) -> Verified:
    """A study: its SQLite store is whole, what its artifacts name are plain names, and its joint draws are those that it records."""
    found = Verified("study")

    def store() -> str:
        file = folder / "mlflow.db"
        try:
            # immutable: no lock, no journal, nothing written beside it
            base = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            with contextlib.closing(base):
                base.execute("pragma trusted_schema = off")
                base.execute("pragma cell_size_check = on")
                tables = {name for (name,) in base.execute("select name from sqlite_master")}
                state = base.execute("pragma quick_check(1)").fetchone()[0]
                count = (
                    base.execute("select count(*) from runs").fetchone()[0]
                    if "runs" in tables
                    else None
                )
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise StudyError(
                f"{file} is no SQLite database ({error}); take the study again"
            ) from None
        if state != "ok" or count is None:
            raise StudyError(
                f"{file} is damaged, or holds no runs of MLflow ({visible(state)[:80]})"
            )
        return f"SQLite is whole, {count:,} runs"

    def about() -> str:
        files = sorted((folder / "artifacts").rglob("study.json"))[:MOST_ARTIFACTS]
        for file in files:
            study = read_json(file)
            if not isinstance(study, dict) or not isinstance(study.get("sheets", []), list):
                raise StudyError(f"{file} is that of no study")
            for name in study.get("sheets", []):
                plain_name(name, f"{file}: sheets")
        return f"{len(files)} studies, their sheets are plain names"

    def kept(count: Callable[[Path], int | None], words: str) -> Callable[[], str]:
        def look() -> str:
            files = sorted((folder / "artifacts").rglob("study.json"))[:MOST_ARTIFACTS]
            counts = [one for file in files if (one := count(file)) is not None]
            return f"{len(counts)} of {len(files)} studies have {words.format(sum(counts))}"

        return look

    if found.look("mlflow.db", store):
        found.look("artifacts", about)
        found.look(DRAWS, kept(_num_drawn, "joint draws, {:,} figures"))
        found.look(NEIGHBOURS, kept(_num_found, "what their encoders find, {:,} rows"))
    return found


def _num_drawn(file: Path) -> int | None:
    """Figures in the joint draws that a `study.json` names, which must be those that it records; None where it names none."""
    study = read_json(file)
    if not isinstance(study, dict) or study.get("draws") is None:
        return None
    about = read_about_draws(study["draws"], str(file))
    return read_draw_file(file.with_name(DRAWS), about, str(file.with_name(DRAWS))).height


def _num_found(file: Path) -> int | None:
    """Rows of what encoders find that a `study.json` names, which must be those that it records; None where it names none."""
    study = read_json(file)
    about = study.get("neighbours") if isinstance(study, dict) else None
    if about is None:
        return None
    if not isinstance(about, dict) or not isinstance(about.get("digest"), str):
        raise StudyError(f"{file}: neighbours = {about!r}"[:200])
    where = file.with_name(NEIGHBOURS)
    return read_neighbour_file(where, about, str(where)).height


def _named(verified: Sequence[tuple[str, Verified]]) -> Iterator[Seen]:
    """Digests that artifacts name of each other, against those that were found."""
    kinds = {"encoder": "encoder", "shop": "shop", "items": "embedding table", "queries": "embedding table"}  # fmt: skip
    for where, one in verified:
        for what, digest in one.names.items():
            there = [
                place
                for place, other in verified
                if other.kind == kinds[what] and other.digest == digest
            ]
            some = any(other.kind == kinds[what] and other.digest for _, other in verified)
            shown = visible(digest)[:40]
            found = (
                f"{shown}: {there[0]}"
                if there
                else f"{shown}: {'none of those here' if some else 'not here'}"
            )
            yield Seen(
                f"{where} names {kinds[what]} of its {what}"
                if what in ("items", "queries")
                else f"{where} names {what}",
                found,
            )


if __name__ == "__main__":
    sys.exit(run(main))
