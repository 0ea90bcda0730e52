"""Studies from elsewhere: `study.json` with what it should not hold, runs that are not the cells', folders that another study works in. What is left out is
seen on the page in `tests/exchange_rate/evidence/test_missing.py`."""

import fcntl
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exchange_rate.evidence.records import read_study
from exchange_rate.report.write import _sheets
from exchange_rate.study.lock import LOCK
from moon_rec.tracking import Tracker
from tests.bad_inputs.harness import Case, check
from tests.bad_inputs.test_studies_and_points import edit_study, with_store
from tests.bad_inputs.test_study_files import TWO_ENCODERS

Damage = Callable[[Path, sqlite3.Connection], object]
HELD: list[Any] = []
"""Locks that a case holds while its command runs."""


def read(folder: Path) -> object:
    """What a report reads first, in words."""
    tracker = Tracker("sqlite:///mlflow.db", must_exist=True)
    study = read_study(tracker)
    return "\n".join([*map(str, study.left_out), *map(str, _sheets(tracker, study))])


def refused(name: str, says: tuple[str, ...], change: Callable[[dict[str, Any]], object]) -> Case:
    return Case(f"studies: {name}", read, says, with_store(edit_study(change)))


def broken(name: str, says: tuple[str, ...], damage: Damage) -> Case:
    return Case(f"studies: {name}", read, says, with_store(damage))


def left_out(name: str, says: tuple[str, ...], damage: Damage) -> Case:
    return Case(f"studies: {name}", read, says, with_store(damage), told=True)


def entry(name: str, says: tuple[str, ...], change: Callable[[list[Any]], object]) -> Case:
    """A study of which the list of cells was changed."""
    return left_out(name, says, edit_study(lambda about: change(about["cells"])))


def sql(text: str) -> Damage:
    """`RUN` stands for the id of the ranker's run on `random`, `ENCODER` for that of the encoder, `STUDY` for the study's."""

    def change(folder: Path, base: sqlite3.Connection) -> None:
        def of(kind: str, more: str = "") -> str:
            words = f"(select t.run_uuid from tags t join params p using (run_uuid) where t.key = 'moon_rec.kind' and t.value = '{kind}'{more})"
            return words

        named = " and p.key = 'encoder' and p.value = 'random'"
        also = f"{named} and t.run_uuid in (select run_uuid from params where key = 'role' and value = 'content')"
        known = {"RUN": of("ranker", also), "ENCODER": of("encoder", named), "STUDY": of("study")}
        script = text
        for word, query in known.items():
            script = script.replace(word, query)
        base.execute(script)

    return change


def file_of(change: Callable[[Path], object]) -> Damage:
    return lambda folder, base: change(next(folder.glob("artifacts/**/study.json")))


