"""What may make a step faster on some devices, and is refused where it cannot: compiled layers, a kernel of attention."""

from torch import nn
from transformers import PreTrainedModel

from moon_rec.errors import ConfigError
from moon_rec.progress import say
from representation.trainable import Trainable
from representation.training.config import TrainingConfig

ENDINGS = ("Layer", "Block")
"""What transformers' classes of layers are called."""


def check_speed(config: TrainingConfig, encoder: Trainable) -> None:
    """Refuse settings of speed that do nothing for this encoder, here.

    Raises:
        ConfigError: one of them.
    """
    if config.compile_layers and encoder.device.type != "cuda":
        raise ConfigError(
            f"compile_layers = True is for a GPU, and the encoder is on {encoder.device.type}; leave it out"
        )
    if config.compile_layers and not _layers(encoder.module):
        raise ConfigError(
            "compile_layers = True changes nothing: the encoder has no layers that a model calls one by one; leave it out"
        )
    kernel = config.attention_kernel
    if kernel != "auto" and not isinstance(encoder.module, PreTrainedModel):
        raise ConfigError(
            f"attention_kernel = {kernel!r} changes nothing: what is trained of this encoder is no model of transformers; leave it out"
        )


def compile_layers(module: nn.Module, backend: str = "inductor") -> int:
    """Compile each layer in place, under its own name and with its own weights, so saves and adapters know no difference; gives how many.

    Layers of a kind share what is compiled; lengths may differ from batch to batch, so it is compiled for any.
    """
    layers = _layers(module)
    for layer in layers:
        layer.compile(backend=backend, dynamic=True)
    say(f"{len(layers)} layers are compiled when a batch first meets them")
    return len(layers)


def _layers(module: nn.Module) -> list[nn.Module]:
    return [
        layer
        for parts in module.modules()
        if isinstance(parts, nn.ModuleList)
        for layer in parts
        if type(layer).__name__.endswith(ENDINGS)
    ]
