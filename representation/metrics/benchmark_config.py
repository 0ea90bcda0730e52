"""Settings of the benchmark."""

from typing import ClassVar

from pydantic import Field, field_validator

from moon_rec.bounds import BatchRows, Count, CountOrZero, Cuts, InnerShare, Resamples, Seed
from moon_rec.config import Config, CountsWhen, Rules


class BenchmarkConfig(Config):
    """How much is measured, and how.

    MBE's own wording of labels, its k for each table and its count of queries are not public; the defaults are ours.
    """

    ks: Cuts = Field(
        default=(1, 5, 10, 50),
        description="of recall@k, share of relevant@k, precision@k and capped recall@k",
    )
    headline_k: Count = Field(
        default=10, description="the k of the short tables, the picture and the collapse check"
    )
    num_queries: Count | None = Field(default=2000, description="most queries of a type; null: all")
    num_labelled: Count | None = Field(
        default=2000, description="most products classified; null: all"
    )
    num_products: Count | None = Field(
        default=None, description="a gallery cut to so many, for a slow encoder; null: whole"
    )
    num_attributes: CountOrZero = Field(
        default=10, description="the attribute names that most products have; MBE has ten"
    )
    fewest_labelled: Count = Field(
        default=20, description="a label task of fewer products is not measured"
    )
    category_wording: str = Field(
        default="{label}", description="text of a category; {label}, {path}, {name} are filled in"
    )
    attribute_wording: str = Field(
        default="{label}", description="text of an attribute's value; {label}, {name} are filled in"
    )
    collapse_share: InnerShare = Field(
        default=0.1,
        description="a modality that alone reaches less than this share of both together has collapsed",
    )
    num_resamples: Resamples = Field(default=1000, description="of the bootstrap")
    batch_size: BatchRows = Field(default=256, description="rows a forward pass")
    seed: Seed = Field(default=0, description="of what is drawn, and of the bootstrap")

    counts_when: ClassVar[Rules] = {
        "attribute_wording": CountsWhen(
            lambda config: config.num_attributes > 0,
            "num_attributes is 0; leave it out or raise that",
        )
    }

    @field_validator("category_wording", "attribute_wording")
    @classmethod
    def _has_label(cls, wording: str) -> str:
        try:
            filled = wording.format(label="x", path="y", name="z")
        except (KeyError, IndexError, ValueError):
            raise ValueError("only {label}, {path} and {name} can be filled in") from None
        if filled == wording.format(label="u", path="v", name="z"):
            raise ValueError("it must hold {label} or {path}, or all labels read alike")
        return wording

    @property
    def all_ks(self) -> tuple[int, ...]:
        """All cuts measured, rising."""
        return tuple(sorted({*self.ks, self.headline_k}))
