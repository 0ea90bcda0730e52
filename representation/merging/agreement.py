"""Which encoders go together: weights of the same names and shapes mean the same only under the same model, vocabulary, pictures and settings."""

from collections.abc import Iterator
from typing import Any

import torch

from moon_rec.errors import EncoderError
from moon_rec.files import digest_of
from moon_rec.shown import visible
from representation.encoders.frame_encoder import FrameEncoder
from representation.encoders.locked import LockedEncoder

_OF_THE_FOLDER = frozenset(
    ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache")
)
"""Of a model's `config.json`, at any depth: where and how it was saved."""


def check_agreement(first: FrameEncoder, other: FrameEncoder, names: tuple[str, str]) -> None:
    """Refuse an encoder whose weights cannot be added to the first's.

    Args:
        names: of both, for the message.

    Raises:
        EncoderError: another family, other settings (prompts, picture size, widths ...), another model, vocabulary or frozen tower, weights of other names or
            shapes, or a weight that is no finite number.
    """
    of_first, of_other = dict(_facts(first)), dict(_facts(other))
    for what in {**of_first, **of_other}:
        one, two = of_first.get(what, "absent"), of_other.get(what, "absent")
        if one != two:
            raise EncoderError(
                f"{names[1]} does not go with {names[0]}: {what} is {_short(two)}, wanted {_short(one)}; merge encoders that were trained from the same one"
            )
    check_finite(other, names[1])


def check_finite(encoder: FrameEncoder, name: str) -> None:
    """
    Raises:
        EncoderError: a weight is no finite number.
    """
    for key, value in encoder.module.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise EncoderError(f"{name}: its weight {key} holds what is no number; train it again")


def _facts(encoder: FrameEncoder) -> Iterator[tuple[str, Any]]:
    """What must be equal, by what it is called in a message."""
    yield "the family", encoder.family
    yield from _flat("setting", encoder.config.model_dump(mode="json"))
    yield "how a picture becomes tokens", getattr(encoder, "layout", None)
    config = getattr(encoder.module, "config", None)
    if config is not None:
        yield from _flat("config.json's", config.to_dict())
    tokenizer: Any = getattr(encoder, "text", encoder).tokenizer
    yield "the number of tokens", len(tokenizer)
    yield "the vocabulary's digest", digest_of(sorted(tokenizer.get_vocab().items()))
    yield "the tokenizer's digest", digest_of(tokenizer.backend_tokenizer.to_str())
    if isinstance(encoder, LockedEncoder):
        yield "the frozen text tower", encoder.text.digest
        yield "the frozen vision tower", encoder.vision_digest
    for key, value in encoder.module.state_dict().items():
        yield f"the shape of {key}", tuple(value.shape)


def _flat(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each value by its dotted name; that settings of a part are there at all goes before them."""
    for name, value in values.items():
        if name in _OF_THE_FOLDER:
            continue
        if isinstance(value, dict):
            yield f"{prefix} {name}", "set"
            yield from _flat(f"{prefix} {name}", value)
        else:
            yield f"{prefix} {name}", value


def _short(value: Any) -> str:
    return visible(str(value))[:80]
