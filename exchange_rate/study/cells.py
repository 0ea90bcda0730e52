"""The cells of a study: each a pure function of its specification that leaves a folder with `result.json`.

A cell may run in another process, so it takes and gives plain values and speaks to nobody: MLflow is the parent's. Its key is a digest of everything its
result depends on; the folder is named for it, and `result.json` is written last, so a folder that has one is a finished cell. What each kind of cell does stands in `cell_kinds.py`.
"""

import contextlib
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from exchange_rate.study.cell_files import (
    RESULT,
    CellResult,
    CellSpec,
    digest_of_output,
    remove_cell,
)
from exchange_rate.study.cell_kinds import KINDS
from exchange_rate.study.failures import ERROR, CellError, failed
from moon_rec.code_version import code_version
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.files import digest_of, read_json
from moon_rec.kept import as_a_part
from moon_rec.shown import path_inside
from moon_rec.signals import asked

LOG = "log.txt"
CODE = {
    "start": ("representation",),
    "pretraining": ("representation",),
    "posttraining": ("representation",),
    "encoder": (
        "representation",
        "exchange_rate.evidence.coverage",
        "exchange_rate.study.vectors",
        "exchange_rate.study.draws",
        "exchange_rate.evidence.draw_file",
        "exchange_rate.study.neighbours",
        "exchange_rate.evidence.neighbour_file",
    ),
    "choice": ("ranking",),
    "ranker": ("ranking", "exchange_rate.study.draws", "exchange_rate.evidence.draw_file"),
    "comparison": ("ranking", "exchange_rate.study.comparison"),
}
"""What each kind of cell runs, beside `moon_rec`, this file and `cell_kinds.py`: its digest is part of the cell's key, so a result of other code is never taken up."""

LIBRARIES = ("numpy", "polars", "torch", "torchrec", "transformers")
_RESUMABLE = ("encoder",)
_READ_PICTURES = ("pretraining", "posttraining", "encoder")


def run_cell(
    spec: CellSpec, cells: str, num_threads: int, log_to_file: bool = True
) -> CellResult | CellError:
    """Run one cell to the end, or to its failure, which is kept in its folder; what it says goes to `log.txt` there."""
    import torch

    folder, threads = spec.folder(Path(cells)), torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        _clear(folder, spec.kind in _RESUMABLE)
        if spec.kind in _READ_PICTURES and multiprocessing.parent_process() is not None:
            _share_pictures()
        with as_a_part(), _output_to(folder / LOG) if log_to_file else contextlib.nullcontext():
            result = _run(spec, Path(cells), folder)
        result.save(folder, spec.code)
    except Exception as error:
        if asked() is not None:  # a library has made an error of its own of the signal
            raise KeyboardInterrupt from error
        return failed(error, folder)
    finally:
        torch.set_num_threads(threads)
    return result


def _run(spec: CellSpec, cells: Path, folder: Path) -> CellResult:
    """Run a cell on inputs that are what their cells left.

    Raises:
        StudyError: an input was changed, or a figure that the study needs is no number.
    """
    start = time.monotonic()
    for name in spec.inputs:
        _check_input(spec, name, cells)
    found = KINDS[spec.kind](spec, cells, folder)
    _check_figures(spec.kind, found)
    digests = {
        name: digest_of_output(path_inside(folder, inside, f"outputs of {spec.name!r}"))
        for name, inside in found.outputs.items()
    }
    return replace(found, seconds=time.monotonic() - start, digests=digests)


def _share_pictures() -> None:
    """Every cell of a worker reads the same shop: its pictures are decoded once; the caller's own process keeps none."""
    from representation.training.picture_store import share_squares

    share_squares()


def _clear(folder: Path, is_resumable: bool) -> None:
    """An empty folder, or what an earlier run of a cell left that can go on from it."""
    if folder.is_symlink() or not is_resumable:
        remove_cell(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (ERROR, RESULT):
        (folder / name).unlink(missing_ok=True)


def _check_input(spec: CellSpec, name: str, cells: Path) -> None:
    """Compare an input with its cell's result.

    Raises:
        StudyError: it was changed since.
    """
    path = spec.input(name, cells)
    folder = cells / path.relative_to(cells).parts[0]
    inside = path.relative_to(folder).as_posix()
    result = CellResult.load(folder)
    named = next((key for key, value in result.outputs.items() if value == inside), None)
    path_inside(folder, inside, f"input {name!r} of {spec.name!r}")
    if named is None or digest_of_output(path) != result.digests.get(named):
        raise StudyError(
            f"{path} was changed since its cell was finished; run the study again: that cell is then made anew"
        )


def _check_figures(kind: str, found: CellResult) -> None:
    """Refuse a result that says that its training diverged.

    Raises:
        StudyError: a figure that is not finite, or no AUC of a ranker.
    """
    figures = dict(found.numbers)
    if kind == "ranker":
        one = found.estimates.get("auc")
        figures["auc"] = float("nan") if one is None else one.value
    for name, value in figures.items():
        if not math.isfinite(value):
            raise StudyError(
                f"{name} = {value}: the training diverged, or the period has nothing to measure it on; look at log.txt and at the settings"
            )


def code_of(kind: str) -> str:
    """Digest of the code that a kind of cell runs, and of the libraries under it."""
    return digest_of(
        code_version(
            (
                "moon_rec",
                "exchange_rate.study.cells",
                "exchange_rate.study.cell_kinds",
                "exchange_rate.study.cell_files",
                *CODE[kind],
            ),
            LIBRARIES,
        )
    )


def num_of_other_code(cells: Path) -> int:
    """Finished cells that other code than today's left in the folder `cells`, or that nobody can read: none of them is taken up."""
    today = {code_of(kind) for kind in KINDS}
    return sum(_code_in(file) not in today for file in cells.glob(f"*/{RESULT}"))


def _code_in(file: Path) -> object:
    try:
        about = read_json(file)
    except (MoonRecError, OSError):
        return None
    code = about.get("code") if isinstance(about, dict) else None
    return code if isinstance(code, str) else None


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send this process's standard output and error, of whatever library, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(path, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
