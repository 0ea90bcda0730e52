"""What a checkpoint's folder may ask for, looked at before any of it is built: a folder from elsewhere is data, and small data.

transformers fills what a `config.json` leaves out with defaults of billions of parameters, and allocates them before it looks for weights. So, in this order:
1. the weights' headers are read (names, dtypes, shapes: a safetensors file's first kilobytes); weights in a format that can run code are refused;
2. the numbers of `config.json` are bounded, so that building the model without memory ends within seconds;
3. the model is built on torch's `meta` device, which has shapes and no memory, and must need no more numbers than the weights hold.
Nothing of a folder is ever run: classes come from `model_type` alone, and `auto_map` is not followed.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig
from transformers.utils.hub import cached_file

from moon_rec.errors import EncoderError, MoonRecError, first_line
from moon_rec.mapped_tensors import WEIGHTS, Stored, stored_tensors
from moon_rec.shown import plain_name
from moon_rec.strict_json import load_json
from representation.model.quiet_transformers import quiet

WEIGHT_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
RUNNING = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pkl", "tf_model.h5", "flax_model.msgpack")  # fmt: skip
"""Weights that are pickles, or that this project does not read."""
FLOATS = ("F32", "F16", "BF16", "F64")
SPARE_NUMBERS = 2**24
"""Numbers a model may need beyond twice those of its weights: a head tied to the embeddings, a pooler, tables of positions."""
MOST_SHARDS = 4_096
MOST_SIDE = 4_096
"""Of a picture that a model reads, in pixels; and of its patches."""
_DEEPEST = 16
_REDIRECTS = ("transformers_weights", "configuration_files", "quantization_config")
"""Of `config.json`: keys that have another file read, or another library run."""
_MOST = tuple(
    (re.compile(pattern), most)
    for pattern, most in (
        (r"theta|base|token_id|num_params|_flos|pixels|longest_edge|shortest_edge", 2**40),
        (r"vocab", 10_000_000),
        (r"position|length|window|buckets", 10_000_000),
        (r"layer|depth|group|blocks|expert", 1_024),
        (r"label", 1_000_000),
        (r"head|patch|merge|kernel|stride|channel|frames|factor", 65_536),
        (r"size|dim|width|rank", 2**20),
    )
)
"""Of a number, by the first pattern that its name holds."""
_MOST_OTHERS = 2**31
_AT_LEAST_ONE = ("hidden_size", "num_attention_heads", "num_heads", "num_key_value_heads", "patch_size", "spatial_merge_size", "temporal_patch_size")  # fmt: skip


def refuse_unfit(name: str | Path, config: Mapping[str, Any], build: Callable[[Any], Any]) -> None:
    """Refuse a checkpoint whose files do not fit each other, before anything is allocated.

    Args:
        name: a local folder, or a name on the hub.
        config: its `config.json`.
        build: transformers' configuration -> the model.

    Raises:
        EncoderError: no safetensors, a damaged header, a number beyond its bound, or a model that its weights do not make.
    """
    stored = stored_weights(name)
    _check_keys(name, config)
    _check_numbers(f"{name}/config.json", config)
    _check_layers(name, config, len(stored))
    try:
        with quiet(), torch.device("meta"):
            model = build(AutoConfig.for_model(**config))
    except Exception as error:  # transformers raises what its classes raise, of any type
        raise EncoderError(
            f"{name}/config.json makes no model: {type(error).__name__}: {first_line(error)[:160]}; take the folder as it was published"
        ) from None
    _check_shapes(name, model, stored)


def refuse_large_pictures(where: str, settings: Mapping[str, Any]) -> None:
    """Refuse a picture processor's settings that make more of a picture than any model reads.

    Raises:
        EncoderError: a side, or a count of patches, beyond `MOST_SIDE`.
    """
    _check_numbers(where, settings)
    for key, value in _numbers(settings):
        if re.search("height|width|edge|size|patches", key) and value > MOST_SIDE:
            raise EncoderError(f"{where}: {key} is {value:,}; pictures have at most {MOST_SIDE:,}")


def stored_weights(name: str | Path) -> dict[str, Stored]:
    """Tensors of a checkpoint by name, from the headers of its files.

    Raises:
        EncoderError: none in safetensors, a damaged header, a shard that its index has not, or whose name is a path.
    """
    found: dict[str, Stored] = {}
    for file in weight_files(name):
        try:
            found |= stored_tensors(file, WEIGHTS)
        except (MoonRecError, OSError) as error:
            raise EncoderError(f"no weights of an encoder: {first_line(error)}") from None
    return found


def weight_files(name: str | Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or those that its index names."""
    if (Path(name) / "adapter_config.json").is_file():
        raise EncoderError(
            f"{name} holds an adapter (adapter_config.json), which names the model it belongs to; save the two as one model first"
        )
    one = file_of(name, WEIGHT_FILE)
    if one is not None:
        return [one]
    index = file_of(name, INDEX_FILE)
    if index is None:
        others = [file for file in RUNNING if (Path(name) / file).exists()]
        held = f"it has {', '.join(others)}, which can run code" if others else "none there"
        raise EncoderError(
            f"no weights of an encoder at {str(name)!r}: wanted {WEIGHT_FILE}, {held}; save them as safetensors"
        )
    return [_shard(name, shard) for shard in _shards(index)]


