"""Outputs that would cost somebody something: every command that writes, before whatever may already stand where it writes.

A table of commands by what is in the way. `new` is always the output; each case is refused before anything is read, and nothing is changed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.bad_inputs.harness import Case, check

VECTORS = "--items items --queries queries"
FOLDERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "shop simulate": ("moon_rec shop simulate --set num_users=20", "manifest.json", ("schema_version", "cut_time", "test_time")),
    "shop import": ("moon_rec shop import tables --data tables", "manifest.json", ("schema_version", "cut_time", "test_time")),
    "pretrain": ("representation.pretrain shop --set steps=2", "moon_rec.json", ("format_version", "digest", "config")),
    "posttrain": ("representation.posttrain shop --set steps=2", "moon_rec.json", ("format_version", "digest", "config")),
    "curate": (f"representation.curate shop {VECTORS}", "curation.json", ("shop", "config", "pairs")),
    "augment": ("representation.augment shop", "augmentation.json", ("shop", "config", "made", "kept")),
    "bring": ("representation.bring items/table.safetensors", "table.json", ("format_version", "dim", "precision", "digest")),
    "train": ("ranking.train shop", "ranker.json", ("format_version", "config", "preparation")),
    "train, seeds": ("ranking.train shop --seeds 2", "seed-0/ranker.json", ("format_version", "config", "preparation")),
    "handover to FuxiCTR": ("ranking.handover.__main__ shop --to fuxictr", "shop/feature_map.json", ("dataset_id", "num_fields", "features")),
    "shop describe": ("moon_rec shop describe shop", "shop.json", ("format_version", "headline", "provenance", "drift")),
    "report": ("exchange_rate.report --tracking sqlite:///none.db", "report.json", ("scope", "headline")),
    "demo": ("moon_rec demo", "demo.json", ("made by", "seed", "shop")),
}  # fmt: skip
"""Command without its output -> the mark of what it writes, and the mark's fields."""

FILES: dict[str, tuple[str, str]] = {
    "shop describe, a picture": ("moon_rec shop describe shop --picture {}", "new.png"),
    "shop check": ("moon_rec shop check shop --faults {}", "new.csv"),
    "curate's picture": (f"representation.curate shop {VECTORS} --out pairs --picture {{}}", "new.png"),
    "recall": (f"representation.recall shop {VECTORS} --out {{}}", "new.json"),
    "recall's picture": (f"representation.recall shop {VECTORS} --picture {{}}", "new.png"),
    "look neighbours": (f"representation.look neighbours shop {VECTORS} --out {{}}", "new.png"),
    "look attention": ("representation.look attention shop --encoder none --out {}", "new.png"),
    "score": ("ranking.score none shop --out {}", "new.parquet"),
}  # fmt: skip
"""Command that writes one file -> its name."""

INTO: dict[str, tuple[str, tuple[str, ...]]] = {
    "evaluate": ("ranking.evaluate none shop --out new", ("scores.parquet", "metrics.json", "evaluation.png")),
    "compare": ("ranking.compare none none2 --out new", ("comparison.json", "power.json", "segments.json", "calibration.png")),
    "compare with itself": ("ranking.compare none --out new", ("power.json", "power.png")),
    "benchmark": ("representation.benchmark shop --encoder none --out new", ("benchmark.json", "benchmark.md", "benchmark.png")),
}  # fmt: skip
"""Command that writes files into a folder, others in it left alone -> their names."""

OURS: dict[str, dict] = {
    "new.json": {"shop": 1, "items": 1, "queries": 1, "metrics": 1, "segments": 1},
    "metrics.json": {"shop_digest": 1, "period": 1, "metrics": 1},
    "comparison.json": {"auc": {"verdict": ""}},
    "power.json": {"users": 1, "seeds": 1},
    "segments.json": {"judged": 1, "left_out": 1},
    "benchmark.json": {"set": 1, "config": 1, "results": 1},
}


def write_ours(path: Path) -> None:
    """A file that the command takes for one of an earlier run."""
    path.parent.mkdir(exist_ok=True)
    match path.suffix:
        case ".png":
            path.write_bytes(b"\x89PNG\r\n\x1a\n Software moon_rec")
        case ".csv":
            path.write_text("table,column,row,id,value,rule,mend\n")
        case ".md":
            path.write_text("# Benchmark on a shop\n")
        case ".parquet":
            names = ("request_id", "item_id", "user_id", "score", "is_cold")
            pl.DataFrame({name: [1] for name in names}).write_parquet(path)
        case _:
            path.write_text(json.dumps(OURS[path.name]))


def write(name: str, text: str = "mine") -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)

    return damage


def of_kind(mark: str, fields: tuple[str, ...], further: str = "") -> Callable[[Path], None]:
    """A folder of the command's kind at `new`, with a stranger's file in it."""

    def damage(folder: Path) -> None:
        write(f"new/{mark}", json.dumps(dict.fromkeys(fields, 1)))(folder)
        if further:
            write(f"new/{further}")(folder)

    return damage


