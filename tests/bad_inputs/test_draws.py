"""Joint draws of a study from elsewhere: `draws.parquet` that is gone, exchanged, damaged or holds what it should not. Every fault of a row stands in
`tests/exchange_rate/evidence/test_draws.py`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from exchange_rate.evidence.draws import read_draws
from exchange_rate.evidence.records import read_study
from moon_rec.files import digest_file
from moon_rec.tracking import Tracker
from tests.bad_inputs.harness import Case, check
from tests.bad_inputs.test_studies_and_points import edit_study, with_store

VERIFY = "moon_rec verify ."


def read(folder: Path) -> object:
    tracker = Tracker("sqlite:///mlflow.db", must_exist=True)
    return read_draws(tracker, read_study(tracker))


def file_of(change: Callable[[Path], object]) -> Callable[[Path], None]:
    return with_store(lambda folder, base: change(next(folder.glob("artifacts/**/draws.parquet"))))


def recorded(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    """Another table, with its digest in `study.json`: the work of somebody who knows the format."""

    def damage(file: Path) -> None:
        change(pl.read_parquet(file)).write_parquet(file)
        about = json.loads(file.with_name("study.json").read_text())
        about["draws"]["digest"] = digest_file(file)
        file.with_name("study.json").write_text(json.dumps(about))

    return file_of(damage)


def link(file: Path) -> None:
    file.rename(file.parents[3] / "elsewhere.parquet")
    file.symlink_to(file.parents[3] / "elsewhere.parquet")


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(bytes(data))


def endless(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("draws").list.eval(pl.element() * 1e300))


def draws(**values: Any) -> Callable[[Path], None]:
    return with_store(edit_study(lambda about: about["draws"].update(values)))


def both(name: str, says: tuple[str, ...], damage: Callable[[Path], None]) -> list[Case]:
    """A report's reader and `moon_rec verify` refuse it alike."""
    return [
        Case(f"draws: {name}", read, says, damage),
        Case(f"draws: {name}, verified", VERIFY, says, damage),
    ]


CASES = [
    *both("a bit flipped", ("draws.parquet", "is not the file that study.json records"), file_of(flipped)),
    *both("text", ("draws.parquet", "is not the file that study.json records"), file_of(lambda file: file.write_text("a,b\n1,2\n"))),
    Case("draws: gone", read, ("its artifact draws.parquet cannot be read",), file_of(Path.unlink)),
    Case("draws: gone, verified", VERIFY, ("draws.parquet is not there",), file_of(Path.unlink)),
    Case("draws: a link", read, ("draws.parquet cannot be read",), file_of(link)),
    Case("draws: a link, verified", VERIFY, ("draws.parquet", "link"), file_of(link)),
    *both("numbers without end", ("draws.parquet", "row 0", "a number in draws that is not finite"), recorded(endless)),
    *both("a column that is missing", ("draws.parquet", "has the columns", "wanted cell, name"), recorded(lambda table: table.drop("halves"))),
    *both("rows twice", ("row 0", "a name or a cell twice"), recorded(lambda table: pl.concat([table, table]))),
    *both("another number of draws", ("draws of another length than 21",), draws(num_draws=21)),
    Case("draws: other figures than the runs'", read, ("its run has", "put the study's own file back"), recorded(lambda table: table.with_columns(pl.col("value") + 0.01))),
    *both("a digest that is none", ("AboutDraws.digest = 'latest'",), draws(digest="latest"))[1:],
    *both("a billion splits", ("AboutDraws.num_splits = 1000000000",), draws(num_splits=10**9))[1:],
    Case("draws: a field that is a list", read, ("About.draws",), with_store(edit_study(lambda about: about.update(draws=[])))),
    Case("draws: none, of an older version", read, ("has no joint draws of users", "exchange_rate.study"), with_store(edit_study(lambda about: about.pop("draws"))), told=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_draws(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
