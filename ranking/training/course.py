"""The training of a ranker: order of the steps, rates, validation, checkpoints. `train.py` is its command.

Notable choices
- **The validation period chooses the number of epochs**: rankers with id tables overfit from the second or third on (papers.md,
  section 6). The epoch of the best validation AUC is kept, and `patience` stops early. `epochs=1` and `kept_epoch=last` look at nothing.
- Dense weights by AdamW, tables by row-wise Adagrad; in every epoch both rates fall linearly to a tenth and start again (warm restarts,
  Loshchilov and Hutter 2017): whichever epoch is kept, its training is one that has ended, and its first epoch is that of `epochs=1`.
- All randomness (weights, shuffling, hidden ids) follows from `RankerConfig.seed`, none from what went
  before; a training that goes on from a checkpoint therefore ends with the same bits (on a CPU).
- In a process group (torchrun), or on a GPU, the tables are sharded: see `distributed.py`.
"""

import math
import time
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import digest_of
from moon_rec.kept import note_begins_again, note_kept
from moon_rec.progress import Bar, progress, say
from moon_rec.seeds import seed_of
from moon_rec.signals import Finishing, finishing_steps
from moon_rec.vector_pairs import refuse_other_shop
from ranking.config import RankerConfig, refuse_whole_history
from ranking.content import ContentStores
from ranking.content.item_codes import fit_semantic_ids
from ranking.content.semantic_ids import SemanticIds
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.model import InputSizes, Ranker
from ranking.prefetch import prefetched
from ranking.search_unit import search_options
from ranking.trained import SCORING_ROWS, TrainedRanker, content_stores, threads
from ranking.training.checkpoint import Checkpoints, Position
from ranking.training.devices import is_launched, process_group, rank, training_device, world_size
from ranking.training.following import STEPS_BETWEEN_LINES, Following, Log, judge_of
from ranking.training.make_pretraining import pretrain_content_model
from ranking.training.optimiser import rate_factor
from ranking.training.resuming import resume, to_resume
from ranking.training.trainer import DivergedError, LocalTrainer, Trainer
from ranking.version import made_by

RATES = ("learning_rate", "embedding_learning_rate")
ABSURD = 1.2
"""A loss at the end that is so many times that of a guess by the click rate is told."""


def train_ranker(
    tables: RankingTables,
    config: RankerConfig | None = None,
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
    description: str = "train",
    checkpoints: Checkpoints | None = None,
    log: Log | None = None,
) -> TrainedRanker:
    """Train a ranker on the tables' train period, in this process alone.

    Args:
        tables: what `RankingTables.build` gives.
        config: of model and training.
        items, queries: frozen vectors by item_id and search_id; wanted exactly where the configuration
            reads vectors (queries may be None: the branches of queries are then left out).
        description: stands before the progress bar.
        checkpoints: where and how often to write the training down, and whether to go on from there.
        log: takes `loss` every 100 steps and `validation_auc` after each epoch.

    Raises:
        RankingError: vectors that are missing, not wanted, or do not fit; a checkpoint of another
            training.
        DivergedError: a loss or a weight that is no number.
    """
    assert world_size() == 1, "several processes train with train_on_rank"
    trained = train_on_rank(tables, config, items, queries, description, checkpoints, log)
    assert trained is not None
    return trained


def train_on_rank(
    tables: RankingTables,
    config: RankerConfig | None = None,
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
    description: str = "train",
    checkpoints: Checkpoints | None = None,
    log: Log | None = None,
) -> TrainedRanker | None:
    """`train_ranker` where several processes may train together; None on all ranks but the first."""
    config = config or RankerConfig()
    digests = [table.digest if table is not None else None for table in (items, queries)]
    any_rates = config.model_copy(update=dict.fromkeys(RATES, 0.0))
    digest = digest_of([any_rates.digest(), tables.digest, *digests])
    rates = {name: getattr(config, name) for name in RATES}
    position = Position(digest, made_by=made_by(), rates=rates)
    with threads(config.num_threads), ExitStack() as stack:
        device = training_device(config)
        if device.type != "cpu" or is_launched():
            stack.enter_context(process_group(device))
        found = to_resume(checkpoints, position)
        is_sharded = dist.is_initialized()
        model, content, semantic_ids = prepare(tables, config, items, queries, is_sharded)
        started = time.perf_counter()
        if found is None and "make" in config.ways:
            assert content is not None
            pretrain_content_model(model, tables, config, content, device, checkpoints, position)
        trainer = _trainer(model, config, device)
        if found is not None:
            position = resume(found, trainer, rates)
        before = position.rows
        course = _Course(trainer, tables, config, content, position, checkpoints, log)
        course.run(description if rank() == 0 else None)
        seconds = time.perf_counter() - started
        whole = trainer.whole()
    if whole is None:
        return None
    return TrainedRanker(
        model=whole.eval(),
        config=config,
        preparation=tables.preparation,
        sizes=whole.sizes,
        tables_digest=tables.digest,
        items=items,
        queries=queries,
        validation_auc=tuple(position.validation),
        rows_per_second=(position.rows - before) / seconds,
        semantic_ids=semantic_ids,
        rates_lowered=tuple(position.lowered),
        non_clicks=tables.non_clicks,
    )


