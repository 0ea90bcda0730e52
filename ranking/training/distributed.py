"""Training with sharded tables: TorchRec's DistributedModelParallel on several processes or a GPU.

Notable choices
- TorchRec's planner spreads the tables row-wise or table-wise; a process holds its shards alone. Their
  update, FBGEMM's EXACT_ROWWISE_ADAGRAD, is fused into the backward pass; dense weights are copies kept
  equal by DDP and moved by AdamW. Data-parallel tables are left out: they fail on CPUs (TorchRec 1.8).
- Ranks have slices of unequal size; each rank's mean loss is weighted (`Batch.loss_weight`), so the ranks'
  mean, which DDP and TorchRec take, is the mean over the global batch and so is its gradient.
- The lookup stands before everything else in `_WithLoss`, so TorchRec's pipeline (`TrainPipelineSparseDist`)
  can send the next batch's ids around while this one is computed. It runs on several GPUs; on one, where
  nothing is sent, the plain pipeline is 7 % faster with a quarter less memory (docs/results.md), and so on CPUs.
- Each rank makes the rows that it holds, with the numbers that one process would have given them (see
  `start_weights`); the first gathers the whole at the end. What lies between, and the checkpoints, never need a
  table in one place.
- Dense weights and activations of the forward are bfloat16 on a GPU under autocast; tables, losses and
  optimisers stay float32.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torch.distributed._shard.sharded_tensor.shard import Shard
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embedding_types import EmbeddingComputeKernel
from torchrec.distributed.model_parallel import (
    DefaultDataParallelWrapper,
    DistributedModelParallel,
)
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import (
    HardwareConfig,
    KernelConfig,
    Topology,
    TopologyFactory,
    TrainerConfig,
)
from torchrec.distributed.train_pipeline import (
    TrainPipeline,
    TrainPipelineBase,
    TrainPipelineSparseDist,
)
from torchrec.distributed.types import ShardingPlan, ShardingType
from torchrec.sparse.jagged_tensor import JaggedTensor
from torchrec.streamable import Pipelineable

from moon_rec.progress import progress
from ranking.batch import Batch
from ranking.config import RankerConfig
from ranking.loader import Loader
from ranking.model import Ranker
from ranking.start_weights import StartWeights
from ranking.training.optimiser import EPSILON, DenseOptimiser
from ranking.training.trainer import Trainer, mean_loss

Pipelineable.register(Batch)
# TorchRec 1.8 gives shards as ShardedTensor, which torch 2.13 is to drop at each look at one: theirs to mend
warnings.filterwarnings("ignore", message="Please use DTensor instead", category=FutureWarning)

RESERVED = 0.15
"""Share of a device's memory that the planner leaves to all but the tables; TorchRec's default."""

_HEAD = "head.ranker."


class ShardedTrainer(Trainer):
    """This rank's side of a training with sharded tables; all ranks call all methods together.

    Args:
        model: the same on all ranks, its tables made or to be made here; taken apart.
        config: of model and training.
        device: `cpu` or this rank's GPU.
        pipelined: TorchRec's sparse pipeline; None where there are several GPUs.
        is_half: bfloat16 in the forward; None where the device is a GPU.
    """

    def __init__(
        self,
        model: Ranker,
        config: RankerConfig,
        device: torch.device,
        pipelined: bool | None = None,
        is_half: bool | None = None,
    ):
        super().__init__()
        self._config, self._device, self._sizes = config, device, model.sizes
        is_gpu = device.type == "cuda"
        several = is_gpu and dist.get_world_size() > 1
        self._pipelined = several if pipelined is None else pipelined
        parts = _WithLoss(model, is_half=is_gpu if is_half is None else is_half)
        with _without_deprecations():
            self.plan = shard(parts, config, device)
            self.model = DistributedModelParallel(
                parts,
                device=device,
                plan=self.plan,
                sharders=[_sharder(config)],  # type: ignore[list-item]
                data_parallel_wrapper=DefaultDataParallelWrapper(static_graph=False),
            )
        self._fill(model.start_weights)
        head = dict(self.model.module.head.ranker.named_parameters())  # type: ignore[union-attr]
        self._optimisers = _Optimisers(self.model, DenseOptimiser(head, config))

    def _fill(self, starts: Mapping[str, StartWeights]) -> None:
        """Start weights for this rank's rows of the tables that are not made yet."""
        weights = self.weights()
        for name, start in starts.items():
            if start.is_noted:
                for shard in weights[f"tables.embeddings.{name}.weight"].local_shards():  # type: ignore[attr-defined]
                    start.fill(shard.tensor, shard.metadata.shard_offsets[0])

    def set_rate(self, factor: float) -> None:
        self._optimisers.dense.set_rate(factor)
        for group in self.model.fused_optimizer.param_groups:
            group["lr"] = self._config.embedding_learning_rate * factor  # type: ignore[index]

    def steps(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        self.model.train()
        remaining = iter(self._pinned(batches))
        pipeline = self._pipeline()
        try:
            while True:
                try:
                    loss = pipeline.progress(remaining)
                except StopIteration:
                    return
                yield loss
        finally:
            if isinstance(pipeline, TrainPipelineSparseDist):
                pipeline.detach()

    @torch.no_grad()
    def predict(self, loader: Loader) -> np.ndarray:
        self.model.eval()
        found = torch.zeros(loader.requests.num_rows, dtype=torch.float64, device=self._device)
        with progress("score", total=len(loader)) if dist.get_rank() == 0 else _Silent() as bar:
            for given in self._pinned(loader.epoch()):
                batch = given.to(self._device, non_blocking=True)
                looked_up = self.model.module.tables(batch.ids)  # type: ignore[operator]
                logits = self.model.module.head.logits(batch, looked_up)  # type: ignore[union-attr]
                if batch.loss_weight is None or float(batch.loss_weight) > 0:
                    found[batch.table_rows] = torch.sigmoid(logits.double())
                bar.advance()
        dist.all_reduce(found)  # each row was scored by one rank and is zero elsewhere
        self.model.train()
        return found.cpu().numpy()

    def weights(self) -> dict[str, Tensor]:
        return {name.removeprefix(_HEAD): value for name, value in self.model.state_dict().items()}

    def optimiser_state(self) -> dict[str, Tensor]:
        state = {f"dense.{name}": value for name, value in self._optimisers.dense.state().items()}
        fused = self.model.fused_optimizer.state_dict()["state"]
        for weight, parts in fused.items():
            table = weight.split(".")[-2]
            (accumulator,) = parts.values()
            state[f"tables.{table}.accumulator"] = accumulator
        return state

    def keep(self) -> None:
        self.best = {name: _clone(value) for name, value in self.weights().items()}

    def is_finite(self) -> bool:
        wrong = torch.tensor(float(not super().is_finite()), device=self._device)
        dist.all_reduce(wrong)
        return float(wrong) == 0

    @torch.no_grad()
    def whole(self) -> Ranker | None:
        weights = {name: _gathered(value) for name, value in self.weights().items()}
        if dist.get_rank() != 0:
            return None
        model = Ranker(self._sizes, self._config)
        model.load_state_dict(weights)
        return model

    def _pipeline(self) -> TrainPipeline[Any, Tensor]:
        kind = TrainPipelineSparseDist if self._pipelined else TrainPipelineBase
        return kind(self.model, self._optimisers, self._device)  # type: ignore[arg-type]

    def _pinned(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """In page-locked memory where they go on to a GPU."""
        for batch in batches:
            yield batch.pin_memory() if self._device.type == "cuda" else batch


def shard(model: nn.Module, config: RankerConfig, device: torch.device) -> ShardingPlan:
    """The planner's word on which rank holds which rows of which table; the same on all ranks."""
    tables = [table.name for table in model.tables.embedding_configs()]  # type: ignore[union-attr,operator]
    allowed = ParameterConstraints(
        sharding_types=[ShardingType.ROW_WISE.value, ShardingType.TABLE_WISE.value],
        compute_kernels=[EmbeddingComputeKernel.FUSED.value],
    )
    planner = EmbeddingShardingPlanner(
        topology=_topology(device),
        batch_size=config.batch_size,
        storage_reservation=FixedPercentageStorageReservation(RESERVED),
        constraints=dict.fromkeys(tables, allowed),
        debug=False,
    )
    group = dist.group.WORLD
    assert group is not None
    return planner.collective_plan(model, [_sharder(config)], group)  # type: ignore[list-item]


def _topology(device: torch.device) -> Topology:
    world_size, hardware = dist.get_world_size(), None
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        hardware = HardwareConfig(hbm_cap_bytes=memory)
    return TopologyFactory.create_topology(
        TrainerConfig(
            world_size=world_size,
            local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", world_size)),
        ),
        hardware,
        KernelConfig(compute_device=device.type),
    )


def _sharder(config: RankerConfig) -> EmbeddingCollectionSharder:
    return EmbeddingCollectionSharder(
        fused_params={
            "optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
            "learning_rate": config.embedding_learning_rate,
            "eps": EPSILON,
        }
    )


class _WithLoss(nn.Module):
    """The tables, then all the rest: what TorchRec's pipeline can take apart."""

    def __init__(self, ranker: Ranker, is_half: bool):
        super().__init__()
        self.tables = ranker.tables
        del ranker.tables
        self.head = _Head(ranker, is_half)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss to go back from `(1,)`, and the loss to show `()`."""
        return self.head(batch, self.tables(batch.ids))


class _Head(nn.Module):
    """A ranker without its tables, and its loss."""

    def __init__(self, ranker: Ranker, is_half: bool):
        super().__init__()
        self.ranker, self._is_half = ranker, is_half

    def forward(self, batch: Batch, looked_up: dict[str, JaggedTensor]) -> tuple[Tensor, Tensor]:
        loss = mean_loss(self.logits(batch, looked_up), batch)
        return loss[None], loss.detach()

    def logits(self, batch: Batch, looked_up: dict[str, JaggedTensor]) -> Tensor:
        """Logits `(rows,)`."""
        kind = batch.labels.device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self._is_half):
            return self.ranker.logits(batch, looked_up)


class _Optimisers:
    """What a pipeline calls around each backward pass."""

    def __init__(self, model: DistributedModelParallel, dense: DenseOptimiser):
        self.dense, self._fused = dense, model.fused_optimizer

    def zero_grad(self) -> None:
        """Forget gradients; tell the tables' update, which the backward pass does, its rate."""
        self.dense.zero_grad()
        self._fused.zero_grad()

    def step(self) -> None:
        """Update the dense weights."""
        self.dense.step()


class _Silent:
    """Progress that is not shown."""

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        """Nothing."""


def _clone(value: Tensor) -> Tensor:
    if not isinstance(value, ShardedTensor):
        return value.detach().clone()
    shards = [
        Shard(shard.tensor.detach().clone(), shard.metadata) for shard in value.local_shards()
    ]
    return ShardedTensor._init_from_local_shards_and_global_metadata(
        shards, value.metadata(), process_group=value._process_group
    )


def _gathered(value: Tensor) -> Tensor:
    """The whole of a plain or sharded tensor on the first rank's CPU; elsewhere something empty."""
    if not isinstance(value, ShardedTensor):
        return value.detach().cpu()
    whole = None
    if dist.get_rank() == 0:
        # where torch puts the parts: on the CPU where the group has gloo beside nccl
        device = value._get_preferred_device()
        whole = torch.empty(value.size(), dtype=value.dtype, device=device)
    value.gather(0, whole)
    return whole.cpu() if whole is not None else torch.empty(0)


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """TorchRec 1.8's DistributedModelParallel calls what torch 2.13 is to drop, such as broadcast_buffers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
