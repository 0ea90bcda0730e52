"""What the cells of a study leave of the joint draws of users, and the one artifact that the study makes of it.

Every encoder and every ranker cell writes its figures under the same draws and splits of users (`moon_rec.user_draws`: the weights depend on users alone, so no cell needs another).
Format and reader: `exchange_rate.evidence.draw_file`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from exchange_rate.evidence.draw_file import DRAWS, SCHEMA
from exchange_rate.study.cell_files import CellResult, CellSpec
from moon_rec.files import atomic_file, digest_file
from moon_rec.user_draws import DrawCounts, UnitValues

OF_CELL = "draws"
"""The output's name in a cell's result, and in the settings that are part of its key."""


def draw_counts(settings: Mapping[str, Any]) -> DrawCounts:
    """How many draws and splits a cell's settings name."""
    return DrawCounts(**settings[OF_CELL])


def keep_encoder_draws(
    folder: Path, values: Iterable[UnitValues], settings: Mapping[str, Any]
) -> dict[str, str]:
    """Write an encoder's metrics under the draws into its cell's folder; the cell's outputs are what is returned."""
    counts, figures = draw_counts(settings), []
    for one in values:
        found = one.under_draws(counts)
        num_units = len(np.unique(one.ids))
        figures += [
            _figure(name, one.units, num_units, column, counts)
            for name, column in zip(one.names, found.T, strict=True)
        ]
    return _write(folder, figures)


def keep_ranker_draws(
    folder: Path, scores: pl.DataFrame, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Write a ranker's AUCs under the draws into its cell's folder; `scores` with the shop's own user ids."""
    from ranking.judging.drawn import scores_under_draws

    counts = draw_counts(settings)
    num_users = scores["user_id"].n_unique()
    found = scores_under_draws(scores, counts)
    figures = [_figure(name, "users", num_users, each, counts) for name, each in found.items()]
    return _write(folder, figures)


def gather_draws(
    done: Iterable[tuple[CellSpec, CellResult]], cells: Path, key: str
) -> tuple[Path, dict[str, Any]] | None:
    """All cells' figures in one file, and what `study.json` says of it; None where no cell has any.

    Args:
        done: finished cells; of those that several labels share the first counts.
        key: of the study: the file lies in a folder of that name beside the cells.
    """
    tables: dict[str, pl.DataFrame] = {}
    counts = DrawCounts()
    for spec, result in done:
        if OF_CELL in result.outputs and spec.key not in tables:
            table = pl.read_parquet(spec.folder(cells) / result.outputs[OF_CELL])
            tables[spec.key] = table.with_columns(cell=pl.lit(spec.key)).select(*SCHEMA)
            counts = draw_counts(spec.settings)
    if not tables:
        return None
    path = cells.parent / "draws" / key / DRAWS
    with atomic_file(path) as temporary:
        pl.concat(tables.values()).write_parquet(temporary)
    about = {"num_draws": counts.draws, "num_splits": counts.splits, "digest": digest_file(path)}
    return path, about


def _figure(
    name: str, units: str, num_units: int, values: np.ndarray, counts: DrawCounts
) -> dict[str, Any]:
    """A row of the table, of a figure under every row of weights."""
    return {
        "name": name,
        "units": units,
        "num_units": num_units,
        "value": float(values[0]),
        "draws": values[1 : 1 + counts.draws],
        "halves": values[1 + counts.draws :],
    }


def _write(folder: Path, figures: Sequence[dict[str, Any]]) -> dict[str, str]:
    schema = {name: kind for name, kind in SCHEMA.items() if name != "cell"}
    with atomic_file(folder / DRAWS) as temporary:
        pl.DataFrame(figures, schema=schema).write_parquet(temporary)
    return {OF_CELL: DRAWS}
