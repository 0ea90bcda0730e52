"""Which vectors a ranker was trained with, and which other tables may take their place.

Notable choices
- The table of training is known by its digest, and so are the tables that grew from it
  (`EmbeddingTable.extended`, `.extending`).
- Another one, such as that of a later catalogue embedded anew, may follow it if the same encoder could have
  made it: same encoder digest and width, and of the ids that both hold, a sample of `SAMPLE` has the same
  vectors, to the bit. So a permuted table, another precision and another encoder are refused.
- Where the encoder is not named, at least one id of the sample must be there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError, RankingError, first_line
from moon_rec.mapped_tensors import map_one, stored_tensors

SAMPLE = 256


@dataclass(frozen=True, repr=False, eq=False)
class VectorOrigin:
    """What is remembered of an embedding table.

    Attributes:
        digest, encoder: of the table.
        ids: `(sample,)` of it, evenly spaced; vectors: theirs, `(sample, dim)` float32.
    """

    digest: str
    encoder: str
    ids: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, table: EmbeddingTable) -> "VectorOrigin":
        """Remember a table."""
        rows = np.unique(np.linspace(0, len(table) - 1, min(SAMPLE, len(table))).astype(np.int64))
        return cls(table.digest, table.encoder, np.array(table.ids[rows]), table.take(rows))

    def refuse_other(self, table: EmbeddingTable, name: str, where: str) -> None:
        """Raise RankingError where `table` neither is the remembered one nor may follow it."""
        if self.digest in (table.digest, *table.grown_from):
            return
        reason = self._difference(table)
        if reason:
            raise RankingError(
                f"{where} was trained with {name} vectors {self.digest}, got {table.digest}: {reason}; "
                f"pass the same embedding table of {name}, or one of more {name} by the same encoder"
            )

    def _difference(self, table: EmbeddingTable) -> str:
        if table.encoder != self.encoder:
            return f"encoder {table.encoder or 'unknown'} is not {self.encoder or 'unknown'}"
        if table.dim != self.vectors.shape[1]:
            return f"dim {table.dim} is not {self.vectors.shape[1]}"
        found, present = table.lookup(self.ids)
        other = present & (found != self.vectors).any(axis=1)
        if other.any():
            return f"the vector of id {self.ids[other.argmax()]} differs"
        if not present.any() and not self.encoder:
            return "no id in common, and no encoder named"
        return ""

    def save(self, file: Path) -> None:
        """Write ids and vectors to a safetensors file; the two digests are for `ranker.json`."""
        save_file({"ids": self.ids, "vectors": self.vectors}, file)

    @classmethod
    def load(cls, file: Path, digest: str, encoder: str) -> "VectorOrigin":
        """Read a file that `save` wrote, beside the digests that `ranker.json` names.

        Raises:
            RankingError: another file than that.
        """
        try:
            found = stored_tensors(file)
            shapes = {name: one.shape for name, one in found.items()}
            kinds = {name: one.kind for name, one in found.items()}
        except (MoonRecError, OSError) as error:
            raise RankingError(first_line(error)) from None
        rows = shapes.get("ids", (-1,))[0]
        is_sample = kinds == {"ids": "I64", "vectors": "F32"} and len(shapes["vectors"]) == 2
        if not is_sample or shapes["vectors"][0] != rows or rows > SAMPLE:
            raise RankingError(
                f"{file} holds {shapes}, wanted up to {SAMPLE} ids and a vector of each; train the ranker again"
            )
        return cls(
            digest, encoder, *(np.array(map_one(file, found[name])) for name in ("ids", "vectors"))
        )
