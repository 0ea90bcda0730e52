"""A catalogue of bad inputs: a good workspace, one thing broken in it, and what a command must say of that.

Each `test_*.py` beside this file holds a list `CASES` for one door (importer, opener, vector tables, settings ...) and hands each case to `check`.
A case is refused (one line, exit code 2, nothing written, nothing of the user's changed) or, with `told`, handled and said (exit code 0).
"""

import hashlib
import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moon_rec.command import run
from moon_rec.errors import MoonRecError


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: what is wrong, in words; the test's id.
        action: a command line without `python -m`, such as `"ranking.train shop --out new"`, run inside the workspace; or a function of the workspace's
            folder, for what is called from Python.
        says: pieces that must all stand in the line: where (file, row, column), the value, how to mend it.
        damage: breaks the workspace (see `conftest.workspace` for what it holds).
        told: the input is handled, and what was done about it is said, instead of refused.
    """

    name: str
    action: str | Callable[[Path], object]
    says: tuple[str, ...]
    damage: Callable[[Path], None] = lambda folder: None
    told: bool = False


@contextmanager
def in_its_turn(good: Path, place: Path) -> Iterator[Path]:
    """A copy of `good` at `place`; nothing of it is left there or open afterwards."""
    shutil.copytree(good, place)
    try:
        yield place
    finally:
        if "mlflow.store.tracking.sqlalchemy_store" in sys.modules:
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            for engine in SqlAlchemyStore._engine_map.values():
                engine.dispose()
        for each in place.parent.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


def check(case: Case, workspace: Path, capsys, monkeypatch) -> None:
    """Break the workspace, act, and hold the outcome against what the case promises."""
    assert case.says, "a case says what must be said"
    case.damage(workspace)
    before = _contents(workspace)
    monkeypatch.chdir(workspace)
    capsys.readouterr()
    code, line, everything = _act(case, workspace, capsys)
    if case.told:
        assert code == 0, f"exit code {code}: {everything}"
        spoken = everything
    else:
        assert code == 2, f"exit code {code}, wanted 2: {everything}"
        assert line.count("\n") == 0, f"more than one line: {line}"
        assert _contents(workspace) == before, "something was written, changed or deleted"
        spoken = line
    assert "Traceback" not in everything
    for piece in case.says:
        assert piece in spoken, f"{piece!r} is not said in: {spoken}"


def _act(case: Case, workspace: Path, capsys) -> tuple[int, str, str]:
    """Exit code, the error's line (empty where there is none), and all that was printed."""
    if callable(case.action):
        try:
            found = case.action(workspace)
        except MoonRecError as error:
            return 2, str(error), str(error)
        printed = capsys.readouterr()
        return 0, "", f"{printed.out}\n{printed.err}\n{found}"
    module, *words = case.action.split()
    try:
        main = importlib.import_module("moon_rec.__main__" if module == "moon_rec" else module).main
        code = main(words) if module == "moon_rec" else run(main, words)
    except SystemExit as stopped:  # argparse's own
        code = int(stopped.code or 0)
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    return code, "\n".join(errors), f"{printed.out}\n{printed.err}"


def _contents(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder`, files with the hash of their bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }
