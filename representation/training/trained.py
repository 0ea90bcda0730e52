"""Which weights of an encoder a training moves, and how fast: parts of it, adapters, and layers near the input more slowly.

LLaVA trains its projector first and all of it after (Liu et al. 2023, Visual Instruction Tuning, 4.2): `trained_parts = ["projector"]`, then a second training
from what the first saved. Layer-wise rates are those of BEiT's fine-tuning (Bao et al. 2022), within each part: the last layer learns at the full rate, each
one before it at `layer_rate_decay` times that of the one behind it, embeddings as a layer before the first; what stands behind the layers (norms, projector,
head) learns at the full rate.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from moon_rec.errors import ConfigError
from representation.trainable import Remembers, Trainable
from representation.training.config import TrainingConfig

_LAYER = re.compile(r"\.(?:layers?|blocks)\.(\d+)\.")
_BEFORE_LAYERS = re.compile(r"embed|pre_l")
"""In names of weights that run before a part's first layer: embeddings, CLIP's `pre_layrnorm`."""


def check_trained_parts(encoder: Trainable, config: TrainingConfig) -> None:
    """Refuse parts that the encoder has not, and a choice that changes nothing.

    Raises:
        ConfigError: as above, or adapters beside a part whose weights they adapt, which would be trained twice.
    """
    if config.trained_parts is None:
        return
    known = sorted(set(map(encoder.part_of, dict(encoder.module.named_parameters()))))
    for part in config.trained_parts:
        if part not in known:
            raise ConfigError(
                f"trained_parts has {part!r}, and the parts of this encoder are {', '.join(known)}"
            )
    if config.lora is None:
        if set(config.trained_parts) == set(known):
            raise ConfigError(
                "trained_parts names every part, which is what is trained without it; leave it out"
            )
        return
    adapted = {"language", "text", *(["vision"] if config.lora.vision or "text" in known else [])}
    if both := sorted(adapted & set(config.trained_parts)):
        raise ConfigError(
            f"trained_parts has {both[0]!r}, which lora adapts; leave it out of trained_parts, or leave lora out"
        )


def choose_trained(encoder: Trainable, config: TrainingConfig) -> None:
    """Put in adapters where `config` asks for them, and let the weights that it trains, and no others, have gradients."""
    if config.lora is not None:
        encoder.adapt(config.lora, config.seed)
    if config.trained_parts is None:
        return
    for name, value in encoder.module.named_parameters():
        is_chosen = encoder.part_of(name) in config.trained_parts
        value.requires_grad_(is_chosen or (config.lora is not None and value.requires_grad))


def keeps_towers(encoder: Trainable, config: TrainingConfig) -> bool:
    """Whether the encoder can compute ahead what towers make of known rows (`Remembers`), and `config` leaves these as they are."""
    if not isinstance(encoder, Remembers):
        return False
    towers = encoder.tower_parts
    if all(encoder.part_of(name) not in towers for name, _ in encoder.module.named_parameters()):
        return True
    adapted = config.lora is not None and config.lora.vision
    chosen = config.trained_parts
    if chosen is None:
        return config.lora is not None and not adapted
    return not adapted and towers.isdisjoint(chosen)


def check_features(encoder: Trainable, config: TrainingConfig, features: str | Path | None) -> None:
    """Refuse a folder for what frozen towers make of rows where a training moves the towers, or the encoder has none that it computes ahead.

    Raises:
        ConfigError: as above.
    """
    if features is not None and not keeps_towers(encoder, config):
        raise ConfigError(
            f"features {features} change nothing: only an encoder whose towers stay as they are reads them (representation.locked; a composed one with lora, or without 'vision' in trained_parts, of a Qwen-VL without 'projector', too); leave them out"
        )


def num_trained(encoder: Trainable, config: TrainingConfig) -> int:
    """How many numbers of the encoder's own weights are trained, adapters aside; before `choose_trained`."""
    whole = encoder.module.named_parameters()
    if config.trained_parts is None:
        return 0 if config.lora is not None else sum(value.numel() for _, value in whole)
    parts = config.trained_parts
    return sum(value.numel() for name, value in whole if encoder.part_of(name) in parts)


def rate_shares(
    encoder: Trainable, parameters: Sequence[tuple[str, Tensor]], decay: float
) -> Mapping[str, float]:
    """What of the learning rate each of the encoder's parameters has, by name, where it is not all of it."""
    if decay == 1:
        return {}
    names = [name for name, _ in encoder.module.named_parameters()]
    num_layers: dict[str, int] = {}
    for name in names:
        if found := _LAYER.search(name):
            part = encoder.part_of(name)
            num_layers[part] = max(num_layers.get(part, 0), int(found[1]) + 1)
    shares = {}
    for name, _ in parameters:
        if name not in names:
            continue
        layers, found = num_layers.get(encoder.part_of(name), 0), _LAYER.search(name)
        if found:
            shares[name] = decay ** (layers - 1 - int(found[1]))
        elif _BEFORE_LAYERS.search(name):
            shares[name] = decay**layers
    return shares
