"""What a checkpoint says of itself: its family, and the small files beside its weights, of a local folder or a name on the hub.

Families are told apart by `model_type` in `config.json`, never by a name. A folder of sentence-transformers is a plain Hugging Face folder with `modules.json` and
one folder a module beside it; a checkpoint of its that does more than transform, pool and normalise is refused, not half-run.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

from moon_rec.config import Config
from moon_rec.errors import EncoderError, MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.outputs import OutputKind, json_with
from representation.model.quiet import quiet

Family = Literal["qwen", "dual", "text"]

FORMAT_VERSION = 1
ABOUT_FILE = "moon_rec.json"
ENCODER = OutputKind(
    "an encoder",
    ABOUT_FILE,
    json_with("format_version", "digest", "config"),
    (
        "*config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
        "*.model", "chat_template*", "modules.json", "config_sentence_transformers.json", "1_Pooling/config.json", "2_Normalize/*", "adapter/adapter_*", "*training_log.json",
    ),
)  # fmt: skip
QWEN_TYPES = ("qwen3_vl", "qwen2_5_vl")
DUAL_TYPES = ("clip", "siglip", "siglip2")
TEXT_TYPES = (
    "albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "ernie", "modernbert", "mpnet", "roberta", "xlm-roberta",
)  # fmt: skip
MIXTURES = ("qwen3_vl_moe", "qwen3_omni_moe", "qwen3_5_moe")

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Pooling(NamedTuple):
    """How sentence-transformers' files say that states become a vector: `mean`, `cls` or `lasttoken`, and whether it is brought to unit length."""

    mode: str
    normalised: bool


def read_config(name: str | Path) -> dict[str, Any]:
    """`config.json` of a folder or of a name on the hub. Where `a` is a folder here, `a/b` is one, too, not a name: a slip of the pen asks nothing of the network.

    Raises:
        EncoderError: neither.
    """
    where = str(name)
    if not Path(where).is_dir() and not _HUB_NAME.fullmatch(where):
        raise EncoderError(f"no encoder at {where!r}: no such folder, and no name on the hub")
    parent = Path(where).parent
    if not Path(where).is_dir() and parent.name and parent.is_dir():
        raise EncoderError(f"no encoder at {where!r}: {parent} is a folder here without it")
    try:
        found, _ = PretrainedConfig.get_config_dict(where)
    except (OSError, ValueError) as error:
        raise EncoderError(f"no encoder at {where!r}: {one_line(error)}") from None
    if not found.get("model_type"):
        raise EncoderError(
            f"no encoder at {where!r}: it has no config.json that names a model_type"
        )
    return found


def family_of(config: dict[str, Any], name: str | Path) -> Family:
    """Which of our families reads this checkpoint.

    Raises:
        EncoderError: none does.
    """
    found = config["model_type"]
    families: dict[Family, tuple[str, ...]] = {
        "qwen": QWEN_TYPES,
        "dual": DUAL_TYPES,
        "text": TEXT_TYPES,
    }
    for family, types in families.items():
        if found in types:
            return family
    if found in MIXTURES:
        raise EncoderError(
            f"{name}: model_type {found!r} is a mixture of experts, which is not supported; take a dense one, such as Qwen/Qwen3-VL-4B-Instruct"
        )
    known = ", ".join((*QWEN_TYPES, *DUAL_TYPES, *TEXT_TYPES))
    raise EncoderError(f"{name}: model_type {found!r} is not one that is read here: {known}")


def read_about(folder: str | Path) -> dict[str, Any] | None:
    """Our own `moon_rec.json` of an encoder's folder; None for a plain one.

    Raises:
        EncoderError: another version's.
    """
    file = Path(folder) / ABOUT_FILE
    if not file.is_file():
        return None
    try:
        about = read_json(file)
    except MoonRecError as error:
        raise EncoderError(str(error)) from None
    if about.get("format_version") != FORMAT_VERSION:
        raise EncoderError(
            f"{file}: format_version {about.get('format_version')!r}, wanted {FORMAT_VERSION}"
        )
    return about