def prepare(
    tables: RankingTables,
    config: RankerConfig,
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
    is_to_be_sharded: bool = False,
) -> tuple[Ranker, ContentStores | None, SemanticIds | None]:
    """An untrained ranker, and what it reads of the frozen vectors.

    Args:
        is_to_be_sharded: its tables are not made: `ShardedTrainer` makes the rows that a rank holds.

    Raises:
        RankingError: vectors that are missing, not wanted, or do not fit.
        ConfigError: a search that finds the whole history.
        TableError: vectors made from another shop.
    """
    refuse_whole_history(config, tables.config.history_length)
    refuse_other_shop(tables.shop, items, queries)
    semantic_ids = None
    if "semantic_ids" in config.ways and items is not None:
        semantic_ids = fit_semantic_ids(tables, items, config)
    content = content_stores(tables, config, items, queries, semantic_ids)
    sizes = input_sizes(tables, content, semantic_ids)
    model = new_ranker(tables, sizes, config, is_to_be_sharded)
    return model, content, semantic_ids


def input_sizes(
    tables: RankingTables, content: ContentStores | None, semantic_ids: SemanticIds | None = None
) -> InputSizes:
    """What the shapes of a ranker over these inputs are."""
    in_batches = content is not None and content.in_batches
    return InputSizes(
        num_embeddings=dict(tables.num_embeddings),
        num_context=tables.num_context,
        history_length=tables.config.history_length,
        query_history_length=tables.config.query_history_length,
        has_searches=tables.has_searches,
        content_dim=content.dim if content is not None and in_batches else 0,
        has_query_content=in_batches and content is not None and content.queries is not None,
        num_code_levels=semantic_ids.num_levels if semantic_ids is not None else 0,
        num_codes=semantic_ids.num_codes + 1 if semantic_ids is not None else 0,
    )


