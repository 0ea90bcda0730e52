"""What curation leaves, and what each step did: as a table, as metrics, as plain values."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.table import Table

from moon_rec.shown import as_console_text

if TYPE_CHECKING:
    from representation.posttraining.mixture import QueryKind


@dataclass(frozen=True)
class CurationStep:
    """One step.

    Attributes:
        name: of `steps.STEPS`.
        rows_in, rows_out: pairs of all kinds of query before and after it.
        why: what it dropped and what it could not judge, in words.
        by_kind: rows in and out by kind of query.
        figures: further numbers, such as the distance of the category mix from exposure before and after.
        seconds: how long it took.
    """

    name: str
    rows_in: int
    rows_out: int
    why: str
    by_kind: dict[str, tuple[int, int]]
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Curated:
    """Pairs by kind of query, and the steps that led to them.

    Attributes:
        mixes: by kind of query: category, before, after and exposure, each a share; for seeing what became of the mix.
        distances: by kind of query: total variation between the mix of pairs and that of exposure, before all steps and after; NaN without pairs.
    """

    pairs: "dict[QueryKind, pl.DataFrame]"
    steps: list[CurationStep]
    mixes: dict[str, pl.DataFrame]
    distances: dict[str, tuple[float, float]]

    def table(self, title: str = "curation of pairs") -> Table:
        """Pairs left after each step, by kind of query and in all; then how far each kind's mix of categories is from that of impressions."""
        narrow = (0, 0, 0, 1)  # so that it fits 80 columns
        table = Table(title=as_console_text(title), padding=narrow)
        table.add_column("pairs left after", no_wrap=True)
        kinds = list(self.pairs)
        for kind in (*kinds, "all"):
            table.add_column(kind.replace("+", "\n+"), justify="right", no_wrap=True)
        table.add_column("kept", justify="right")
        if self.steps:
            first = self.steps[0]
            started = [f"{first.by_kind[kind][0]:,}" for kind in kinds]
            table.add_row("(before)", *started, f"{first.rows_in:,}", "")
        for step in self.steps:
            left = [f"{step.by_kind[kind][1]:,}" for kind in kinds]
            share = f"{step.rows_out / step.rows_in:.1%}" if step.rows_in else "-"
            table.add_row(step.name, *left, f"{step.rows_out:,}", share)
        table.add_section()
        for place, when in enumerate(("before", "after")):
            far = [f"{self.distances[kind][place]:.3f}" for kind in kinds]
            table.add_row(f"distance {when}", *far, "", "")
        return table

    def reasons(self) -> list[str]:
        """A line a step: what it dropped and why."""
        return [f"{step.name}: {step.why}" for step in self.steps]

    def metrics(self) -> dict[str, float]:
        """Figures for MLflow, such as `curation/merge_spu/rows_out` and `curation/merge_spu/text/rows_out`."""
        found: dict[str, float] = {}
        for step in self.steps:
            start = f"curation/{step.name}"
            found |= {f"{start}/rows_in": step.rows_in, f"{start}/rows_out": step.rows_out}
            found |= {f"{start}/{name}": value for name, value in step.figures.items()}
            for kind, (rows_in, rows_out) in step.by_kind.items():
                place = f"{start}/{kind.replace('+', '_')}"
                found |= {f"{place}/rows_in": rows_in, f"{place}/rows_out": rows_out}
        for kind, (before, after) in self.distances.items():
            place = f"curation/{kind.replace('+', '_')}"
            found |= {f"{place}/distance_before": before, f"{place}/distance_after": after}
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "steps": [
                {
                    **asdict(step),
                    "by_kind": {kind: [*rows] for kind, rows in step.by_kind.items()},
                    "seconds": round(step.seconds, 3),
                }
                for step in self.steps
            ],
            "distance_from_exposure": {
                "definition": "total variation between the pairs' mix of categories and that of impressions before the cut",
                **{kind: list(pair) for kind, pair in self.distances.items()},
            },
        }
