"""Weights of attention read off a language model's own layers, which run eagerly for the purpose; nothing of the model is changed."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor


@contextlib.contextmanager
def eager(modules: Sequence[Any]) -> Iterator[None]:
    """Attention of these modules written out, so that its weights exist."""
    configs = {id(module.config): module.config for module in modules}.values()
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


@contextlib.contextmanager
def weights_of(modules: Sequence[Any]) -> Iterator[list[Tensor]]:
    """Collects each module's weights `(batch, heads, length, length)` in the order they run; where they are `eager`."""
    collected: list[Tensor] = []
    with contextlib.ExitStack() as hooks:
        for module in modules:
            hook = module.register_forward_hook(lambda *call: collected.append(call[2][1]))
            hooks.enter_context(hook)
        yield collected