def new_ranker(
    tables: RankingTables, sizes: InputSizes, config: RankerConfig, is_to_be_sharded: bool = False
) -> Ranker:
    """An untrained ranker whose weights depend on the seed alone; torch's global stream is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.seed, "ranker weights"))
        click_rate = float(tables.periods["train"].labels.mean())
        return Ranker(sizes, config, click_rate, is_to_be_sharded)


def _trainer(model: Ranker, config: RankerConfig, device: torch.device) -> Trainer:
    if not dist.is_initialized():
        return LocalTrainer(model, config)
    from ranking.training.distributed import ShardedTrainer

    return ShardedTrainer(model, config, device)


class _Course:
    """The steps of a training in their order, from a position on."""

    def __init__(
        self,
        trainer: Trainer,
        tables: RankingTables,
        config: RankerConfig,
        content: ContentStores | None,
        position: Position,
        checkpoints: Checkpoints | None,
        log: Log | None,
    ):
        self.trainer, self.config, self.position = trainer, config, position
        self.checkpoints, self.log = checkpoints, log if rank() == 0 else None
        self.losses: list[Tensor] = []
        self.last: float | None = None
        # a look at each step costs a processor nothing; a GPU, or other ranks, would be waited for
        self.is_near = world_size() == 1 and not dist.is_initialized()
        options: dict[str, Any] = {"rank": rank(), "world_size": world_size()}
        options |= search_options(tables, config, content)
        seed, unknown = config.seed, config.unknown_rate
        self.train = Loader(tables, "train", config.batch_size, content, seed, unknown, **options)
        self.validation = Loader(tables, "validation", SCORING_ROWS, content, **options)
        self.following: Following | None = None
        if self.log is not None:
            is_alone = world_size() == 1
            judge = judge_of(trainer.predict, tables, content, options) if is_alone else None
            self.following = Following(self.log, judge)

    def run(self, description: str | None) -> None:
        """Train to the end; no description, no progress shown.

        Raises:
            DivergedError: a loss or a weight that is no number; on all ranks at the same step.
        """
        position = self.position
        note_begins_again(
            "no checkpoint is written yet" if self.checkpoints else "no --checkpoint-every is set"
        )
        if self.checkpoints is not None:
            note_kept(self.checkpoints.folder, self.checkpoints.latest_step)
        total = self.train.requests.num_rows * self.config.epochs
        with (
            progress(description, total) if description else nullcontext() as bar,
            finishing_steps(self.checkpoints is not None and self.is_near) as ending,
        ):
            if bar is not None:
                bar.advance(position.rows)
            while position.epoch < self.config.epochs and not self._is_patience_over():
                self._epoch(bar, ending)
                self._look_at_weights()
                if self.config.follows_validation:
                    self._validate()
                position.epoch, position.batch = position.epoch + 1, 0
        self._warn()
        if self.following is not None:
            self.following.end(position.step)
        self.trainer.restore_best()

    def _epoch(self, bar: Bar | None, ending: Finishing) -> None:
        """The rest of the epoch the position is in."""
        position = self.position
        rows = self.train.batch_rows(position.epoch)
        batches = prefetched(self.train.epoch(position.epoch, position.batch))
        steps = self.trainer.steps(batches)
        for batch_rows in rows[position.batch :].tolist():
            of_epoch = self.train.requests.num_rows
            self.trainer.set_rate(rate_factor(position.rows % of_epoch, of_epoch))
            loss = next(steps)
            position.batch += 1
            position.step += 1
            position.rows += batch_rows
            if bar is not None:
                bar.advance(batch_rows)
            self.losses.append(loss)
            if self.is_near and not math.isfinite(float(loss)):
                self._look(loss[None])
            if self.following is not None:
                self.following.step(position.step, loss, batch_rows)
            if position.step % STEPS_BETWEEN_LINES == 0:
                self._look_at_losses()
            self._save_where_due(ending)
        next(steps, None)

    def _look_at_losses(self) -> None:
        """End where one since the last look is no number; keep their mean."""
        losses = torch.stack(self.losses)
        self.losses.clear()
        self._look(losses)
        self.last = float(losses.mean())

    def _save_where_due(self, ending: Finishing) -> None:
        """A checkpoint where it is time for one, or where a signal asks to end."""
        if self.checkpoints is None:
            return
        ending.is_saving = ending.is_asked
        if self.position.step % self.checkpoints.every == 0 or ending.is_asked:
            self._look_at_weights()
            self.checkpoints.save(self.trainer.state(), self.position)
        if ending.is_asked:
            ending.stop()

    def _look(self, losses: Tensor) -> None:
        """End where one of the last steps' losses `(steps,)` is no number."""
        first = self.trainer.first_bad(losses)
        if first is not None:
            self._fail(self.position.step - len(losses) + first + 1, f"the loss is {losses[first]}")

    def _look_at_weights(self) -> None:
        """End where a weight is no number: before what is kept is replaced."""
        if self.losses:
            self._look(torch.stack(self.losses))
        if not self.trainer.is_finite():
            self._fail(self.position.step, "weights are not finite")

    def _fail(self, step: int, what: str) -> None:
        rates = ", ".join(f"{name} = {value:g}" for name, value in self.position.rates.items())
        how = "nothing is kept: begin again with"
        latest = self.checkpoints.latest() if self.checkpoints is not None else None
        if self.checkpoints is not None and latest is not None:
            self.checkpoints.mark_diverged(self.position.rates)
            how = f"{latest} is of before: go on from it with --resume and"
        raise DivergedError(
            f"training diverged at step {step:,}: {what}; {how} lower rates than {rates}"
        )

    def _warn(self) -> None:
        """Say where a loss ended above that of a guess."""
        if self.losses:
            self.last = float(torch.stack(self.losses).mean())
        rate = float(self.train.requests.labels.mean())
        of_guess = -sum(share * math.log(share) for share in (rate, 1 - rate) if share > 0)
        if rank() == 0 and self.last is not None and self.last > ABSURD * of_guess:
            say(
                f"warning: the loss ends at {self.last:.3f}, above the {of_guess:.3f} of a guess by the click rate: "
                "the rates are too high for these rows, or the rows too few"
            )

    def _validate(self) -> None:
        """Judge the epoch that is done and keep its weights if they are the best."""
        labels = self.validation.requests.labels
        found = self.position.validation
        scores = self.trainer.predict(self.validation)
        found.append(auc(labels, scores))
        if rank() == 0 and np.ptp(scores) == 0:
            say(
                f"warning: after epoch {len(found)} the ranker has collapsed: all scores are {scores[0]:.3g}; lower its rates"
            )
        if self.position.best_epoch == len(found) - 1:
            self.trainer.keep()
        if self.log is not None:
            self.log({"validation_auc": found[-1]}, self.position.step)

    def _is_patience_over(self) -> bool:
        best, patience = self.position.best_epoch, self.config.patience
        if best is None or patience is None:
            return False
        return len(self.position.validation) - 1 - best >= patience
