"""The files of an artifact, recorded by digest when it is saved and held against that when it is opened.

The file that says what an artifact is (`moon_rec.json`, `ranker.json`, `curation.json`) is written last and holds `files`: name -> digest. An artifact that was saved
before files were recorded promises nothing; `python -m moon_rec verify` says so.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moon_rec.errors import MoonRecError
from moon_rec.files import digest_file
from moon_rec.shown import plain_name, visible

MOST_FILES = 100_000


def record(folder: Path, about: str) -> dict[str, str]:
    """Digest of every file in `folder` and below it, by its path there, but for the file `about` itself."""
    return {name: digest_file(folder / name) for name in files_in(folder, about)}


def files_in(folder: Path, about: str) -> list[str]:
    """Paths of the files in `folder` and below it, with `/`, sorted; links and `about` left out.

    Raises:
        MoonRecError: more than `MOST_FILES`.
    """
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found.append(path.relative_to(folder).as_posix())
            if len(found) > MOST_FILES:
                raise MoonRecError(f"{folder} holds more than {MOST_FILES:,} files; name another")
    return sorted(name for name in found if name != about)


def recorded_files(values: Mapping[str, Any], where: object) -> dict[str, str]:
    """`files` of what an artifact says of itself; empty where it records none.

    Raises:
        MoonRecError: no names and digests, or a name that leads out of the folder.
    """
    files = values.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(one, str) for one in files.values()):
        raise MoonRecError(f"{where}: files is {repr(files)[:80]}, wanted names and digests")
    for name in files:
        for part in name.split("/"):
            plain_name(part, f"{where}: files")
    return files


def difference(
    folder: Path, about: str, files: Mapping[str, str], is_read: Callable[[str], bool]
) -> str:
    """How the files of a folder differ from those recorded, and how to mend it; empty where they do not, or where none were.

    Args:
        is_read: whether a file of that name, which is not recorded, would be read all the same.
    """
    if not files:
        return ""
    mend = "put the file back that was saved, or save it all again"
    for name, digest in files.items():
        if not (folder / name).is_file():
            return f"{folder / name} is gone, {about} records it; {mend}"
        found = digest_file(folder / name)
        if found != digest:
            return f"{folder / name} has SHA-256 {found}, {about} records {visible(digest)[:40]}: it was changed after it was saved; {mend}"
    for name in files_in(folder, about):
        if name not in files and is_read(name):
            return f"{visible(folder / name)} was not there when the rest was saved, and would be read; remove it"
    return ""
