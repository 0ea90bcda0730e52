"""Encoders' folders -> one encoder's folder, which says of what it was made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moon_rec.errors import ConfigError, EncoderError
from moon_rec.files import write_json
from moon_rec.outputs import check_output
from moon_rec.progress import say
from representation.encoder import open_encoder
from representation.encoders.checkpoint import ENCODER, MERGED_FILE
from representation.encoders.frame_encoder import FrameEncoder
from representation.merging.adapters import adapter_deltas, check_adapter_is_all
from representation.merging.agreement import check_agreement, check_finite
from representation.merging.combination import WeightedSum, average_of, task_sum_of
from representation.version import made_by


def merge_encoders(
    encoders: Sequence[str | Path],
    out: str | Path,
    weights: Sequence[float] | None = None,
    *,
    base: str | Path | None = None,
    scale: float | None = None,
    adapters: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write one encoder of several of the same build, atomically; it opens as any encoder.

    Without `base` an average of weights. With it what each learnt since is added to it: each with `scale` (task arithmetic), or in shares `weights`, which with `adapters` alone is the average
    of adapters. See `combination` for the formulas. At most two encoders' weights are in memory, and the sum in float64.

    Args:
        encoders: folders or names, each of which `open_encoder` opens.
        out: folder for the merged encoder; its `merged.json` names all encoders, with digests and shares.
        weights: of an average, summing to 1; None: all alike.
        base: what the encoders started from.
        scale: of what each learnt since `base`; None: an average.
        adapters: read what each learnt from its LoRA adapter; its weights must be the base's with that adapter added, and nothing else moved.
        overwrite: replace an encoder at `out`.

    Returns:
        `out`.

    Raises:
        ConfigError: settings that do not go together, weights that do not sum to 1, fewer than two encoders to average.
        EncoderError: encoders that do not go together: see `agreement.check_agreement` and `adapters.check_adapter_is_all`.
    """
    shares = _shares(len(encoders), weights, base, scale, adapters)
    check_output(out, ENCODER, overwrite, inputs=(*encoders, base))
    names = [str(name) for name in encoders]
    made_of: list[dict[str, Any]] = []
    first = _opened(str(base) if base is not None else names[0])
    check_finite(first, str(base) if base is not None else names[0])
    total = WeightedSum()
    if base is not None:
        total.add(first.module.state_dict(), 1.0 if adapters else 1 - sum(shares))
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        is_first = base is None and not place
        one = first if is_first else _opened(name)
        if not is_first:
            check_agreement(first, one, (str(base or names[0]), name))
        total.add(_added(name, one, first) if adapters else one.module.state_dict(), share)
        made_of.append({"encoder": name, "digest": one.digest, "share": share})
    said = {
        "how": ("adapters" if adapters else "weights") + (" averaged" if scale is None else " added"),
        "base": None if base is None else {"encoder": str(base), "digest": first.digest},
        "scale": scale,
        "encoders": made_of,
        "made_by": made_by(),
    }  # fmt: skip
    return _save(first, total.rounded(), out, said, overwrite)


def _shares(
    count: int,
    weights: Sequence[float] | None,
    base: str | Path | None,
    scale: float | None,
    adapters: bool,
) -> list[float]:
    """Of each encoder in the sum.

    Raises:
        ConfigError: settings that do not go together.
    """
    if scale is not None and weights is not None:
        raise ConfigError("weights and scale are two ways to merge; name one")
    if adapters and base is None:
        raise ConfigError("adapters are added to what they started from; name the base")
    if scale is not None and base is None:
        raise ConfigError("scale is of what encoders learnt since a base; name the base")
    if base is not None and scale is None and not adapters:
        raise ConfigError("task arithmetic needs a scale, such as 0.7")
    if scale is not None:
        return task_sum_of(count, scale)[1:]
    if count < 2:
        raise ConfigError("an average of one encoder is that encoder; name two or more")
    return average_of(count, weights)


def _opened(name: str) -> FrameEncoder:
    say(f"reading {name}")
    encoder = open_encoder(name, "cpu", "float32")
    assert isinstance(encoder, FrameEncoder)
    return encoder


def _added(name: str, encoder: FrameEncoder, base: FrameEncoder) -> dict[str, Tensor]:
    deltas = adapter_deltas(name)
    check_adapter_is_all(name, encoder.module.state_dict(), base.module.state_dict(), deltas)
    return deltas


def _save(
    encoder: FrameEncoder,
    state: dict[str, Tensor],
    out: str | Path,
    said: dict[str, Any],
    overwrite: bool,
) -> Path:
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise EncoderError(f"the sum of {key} is no number in float32; take a smaller scale")
    encoder.module.load_state_dict(state)
    vars(encoder).pop("digest", None)
    return encoder.save_pretrained(
        out, overwrite, beside=lambda folder: write_json(folder / MERGED_FILE, said)
    )
