"""What a checkpoint says of itself: its family, and the small files beside its weights, of a local folder or a name on the hub.

Families are told apart by `model_type` in `config.json`, never by a name. A folder of sentence-transformers is a plain Hugging Face folder with `modules.json` and
one folder a module beside it; a checkpoint of its that does more than transform, pool and normalise is refused, not half-run.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerFast

from moon_rec.config import Config
from moon_rec.errors import EncoderError, MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.outputs import OutputKind, json_with
from moon_rec.progress import say
from moon_rec.recorded import difference, record, recorded_files
from moon_rec.shown import plain_name, visible
from moon_rec.strict_json import load_json
from representation.encoders.frame_inputs import framing_tokens
from representation.encoders.strangers import file_of, refuse_unfit
from representation.model.added_parts import is_new
from representation.model.quiet_transformers import quiet
from representation.model.rust_panics import refused_panics
from representation.model.word_cache import forget_words
from representation.recipes.mark import RecipeMark, mark_in

Family = Literal["qwen", "composed", "dual", "text", "locked"]

FORMAT_VERSION = 1
ABOUT_FILE = "moon_rec.json"
MERGED_FILE = "merged.json"
"""Beside it in what `representation.merge` made: of which encoders."""
ENCODER = OutputKind(
    "an encoder",
    ABOUT_FILE,
    json_with("format_version", "digest", "config"),
    (
        "*config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
        "*.model", "chat_template*", "modules.json", "config_sentence_transformers.json", "1_Pooling/config.json", "2_Normalize/*", "adapter/adapter_*", "text/**", "vision/**", "*training_log.json", "reasoning_log.json", MERGED_FILE,
    ),
)  # fmt: skip
QWEN_TYPES = ("qwen3_vl", "qwen2_5_vl")
COMPOSED_TYPES = ("llava",)
DUAL_TYPES = ("clip", "metaclip_2", "siglip", "siglip2")
TEXT_TYPES = (
    "albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "embedding_gemma2", "embedding_gemma2_text", "ernie", "modernbert", "mpnet", "roberta", "xlm-roberta",
)  # fmt: skip
LOCKED_TYPES = ("moon_rec_locked",)
"""Ours: two frozen towers, each in a folder of its own, and trained projections (`encoders.locked`)."""
CAUSAL_ONLY = ("qwen3_5", "qwen3_5_text", "qwen3_next")
"""Their linear-attention layers carry a state from left to right, which no mask opens to what comes after."""
MIXTURES = ("qwen3_vl_moe", "qwen3_omni_moe", "qwen3_5_moe")

READ = (
    "config.json", "generation_config.json", "model.safetensors.index.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.json", "preprocessor_config.json",
    "processor_config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json",
)  # fmt: skip
_NO_CODE: dict[bool, dict[str, Any]] = {True: {"trust_remote_code": False}, False: {}}
"""What tells an `Auto` class not to ask for leave to run code; the others have none to run."""
_AGAIN = "save the encoder again"
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def read_config(name: str | Path) -> dict[str, Any]:
    """`config.json` of a folder or of a name on the hub. Where `a` is a folder here, `a/b` is one, too, not a name: a slip of the pen asks nothing of the network. What else it asks is said first.

    Raises:
        EncoderError: neither.
    """
    where = str(name)
    if not Path(where).is_dir() and not _HUB_NAME.fullmatch(where):
        raise EncoderError(f"no encoder at {where!r}: no such folder, and no name on the hub")
    parent = Path(where).parent
    if not Path(where).is_dir() and parent.name and parent.is_dir():
        raise EncoderError(f"no encoder at {where!r}: {parent} is a folder here without it")
    is_here = Path(where).is_dir()
    if not is_here:
        _tell_of_hub(where)
    try:
        if (Path(where) / "config.json").exists():
            load_json(Path(where) / "config.json")  # with bounds; transformers has none
        with quiet():
            found, _ = PretrainedConfig.get_config_dict(where)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        why = one_line(error)
        if not is_here:
            why = f"no such folder here, and from the hub: {why}"
        raise EncoderError(f"no encoder at {where!r}: {why}") from None
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise EncoderError(
            f"no encoder at {where!r}: it has no config.json that names a model_type"
        )
    return found


@cache
def _tell_of_hub(name: str) -> None:
    """Once a process: a folder's name with a slip of the pen waits half a minute where the hub cannot be reached."""
    say(f"no folder {name} here: asking the hub for it")


def family_of(config: dict[str, Any], name: str | Path) -> Family:
    """Which of our families reads this checkpoint.

    Raises:
        EncoderError: none does.
    """
    found = config["model_type"]
    families: dict[Family, tuple[str, ...]] = {
        "qwen": QWEN_TYPES,
        "composed": COMPOSED_TYPES,
        "dual": DUAL_TYPES,
        "text": TEXT_TYPES,
        "locked": LOCKED_TYPES,
    }
    for family, types in families.items():
        if found in types:
            return family
    if found in MIXTURES:
        raise EncoderError(
            f"{name}: model_type {found!r} is a mixture of experts, which is not supported; take a dense one, such as Qwen/Qwen3-VL-4B-Instruct"
        )
    if found in CAUSAL_ONLY:
        raise EncoderError(
            f"{name}: model_type {found!r} has linear-attention layers, which read from left to right alone; they are not read here yet: take Qwen/Qwen3-VL-2B-Instruct or another Qwen3-VL"
        )
    known = ", ".join((*QWEN_TYPES, *COMPOSED_TYPES, *DUAL_TYPES, *TEXT_TYPES))
    raise EncoderError(f"{name}: model_type {found!r} is not one that is read here: {known}")


