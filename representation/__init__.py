"""Stages 1 and 2: products and queries to vectors. Public names are loaded when first used, so `--help` of a command does not wait for torch."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from representation.embed import embed_shop
    from representation.encoder import ProductEncoder, build_encoder, open_encoder
    from representation.interface import Encoder
    from representation.metrics.recall import search_recall
    from representation.model.backbone_config import BackboneConfig
    from representation.model.lora import LoraConfig
    from representation.posttraining import Checkpoint, PosttrainConfig
    from representation.pretraining import PretrainConfig
    from representation.sets.benchmark_set import BenchmarkSet

__all__ = [
    "BackboneConfig",
    "BenchmarkSet",
    "Checkpoint",
    "Encoder",
    "LoraConfig",
    "PosttrainConfig",
    "PretrainConfig",
    "ProductEncoder",
    "build_encoder",
    "embed_shop",
    "open_encoder",
    "search_recall",
]

_WHERE = {
    "BackboneConfig": "representation.model.backbone_config",
    "BenchmarkSet": "representation.sets.benchmark_set",
    "Checkpoint": "representation.posttraining",
    "Encoder": "representation.interface",
    "LoraConfig": "representation.model.lora",
    "PosttrainConfig": "representation.posttraining",
    "PretrainConfig": "representation.pretraining",
    "ProductEncoder": "representation.encoder",
    "build_encoder": "representation.encoder",
    "embed_shop": "representation.embed",
    "open_encoder": "representation.encoder",
    "search_recall": "representation.metrics.recall",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'representation' has no attribute {name!r}")
