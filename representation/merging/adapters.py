"""What an encoder's LoRA adapter adds to the weights that it started from, read from its folder `adapter/` (peft's format, `model/lora.py`).

    delta = (alpha / r) B A       (Hu et al., LoRA, 2021, section 4.1)

An adapter is all that a training moved only where nothing else was trained (a projector, experts' routers), and only over the encoder that it started from. Both
are looked at: the encoder's own weights must be the base's with the adapter added.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from moon_rec.errors import EncoderError, first_line
from representation.encoders.checkpoint import settings_in
from representation.model.lora import ADAPTER_FOLDER

_PREFIX = "base_model.model."
_PLAIN = {
    "bias": ("none", None),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "fan_in_fan_out": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "modules_to_save": (None, []),
}
"""Settings of an adapter that would make it another sum."""


def adapter_deltas(encoder: str | Path) -> dict[str, Tensor]:
    """What the adapter in `encoder/adapter` adds, float64, by the name of the weight without adapters.

    Raises:
        EncoderError: no adapter there, one that is no plain sum, or files that do not fit each other.
    """
    folder = Path(encoder) / ADAPTER_FOLDER
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise EncoderError(
            f"{encoder} has no {ADAPTER_FOLDER}/adapter_model.safetensors: it was not trained with lora, or has experts, whose adapters stand in its weights alone; merge whole weights with --task-arithmetic"
        )
    about = settings_in(folder, "adapter_config.json")
    rank, alpha = about.get("r"), about.get("lora_alpha")
    if type(rank) is not int or rank < 1 or not isinstance(alpha, int | float):
        raise EncoderError(f"{folder}: r = {rank!r:.40} and lora_alpha = {alpha!r:.40}, wanted numbers")  # fmt: skip
    for name, plain in _PLAIN.items():
        if about.get(name, plain[0]) not in plain:
            raise EncoderError(
                f"{folder}: {name} = {about[name]!r:.80}; only plain low-rank sums are merged here"
            )
    try:
        found = load_file(file)
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"{file} cannot be read: {first_line(error)[:160]}") from None
    deltas = {}
    for name, down in found.items():
        layer, is_down, _ = name.partition(".lora_A.")
        up = found.get(f"{layer}.lora_B.weight")
        if not is_down:
            continue
        if up is None or down.shape[0] != rank or up.shape[1] != rank:
            raise EncoderError(f"{file}: {name} does not fit r = {rank}; save the encoder again")
        key = f"{layer.removeprefix(_PREFIX)}.weight"
        deltas[key] = up.double() @ down.double() * (alpha / rank)
    return deltas


def check_adapter_is_all(
    name: str | Path,
    state: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    deltas: Mapping[str, Tensor],
) -> None:
    """Refuse an encoder whose weights are not the base's with its adapter added.

    Raises:
        EncoderError: they are not, to rounding in float32.
    """
    strange = sorted(deltas.keys() - base.keys())
    if strange:
        raise EncoderError(f"{name}: its adapter is for {strange[0]}, which the base has not")
    for key, value in state.items():
        wanted = base[key]
        if key in deltas:
            wanted = (wanted.double() + deltas[key]).to(value.dtype)
        is_alike = (
            torch.allclose(value, wanted, rtol=1e-5, atol=1e-6)
            if key in deltas
            else torch.equal(value, wanted)
        )
        if not is_alike:
            raise EncoderError(
                f"{name}: {key} is not the base's with the adapter added; more than the adapter was trained, or from another base: merge whole weights with --task-arithmetic"
            )