def folder_cases() -> list[Case]:
    cases = []
    for name, (command, mark, fields) in FOLDERS.items():
        line, kept = f"{command} --out new", "new exists already and is not replaced: "
        shown = "seed-*/ranker.json" if mark.startswith("seed-") else mark
        other = "queries" if mark == "manifest.json" else "shop"
        cases += [
            Case(f"outputs: {name}, there already", line, ("new exists already; --overwrite replaces it",), of_kind(mark, fields)),
            Case(f"outputs: {name}, over a stranger's folder", f"{line} --overwrite", (kept, f"it has no {shown}"), write("new/notes.txt")),
            Case(f"outputs: {name}, over a folder of another kind", f"{line} --overwrite", (kept, f"it has no {shown}"), lambda folder, other=other: shutil.copytree(folder / other, folder / "new")),
            Case(f"outputs: {name}, over its own with a database in it", f"{line} --overwrite", (kept, "it holds mlflow.sqlite, which is no file of"), of_kind(mark, fields, "mlflow.sqlite")),
            Case(f"outputs: {name}, over another's mark", f"{line} --overwrite", (kept, "is not that of"), write(f"new/{mark}", "{}")),
            Case(f"outputs: {name}, over a file", f"{line} --overwrite", (kept, "it is a file"), write("new")),
            Case(f"outputs: {name}, over a link", f"{line} --overwrite", (kept, "it is a link to shop"), lambda folder: (folder / "new").symlink_to("shop")),
            Case(f"outputs: {name}, below a file", f"{command} --out notes.txt/new", ("notes.txt/new cannot be written: notes.txt is a file",), write("notes.txt")),
        ]  # fmt: skip
    return cases


def file_cases() -> list[Case]:
    cases = []
    for name, (command, file) in FILES.items():
        line, below = command.format(file), command.format(f"notes.txt/{file}")
        kept = f"{file} exists already and is not replaced: "
        cases += [
            Case(f"outputs: {name}, there already", line, (f"{file} exists already; --overwrite replaces it",), lambda folder, file=file: write_ours(folder / file)),
            Case(f"outputs: {name}, over a stranger's file", f"{line} --overwrite", (kept, "that was written here"), write(file)),
            Case(f"outputs: {name}, over a folder", f"{line} --overwrite", (kept, "it is a folder"), lambda folder, file=file: (folder / file).mkdir()),
            Case(f"outputs: {name}, below a file", below, (f"notes.txt/{file} cannot be written: notes.txt is a file",), write("notes.txt")),
        ]  # fmt: skip
    for name, (command, files) in INTO.items():
        for file in files:
            kept = f"new/{file} exists already and is not replaced: "
            cases += [
                Case(f"outputs: {name}, {file} there already", command, (f"new/{file} exists already; --overwrite replaces it",), lambda folder, file=file: write_ours(folder / "new" / file)),
                Case(f"outputs: {name}, {file} a stranger's", f"{command} --overwrite", (kept, "that was written here"), write(f"new/{file}")),
            ]  # fmt: skip
        cases.append(
            Case(f"outputs: {name}, into a file", command, ("new is a file",), write("new"))
        )
    return cases


def write_checkpoint(folder: Path) -> None:
    write("new.checkpoints/step-000000010/position.json", "{}")(folder)


CASES = [
    *folder_cases(),
    *file_cases(),
    Case("outputs: embed, a stranger's folder as items", "representation.embed shop --encoder none --out new", ("new/items",), write("new/items/notes.txt")),
    Case("outputs: embed, a stranger's folder as queries", "representation.embed shop --encoder none --out new", ("new/queries",), write("new/queries/notes.txt")),
    Case("outputs: embed, into a file", "representation.embed shop --encoder none --out notes.txt", ("notes.txt is a file",), write("notes.txt")),
    Case("outputs: ways, a stranger's figures", "ranking.ways.__main__ shop --items items --out new", ("new/ways.json exists already and is not replaced",), write("new/ways.json")),
    Case("outputs: ways, a stranger's choice", "ranking.ways.__main__ shop --items items --out new", ("new/chosen.json exists already and is not replaced",), write("new/chosen.json")),
    Case("outputs: ways, a stranger's run", "ranking.ways.__main__ shop --items items --way vector --out new", ("seed-0 exists already and is not replaced",), write("new/scores/vector/seed-0/notes.txt")),
    Case("outputs: handover to TorchEasyRec, over a stranger's folder", "ranking.handover.__main__ shop --to torcheasyrec --out new --overwrite", ("it has no multi_tower_din.config",), write("new/train.parquet")),
    Case("outputs: train, over a stopped training", "ranking.train shop --out new --checkpoint-every 5", ("new.checkpoints keeps a training that was stopped", "--resume", "--overwrite"), write_checkpoint),
    Case("outputs: train, seeds resumed and replaced", "ranking.train shop --out new --seeds 2 --resume --overwrite", ("give one",)),
    Case("outputs: posttrain, a checkpoint's place taken", "representation.posttrain shop --out new --set steps=4 --set checkpoint_steps=[2]", ("new-step-000002 exists already and is not replaced: it has no moon_rec.json",), write("new-step-000002/notes.txt")),
    Case("outputs: import, over its own input", "moon_rec shop import tables --data shop --out shop --overwrite", ("shop exists already and is not replaced: it is the input shop",)),
    Case("outputs: score, over its own input", "ranking.score none shop --impressions new.parquet --out new.parquet --overwrite", ("it is the input new.parquet",), lambda folder: write_ours(folder / "new.parquet")),
    Case("outputs: bring, over what holds its input", "representation.bring items/table.safetensors --out items --overwrite", ("it holds the input items/table.safetensors",)),
    Case("outputs: the working directory", "ranking.train shop --out . --overwrite", (". cannot be written as a ranker",)),
    Case("outputs: the folder above", "ranking.train shop --out .. --overwrite", (".. cannot be written as a ranker",)),
    Case("outputs: what the system alone writes", "ranking.train shop --out /proc/1/new", ("/proc/1/new: ",)),
    Case("outputs: a name too long", f"ranking.train shop --out {'x' * 300}", ("the name is too long (ENAMETOOLONG)", "name a shorter one")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