def file_of(name: str | Path, file: str) -> Path | None:
    """A file of a folder, or of a name on the hub; None where there is none."""
    found = cached_file(
        str(name),
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def _shards(index: Path) -> list[str]:
    try:
        about = load_json(index)
    except (ValueError, OSError) as error:
        raise EncoderError(f"{index} is not valid JSON: {first_line(error)}") from None
    places = about.get("weight_map") if isinstance(about, dict) else None
    if not isinstance(places, dict) or not places or not isinstance(about.get("metadata"), dict):
        raise EncoderError(f"{index} has no weight_map and metadata; take the published file")
    try:
        named = sorted({plain_name(file, f"{index}: weight_map") for file in places.values()})
    except MoonRecError as error:
        raise EncoderError(first_line(error)) from None
    strange = [file for file in named if not file.endswith(".safetensors")]
    if strange or len(named) > MOST_SHARDS:
        what = f"names {strange[0]!r}" if strange else f"names {len(named):,} files"
        raise EncoderError(
            f"{index} {what}; wanted at most {MOST_SHARDS:,} files that end in .safetensors"
        )
    return named


def _shard(name: str | Path, shard: str) -> Path:
    found = file_of(name, shard)
    if found is None:
        raise EncoderError(
            f"{name} has no {shard}, which {INDEX_FILE} names; put it back beside the others"
        )
    return found


def _check_keys(name: str | Path, config: Mapping[str, Any]) -> None:
    for key in _REDIRECTS:
        if config.get(key) is not None:
            raise EncoderError(
                f"{name}/config.json has {key}, which is not followed here; take a checkpoint without it"
            )


def _check_numbers(where: str, value: Any, name: str = "", depth: int = 0) -> None:
    """Every number of a nested configuration within its bound."""
    if depth > _DEEPEST:
        raise EncoderError(f"{where}: {name} is nested deeper than {_DEEPEST}; no model needs that")
    if isinstance(value, Mapping):
        for key, each in value.items():
            _check_numbers(where, each, f"{name}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        if len(value) > 1_024 and _most_of(name) <= 2**20:
            raise EncoderError(f"{where}: {name} has {len(value):,} entries; at most 1,024")
        for each in value:
            _check_numbers(where, each, name, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        last, most = name.rpartition(".")[2], _most_of(name)
        if last in _AT_LEAST_ONE and value < 1:
            raise EncoderError(f"{where}: {name} is {_cut(value)}, wanted at least 1")
        if not -(2**40) <= value <= most:
            raise EncoderError(f"{where}: {name} is {_cut(value)}, at most {most:,} is built")


def _cut(value: float) -> str:
    text = str(value)
    return text if len(text) < 40 else f"{text[:40]} ..."


def _most_of(name: str) -> int:
    last = name.rpartition(".")[2]
    return next((most for pattern, most in _MOST if pattern.search(last)), _MOST_OTHERS)


def _check_layers(name: str | Path, config: Mapping[str, Any], num_tensors: int) -> None:
    """No more layers than tensors, a few shared ones apart: layers take time to build, though no memory."""
    for key, value in _numbers(config):
        if re.search(r"num_(hidden_)?layers$|depth$", key) and value > max(64, num_tensors):
            raise EncoderError(
                f"{name}/config.json: {key} is {value:,}, and its weights are {num_tensors:,} tensors"
            )


def _numbers(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, int]]:
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _numbers(each, f"{before}{key}.")
        elif type(each) is int:
            yield f"{before}{key}", each


def _check_shapes(name: str | Path, model: Any, stored: Mapping[str, Stored]) -> None:
    prefix = f"{model.base_model_prefix}."
    needed = {id(one): one for one in (*model.parameters(), *model.buffers())}
    for own, one in model.named_parameters():
        found = next(
            (stored[key] for key in (own, prefix + own, own.removeprefix(prefix)) if key in stored),
            None,
        )
        if found is None:
            continue
        if found.shape != tuple(one.shape):
            raise EncoderError(
                f"{name}: weight {own} has shape {found.shape}, by config.json it is {tuple(one.shape)}; the two do not belong together"
            )
        if found.kind not in FLOATS:
            raise EncoderError(f"{name}: weight {own} is {found.kind}, wanted {', '.join(FLOATS)}")
    total = sum(one.numel() for one in needed.values())
    held = sum(math.prod(one.shape) for one in stored.values())
    if total > 2 * held + SPARE_NUMBERS:
        raise EncoderError(
            f"{name}: config.json makes a model of {total:,} numbers, its weights hold {held:,}; the two do not belong together"
        )