def read_about(folder: str | Path) -> dict[str, Any] | None:
    """Our own `moon_rec.json` of an encoder's folder; None for a plain one.

    Raises:
        EncoderError: another version's, or no such file but something else.
    """
    file = Path(folder) / ABOUT_FILE
    if not file.is_file():
        return None
    try:
        about = read_json(file)
    except MoonRecError as error:
        raise EncoderError(str(error)) from None
    if not isinstance(about, dict):
        raise EncoderError(f"{file} is a {type(about).__name__}, wanted names and values; {_AGAIN}")
    if about.get("format_version") != FORMAT_VERSION:
        raise EncoderError(
            f"{file}: format_version {about.get('format_version')!r}, wanted {FORMAT_VERSION}"
        )
    kinds = {"digest": str, "config": dict, "family": str, "files": dict}
    about = {"family": "qwen", "files": {}, **about}
    for name, kind in kinds.items():
        if not isinstance(about.get(name), kind):
            raise EncoderError(
                f"{file}: {name} is {about.get(name)!r:.80}, wanted {kind.__name__}; {_AGAIN}"
            )
    if about["family"] not in get_args(Family):
        raise EncoderError(
            f"{file}: family {about['family']!r:.80}, wanted {', '.join(get_args(Family))}; {_AGAIN}"
        )
    mark_in(about, file)
    return about


def recipe_of(folder: str | Path) -> RecipeMark | None:
    """Of which recipe an encoder's last training was; None where it was of none, or is not told.

    Raises:
        EncoderError: as `read_about`.
    """
    return mark_in(read_about(folder) or {}, folder)


def write_about(
    folder: Path, family: Family, digest: str, config: Config, recipe: RecipeMark | None = None
) -> None:
    """Write `moon_rec.json`, the last file of an encoder's folder: it records the digest of every other."""
    about = {"format_version": FORMAT_VERSION, "digest": digest}
    more: dict[str, Any] = {} if family == "qwen" else {"family": family}
    if recipe is not None:
        more["recipe"] = recipe.model_dump(mode="json")
    write_json(
        folder / ABOUT_FILE,
        {
            **about,
            **more,
            "files": record(folder, ABOUT_FILE),
            "config": config.model_dump(mode="json"),
        },
    )


def refuse_changed(folder: str | Path) -> None:
    """Hold an encoder's files against the digests that its `moon_rec.json` records: some second a GB, once a process.

    An encoder saved before files were recorded promises nothing: `python -m moon_rec verify` says what is known of it. What is no file of an encoder, such as
    a log of training or a page about it, may lie in the folder.

    Raises:
        EncoderError: a file that differs, is gone, or would be read and was not there when the encoder was saved.
    """
    about, where = read_about(folder), Path(folder)
    if about is None:
        return
    try:
        files = recorded_files(about, where / ABOUT_FILE)
        why = difference(where, ABOUT_FILE, files, is_read)
    except (MoonRecError, OSError) as error:
        raise EncoderError(one_line(error)) from None
    if why:
        raise EncoderError(why)


def is_read(name: str) -> bool:
    """Whether transformers, or we, read a file of that name, so that it decides vectors."""
    return name.endswith((".safetensors", ".bin", ".model", ".jinja")) or name in READ


def read_json_of(name: str | Path, file: str) -> Any:
    """A JSON file beside the weights; None where there is none.

    Raises:
        EncoderError: it is no JSON.
    """
    found = file_of(name, file)
    if found is None:
        return None
    try:
        return load_json(found)
    except (ValueError, OSError) as error:
        raise EncoderError(f"{found} is not valid JSON: {one_line(error)}") from None


def settings_in(name: str | Path, file: str) -> dict[str, Any]:
    """A JSON file of names and values beside the weights; empty where there is none.

    Raises:
        EncoderError: it is no JSON, or something else than names and values.
    """
    found = read_json_of(name, file)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise EncoderError(f"{name}/{file} is a {type(found).__name__}, wanted names and values")
    return found


