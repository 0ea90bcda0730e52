"""Settings of a ranker and of its training."""

from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator

from moon_rec.bounds import (
    MOST_IN_MEMORY,
    BatchRows,
    Epochs,
    Layers,
    LayerWidths,
    LearningRate,
    Length,
    Norm,
    Seed,
    ShareBelowOne,
    Temperature,
    Threads,
    WeightDecay,
    Width,
)
from moon_rec.config import Config, CountsWhen, Rules, nearest
from moon_rec.errors import ConfigError

Way = Literal["vector", "scores", "simtier", "sata", "dmf", "make", "cube", "semantic_ids"]
WAYS: tuple[Way, ...] = get_args(Way)


def _read_by(*ways: Way) -> CountsWhen:
    named = " and ".join(ways)
    return CountsWhen(
        lambda config: not set(ways).isdisjoint(config.ways),
        f"only {named} read{'s' * (len(ways) == 1)} it, and content = {{self.content!r}}; leave it out or set content",
    )


def _searches(config: "RankerConfig") -> bool:
    return config.search != "none"


SETTINGS = "ranking.config:RankerConfig"
FIRST_SETTINGS = {
    "epochs": "most passes over the train rows",
    "batch_size": "impressions a batch",
    "learning_rate": "of dense weights, AdamW",
    "embedding_learning_rate": "of tables, row-wise Adagrad",
    "embedding_dim": "width of every id feature",
    "sequence": "din, dien or bst",
}
"""What most users change of a ranker, with a word on each."""


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
    search_length: Length = Field(default=50, description="behaviours found for each target")
    recent_length: Length = Field(
        default=50, description="newest behaviours that all targets read beside those found"
    )
    embedding_dim: Width = Field(default=16, description="of every id feature")
    attention_dim: Width = Field(
        default=32,
        description="hidden width of the sequence model: DIN's activation unit, DIEN's and BST's states",
    )
    tower: LayerWidths = Field(default=(128, 64), description="widths of the predictor's layers")
    projection_dim: Width = Field(
        default=16, description="vector, cube: frozen vectors before the predictor"
    )
    scores: Literal["tiers", "vector", "both"] = Field(
        default="tiers",
        description="cube: similarities as a histogram, as a vector, newest first, or both",
    )
    num_tiers: Width = Field(default=20, description="cube: bins of the histogram")
    temperature: Temperature = Field(
        default=0.1, description="cube: similarities are divided by it; where it starts"
    )
    learn_temperature: bool = Field(default=True, description="cube: or the temperature stays")

    num_code_levels: Layers = Field(default=3, description="semantic ids: levels of residual codes")
    num_codes: int = Field(
        default=256, ge=2, le=MOST_IN_MEMORY, description="semantic ids: codes a level"
    )
    make_epochs: Epochs = Field(
        default=3, description="MAKE: epochs of the content model alone, before the joint training"
    )
    make_hidden: LayerWidths = Field(
        default=(64, 32), description="MAKE: widths of the content model's layers"
    )

    epochs: Epochs = Field(
        default=4,
        description="most passes over the train rows; the validation period chooses after which the weights are kept",
    )
    kept_epoch: Literal["best", "last"] = Field(
        default="best",
        description="which weights are kept: those after the epoch of the best validation AUC, or after the last, for exactly `epochs` passes",
    )
    batch_size: BatchRows = Field(default=512, description="impressions a batch")
    learning_rate: LearningRate = Field(default=3e-3, description="dense weights, AdamW")
    embedding_learning_rate: LearningRate = Field(
        default=3e-2, description="tables, row-wise Adagrad"
    )
    weight_decay: WeightDecay = Field(default=1e-4, description="dense weights only")
    unknown_rate: ShareBelowOne = Field(default=0.1, description="ids hidden in training")
    clip_norm: Norm | None = Field(
        default=None, description="largest norm of all dense gradients together"
    )
    patience: Epochs | None = Field(
        default=1,
        description="stop after so many epochs without a higher validation AUC; None trains all epochs",
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu", description="of training; auto takes a GPU where there is one"
    )
    seed: Seed = Field(default=0, description="of weights, shuffling and hidden ids")
    num_threads: Threads | None = Field(
        default=1,
        description="torch threads; the batches' operations are small, so more gain little, and the last "
        "bits of a result depend on it; None leaves torch's",
    )

    counts_when: ClassVar[Rules] = {
        "search_length": CountsWhen(_searches, "only a search unit reads it; set search"),
        "recent_length": CountsWhen(_searches, "only a search unit reads it; set search"),
        "projection_dim": _read_by("vector", "cube"),
        "scores": _read_by("cube"),
        "num_tiers": CountsWhen(
            lambda config: "cube" in config.ways and config.scores != "vector",
            "only cube with scores=tiers or both reads it (content = {self.content!r}, "
            "scores = {self.scores!r}); leave it out or set these",
        ),
        "temperature": _read_by("cube"),
        "learn_temperature": _read_by("cube"),
        "num_code_levels": _read_by("semantic_ids"),
        "num_codes": _read_by("semantic_ids"),
        "make_epochs": _read_by("make"),
        "make_hidden": _read_by("make"),
        "kept_epoch": CountsWhen(
            lambda config: config.epochs > 1, "one epoch is the best and the last; raise epochs"
        ),
        "patience": CountsWhen(
            lambda config: config.epochs > 2 and config.kept_epoch == "best",
            "a training of epochs = {self.epochs} with kept_epoch = {self.kept_epoch!r} cannot stop before its end; raise epochs, or keep the best",
        ),
    }

    @field_validator("content")
    @classmethod
    def _known_ways(cls, value: str) -> str:
        if value == "none":
            return value
        names = value.split("+")
        wrong = [name for name in names if name not in WAYS]
        if wrong or len(set(names)) < len(names):
            meant = nearest(wrong[0], WAYS) if wrong else ""
            raise ValueError(
                f"wanted none, or different ones of {', '.join(WAYS)} joined by +{meant}"
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
    def follows_validation(self) -> bool:
        """Whether the validation period chooses the epoch."""
        return self.epochs > 1 and self.kept_epoch == "best"

    @property
    def batches_vectors(self) -> bool:
        """Whether the model itself reads vectors; semantic ids and the search unit need none in a batch."""
        return any(way != "semantic_ids" for way in self.ways)

    def without_content(self, **changes: Any) -> "RankerConfig":
        """The ranker that reads no vectors and is otherwise the same, but for `changes`."""
        changes |= {"content": "none"} | ({"search": "none"} if self.search == "content" else {})
        return RankerConfig.reading(**self.model_dump() | changes)


def refuse_whole_history(config: RankerConfig, history_length: int) -> None:
    """Refuse a search by content that finds all there is.

    Raises:
        ConfigError: histories are no longer than what is found of them.
    """
    if config.search == "content" and history_length <= config.search_length:
        raise ConfigError(
            f"search = 'content' changes nothing: of a history of history_length = {history_length} it finds search_length = {config.search_length}, so all; "
            "lengthen the history (--feature history_length=500) or lower search_length"
        )
