"""What a study's cells say of themselves, read in one place: which encoder, which ranker in which role, against what."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from exchange_rate.analysis.quantities import SEGMENTS, by_segment, tracked
from exchange_rate.analysis.results import BySegment, Number
from exchange_rate.evidence.records import Study, table_of
from exchange_rate.names import BASELINE, CONTENT, PERMUTED, REFERENCE, Role


@dataclass(frozen=True)
class Cell:
    """A cell that counts.

    Attributes:
        kind, name, run: of the cell.
        labels: what tells it apart from others of its kind.
        metrics: figures of its run.
        words: figure -> its definition.
    """

    kind: str
    name: str
    run: str
    labels: dict[str, Any]
    metrics: dict[str, float]
    words: dict[str, str]

    def number(self, name: str) -> Number:
        """An estimate, with the definition that it was measured under."""
        return tracked(self.metrics, name, self.words.get(name, ""))

    def by_segment(self, name: str) -> BySegment:
        """An estimate over all, warm and cold items."""
        return by_segment({one: self.number(f"{name}{end}") for one, end in SEGMENTS.items()})


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a study, and the ranker of which the headline speaks.

    Attributes:
        study: as it was read.
        ranker: name in the plan of the headline's ranker.
    """

    study: Study
    ranker: str

    @classmethod
    def of(cls, study: Study, ranker: str | None = None) -> "Cells":
        """Of the ranker of that name; None takes the plan's first."""
        return cls(study, ranker or study.about["rankers"][0]["name"])

    @cached_property
    def _by_kind(self) -> dict[str, list[Cell]]:
        texts, found = self.study.about["definitions"], {}
        for cell in self.study.about["cells"]:
            words = {name: str(texts[place]) for name, place in cell["definitions"].items()}
            metrics = self.study.runs[cell["run"]]["metrics"]
            found.setdefault(cell["kind"], []).append(
                Cell(cell["kind"], cell["name"], cell["run"], cell["labels"], metrics, words)
            )
        return found

    def __iter__(self) -> Iterator[Cell]:
        return (cell for cells in self._by_kind.values() for cell in cells)

    @property
    def encoders(self) -> list[Cell]:
        """In the plan's order."""
        return self._by_kind.get("encoder", [])

    @property
    def comparisons(self) -> list[Cell]:
        """Of all rankers."""
        return self._by_kind.get("comparison", [])

    def definition(self, metric: str) -> str:
        """What a metric of the encoders is; empty where no encoder has it."""
        return next((one.words[metric] for one in self.encoders if metric in one.words), "")

    @property
    def rankers(self) -> list[dict[str, Any]]:
        """Names of the rankers (`exchange_rate.names.RankerNames`), the headline's first."""
        about = self.study.about["rankers"]
        return sorted(about, key=lambda one: one["name"] != self.ranker)

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row a ranker run, of all rankers and roles."""
        return table_of(self.study)

    def runs(self, ranker: str, role: Role) -> pl.DataFrame:
        """The rows of one ranker in one role."""
        return self.table.filter(pl.col("ranker") == ranker, pl.col("role") == role)

    def comparison(self, ranker: str, role: Role, against: Role) -> dict[str, Cell]:
        """Encoder -> the comparison on it."""
        wanted = (ranker, role, against)
        return {
            one.labels["encoder"]: one
            for one in self.comparisons
            if (one.labels["ranker"], one.labels["role"], one.labels["against"]) == wanted
        }

    def references(self, ranker: str) -> list[Cell]:
        """The comparisons of every reference with that ranker's baseline."""
        wanted = (ranker, REFERENCE, BASELINE)
        return [
            one
            for one in self.comparisons
            if (one.labels["ranker"], one.labels["role"], one.labels["against"]) == wanted
        ]

    @cached_property
    def chosen(self) -> str:
        """The encoder that rankers are compared on: the one that validation chose, else the plan's last that counts."""
        return self.study.about["chosen_encoder"] or self.encoders[-1].labels["encoder"]

    def over_permuted(self, ranker: str) -> pl.DataFrame:
        """One row an encoder and seed that have both: `encoder`, `seed`, `auc_over_permuted`."""
        true, permuted = (
            self.runs(ranker, role).select("encoder", "seed", pl.col("auc").cast(pl.Float64))
            if len(self.runs(ranker, role))
            else _NO_RUN
            for role in (CONTENT, PERMUTED)
        )
        both = true.join(
            permuted, on=["encoder", "seed"], suffix="_permuted", maintain_order="left"
        )
        gain = pl.col("auc") - pl.col("auc_permuted")
        return both.select("encoder", "seed", auc_over_permuted=gain)


_NO_RUN = pl.DataFrame(schema={"encoder": pl.String, "seed": pl.Int64, "auc": pl.Float64})