def pooling_of(name: str | Path) -> str | None:
    """How states become a vector: `mean`, `cls` or `lasttoken`, as `modules.json` and the pooling module's `config.json` of sentence-transformers say; None for a plain folder.

    Raises:
        EncoderError: modules other than Transformer, Pooling and Normalize, or more ways of pooling than one.
    """
    modules = read_json_of(name, "modules.json")
    if modules is None:
        return None
    if not isinstance(modules, list) or not all(
        isinstance(one, dict) and isinstance(one.get("type"), str) for one in modules
    ):
        raise EncoderError(f"{name}: modules.json is no list of modules, each with its type")
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    strange = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if strange:
        raise EncoderError(
            f"{name}: modules.json asks for {visible(', '.join(strange))[:160]}; only Transformer, Pooling and Normalize are read here"
        )
    if "Pooling" not in kinds:
        raise EncoderError(f"{name}: modules.json has no Pooling module")
    folder = _plain(modules[kinds.index("Pooling")].get("path"), f"{name}: modules.json, path")
    about = settings_in(name, f"{folder}/config.json")
    modes = about.get("pooling_mode")
    if modes is None:  # sentence-transformers up to 5 wrote one truth value a mode
        prefix = "pooling_mode_"
        modes = [key.removeprefix(prefix) for key, value in about.items() if key.startswith(prefix) and value is True]  # fmt: skip
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise EncoderError(f"{name}: pooling_mode is {modes!r:.80}, wanted mean, cls or lasttoken")
    short = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}
    modes = [short.get(mode, mode) for mode in modes]
    if len(modes) != 1 or modes[0] not in ("mean", "cls", "lasttoken"):
        raise EncoderError(
            f"{name}: pooling {visible('+'.join(modes))[:80] or 'of no kind'}; wanted mean, cls or lasttoken"
        )
    return modes[0]


def _plain(value: Any, what: str) -> str:
    try:
        return plain_name(value, what)
    except MoonRecError as error:
        raise EncoderError(str(error)) from None


def load_weights(
    kind: Any,
    name: str | Path,
    dtype: torch.dtype | Literal["auto"],
    may_lack: tuple[str, ...] = (),
    part: str = "",
) -> Any:
    """A model of transformers' class `kind` with all its weights, in evaluation mode.

    Args:
        dtype: of the weights; `auto`: as they were saved.
        may_lack: beginnings of names of weights that no vector depends on. Where a checkpoint lacks them they become zero, so that the same checkpoint is the
            same model each time.
        part: of `config.json`, that `kind` is configured by, where the folder holds more than it: `vision_config`.

    Raises:
        EncoderError: nothing there, no safetensors, files that do not fit each other or what was recorded of them, other weights lacking, or some of parts of ours that
            `kind` was not built with.
    """
    refuse_changed(name)
    is_auto = hasattr(kind, "from_config")
    build = kind.from_config if is_auto else kind
    refuse_unfit(
        name, read_config(name), lambda config: build(getattr(config, part) if part else config)
    )
    try:
        with quiet():
            model, about = kind.from_pretrained(
                str(name),
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                **_NO_CODE[is_auto],
            )
    except Exception as error:  # of a stranger's files transformers raises errors of any type
        raise EncoderError(
            f"no weights of an encoder at {str(name)!r}: {one_line(error)}"
        ) from None
    lacking = sorted(about["missing_keys"])
    needed = [key for key in lacking if not key.startswith(may_lack)] if may_lack else lacking
    if needed:
        raise EncoderError(
            f"{name}: its weights lack {len(needed)} that {kind.__name__} needs, such as {needed[0]}"
        )
    ours = sorted(filter(is_new, about["unexpected_keys"]))
    if ours:
        raise EncoderError(
            f"{name}: its weights hold {len(ours)} of parts that its {ABOUT_FILE} does not name, such as {ours[0]}; take the folder as it was saved"
        )
    with torch.no_grad():
        for key in lacking:
            model.get_parameter(key).zero_()
    return model.eval()


def load_tokenizer(name: str | Path, model: Any) -> PreTrainedTokenizerFast:
    """The tokenizer beside the weights.

    Args:
        model: that its tokens are for.

    Raises:
        EncoderError: none there, only a slow one, or one with tokens that the model has no embedding for.
    """
    for file in ("tokenizer.json", "tokenizer_config.json"):
        settings_in(name, file)  # with bounds; the readers below have none
    try:
        with refused_panics():
            tokenizer: Any = AutoTokenizer.from_pretrained(str(name), trust_remote_code=False)
            if tokenizer.is_fast:
                forget_words(tokenizer.backend_tokenizer)
            last = max(tokenizer.get_vocab().values(), default=-1)
            framing_tokens(tokenizer)  # a text is read, whatever its settings say
            special = (tokenizer.pad_token_id, tokenizer.eos_token_id)
            if not all(one is None or type(one) is int for one in special):
                raise ValueError(f"its padding or end are {special}")
    except Exception as error:  # as of weights
        raise EncoderError(f"no tokenizer at {str(name)!r}: {one_line(error)}") from None
    if not tokenizer.is_fast:
        raise EncoderError(
            f"{name}: its tokenizer has no tokenizer.json; save it as a fast one first"
        )
    rows = _embedded(model)
    if last >= rows:
        raise EncoderError(
            f"{name}: its tokenizer has a token {last:,}, the model has embeddings of {rows:,}; the two do not belong together"
        )
    return tokenizer


def _embedded(model: Any) -> int:
    """How many tokens a model has an embedding for."""
    found = getattr(model, "text_model", model).get_input_embeddings()
    return found.weight.shape[0]


def one_line(error: Exception) -> str:
    """An error's text as one line."""
    return visible(" ".join(str(error).split())[:200]) or type(error).__name__