def put_sheet(data: bytes | None) -> Damage:
    """Name a sheet, and lay it beside `study.json`; None lays a link that leads out."""

    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"sheets": ["neighbours"]}))
        sheet = file.with_name("neighbours.png")
        if data is None:
            (file.parents[3] / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n")
            sheet.symlink_to(file.parents[3] / "secret.png")
        elif data:
            sheet.write_bytes(data)

    return file_of(change)


def link(file: Path) -> None:
    file.rename(file.parents[3] / "elsewhere.json")
    file.symlink_to(file.parents[3] / "elsewhere.json")


def swap_encoders(cells: list[Any]) -> None:
    one, other = (cell for cell in cells if cell["kind"] == "encoder")
    one["run"], other["run"], one["key"], other["key"] = other["run"], one["run"], other["key"], one["key"]  # fmt: skip


def first(kind: str, **values: Any) -> Callable[[list[Any]], object]:
    def change(cells: list[Any]) -> None:
        next(cell for cell in cells if cell["kind"] == kind).update(values)

    return change


def at_work(folder: Path) -> None:
    (folder / "plan.toml").write_text(f'steering_metric = "category_accuracy"\n{TWO_ENCODERS}')
    (folder / "new").mkdir()
    file = open(folder / "new" / LOCK, "w")  # noqa: SIM115 - held while the command runs
    file.write(json.dumps({"process": 17, "machine": "\x1b[31mother", "since": "noon"}))
    file.flush()
    fcntl.flock(file, fcntl.LOCK_EX)
    HELD.append(file)


FIELDS = [
    refused("a sheet two folders up", ("sheets[0]", "'../../../x' is no plain name"), lambda about: about.update(sheets=["../../../x"])),
    refused("a sheet at the root", ("sheets[0]", "'/etc/passwd'", "separator"), lambda about: about.update(sheets=["/etc/passwd"])),
    refused("a sheet with a NUL", ("sheets[0]", "not seen"), lambda about: about.update(sheets=["neighbours\0"])),
    refused("a sheet that is a number", ("sheets[1]", "a int, not a text"), lambda about: about.update(sheets=["neighbours", 3])),
    refused("a sheet that we do not draw", ("sheets[0] = 'photos'", "neighbours, attention"), lambda about: about.update(sheets=["photos"])),
    refused("sheets as a text", ("About.sheets = 'neighbours'",), lambda about: about.update(sheets="neighbours")),
    refused("cells as a number", ("About.cells = 7",), lambda about: about.update(cells=7)),
    refused("cells without end", ("About.cells", "20000 items"), lambda about: about.update(cells=[0] * 20_001)),
    refused("a level of two", ("About.level = 2",), lambda about: about.update(level=2.0)),
    refused("a level that is NaN", ("study.json is not valid JSON: NaN is no number",), lambda about: about.update(level=float("nan"))),
    refused("a billion seeds", ("About.num_seeds = 1000000000", "10000"), lambda about: about.update(num_seeds=10**9)),
    refused("a steering metric that is a list", ("About.steering_metric",), lambda about: about.update(steering_metric=["recall"])),
    refused("a shop without a digest", ("About.shop.digest is missing",), lambda about: about["shop"].pop("digest")),
    refused("the shop of another study", ("is of another shop ('ffff')",), lambda about: about["shop"].update(digest="ffff")),
    refused("the file of another study", ("is of another study (key 'ffff')",), lambda about: about.update(key="ffff")),
    refused("an engagement that is a format", ("About.engagement",), lambda about: about.update(engagement="{0.__class__}")),
    refused("a control that is a number", ("About.chosen_encoder = 1",), lambda about: about.update(chosen_encoder=1)),
    refused("definitions that are numbers", ("About.definitions.0 = 1",), lambda about: about.update(definitions=[1])),
    refused("a name as long as a book", ("About.name",), lambda about: about.update(name="x" * 100_000)),
    refused("a field that nobody knows", ("About.colour = 'red'",), lambda about: about.update(colour="red")),
    refused("failures that are texts", ("About.failed.0",), lambda about: about.update(failed=["all"])),
    broken("nested without end", ("study.json",), file_of(lambda file: file.write_text('{"format": 3, "cells": ' + "[" * 200_000))),
    broken("a link", ("study.json cannot be read",), file_of(link)),
    broken("bytes that are no text", ("study.json",), file_of(lambda file: file.write_bytes(b"\xff\xfe\x00"))),
]  # fmt: skip

RUNS = [
    left_out("a run deleted", ("ranker 'random · CUBE · seed 0'", "deleted, did not end well"), sql("update runs set lifecycle_stage = 'deleted' where run_uuid in RUN")),
    left_out("a run that failed", ("ranker 'random · CUBE · seed 0'", "did not end well"), sql("update runs set status = 'FAILED' where run_uuid in RUN")),
    left_out("a run of another kind", ("is a run of kind 'recipe'",), sql("update tags set value = 'recipe' where key = 'moon_rec.kind' and run_uuid in RUN")),
    left_out("a run of another key", ("has key 'ffff'", "another's run"), sql("update tags set value = 'ffff' where key = 'moon_rec.key' and run_uuid in RUN")),
    left_out("a run of another shop", ("read the shop 'ffff'",), sql("update tags set value = 'ffff' where key = 'moon_rec.reads.shop' and run_uuid in RUN")),
    left_out("a ranker of other vectors", ("it read the items table 'ffff'",), sql("update tags set value = 'ffff' where key = 'moon_rec.reads.items' and run_uuid in RUN")),
    left_out("a run of another seed", ("is of seed '9', the cell of '0'",), sql("update params set value = '9' where key = 'seed' and run_uuid in RUN")),
    left_out("an AUC that is NaN", ("ranker 'random · CUBE · seed 0'", "the AUC nan"), sql("update latest_metrics set is_nan = 1 where key = 'auc' and run_uuid in RUN")),
    left_out("an AUC of seven", ("the AUC 7",), sql("update latest_metrics set value = 7 where key = 'auc' and run_uuid in RUN")),
    left_out("an AUC without an end", ("the AUC 1.79769e+308",), sql("update latest_metrics set value = 1.7976931348623157e308 where key = 'auc' and run_uuid in RUN")),
    left_out("one AUC that is missing", ("has no AUC",), sql("delete from latest_metrics where key = 'auc' and run_uuid in RUN")),
    left_out("a recall that is NaN", ("encoder 'random'", "no figures: image_search_recall@10 = nan"), sql("update latest_metrics set is_nan = 1 where key = 'image_search_recall_at_10' and run_uuid in ENCODER")),
    left_out("an encoder deleted", ("encoder 'random'", "its encoder 'random' has no run that counts"), sql("update runs set lifecycle_stage = 'deleted' where run_uuid in ENCODER")),
    entry("a cell that is a text", ("cells[0]", "a str, no cell"), lambda cells: cells.__setitem__(0, "start")),
    entry("a cell without a run", ("cells[", "run is missing"), lambda cells: cells[2].pop("run")),
    entry("a cell of an unknown kind", ("kind = 'pickle'",), lambda cells: cells[0].update(kind="pickle")),
    entry("a run that is a path", ("run = '../../x'",), lambda cells: cells[2].update(run="../../x")),
    entry("a seed that is a text", ("RankerLabels.seed = 'none'",), first("ranker", labels={"ranker": "CUBE", "role": "baseline", "encoder": None, "seed": "none"})),
    entry("tokens in words", ("EncoderLabels.training_tokens = 'many'",), lambda cells: next(cell for cell in cells if cell["kind"] == "encoder")["labels"].update(training_tokens="many")),
    entry("a definition that is not there", ("definition 99 of",), first("encoder", definitions={"auc": 99})),
    entry("two encoders in each other's place", ("is of encoder 'pretrained', the cell of 'random'",), swap_encoders),
    entry("a cell that stands twice", ("stands a second time",), lambda cells: cells.append(dict(next(cell for cell in cells if cell["kind"] == "ranker")))),
    left_out("a sheet that is gone", ("sheet 'neighbours'", "cannot be read"), put_sheet(b"")),
    left_out("a sheet that is no picture", ("sheet 'neighbours'", "no PNG"), put_sheet(b"<script>")),
    left_out("a sheet that is a link", ("sheet 'neighbours'", "cannot be read"), put_sheet(None)),
]  # fmt: skip

FOLDERS = [
    Case("studies: a folder that another study works in", "exchange_rate.study shop --plan plan.toml --out new", ("new: another study works there (process 17 on \\x1b[31mother, since noon)", "--wait"), at_work),
]  # fmt: skip

CASES = [*FIELDS, *RUNS, *FOLDERS]


@pytest.fixture(autouse=True)
def let_go():
    yield
    while HELD:
        HELD.pop().close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_studies(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
