"""What a cell is told and what it leaves: a specification, and a folder with `result.json` and the outputs it names.

`result.json` holds the digest of every output. A cell reads another's output, and a resumed study takes one up, only where what lies there still has it. What a result calls its
outputs are names below its folder, never a path out of it.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moon_rec.errors import StudyError
from moon_rec.estimate import Estimate
from moon_rec.files import digest_file, digest_of, read_json, write_json
from moon_rec.shown import path_inside

RESULT = "result.json"


@dataclass(frozen=True)
class CellSpec:
    """What a cell needs to know; JSON can hold all of it.

    Attributes:
        kind: names the function in `KINDS`.
        name: for people.
        settings: part of the key.
        inputs: name -> (key of the cell it comes from, its kind and the path inside its folder, such as `encoder/vectors/items`).
        shop: folder and digest of the shop.
        labels: what the result is called in tables; no part of the key, for a result does not depend on it.
        code: digest of the code that makes it (`code_of`); part of the key.
        outside: name -> place and digest of what it reads that no cell made; the digest is part of the key.
        also: further labels of the same result: a baseline that several rankers share is that of each.
    """

    kind: str
    name: str
    settings: dict[str, Any]
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    shop: tuple[str, str] = ("", "")
    labels: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    outside: dict[str, tuple[str, str]] = field(default_factory=dict)
    also: tuple[dict[str, Any], ...] = ()

    @property
    def key(self) -> str:
        """16 hex digits of all that the result depends on."""
        outside = {name: digest for name, (_, digest) in self.outside.items()}
        about = [self.code, self.kind, self.settings, self.inputs, self.shop[1], outside]
        return digest_of(about)

    def folder(self, cells: Path) -> Path:
        """Where its result is."""
        return cells / f"{self.kind}-{self.key}"

    def input(self, name: str, cells: Path) -> Path:
        """The path of an input, of a cell or from outside."""
        if name in self.outside:
            return Path(self.outside[name][0])
        key, inside = self.inputs[name]
        kind = inside.split("/", 1)[0]
        return cells / f"{kind}-{key}" / inside.split("/", 1)[1]


@dataclass(frozen=True)
class CellResult:
    """What a cell found.

    Attributes:
        estimates: name -> number with interval and definition.
        numbers: plain figures, such as tokens seen.
        reads: name -> digest of every artifact read.
        outputs: name -> path inside the cell's folder.
        seconds: it took.
        digests: name -> digest of the output's files; empty for one that was not written.
    """

    estimates: dict[str, Estimate]
    numbers: dict[str, float]
    reads: dict[str, str]
    outputs: dict[str, str]
    seconds: float = 0.0
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "CellResult":
        """Read a finished cell.

        Raises:
            StudyError: what lies there is no cell's result.
        """
        path = path_inside(folder.parent, f"{folder.name}/{RESULT}", "a cell's result")
        about, nan = read_json(path), float("nan")
        try:
            estimates = {}
            for name, values in about["estimates"].items():
                known: dict[str, Any] = {
                    key: nan if value is None else value for key, value in values.items()
                }
                estimates[name] = Estimate(**known)
                _all(known[key] for key in ("value", "low", "high", "level"))
            numbers = _all_of(about["numbers"], float | int)
            names = [_all_of(about[name], str) for name in ("reads", "outputs", "digests")]
            (seconds,) = _all([about["seconds"]])
        except (AttributeError, KeyError, TypeError) as error:
            raise StudyError(
                f"{folder / RESULT} is no cell's result ({error}); remove {folder} and the cell runs again"
            ) from None
        return cls(estimates, numbers, names[0], names[1], seconds, names[2])

    def changed(self, folder: Path) -> str | None:
        """The first output that is not what the cell left there; None where all are.

        Raises:
            MoonRecError: an output whose name is none, or that a link takes out of the folder.
        """
        for name, inside in self.outputs.items():
            path = path_inside(folder, inside, f"{folder / RESULT}, outputs")
            if digest_of_output(path) != self.digests.get(name):
                return name
        return None

    def save(self, folder: Path, code: str = "") -> None:
        """Write `result.json`; `code` says what code found it."""
        about = {
            "code": code,
            "estimates": {name: one.as_dict() for name, one in self.estimates.items()},
            "numbers": self.numbers,
            "reads": self.reads,
            "outputs": self.outputs,
            "digests": self.digests,
            "seconds": self.seconds,
        }
        write_json(folder / RESULT, about)


def remove_cell(folder: Path) -> None:
    """Remove a cell's folder; a link in its place alone."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def digest_of_output(path: Path) -> str:
    """Digest of a file, or of the names and contents of a folder's files; empty where there is nothing.

    Raises:
        StudyError: a link among them: what it leads to is not the cell's own.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    if link := next((one for one in (path, *files) if one.is_symlink()), None):
        raise StudyError(f"{link} is a link; wanted what the cell wrote itself")
    if not files:
        return ""
    return digest_of(
        [[str(one.relative_to(path)), digest_file(one)] for one in files if one.is_file()]
    )


def _all(values: Iterable[Any], kind: Any = float | int) -> list[Any]:
    found = [*values]
    for value in found:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{value!r} is a {type(value).__name__}")
    return found


def _all_of(values: Any, kind: Any) -> dict[str, Any]:
    return dict(zip(values, _all(values.values(), kind), strict=True))
