"""How long the report of a large study takes: `python -m benchmarks.report_speed`.

A table of points of 165 encoders on 33 trainings, two rankers with three seeds each (990 runs, and as many on permuted vectors), or with `--tracked` the same number of runs in an MLflow
store of its own (SQLite), read back. Making them is not counted. The promise is 20 seconds.
"""

import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.chain import describe_machine
from exchange_rate.evidence.records import READS
from exchange_rate.report.write import Report, write_points_report, write_report
from moon_rec.command import Parser, run
from moon_rec.files import digest_of, write_json
from moon_rec.progress import say
from moon_rec.seeds import generator
from moon_rec.tracking import Tracker, plain_metric_name

PATHS, CHECKPOINTS, SEEDS, RANKERS = 33, 5, 3, ("CUBE", "SimTier")
METRICS = (
    "image_search_recall@10",
    "text_search_recall@10",
    "same_spu_recall@10",
    "colour_accuracy",
)
SHOP = "0123456789abcdef"
PROMISED = 20.0


def main(argv: list[str] | None = None) -> None:
    """Make the runs, write the report, print and write the seconds."""
    parser = Parser(
        prog="python -m benchmarks.report_speed",
        description="Seconds that the report of 165 encoders and 990 ranker runs takes.",
        example="python -m benchmarks.report_speed --out benchmarks/results/report_speed.json",
    )
    parser.add_argument("--tracked", action="store_true", help="runs in an MLflow store")
    parser.add_argument("--out", type=Path, help="JSON with the figures")
    options = parser.parse_args(argv)
    points = make_points()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        tracker = make_study(points, where) if options.tracked else None
        wall, processor = time.monotonic(), time.process_time()
        if tracker is None:
            report: Report = write_points_report(points, where / "report", name="points")
        else:
            report = write_report(tracker, where / "report", is_logged=False)
        wall, processor = time.monotonic() - wall, time.process_time() - processor
        size = report.page.stat().st_size
    counts = report.results.counts
    print(
        f"{counts.encoders} encoders, {counts.ranker_runs:,} runs: {wall:.1f} seconds ({processor:.1f} of a processor), page of {size / 1e6:.1f} MB; promised {PROMISED:.0f}"
    )
    if options.out is not None:
        figures = {"encoders": counts.encoders, "runs": counts.ranker_runs, "tracked": options.tracked}  # fmt: skip
        figures |= {"seconds": wall, "processor_seconds": processor, "page_bytes": size}
        write_json(options.out, {**figures, "machine": describe_machine()})


def make_points() -> pl.DataFrame:
    """Checkpoints of 33 trainings; AUC rises by .12 for a unit of image-search recall on one ranker, by .09 on the other."""
    random = generator(0, "report speed")
    rows = []
    for path in range(PATHS):
        start, height = random.uniform(0.05, 0.5), random.normal(0, 0.004)
        for step in range(CHECKPOINTS):
            recall = float(np.clip(start + 0.05 * step + random.normal(0, 0.01), 0.01, 0.95))
            others = np.clip([0.6 * recall + random.normal(0, 0.02), random.uniform(0.2, 0.4), random.uniform(0.3, 0.5)], 0.01, 0.99)  # fmt: skip
            figures = dict(zip(METRICS, (recall, *others.tolist()), strict=True))
            errors = {f"{name}_error": 0.012 for name in METRICS}
            for ranker, slope in zip(RANKERS, (0.12, 0.09), strict=True):
                for seed in range(SEEDS):
                    auc = 0.64 + slope * recall + height + random.normal(0, 0.0015)
                    row = {"encoder": f"training {path} step {step}", "path": f"training {path}"}
                    row |= {"trained": path > 1, "ranker": ranker, "seed": str(seed), **figures}
                    rows.append(row | errors | {"auc": auc, "auc_permuted": 0.64 + random.normal(0, 0.001)})  # fmt: skip
    return pl.DataFrame(rows)


def make_study(points: pl.DataFrame, folder: Path) -> Tracker:
    """The same as a study of one's own: a run a cell, and `study.json`. One run of each kind is tracked, the others are copies of its rows in the store, made in one transaction."""
    database = folder / "mlflow.db"
    tracker = Tracker(f"sqlite:///{database}")
    cells = [*_encoder_cells(points), *_ranker_cells(points)]
    kinds = {cell["kind"]: cell for cell in reversed(cells)}
    models = {}
    with tracker:
        for kind, cell in kinds.items():
            with tracker.run("model", kind, cell["labels"], {"shop": SHOP}, f"model {kind}") as one:
                one.log(cell["figures"])
            models[kind] = one.id
    with contextlib.closing(sqlite3.connect(database)) as store:
        copies = {kind: _Model(store, run) for kind, run in models.items()}
        for cell in cells:
            copies[cell["kind"]].copy(cell)
        store.commit()
    about = [{name: value for name, value in cell.items() if name != "figures"} for cell in cells]
    with tracker, tracker.run("study", "study", {}, {"shop": SHOP}, SHOP) as study:
        study.json(_about(about, points), "study.json")
    say(f"made {len(cells):,} runs ({READS}shop = {SHOP})")
    return Tracker(f"sqlite:///{database}", must_exist=True)


