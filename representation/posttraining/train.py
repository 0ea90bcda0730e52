"""Stage two: contrastive learning on shoppers' behaviour.

Attention is bidirectional, vectors are mean-pooled, and all weights are trained (MOON technical report, post-training), or low-rank adapters of them. What the loss
compares is `step.py`'s; which of the report's parts are used is the settings', by default its first part: InfoNCE over in-batch negatives, at every Matryoshka
width. Choices of ours, since the report is silent: the temperature is learned from .07 (never below .01), the loss goes from query to item only as in the paper's
formula, and each step is of one kind of pairs. The loop is `training/loop.py`'s; where a training goes on, curation is done anew, from the same start.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from moon_rec.errors import ConfigError
from moon_rec.shop import Shop
from representation.co_augmentation.files import read_augmentation
from representation.co_augmentation.shown import check_co_augmentation
from representation.encoder import ProductEncoder, open_trainable
from representation.posttraining.alignment import (
    check_core_region,
    check_mixture_of_experts,
    check_visual_weight,
    compresses,
    experts_of,
)
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig, refuse_idle
from representation.posttraining.momentum import MomentumEncoder
from representation.posttraining.outcome import Outcome
from representation.posttraining.pair_batch import PairBatch
from representation.posttraining.pairs import CuratedPairs
from representation.posttraining.preparation import Prepared, prepare, readable
from representation.posttraining.start_vectors import open_vectors
from representation.posttraining.step import ContrastiveStep
from representation.posttraining.teacher import Teacher, check_teacher
from representation.recipes.mark import RecipeMark
from representation.trainable import Remembers, Trainable
from representation.training.added_fusion import add_fusion, check_fusion
from representation.training.distributed import (
    SharedEncoder,
    average_gradients,
    check_shares,
    mean_of_processes,
    rank,
    world_size,
)
from representation.training.divergence import warn_of_chance, warn_of_collapse
from representation.training.loop import Checkpoint, train
from representation.training.optimisation import Log
from representation.training.stage import Stage
from representation.training.trained import check_features

LOG_FILE = "posttraining_log.json"


def posttrain(
    shop: Shop,
    out: str | Path,
    config: PosttrainConfig,
    start: str | Path | None = None,
    on_log: Log | None = None,
    vectors: str | Path | None = None,
    overwrite: bool = False,
    *,
    teacher: str | Path | None = None,
    pairs: str | Path | None = None,
    features: str | Path | None = None,
    recipe: RecipeMark | None = None,
) -> list[Checkpoint]:
    """Train on the pairs of the log before the cut, and save the encoder at `out`; see `training.loop.train`.

    Args:
        start: an encoder's folder, as a rule the pretrained one; None starts from `config.backbone`.
        on_log: told loss, accuracy within the batch, temperature, negatives and their ages every `config.log_every` steps, and before the first, as step 0, what
            curation did; all of it is also in `out/posttraining_log.json`.
        vectors: folder of `representation.embed` with the vectors that curation measures likeness by; None: computed with the encoder that training starts from.
        overwrite: replace encoders that stand at `out` and where checkpoints will be.
        pairs: folder of `representation.curate` whose pairs are trained on; None: all of the log, or what `config.curation` leaves of them.
        features: folder where what frozen towers make of the shop's texts and pictures is kept, and taken up from; None: of locked pairs `OUT.features`; of composed
            encoders, whose towers hand on many numbers a picture, nothing is kept. Read where towers stay as they are.
        teacher: folder of tables as `representation.embed` writes them, of another model, that `score_distillation` and `vector_distillation` learn from.
        recipe: that the settings are of; what is saved says so.

    Raises:
        As `train`.
        ConfigError: a teacher that nothing is asked of, or none where one is.
    """
    check_teacher(config, teacher)
    stage = PostTraining(shop, config, vectors, pairs, teacher, features, Path(out))
    augmentation = None if config.co_augmentation is None else config.co_augmentation.folder
    inputs = (vectors, pairs, teacher, augmentation)
    return train(stage, shop, out, config, start, on_log, overwrite, inputs=inputs, recipe=recipe)


class PostTraining(Stage[PairBatch, Outcome]):
    """Post-training as a stage of the loop; arguments as of `posttrain`."""

    title, log_file = "post-train", LOG_FILE

    def __init__(
        self,
        shop: Shop,
        config: PosttrainConfig,
        vectors: str | Path | None = None,
        pairs: str | Path | None = None,
        teacher: str | Path | None = None,
        features: str | Path | None = None,
        out: Path | None = None,
    ) -> None:
        self._shop, self._config, self._vectors = shop, config, vectors
        self._out, self._features = out, features
        self._curated = None if pairs is None else CuratedPairs(pairs, shop, config)
        self._taught = None if teacher is None else open_vectors(shop, teacher)
        augmented = config.co_augmentation
        self._augmentation = None if augmented is None else read_augmentation(augmented.folder, shop)  # fmt: skip
        self._prepared: Prepared
        self._step: ContrastiveStep
        self._slow: MomentumEncoder | None = None

    def open(self, start: str | Path) -> Trainable:
        return open_trainable(start)

    def reads(self) -> dict[str, str]:
        found = {} if self._curated is None else {"pairs": self._curated.digest}
        if self._augmentation is not None:
            found["co_augmentation"] = self._augmentation.digest
        taught = zip(("teacher_items", "teacher_queries"), self._taught or (), strict=False)
        return found | {name: table.digest for name, table in taught}

    def check(self, encoder: Trainable) -> None:
        refuse_idle(self._config, encoder.widths)
        check_mixture_of_experts(self._config, encoder)
        check_core_region(self._config, encoder)
        check_fusion(self._config, encoder)
        check_co_augmentation(self._config.co_augmentation, encoder)
        check_visual_weight(self._config, encoder)
        readable(self._config, encoder)
        check_features(encoder, self._config, self._features)
        if self._config.gradient_checkpointing and not isinstance(encoder.module, PreTrainedModel):
            raise ConfigError(
                "gradient_checkpointing = True changes nothing: of a locked pair small projections alone are trained; leave it out"
            )

    def rebuild(self, encoder: Trainable) -> None:
        if self._config.core_region is not None:
            assert isinstance(encoder, ProductEncoder)
            encoder.add_core_region(self._config.core_region)
        if self._config.experts is not None:
            assert isinstance(encoder, ProductEncoder)
            encoder.add_experts(self._config.experts, self._config.seed)
        add_fusion(self._config, encoder)

    def prepare(self, encoder: Trainable) -> Batches:
        self._prepared = prepare(
            self._shop,
            self._config,
            encoder,
            self._vectors,
            rank(),
            world_size(),
            self._features_folder(encoder),
            self._curated,
            self._augmentation,
        )
        kinds = self._prepared.batches.schedule.pairs.values()
        check_shares(min(self._config.batch_size, *(rows.height for rows in kinds)), "pairs")
        return self._prepared.batches

    def _features_folder(self, encoder: Trainable) -> Path | None:
        """Where outputs of frozen towers are kept; None: nowhere, or in memory alone."""
        if self._features is not None:
            return Path(self._features)
        is_small = isinstance(encoder, Remembers) and encoder.features_are_small
        return self._out.with_name(f"{self._out.name}.features") if is_small and self._out else None

    def begin(self, encoder: Trainable) -> None:
        config = self._config
        if config.momentum and config.has_queue:
            self._slow = MomentumEncoder(encoder, config.momentum)
        known, device = self._prepared.known, encoder.device
        teacher = Teacher(*self._taught, encoder.widths[-1], device) if self._taught else None
        self._step = ContrastiveStep(
            config,
            encoder.widths,
            known,
            device,
            world_size(),
            teacher,
            experts_of(encoder),
            compresses(encoder),
        )

    def work(self, encoder: Trainable) -> Callable[..., Any] | None:
        if experts_of(encoder) is None and not compresses(encoder):
            return None
        assert isinstance(encoder, ProductEncoder)
        return lambda *sides: [encoder.embed_for_losses(side) for side in sides]

    def backward(
        self, batch: PairBatch, step: int, shared: SharedEncoder, dtype: torch.dtype
    ) -> Outcome:
        slow = self._slow.embed if self._slow is not None else None
        found = self._step.backward(batch, step, shared.embed, dtype, shared.context_of_last, slow)
        average_gradients([value for _, value in self._step.parameters()])
        return found

    def after_update(self) -> None:
        if self._slow is not None:
            self._slow.follow()

    def parameters(self) -> list[tuple[str, Tensor]]:
        return self._step.parameters()

    def numbers(self, found: Outcome) -> dict[str, float]:
        return {
            "batch_accuracy": mean_of_processes(found.right).item(),
            **self._step.numbers(),
            **found.numbers(),
            "mean_cosine": mean_of_processes(found.likeness).item(),
        }

    def numbers_before(self) -> dict[str, float]:
        curated = self._prepared.curated
        return curated.metrics() if curated is not None else {}

    def facts(self) -> dict[str, Any]:
        curated = self._prepared.curated
        return {"curation": curated.as_dict()} if curated is not None else {}

    def warn(self, numbers: Mapping[str, float], encoder: Trainable) -> None:
        warn_of_collapse(numbers["mean_cosine"])
        config = self._config
        if config.loss == "infonce" and not config.triplet_weight and config.alignment is None:
            warn_of_chance(numbers["loss"], math.log1p(numbers["negatives"]))

    def state_dict(self) -> dict[str, Tensor]:
        past = self._step.past.state_dict() if self._step.past is not None else {}
        return past | (self._slow.state_dict() if self._slow is not None else {})

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if self._step.past is not None:
            self._step.past.load_state_dict(state)
        if self._slow is not None:
            self._slow.load_state_dict(state)
