"""What is looked at in a folder from elsewhere, whatever its kind; and shops and embedding tables. `python -m moon_rec verify` puts all kinds together.

Nothing is run, followed or written: links are named and not opened, pickles are named by their first bytes, and every reader that is asked bounds what it takes.
"""

import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError, first_line
from moon_rec.mapped_tensors import WEIGHTS, stored_tensors
from moon_rec.recorded import MOST_FILES, recorded_files
from moon_rec.shop import Shop
from moon_rec.shop.integrity import promise_problems
from moon_rec.shop.problem import raise_all
from moon_rec.shop.schema import FILES, MANIFEST
from moon_rec.shown import visible

PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill", ".npz", ".h5", ".msgpack")
MOST_DEPTH = 32
TABLE_MARK = "table.json"


@dataclass(frozen=True)
class Seen:
    """One thing looked at.

    Attributes:
        subject: of the folder: a path below it, or what was compared.
        found: in words.
        fault: empty where all is well; else the line that an error says.
    """

    subject: str
    found: str
    fault: str = ""


@dataclass
class Verified:
    """What one artifact gave.

    Attributes:
        kind: in words, such as `encoder`; empty where it is none.
        seen: in order.
        digest: its own, as recomputed; empty where it has none.
        names: digests of others that it names: what they are -> digest.
    """

    kind: str
    seen: list[Seen] = field(default_factory=list)
    digest: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def look(self, subject: str, look: Callable[[], str]) -> bool:
        """Add what `look` found, or the line that it refused with; whether it was well."""
        try:
            self.seen.append(Seen(subject, look()))
        except (MoonRecError, OSError) as error:
            line = visible(first_line(error))
            self.seen.append(Seen(subject, line[:200], line))
            return False
        return True

    def look_all(self, looks: Mapping[str, Callable[[], str]]) -> "Verified":
        """Look at each subject in turn, up to the first that is not well; gives itself."""
        all(self.look(subject, look) for subject, look in looks.items())
        return self


def as_recorded(values: Mapping[str, Any], where: object) -> str:
    """How many files an artifact records, in words."""
    count = len(recorded_files(values, where))
    return f"{count} as recorded" if count else "not recorded: saved before files were"


def tensors_in(folder: Path) -> str:
    """How many tensors the safetensors files of a folder hold by their headers, in words."""
    files = sorted(folder.glob("*.safetensors"))
    count = sum(len(stored_tensors(file, WEIGHTS)) for file in files)
    return f"{count:,} tensors in {len(files)} files"


def tree_findings(folder: Path) -> Iterator[Seen]:
    """Files, bytes, links, devices, names and pickles of a folder and all below it; the walk follows no link."""
    files, size, faults = 0, 0, []
    for where, folders, names in os.walk(folder, onerror=_raise):
        if len(Path(where).relative_to(folder).parts) > MOST_DEPTH:
            yield Seen("folders", "nested", f"{folder}: folders are nested over {MOST_DEPTH} deep")
            return
        for name in [*folders, *names]:
            path = Path(where) / name
            about = path.lstat()
            faults += _entry_faults(folder, path, about)
            if stat.S_ISREG(about.st_mode):
                files, size = files + 1, size + about.st_size
        if files > MOST_FILES:
            yield Seen("files", "too many", f"{folder} holds more than {MOST_FILES:,} files")
            return
    yield Seen("files", f"{files:,}, {size:,} bytes")
    yield from faults or [Seen("links, devices, pickles", "none")]


def _raise(error: OSError) -> None:
    raise MoonRecError(f"{error.filename} cannot be listed: {error.strerror}")


def _entry_faults(folder: Path, path: Path, about: os.stat_result) -> Iterator[Seen]:
    shown = visible(path.relative_to(folder))
    if stat.S_ISLNK(about.st_mode):
        to = visible(os.readlink(path))
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside:
            line = (
                f"{visible(path)} is a link to {to}, out of the folder; put the file itself there"
            )
            yield Seen(shown, f"a link to {to}", line)
    elif stat.S_ISREG(about.st_mode):
        why = _pickle(path)
        if why:
            line = f"{visible(path)} {why}: opening such a file can run code, and nothing here reads it; remove it"
            yield Seen(shown, why, line)
    elif not stat.S_ISDIR(about.st_mode):
        yield Seen(shown, "no plain file", f"{visible(path)} is no plain file; remove it")
    if shown != str(path.relative_to(folder)):
        line = (
            f"{shown} in {visible(folder)}: the name holds characters that are not seen; rename it"
        )
        yield Seen(shown, "a name that is not seen whole", line)


def _pickle(path: Path) -> str:
    """Why a file is taken for a pickle; empty where it is none."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if start[:1] == b"\x80" and len(start) > 1 and 2 <= start[1] <= 5:
        return "is a pickle"
    if start == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith(".pkl") for name in archive.namelist()):
                    return "is an archive with a pickle in it"
        except (zipfile.BadZipFile, OSError, ValueError):
            return ""
    return f"ends in {path.suffix}" if path.suffix in PICKLED else ""


def verify_shop(folder: Path) -> Verified:
    """Manifest, tables, and the tables' digests as recorded."""
    found = Verified("shop")
    shops: list[Shop] = []
    if not found.look(MANIFEST, lambda: _opened(folder, shops)):
        return found
    shop = shops[0]
    for table, file in FILES.items():
        if not shop.has(table):
            continue
        recorded = shop.manifest.fingerprints.get(table)

        def look(table: str = table, recorded: str | None = recorded) -> str:
            raise_all(folder, promise_problems(folder, shop.manifest, (table,)))
            shop.file(table)
            return f"as recorded, SHA-256 {recorded}" if recorded else "not recorded; decoded whole"

        found.look(file, look)
    found.look("digest of the shop", lambda: shop.digest)
    found.digest = shop.digest if not any(one.fault for one in found.seen) else ""
    return found


def _opened(folder: Path, shops: list[Shop]) -> str:
    shops.append(Shop.open(folder))
    simulated = "simulated, " if shops[0].is_simulated else ""
    return f"{visible(shops[0].name)[:60]}: {simulated}cut {shops[0].cut_time}; its rows: moon_rec shop check"


def verify_table(folder: Path) -> Verified:
    """An embedding table: every check of its opening."""
    found = Verified("embedding table")

    def look() -> str:
        table = EmbeddingTable.open(folder)
        found.digest = table.digest
        names = {"encoder": table.encoder, "shop": table.shop}
        found.names = {what: digest for what, digest in names.items() if digest}
        return f"{len(table):,} vectors of {table.dim} numbers ({table.vectors.dtype}), digest {table.digest} as recorded"

    found.look("table.json and table.safetensors", look)
    return found
