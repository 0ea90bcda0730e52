"""Which kind of backbone a model of transformers is, and how its weights are read."""

from pathlib import Path
from typing import Any

from transformers import (
    LlavaForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)

from moon_rec.errors import EncoderError
from representation.encoders.checkpoint import load_weights, read_config
from representation.model.added_parts import NOTHING_ADDED, AddedParts
from representation.model.backbone import Backbone, Channels, Dtype, torch_dtype
from representation.model.llava import LlavaBackbone
from representation.model.qwen import QwenBackbone

MODULES: dict[str, tuple[Any, type[Backbone]]] = {
    "qwen3_vl": (Qwen3VLForConditionalGeneration, QwenBackbone),
    "qwen2_5_vl": (Qwen2_5_VLForConditionalGeneration, QwenBackbone),
    "llava": (LlavaForConditionalGeneration, LlavaBackbone),
}
"""By `model_type`: transformers' class, and ours."""


def load_module(
    path: str | Path, dtype: Dtype | None = "float32", added: AddedParts = NOTHING_ADDED
) -> Any:
    """A backbone's module from a local folder or the hub.

    Args:
        dtype: None: as it was saved.
        added: what was put into it before it was saved.

    Raises:
        EncoderError: nothing there, another family of model, weights missing, or weights in a format that can run code.
    """
    config = read_config(path)
    if config["model_type"] not in MODULES:
        raise EncoderError(
            f"{path}: model_type {config['model_type']!r} is no backbone to train; wanted {', '.join(MODULES)}"
        )
    kind, _ = MODULES[config["model_type"]]
    built = _with_added(kind, added) if any(added) else kind
    module = load_weights(built, path, torch_dtype(dtype), may_lack=("lm_head.weight",))
    module.__class__ = kind  # it is saved under the name of what it is made of
    return module


def _with_added(kind: Any, added: AddedParts) -> Any:
    """transformers' class whose modules are made with these parts, so that their weights find their places."""

    def make(module: Any, config: Any) -> None:
        kind.__init__(module, config)
        added.put(module)

    return type(kind.__name__, (kind,), {"__init__": make, "__module__": kind.__module__})


def backbone_of(module: Any, image_size: int, mean: Channels, std: Channels) -> Backbone:
    """The backbone that `module` is; see `Backbone.of`."""
    _, kind = MODULES[module.config.model_type]
    return kind.of(module, image_size, mean, std)
