"""A disk that is full, a place that cannot be written, no memory: one line with what is kept and how to go on, whichever library complains."""

import errno
import os
import sqlite3

import polars as pl
import pytest
import torch
from safetensors import SafetensorError

from moon_rec.command import run
from moon_rec.surroundings import line_of_surroundings

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/some file")


def _wrapped(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as found:
        return found


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FULL, "/x/some file: the disk is full (ENOSPC); make room"),
        (PermissionError(errno.EACCES, "denied", "/x"), "/x: you may not do that there"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (pl.exceptions.ComputeError("No space left on device (os error 28): /tmp/t.parquet"), "/tmp/t.parquet: the disk is full"),
        (OSError("polars: No space left on device (os error 28)"), "the disk is full"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (sqlite3.OperationalError("disk I/O error"), "the disk failed"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "can only be read"),
        (RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 704 vs 598"), "is the disk full?"),
        (RuntimeError("[Errno 28] No space left on device: 'x'"), "the disk is full"),
        (_wrapped(RuntimeError("worker failed"), FULL), "/x/some file: the disk is full"),
        (MemoryError(), "this machine has not enough memory left; lower batch_size"),
        (MemoryError("Unable to allocate 3.7 TiB"), "(Unable to allocate 3.7 TiB); lower"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU has not enough memory left (CUDA"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), "this machine has not"),
    ],
)  # fmt: skip
def test_one_line(error, says, capsys):
    def main(argv):
        raise error

    assert run(main, []) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and says in line
    assert "; nothing is kept; begin again with: python -m " in line


@pytest.mark.parametrize(
    "error", [KeyError("x"), RuntimeError("shapes differ"), AssertionError(), TypeError("None")]
)
def test_faults_of_ours_show_themselves(error):
    def main(argv):
        try:
            raise FileNotFoundError(errno.ENOENT, "no", "x")
        except FileNotFoundError:
            raise error  # noqa: B904 - what merely came about meanwhile is no excuse

    with pytest.raises(type(error)):
        run(main, [])
    assert line_of_surroundings(error) is None
