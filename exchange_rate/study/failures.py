"""What went wrong in a study's cells: told at once, kept with the study, and no reason to stop the others.

Anything that a cell's own work raises is a failure of that cell: an error of ours or of a library, no memory left, a figure that is no number, a worker process that the system
killed. What would befall every other cell too stops the study instead: a signal, and a disk without room. A cell that needs a failed one is not run, and says which.
"""

import contextlib
import errno
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moon_rec.errors import MoonRecError, first_line
from moon_rec.shown import visible

ERROR = "error.txt"
"""In a failed cell's folder: the error's line, then its traceback."""
MOST_LETTERS = 600
"""Of an error's line: some libraries print tensors into theirs."""
MOST_NAMED = 3
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("no space left on device", "os error 28", "disk is full", "disk quota exceeded")


@dataclass(frozen=True)
class Failure:
    """A cell without a result.

    Attributes:
        name: of the cell in its study, such as `encoder 7 negatives` or `ranker 7 negatives · CUBE · seed 1`.
        kind: as in `exchange_rate.study.cell_kinds.KINDS`.
        error: one line; of a cell that was not run, which failed cells it needs.
        because: names of those; empty where the cell itself failed.
        folder: the cell's, which holds `error.txt`; empty where there is none.
    """

    name: str
    kind: str
    error: str
    because: tuple[str, ...] = ()
    folder: str = ""

    @property
    def is_own(self) -> bool:
        """The cell ran and failed; else it was not run for want of another."""
        return not self.because

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the folder by its name alone."""
        folder = Path(self.folder).name
        return {"name": self.name, "kind": self.kind, "error": self.error} | {
            "because": list(self.because),
            "folder": folder,
        }


@dataclass(frozen=True)
class CellError:
    """What a worker hands back of a cell that failed: plain values, for not every error can travel between processes.

    Attributes:
        line: the error in one line.
        stops: nothing else can go well either: the disk is full.
    """

    line: str
    stops: bool = False


def not_run(name: str, kind: str, lost: Iterable[Failure]) -> Failure:
    """A cell that needs these failed ones, or ones that were not run themselves."""
    roots = dict.fromkeys(root for one in lost for root in (one.because or (one.name,)))
    return Failure(name, kind, f"not run: {_listed([*roots])} failed", tuple(roots))


def failed(error: BaseException, folder: Path) -> CellError:
    """Keep a cell's error with its traceback in `folder`, and say it in a line."""
    line = one_line(error)
    whole = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError):  # the study keeps the line all the same
        (folder / ERROR).write_text(f"{line}\n\n{whole}", encoding="utf-8", errors="replace")
    return CellError(line, is_full_disk(error))


def one_line(error: BaseException) -> str:
    """An error as one line: our own as it is, others behind their type."""
    said = str(error) if isinstance(error, MoonRecError) else first_line(error)
    name = type(error).__name__
    line = visible(said)
    if not isinstance(error, MoonRecError) and line != name:
        line = f"{name}: {line}"
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]} ..."


def is_full_disk(error: BaseException) -> bool:
    """Whether a disk without room is behind an error, however many others were made of it."""
    return any(
        (isinstance(one, OSError) and one.errno in _FULL)
        or any(words in str(one).lower() for words in _FULL_WORDS)
        for one in _chain(error)
    )


def told(failures: Iterable[Failure]) -> str:
    """How many cells have no result, and which; empty where all have one."""
    found = [*failures]
    own = [one for one in found if one.is_own]
    if not found:
        return ""
    named = "; ".join(f"{one.name} ({one.error})" for one in own[:MOST_NAMED])
    more = f"; {len(own) - MOST_NAMED} more" if len(own) > MOST_NAMED else ""
    others = (
        f"; {len(found) - len(own)} were not run for want of them" if len(found) > len(own) else ""
    )
    return f"{len(own)} {'cell' if len(own) == 1 else 'cells'} failed: {named}{more}{others}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        one = one.__cause__ or one.__context__


def _listed(names: list[str]) -> str:
    few = names[:MOST_NAMED]
    more = f" and {len(names) - len(few)} more" if len(names) > len(few) else ""
    return f"{', '.join(few)}{more}"