class _Model:
    """A tracked run whose rows are copied for others of its kind."""

    def __init__(self, store: sqlite3.Connection, run: str):
        self._store, self._run = store, run
        query = "select run_uuid from tags where key = 'moon_rec.run' and value = ?"
        (self._uuid,) = store.execute(query, [run]).fetchone()
        self._rows = {}
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            found = store.execute(f"select * from {table} where run_uuid = ?", [self._uuid])
            columns = [one[0] for one in found.description]
            self._rows[table] = [dict(zip(columns, row, strict=True)) for row in found]

    def copy(self, cell: dict) -> None:
        """Add the cell's run; its own id and MLflow's are one."""
        new = {"moon_rec.run": cell["run"], "moon_rec.key": cell["key"], "mlflow.runName": cell["name"]}  # fmt: skip
        labels = {name: str(value) for name, value in cell["labels"].items()}
        values = {"tags": new, "params": labels, "metrics": cell["figures"], "latest_metrics": cell["figures"]}  # fmt: skip
        for table, rows in self._rows.items():
            for row in rows:
                made = row | {"run_uuid": cell["run"]}
                if table == "runs":
                    made["name"] = cell["name"]
                else:
                    name = str(row["key"])
                    made["value"] = values[table].get(plain_metric_name(name), row["value"])
                marks = ", ".join("?" for _ in made)
                self._store.execute(f"insert into {table} ({', '.join(made)}) values ({marks})", [*made.values()])  # fmt: skip


def _cell(kind: str, name: str, labels: dict, figures: dict[str, float], place: int) -> dict:
    key = f"{place:016x}"
    definitions = dict.fromkeys((one for one in figures if "." not in one), 0)
    return {"name": name, "kind": kind, "key": key, "run": digest_of([kind, key]) * 2, "labels": labels, "definitions": definitions, "figures": figures}  # fmt: skip


def _encoder_cells(points: pl.DataFrame) -> Iterator[dict]:
    rows = points.unique("encoder", maintain_order=True).iter_rows(named=True)
    for place, row in enumerate(rows):
        labels = {"encoder": row["encoder"], "path": row["path"], "is_trained": row["trained"], "origin": "trained here", "stages": "posttraining"}  # fmt: skip
        tokens = 1_000.0 * 2 ** int(row["encoder"].rpartition(" ")[2])
        labels |= {"pretraining_tokens": 1.0, "posttraining_tokens": tokens, "training_tokens": tokens + 1, "posttraining_pairs": 1.0, "negatives": 1.0}  # fmt: skip
        figures = {}
        for name in METRICS:
            half = 1.96 * row[f"{name}_error"]
            figures |= {name: row[name], f"{name}.low": row[name] - half, f"{name}.high": row[name] + half, f"{name}.count": 1_000.0}  # fmt: skip
        yield _cell("encoder", row["encoder"], labels, figures, place)


def _ranker_cells(points: pl.DataFrame) -> Iterator[dict]:
    for place, row in enumerate(points.iter_rows(named=True)):
        for role, figure in (("content", "auc"), ("permuted", "auc_permuted")):
            labels = {"ranker": row["ranker"], "role": role, "encoder": row["encoder"], "seed": int(row["seed"])}  # fmt: skip
            name = f"{row['encoder']} · {row['ranker']} · {role} · seed {row['seed']}"
            auc = row[figure]
            figures = {"auc": auc, "auc.low": auc - 0.01, "auc.high": auc + 0.01, "auc.count": 500.0}  # fmt: skip
            yield _cell("ranker", name, labels, figures, 100_000 + 2 * place + (role == "permuted"))


def _about(cells: list[dict], points: pl.DataFrame) -> dict:
    names = points["encoder"].unique(maintain_order=True).to_list()
    shop = {"name": "planted", "digest": SHOP, "source": "planted", "is_simulated": True, "cut_time": "2025-01-20", "test_time": "2025-01-25"}  # fmt: skip
    rankers = [{"name": one, "content": one, "baseline": "DIN", "permuted": f"{one} on permuted vectors"} for one in RANKERS]  # fmt: skip
    return {
        "format": 3, "name": "speed", "key": SHOP, "period": "test", "steering_metric": METRICS[0],
        "num_seeds": SEEDS, "seeds": list(range(SEEDS)), "seed": 0, "width": None, "level": 0.95,
        "rankers": rankers, "label": "clicked", "cold_below": 1, "engagement": "purchased", "shop": shop,
        "cells": cells, "definitions": ["planted"], "encoders": names, "chosen_encoder": names[-1],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main))
