"""Settings of a ranker and of its training."""

from typing import Literal

from pydantic import Field

from moon_rec.config import Config


class RankerConfig(Config):
    """What is trained, and how. Its digest, with those of tables and vectors, names a ranker."""

    content: Literal["none", "cube"] = Field(default="none", description="none: DIN on ids only")
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

    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=512, ge=1, description="impressions a batch")
    learning_rate: float = Field(default=3e-3, gt=0, description="dense weights, AdamW")
    embedding_learning_rate: float = Field(
        default=3e-2, gt=0, description="tables, row-wise Adagrad"
    )
    weight_decay: float = Field(default=1e-4, ge=0, description="dense weights only")
    unknown_rate: float = Field(default=0.1, ge=0, lt=1, description="ids hidden in training")
    seed: int = 0
    num_threads: int | None = Field(
        default=1,
        ge=1,
        description="torch threads; the batches' operations are small, so more gain little, and the last "
        "bits of a result depend on it; None leaves torch's",
    )
