"""A training that diverges is found and ends: its loss, gradients or weights are no finite numbers.

Notable choices
- On a processor each step's loss and the norm of its gradients are looked at before the weights move, so the weights are still good. On a GPU a look would wait for
  the device; there the first bad step is noted on the device and read where the log or a save waits for it anyway.
- Weights are looked at before each save: what is saved last is never worse than what was saved before.
- Many processes look at what is the same on all of them (the norm of the averaged gradients, the mean loss), so all end at the same step.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from moon_rec.errors import EncoderError
from moon_rec.progress import say
from representation.training.distributed import mean_of_processes, world_size

NOT_YET = -1
ALIKE = 0.99
"""Mean cosine of a batch's vectors from which they are told to be all but equal."""
OF_CHANCE = 0.995
"""Share of the loss of a guess from which a loss at the end is told to be no better."""


class Divergence:
    """Looks at the steps of one training.

    Args:
        learning_rate: as it was set, for the message.
        device: of the weights.
        how: how to go on, asked for when it is needed.
    """

    def __init__(
        self, learning_rate: float, device: torch.device, how: Callable[[], str] | None = None
    ) -> None:
        self._learning_rate, self._how = learning_rate, how
        self._is_near = device.type == "cpu"
        self._first = torch.tensor(NOT_YET, device=device)

    def look(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """At a step, counted from 0, before its update; `norm` of all gradients.

        Raises:
            EncoderError: a figure of it is not finite; on a GPU `check` says so later.
        """
        alone = world_size() == 1
        if self._is_near:
            if alone:
                self._refuse(step, "loss", loss.item())
            self._refuse(step, "norm of the gradients", norm.item())
            return
        is_bad = ~torch.isfinite(norm) | (~torch.isfinite(loss) if alone else False)
        is_first = is_bad & (self._first == NOT_YET)
        self._first = torch.where(is_first, step, self._first)

    def check(self, step: int, loss: float | None = None) -> None:
        """Where waiting for the device costs nothing: at a line of the log, before a save; after step `step`, counted from 0.

        Raises:
            EncoderError: a step up to here was bad, or the mean loss is.
        """
        first = NOT_YET if self._is_near else int(self._first)
        if first != NOT_YET:
            self._refuse(first, "loss or the norm of the gradients", math.nan)
        if loss is not None:
            self._refuse(step, "loss", loss)

    def check_weights(self, step: int, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Before a save after step `step`, counted from 0; all processes call.

        Raises:
            EncoderError: a weight is not finite.
        """
        self.check(step)
        named = [
            (name, each.to_local() if isinstance(each, DTensor) else each) for name, each in weights
        ]
        # a sum is finite only where all that it adds are, and is quicker than a look at each
        is_bad = torch.stack([~torch.isfinite(each.detach().sum()) for _, each in named])
        if mean_of_processes(is_bad.any().float()).item():
            is_bad = torch.stack([~torch.isfinite(each.detach()).all() for _, each in named])
        if mean_of_processes(is_bad.any().float()).item():
            names = [
                name for (name, _), bad in zip(named, is_bad.tolist(), strict=True) if bad
            ] or ["of another process"]
            self._fail(
                step, f"{len(names):,} of {len(named):,} weights are not finite ({names[0]})"
            )

    def _refuse(self, step: int, what: str, value: float) -> None:
        if not math.isfinite(value):
            self._fail(step, f"the {what} is {'not finite' if 'or' in what.split() else value}")

    def _fail(self, step: int, what: str) -> None:
        how = self._how() if self._how is not None else "begin again"
        raise EncoderError(
            f"training diverged at step {step + 1:,}: {what}; {how} with a learning_rate below {self._learning_rate:g}; if it is one batch's fault at any rate, look at its data"
        )


def warn_of_collapse(likeness: float) -> None:
    """Say that the vectors of a batch's items are all but equal; `likeness` is the mean cosine between two of them."""
    if likeness > ALIKE:
        say(
            f"warning: the encoder has collapsed: two items of a batch have a cosine of {likeness:.3f} on the mean, so it tells nothing apart; lower learning_rate"
        )


def warn_of_chance(loss: float, of_chance: float) -> None:
    """Say that a loss at the end is that of a guess."""
    if loss > OF_CHANCE * of_chance:
        say(
            f"warning: the loss ends at {loss:.3f}, a guess among all candidates has {of_chance:.3f}: nothing was learnt; train longer, or change learning_rate"
        )
