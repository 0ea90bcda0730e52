"""What a stage of training is to the loop that both stages share (`loop.py`): its batches, what a step does with one, and what the log says of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from representation.encoder import ProductEncoder
from representation.recipes.mark import RecipeMark
from representation.training.distributed import SharedEncoder


class Batch(Protocol):
    """What a step is given: of one process, but for `num_pairs`."""

    def to(self, device: torch.device) -> Self:
        """With all that the step needs there on `device`."""
        ...

    @property
    def label(self) -> str:
        """What kind of batch it is, for the log; "": all are alike."""
        ...

    @property
    def num_pairs(self) -> int:
        """Pairs of all processes together: query and item, question and answer."""
        ...

    @property
    def num_tokens(self) -> int:
        """Real tokens of the own rows."""
        ...


class Found(Protocol):
    """What a step found; `loss` has no gradient, and its mean over processes is that over all pairs."""

    @property
    def loss(self) -> Tensor: ...


OneBatch = TypeVar("OneBatch", bound=Batch)
OneFound = TypeVar("OneFound", bound=Found)
MadeBatch = TypeVar("MadeBatch", covariant=True)


class Maker(Protocol[MadeBatch]):
    """Makes the batch of a step, counted from 0, the same whatever was made before."""

    def make(self, step: int) -> MadeBatch: ...


class Stage(ABC, Generic[OneBatch, OneFound]):
    """A stage of training, of one training. The loop calls `check`, `rebuild`, `prepare`, `begin` in this order, then `backward` and `after_update` a step.

    Attributes:
        title: of the progress bar.
        log_file: beside a saved encoder.
        recipe: that its settings are of, marked in what is saved; None: of none.
    """

    title: ClassVar[str]
    log_file: ClassVar[str]
    recipe: RecipeMark | None = None

    def open(self, start: str | Path) -> Any:
        """The encoder in a folder, to train: what all further methods call `encoder`.

        Raises:
            EncoderError: no encoder there, or one that this stage does not train.
        """
        return ProductEncoder.from_pretrained(start)

    def reads(self) -> dict[str, str]:
        """Digests, by name, of what it reads besides the shop and the start: a training goes on only from saves of the same."""
        return {}

    def check(self, encoder: Any) -> None:
        """Refuse settings that do not fit the encoder, before anything is read."""

    def rebuild(self, encoder: Any) -> None:
        """Change what the encoder is made of, in place, where the settings say so. Experts leave its vectors as they are; with a core region it sees more from here on."""

    @abstractmethod
    def prepare(self, encoder: Any) -> Maker[OneBatch]:
        """Read what is trained on; `encoder` is still as it was given."""

    def begin(self, encoder: Any) -> None:
        """The weights that are trained are known now (`requires_grad`), and not yet wrapped for many processes."""

    def work(self, encoder: Any) -> Callable[..., Any] | None:
        """What `SharedEncoder.forward` does with the weights; None: embeds."""
        return None

    @abstractmethod
    def backward(
        self, batch: OneBatch, step: int, shared: SharedEncoder, dtype: torch.dtype
    ) -> OneFound:
        """Leave the gradients of a step in the parameters; matrix products in `dtype`."""

    def after_update(self) -> None:
        """The weights have moved."""

    def parameters(self) -> list[tuple[str, Tensor]]:
        """What is trained beside the encoder, the same on all processes."""
        return []

    def numbers(self, found: OneFound) -> dict[str, float]:
        """Figures of a step for the log beside its loss, worked out when the log asks; all processes call."""
        return {}

    def numbers_before(self) -> dict[str, float]:
        """Told as step 0, such as what curation left."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What the log file says besides."""
        return {}

    def is_graded(self, step: int) -> bool:
        """Whether `grade` is asked for after so many steps; 0: before the first."""
        return False

    def grade(self, encoder: Any) -> dict[str, float]:
        """How good the encoder is now, by figures of the stage's own; the first process alone calls, with whole weights and without gradients."""
        return {}

    def warn(self, numbers: Mapping[str, float], encoder: Any) -> None:
        """Say what ended with finite figures and learnt nothing; `numbers` are the last that the log holds."""

    def state_dict(self) -> dict[str, Tensor]:
        """What going on needs beside weights, optimiser and log; the same on all processes."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up `state_dict()`."""


class Graded:
    """What a stage has that is graded by a function that is handed in: before the first step, every `grade_every`, and after the last. Stands before `Stage` among the bases."""

    _config: Any
    _grade: Callable[[Any], dict[str, float]] | None

    def is_graded(self, step: int) -> bool:
        """See `Stage.is_graded`."""
        every = self._config.grade_every
        is_due = step in (0, self._config.steps) or (every > 0 and step % every == 0)
        return self._grade is not None and is_due

    def grade(self, encoder: Any) -> dict[str, float]:
        """See `Stage.grade`."""
        assert self._grade is not None
        return self._grade(encoder)
