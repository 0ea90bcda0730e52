"""What a command has kept, and the exact command that goes on: the end of the line that a stopped command says.

Every file and folder that appears whole is noted by `moon_rec.files` as it does; a command that can go on from what it wrote says so with `note_kept`. The line is
made when it is needed, from what then lies on the disk, so it is never ahead of it nor behind.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moon_rec.addresses import shown_words

What = str | Callable[[], str]
MOST_NAMED = 3
"""Files of one folder that are named one by one."""


@dataclass
class _Command:
    words: list[str] = field(default_factory=list)
    written: dict[Path, None] = field(default_factory=dict)
    begun: list[Path] = field(default_factory=list)
    kept: dict[Path, tuple[What, bool]] = field(default_factory=dict)
    added: dict[str, None] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    can_go_on: Callable[[], bool] = lambda: True
    why_again: str = ""
    is_done: bool = False
    options: frozenset[str] = frozenset()


_command = _Command()
_noted = _command
"""Where notes go: into the command's own, or within `as_a_part` into those of a part, which nobody reads."""


def begin_command(words: list[str]) -> None:
    """A command begins: forget what the last one kept. `words` are all of its words as a shell takes them, the program first."""
    global _command, _noted
    _command = _noted = _Command(words)


@contextmanager
def as_a_part() -> Iterator[None]:
    """What the block notes is of a part of the command, such as a training within a study, and no news of the command: that says itself what it has kept."""
    global _noted
    whole, _noted = _noted, _Command()
    try:
        yield
    finally:
        _noted = whole


def note_written(path: Path | str) -> None:
    """A file or folder stands whole at `path`, or will at once: said before it is put there, so that the line is not behind."""
    _noted.written[Path(path)] = None


def note_begun(path: Path | str) -> None:
    """A file or folder is being written that will be at `path`."""
    _noted.begun.append(Path(path))


def last_begun() -> Path | None:
    """What was being written of late: where a disk was full, if whoever complains of it does not say."""
    return _noted.begun[-1] if _noted.begun else None


def note_kept(path: Path | str, what: What, goes_on: bool = True) -> None:
    """The command, given again, goes on from what lies at `path` (or with `goes_on=False`: it is of use in itself). The last word on a path counts.

    Args:
        what: how far it is, such as `step 40 of 60`; or what finds that out when it is asked, "" for nothing.
    """
    _noted.kept[Path(path)] = (what, goes_on)


def note_to_go_on(*words: str, without: str = "", when: Callable[[], bool] = lambda: True) -> None:
    """The command needs these words besides its own to go on, such as `--resume`, and must leave out the word `without`; it can only `when` that says so."""
    _noted.added |= dict.fromkeys(words)
    _noted.dropped, _noted.can_go_on = frozenset([without]), when


def note_done() -> None:
    """What the command was asked for stands whole: what remains, such as tidying up, is no reason to give it again."""
    _noted.is_done = True


def note_options(names: Iterable[str]) -> None:
    """The command has these options: where it begins again over what it wrote, and `overwrite` is one, it needs that."""
    _noted.options = frozenset(names)


def note_begins_again(why: str) -> None:
    """Nothing is kept on the way, and why: told where the command has to begin again."""
    _noted.why_again = why


def what_is_kept() -> str:
    """One line: what lies on the disk, and the command that goes on from it or begins again."""
    standing = {
        path: (said, goes_on)
        for path, (what, goes_on) in _command.kept.items()
        if path.exists() and (said := what if isinstance(what, str) else what())
    }
    others = [
        path
        for path in _command.written
        if path.exists() and not any(_is_part(path, other) for other in standing)
    ]
    parts = [f"{path} ({said})" for path, (said, _) in standing.items()]
    parts += _named(others)
    kept = f"kept: {', '.join(parts)}" if parts else "nothing is kept"
    if _command.is_done:
        return f"{kept}; nothing is left to do"
    if any(goes_on for _, goes_on in standing.values()) and _command.can_go_on():
        return f"{kept}; go on with: {_with(_command.added, _command.dropped)}"
    why = f" ({_command.why_again})" if _command.why_again else ""
    replaces = ["--overwrite"] if parts and "overwrite" in _command.options else []
    return f"{kept}{why}; begin again with: {_with(replaces)}"


def _with(added: Iterable[str], dropped: frozenset[str] = frozenset()) -> str:
    """The command's own words and some more, each once, for a shell; `***` stands for a tracking store's password."""
    words = [word for word in _command.words or words_of_process() if word not in dropped]
    words += [word for word in added if word not in words]
    return " ".join(map(_quoted, shown_words(words)))


def words_of_process() -> list[str]:
    """How this process was started, in words that start it again: `python -m ranking.train ...`, under torchrun the launcher's."""
    module = started_module()
    return [*_launcher(), "-m", module, *sys.argv[1:]] if module else [*sys.argv]


def started_module() -> str:
    """The module that `python -m` named; "" where the process was started otherwise. Known while its packages still load."""
    before = ""
    for place, word in enumerate(sys.orig_argv[1:-1], 2):
        if word == "-m":
            return sys.orig_argv[place]
        if not word.startswith("-") and before not in ("-X", "-W"):
            return ""  # a script, whose words follow
        before = word
    return ""


def _launcher() -> list[str]:
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return [_python()]
    nodes = os.environ.get("GROUP_WORLD_SIZE", "1")
    spread = ["--nnodes", nodes] if nodes != "1" else []
    return ["torchrun", *spread, "--nproc-per-node", os.environ["LOCAL_WORLD_SIZE"]]


def _python() -> str:
    """`python` where that is the one that runs, else its path."""
    found = shutil.which("python")
    is_same = found is not None and os.path.abspath(found) == os.path.abspath(sys.executable)
    return "python" if is_same else sys.executable


def _quoted(word: str) -> str:
    """For a shell, in one line whatever stands in it."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(
        letter if letter.isprintable() and letter not in "'\\" else _escaped(letter)
        for letter in word
    )
    return f"$'{escaped}'"


def _escaped(letter: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in letter.encode())


def _is_part(path: Path, of: Path) -> bool:
    return path == of or of in path.parents or path in of.parents


def _named(paths: list[Path]) -> list[str]:
    """Each by its name, or their number where a folder has many; what lies within another is left out."""
    paths = [path for path in paths if not any(other in path.parents for other in paths)]
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    found = []
    for folder, inside in by_folder.items():
        few = len(inside) <= MOST_NAMED
        found += map(str, inside) if few else [f"{len(inside):,} files and folders in {folder}"]
    return found
