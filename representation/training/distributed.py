"""Training on many processes, one a GPU or a share of the cores: who is who, and an encoder that they train together.

Start them with torchrun: `torchrun --nproc-per-node 2 -m representation.posttrain ...`, or `pretrain`. Notable choices:
- `ddp` keeps the whole model on each process and averages gradients as they come; `fsdp` (FSDP2, `fully_shard`) keeps a part of each weight, gradient and
  optimiser state, for backbones that one device cannot train. Layers of the language model are gathered one at a time; all else (picture tower, embeddings) is
  gathered for the whole step.
- Embedding calls functions on the backbone's parts, which such wrappers cannot see. So they wrap a module of ours whose forward is `Trainable.embed`, and a
  step embeds all that it needs in one forward: DDP looks through the last forward alone for weights that a step does not use, such as the picture tower's in a
  batch of texts, and would miss those that only an earlier one used.
- With gradient caching each chunk is a forward of its own; gradients are exchanged with the last (`context_of_last`).
- A weight that no process used has no gradient on any, so the optimiser passes it over, as with one process.
- Every process reads the shop and draws the same batches; nothing but vectors and gradients is exchanged. The first alone speaks and writes.
"""

import contextlib
import copy
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from moon_rec.errors import EncoderError
from moon_rec.progress import silence
from representation.trainable import Rows, Trainable

Sharding = Literal["ddp", "fsdp"]


def rank() -> int:
    """This process's number; 0 where there is one."""
    return dist.get_rank() if _is_started() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _is_started() else 1


def is_main() -> bool:
    """Whether this is the process that speaks and writes."""
    return rank() == 0


@contextlib.contextmanager
def processes() -> Iterator[None]:
    """Within the block the processes that torchrun started know each other; nothing happens where it started none, or they do already.

    Processes but the first show no progress and no warnings of Python's. NCCL where there is a GPU, else gloo.

    Raises:
        EncoderError: more processes on this machine than it has GPUs.
    """
    if _is_started() or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    if torch.cuda.is_available():
        local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= count:
            raise EncoderError(
                f"process {local + 1} of this machine has no GPU of its own, there are {count}; start torchrun with --nproc-per-node {count}"
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        with nullcontext() if is_main() else silence(), warnings.catch_warnings():
            if not is_main():
                warnings.simplefilter("ignore")
            yield
    finally:
        dist.destroy_process_group()


def share_of(count: int, rank: int, world_size: int) -> slice:
    """The rows of a batch of `count` that a process makes: runs of equal length, to within one, in the order of ranks."""
    return slice(rank * count // world_size, (rank + 1) * count // world_size)


def check_shares(count: int, what: str) -> None:
    """Every process needs a row of every batch of `count`.

    Raises:
        EncoderError: there are more processes.
    """
    if count < world_size():
        raise EncoderError(
            f"a batch of {count} {what} cannot be shared by {world_size()} processes; start at most {count}"
        )


def wait() -> None:
    """Until all processes are here."""
    if _is_started():
        dist.barrier()


def mean_of_processes(value: Tensor) -> Tensor:
    """The mean of a number over all processes; no gradient."""
    if world_size() == 1:
        return value.detach()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Average gradients of parameters outside the wrapped encoder, such as a temperature, after the backward pass; all processes have them or none."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = mean_of_processes(parameter.grad)


class SharedEncoder:
    """An encoder as the processes train it together; the encoder itself where there is one process.

    Attributes:
        encoder: as it was given; of `fsdp`, its weights lie scattered: save `whole()` instead.
    """

    def __init__(
        self,
        encoder: Trainable,
        sharding: Sharding = "ddp",
        work: Callable[..., Any] | None = None,
    ) -> None:
        """Call on all processes, after weights were made trainable or not, before the optimiser is made.

        Args:
            work: what `forward` does with the encoder's weights; None: embeds.

        Raises:
            EncoderError: an unknown sharding.
        """
        if sharding not in ("ddp", "fsdp"):
            raise EncoderError(f"sharding {sharding!r}: wanted ddp or fsdp")
        self.encoder, self._is_alone = encoder, world_size() == 1
        self._bare: Any = None
        self._module: nn.Module = _Work(encoder, work)
        if self._is_alone:
            return
        if sharding == "ddp":
            self._module = DistributedDataParallel(
                self._module, find_unused_parameters=True, forward_sync_buffers=False
            )
            return
        self._bare = _without_weights(encoder.weights)
        mesh = init_device_mesh(encoder.device.type, (world_size(),))
        for layer in _layers(encoder.weights):
            fully_shard(layer, mesh=mesh)
        fully_shard(self._module, mesh=mesh)

    def forward(self, *given: Any) -> Any:
        """What `work` makes of what is given, with gradients; all that a backward pass goes through must come from one call."""
        return self._module(*given)

    def embed(self, *sides: Rows) -> list[Tensor]:
        """Unit vectors `(rows, dim)` of each of `sides`, with gradients; all that a backward pass goes through must come from one call."""
        return self._module(*sides)

    def context_of_last(self, is_last: bool) -> AbstractContextManager[object]:
        """For `gradient_cache.cached_backward`: exchange gradients with the last chunk alone."""
        if isinstance(self._module, FSDPModule):
            self._module.set_requires_gradient_sync(is_last)
            self._module.set_is_last_backward(is_last)
        elif isinstance(self._module, DistributedDataParallel) and not is_last:
            return self._module.no_sync()
        return nullcontext()

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """The parameters of the encoder's weights, or this process's part of them, by their names."""
        return list(self.encoder.weights.named_parameters())

    def whole(self) -> Trainable | None:
        """The encoder with all its weights, to save; call on all processes. None on all but the first of `fsdp`."""
        if self._bare is None:
            return self.encoder
        state = whole_tensors(self.encoder.weights.state_dict())
        if not is_main():
            return None
        weights = copy.deepcopy(self._bare)
        weights.load_state_dict(state, assign=True)
        if isinstance(weights, PreTrainedModel):
            weights.tie_weights()
        return self.encoder.around(weights.eval())


def whole_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors gathered from all processes to the first one's memory; call on all of them. Of the others' none is kept."""
    found = {}
    for name, tensor in tensors.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_main():
            found[name] = whole.detach().cpu()
    return found


def own_part(whole: Tensor, like: Tensor) -> Tensor:
    """Of a tensor that all processes have, what `like` holds of it here: all, or its part; on its device."""
    on_device = whole.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(on_device, like.device_mesh, like.placements)
    return on_device


class _Work(nn.Module):
    """`Trainable.embed`, or other work with its weights, as a module's forward."""

    def __init__(self, encoder: Trainable, work: Callable[..., Any] | None) -> None:
        super().__init__()
        self.weights = encoder.weights
        self._work = [work or (lambda *sides: [encoder.embed(side) for side in sides])]

    def forward(self, *given: Any) -> Any:
        return self._work[0](*given)


def _is_started() -> bool:
    return dist.is_available() and dist.is_initialized()


def _layers(backbone: nn.Module) -> list[nn.Module]:
    """The language model's layers, which transformers calls one by one as modules."""
    return [part for part in backbone.modules() if type(part).__name__.endswith("DecoderLayer")]


def _without_weights(backbone: nn.Module) -> nn.Module:
    """A copy whose weights take no room."""
    none = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
        for weight in backbone.parameters()
    }
    return copy.deepcopy(backbone, none)
