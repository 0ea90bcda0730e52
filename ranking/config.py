"""Settings of a ranker and of its training."""

from typing import Literal, get_args

from pydantic import Field, field_validator

from moon_rec.config import Config

Way = Literal["vector", "scores", "simtier", "sata", "dmf", "make", "cube", "semantic_ids"]
WAYS: tuple[Way, ...] = get_args(Way)


class RankerConfig(Config):
    """What is trained, and how. Its digest, with those of tables and vectors, names a ranker."""

    content: str = Field(
        default="none",
        description=f"how frozen vectors are used: none (ids only), or ways joined by +, of {', '.join(WAYS)}",
    )
    sequence: Literal["din", "dien", "bst"] = Field(
        default="din", description="how a target reads the ids of the past"
    )
    search: Literal["none", "content", "category"] = Field(
        default="none",
        description="what a search unit finds in the long history for each target: nothing, the nearest by "
        "content, or the newest of its category",
    )
    search_length: int = Field(default=50, ge=1, description="behaviours found for each target")
    recent_length: int = Field(
        default=50, ge=1, description="newest behaviours that all targets read beside those found"
    )
    embedding_dim: int = Field(default=16, ge=1, description="of every id feature")
    attention_dim: int = Field(
        default=32, ge=1, description="hidden width of DIN's activation unit"
    )
    tower: tuple[int, ...] = Field(default=(128, 64), min_length=1)
    projection_dim: int = Field(default=16, ge=1, description="frozen vectors before the predictor")
    scores: Literal["tiers", "vector", "both"] = "tiers"
    num_tiers: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.1, gt=0)
    learn_temperature: bool = True

    num_code_levels: int = Field(
        default=3, ge=1, description="semantic ids: levels of residual codes"
    )
    num_codes: int = Field(default=256, ge=2, description="semantic ids: codes a level")
    make_epochs: int = Field(
        default=3,
        ge=1,
        description="MAKE: epochs of the content model alone, before the joint training",
    )
    make_hidden: tuple[int, ...] = Field(
        default=(64, 32), min_length=1, description="MAKE: widths of the content model's layers"
    )

    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=512, ge=1, description="impressions a batch")
    learning_rate: float = Field(default=3e-3, gt=0, description="dense weights, AdamW")
    embedding_learning_rate: float = Field(
        default=3e-2, gt=0, description="tables, row-wise Adagrad"
    )
    weight_decay: float = Field(default=1e-4, ge=0, description="dense weights only")
    unknown_rate: float = Field(default=0.1, ge=0, lt=1, description="ids hidden in training")
    clip_norm: float | None = Field(
        default=None, gt=0, description="largest norm of all dense gradients together"
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="stop after so many epochs without a higher validation AUC; None trains all epochs",
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu", description="of training; auto takes a GPU where there is one"
    )
    seed: int = 0
    num_threads: int | None = Field(
        default=1,
        ge=1,
        description="torch threads; the batches' operations are small, so more gain little, and the last "
        "bits of a result depend on it; None leaves torch's",
    )

    @field_validator("content")
    @classmethod
    def _known_ways(cls, value: str) -> str:
        if value == "none":
            return value
        names = value.split("+")
        wrong = [name for name in names if name not in WAYS]
        if wrong or len(set(names)) < len(names):
            raise ValueError(
                f"wanted none, or different ones of {', '.join(WAYS)} joined by +, got {value!r}"
            )
        return "+".join(way for way in WAYS if way in names)

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways of using content, in a fixed order."""
        return tuple(way for way in WAYS if way in self.content.split("+"))

    @property
    def reads_vectors(self) -> bool:
        """Whether frozen vectors are needed."""
        return bool(self.ways) or self.search == "content"

    @property
    def batches_vectors(self) -> bool:
        """Whether the model itself reads vectors; semantic ids and the search unit need none in a batch."""
        return any(way != "semantic_ids" for way in self.ways)
