"""Settings of a training besides its optimiser: which weights learn, where they lie, what is kept on the way."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from moon_rec.bounds import CountOrZero, Names, Steps, rising
from moon_rec.config import CountsWhen, Rules
from representation.model.lora import LoraConfig
from representation.training.distributed import Sharding
from representation.training.optimisation import OptimisationConfig


class TrainingConfig(OptimisationConfig):
    """What both stages' trainings have; settings of `OptimisationConfig` besides.

    Attributes:
        lora: train low-rank adapters alone, see `LoraConfig`; None: all weights.
        trained_parts: parts of the encoder that are trained, of `vision` (the tower), `projector` and `language`; the others stay as they are. None: all. Beside `lora`: those trained besides the adapters.
        layer_rate_decay: learning rate of a layer, as a share of that of the layer behind it in the same part; 1: all learn alike.
        gradient_checkpointing: compute states anew on the way back instead of keeping them: less memory, about a fifth more time.
        compile_layers: torch.compile each layer that a model calls by itself; on a GPU alone. The first steps of each shape take longer.
        sharding: on several processes, `ddp` keeps the whole model on each, `fsdp` a part.
        checkpoint_steps: steps after which an encoder is saved besides the last, at `OUT-step-000100` and so on.
        resume_every: steps after which all that going on needs is written to `OUT.resume`; 0: never.
    """

    lora: LoraConfig | None = None
    trained_parts: Annotated[Names, Field(min_length=1)] | None = None
    layer_rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    gradient_checkpointing: bool = False
    compile_layers: bool = False
    sharding: Sharding = "ddp"
    checkpoint_steps: Annotated[tuple[Steps, ...], AfterValidator(rising)] = ()
    resume_every: CountOrZero = 0

    counts_when: ClassVar[Rules] = {
        "checkpoint_steps": CountsWhen(
            lambda config: config.checkpoint_steps[-1] < config.steps,
            "the encoder after the last of {self.steps} steps is saved in any case, and none comes after it; name steps before",
        ),
        "resume_every": CountsWhen(
            lambda config: config.resume_every < config.steps,
            "all of {self.steps} steps are done by then; lower it or leave it out",
        ),
    }
