"""Raw values -> rows of an embedding table. Row 0 is "unknown".

Texts are taken in their normal form (`moon_rec.texts`): two that look alike have one row, and one that shows nothing is no value.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.files import DIGEST_DIGITS
from moon_rec.texts import has_text, normal_text

UNKNOWN = 0


@dataclass(frozen=True)
class Vocabulary:
    """The values that training knows, ascending; value k has row k + 1.

    What is not among them (null, or first seen after the cut) has row 0, which the ranker trains by
    hiding known ids at random (`RankerConfig.unknown_rate`).
    """

    values: pl.Series

    @classmethod
    def of(cls, values: pl.Series, min_count: int = 1) -> "Vocabulary":
        """The distinct non-null values that occur at least `min_count` times."""
        values = _normal(values)
        counts = values.drop_nulls().rename("value").to_frame().group_by("value").len()
        known = counts.filter(pl.col("len") >= min_count)["value"]
        return cls(known.sort())

    @property
    def num_rows(self) -> int:
        """Rows of the embedding table, the unknown row included."""
        return self.values.len() + 1

    def rows(self, values: pl.Series) -> np.ndarray:
        """Row of each value, int64 `(values,)`; 0 where unknown."""
        known = pl.DataFrame(
            {"value": self.values, "row": np.arange(1, self.num_rows, dtype=np.int64)},
            schema={"value": self.values.dtype, "row": pl.Int64},
        )
        asked = _normal(values.cast(self.values.dtype)).rename("value").to_frame()
        found = asked.join(known, on="value", how="left", maintain_order="left")
        return found["row"].fill_null(UNKNOWN).to_numpy().copy()

    def digest(self) -> str:
        """16 hex digits of the values in order."""
        state = hashlib.sha256(str(self.values.dtype).encode())
        if self.values.dtype == pl.String:
            state.update(self.values.str.len_bytes().to_numpy().astype(np.int64).tobytes())
            state.update("".join(self.values).encode())
        else:
            state.update(self.values.cast(pl.Int64).to_numpy().tobytes())
        return state.hexdigest()[:DIGEST_DIGITS]


def _normal(values: pl.Series) -> pl.Series:
    """Texts in normal form, null where nothing is seen; other values as they are."""
    if values.dtype != pl.String:
        return values
    column = values.rename("value").to_frame()
    return column.select(pl.when(has_text("value")).then(normal_text("value"))).to_series()
