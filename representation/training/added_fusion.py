"""What a training puts into the encoder it starts from, whichever stage it is of: fusion and residual enhancement; in post-training late fusion and compression tokens, too."""

from typing import Protocol

from moon_rec.errors import ConfigError
from representation.encoder import ProductEncoder
from representation.fusion import FusionConfig, ResidualEnhancementConfig
from representation.model.lora import LoraConfig
from representation.trainable import Trainable

ADDED = ("fusion", "residual_enhancement", "late_fusion", "compression_tokens")
"""Settings of a training, and of an encoder."""


class Fusing(Protocol):
    """Settings of a training that may add either; None: the encoder stays as it is."""

    fusion: FusionConfig | None
    residual_enhancement: ResidualEnhancementConfig | None
    lora: LoraConfig | None
    trained_parts: tuple[str, ...] | None
    seed: int


def check_fusion(config: Fusing, encoder: Trainable) -> None:
    """
    Raises:
        ConfigError: either for an encoder that cannot have it, that has it already, or that would not learn it.
    """
    for name in ADDED:
        if getattr(config, name, None) is None:
            continue
        if not isinstance(encoder, ProductEncoder):
            raise ConfigError(
                f"{name}: it works on the states of a language model, and this encoder has no such model; leave it out"
            )
        if getattr(encoder.config, name) is not None:
            raise ConfigError(
                f"{name}: the encoder of --start has it already, which goes on as it is; leave it out, or set {name}=none over a recipe that has it"
            )
        parts = config.trained_parts
        if parts is not None and "language" not in parts and config.lora is None:
            why = " changes nothing: it starts at zero and is"
            if name == "compression_tokens":
                why = ": its embeddings are"
            raise ConfigError(
                f"{name}{why} trained with the language model, which trained_parts leaves out; name 'language' in it, or set lora"
            )


def add_fusion(config: Fusing, encoder: Trainable) -> None:
    """Put in what the settings say, in place. Call after `check_fusion`.

    Raises:
        EncoderError: `fusion.heads` that do not divide the width of the encoder's states.
    """
    for name in ADDED:
        if (setting := getattr(config, name, None)) is not None:
            getattr(encoder, f"add_{name}")(setting, config.seed)