def write_about(folder: Path, family: Family, digest: str, config: Config) -> None:
    """Write `moon_rec.json`."""
    about = {"format_version": FORMAT_VERSION, "digest": digest}
    family_named = {} if family == "qwen" else {"family": family}
    write_json(
        folder / ABOUT_FILE, {**about, **family_named, "config": config.model_dump(mode="json")}
    )


def read_json_of(name: str | Path, file: str) -> Any:
    """A JSON file beside the weights; None where there is none.

    Raises:
        EncoderError: it is no JSON.
    """
    found = cached_file(
        str(name),
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if found is None:
        return None
    try:
        return json.loads(Path(found).read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(f"{found} is not valid JSON: {one_line(error)}") from None


def pooling_of(name: str | Path) -> Pooling | None:
    """What `modules.json` and the pooling module's `config.json` say; None for a plain folder.

    Raises:
        EncoderError: modules other than Transformer, Pooling and Normalize, or more ways of pooling than one.
    """
    modules = read_json_of(name, "modules.json")
    if modules is None:
        return None
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    strange = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if strange:
        raise EncoderError(
            f"{name}: modules.json asks for {', '.join(strange)}; only Transformer, Pooling and Normalize are read here"
        )
    if "Pooling" not in kinds:
        raise EncoderError(f"{name}: modules.json has no Pooling module")
    folder = modules[kinds.index("Pooling")]["path"]
    about = read_json_of(name, f"{folder}/config.json") or {}
    modes = about.get("pooling_mode")
    if modes is None:  # sentence-transformers up to 5 wrote one truth value a mode
        prefix = "pooling_mode_"
        modes = [key.removeprefix(prefix) for key, value in about.items() if key.startswith(prefix) and value is True]  # fmt: skip
    modes = [modes] if isinstance(modes, str) else list(modes)
    short = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}
    modes = [short.get(mode, mode) for mode in modes]
    if len(modes) != 1 or modes[0] not in ("mean", "cls", "lasttoken"):
        raise EncoderError(
            f"{name}: pooling {'+'.join(modes) or 'of no kind'}; wanted mean, cls or lasttoken"
        )
    return Pooling(modes[0], "Normalize" in kinds)


def load_weights(
    kind: Any,
    name: str | Path,
    dtype: torch.dtype | Literal["auto"],
    may_lack: tuple[str, ...] = (),
    **settings: Any,
) -> Any:
    """A model of transformers' class `kind` with all its weights, in evaluation mode.

    Args:
        dtype: of the weights; `auto`: as they were saved.
        may_lack: beginnings of names of weights that no vector depends on. Where a checkpoint lacks them they become zero, so that the same checkpoint is the
            same model each time.

    Raises:
        EncoderError: nothing there, no safetensors, or other weights lacking.
    """
    try:
        with quiet():
            model, about = kind.from_pretrained(
                str(name), dtype=dtype, use_safetensors=True, output_loading_info=True, **settings
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise EncoderError(
            f"no weights of an encoder at {str(name)!r}: {one_line(error)}"
        ) from None
    lacking = sorted(about["missing_keys"])
    needed = [key for key in lacking if not key.startswith(may_lack)] if may_lack else lacking
    if needed:
        raise EncoderError(
            f"{name}: its weights lack {len(needed)} that {kind.__name__} needs, such as {needed[0]}"
        )
    with torch.no_grad():
        for key in lacking:
            model.get_parameter(key).zero_()
    return model.eval()


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer beside the weights.

    Raises:
        EncoderError: none there, or only a slow one.
    """
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(name))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EncoderError(f"no tokenizer at {str(name)!r}: {one_line(error)}") from None
    if not tokenizer.is_fast:
        raise EncoderError(
            f"{name}: its tokenizer has no tokenizer.json; save it as a fast one first"
        )
    return tokenizer


def one_line(error: Exception) -> str:
    """An error's text as one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
