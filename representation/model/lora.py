"""Low-rank adapters: train few weights of a large backbone, and save an encoder that needs to know nothing of them.

A linear layer's weight W stays as it is and B A, of rank r, is added to it, scaled by alpha / r (Hu et al., LoRA, 2021, section 4.1; ours -> theirs: `rank` -> r,
`alpha` -> alpha, `dropout` on the input of A). B starts at zero, so an encoder starts as it was. Notable choices:
- peft puts the adapters into the backbone in place: it stays the same object, and everything that trains, checkpoints or wraps it works on.
- `ProductEncoder.save_pretrained` writes W + B A: a plain folder that everything downstream opens. The adapter alone lies beside it, in `adapter/`, in peft's
  own format for the backbone that training started from.
- Experts (`mixture`) get an adapter each; their routers, and the parts of `fusion` and `picture_focus`, are trained whole, and no adapter lies apart.
- Adapters are float32 even where the backbone is bfloat16: small steps would be lost in its eight bits. What is saved is float32 for the same reason; `dtype` of
  whoever opens it narrows it again.

A training loop calls `with_lora(encoder.module, config, seed)` once, before it makes its optimiser, and gives that the parameters with `requires_grad`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from moon_rec.bounds import Names, Scale, ShareBelowOne, Width
from moon_rec.config import Config
from moon_rec.errors import ConfigError
from moon_rec.files import read_json, write_json
from moon_rec.seeds import seed_of
from representation.model.added_parts import is_new
from representation.model.backbone import part_of
from representation.model.quiet_transformers import quiet

ADAPTER_FOLDER = "adapter"
LANGUAGE_LAYERS = (
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
)  # fmt: skip
_NAME = "default"


class LoraConfig(Config):
    """Which layers get an adapter, and how wide.

    Attributes:
        rank, alpha: r, and what the product is scaled by, times r.
        dropout: share of an adapter's inputs that are left out in training.
        targets: ends of names of linear layers of the language model; by default all of attention and of the feed-forward part. Of an encoder of towers: of their layers, by default all.
        vision: adapt the linear layers of the picture tower's blocks, too.
    """

    rank: Width = 16
    alpha: Scale = 32.0
    dropout: ShareBelowOne = 0.0
    targets: Annotated[Names, Field(min_length=1)] = LANGUAGE_LAYERS
    vision: bool = False


def with_lora(
    module: Any, config: LoraConfig, seed: int = 0, layers: Sequence[str] | None = None
) -> Any:
    """Put adapters into an encoder's module, in place: from here on they alone are trained, and what was put in new (`added_parts.is_new`).

    Args:
        layers: full names of the linear layers that get one; None: those of a backbone that `config` names.

    Raises:
        ConfigError: peft is not installed, a target that the backbone does not have, or a backbone that has adapters already.
    """
    try:
        import peft
    except ImportError:
        raise ConfigError("LoRA needs peft: pip install 'moon-rec[lora]'") from None
    if has_lora(module):
        raise ConfigError("the backbone has LoRA adapters already; save the encoder and open it")
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=list(layers) if layers is not None else _names(module, config),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "lora"))
        peft.inject_adapter_in_model(settings, module, adapter_name=_NAME)
    for name, value in module.named_parameters():
        value.requires_grad_("lora_" in name or is_new(name))
        if value.requires_grad:
            value.data = value.data.float()
    return module


def has_lora(module: nn.Module) -> bool:
    """Whether adapters are in it."""
    return any(hasattr(part, "lora_A") for part in module.modules())


@contextmanager
def narrow_inputs(backbone: nn.Module) -> Iterator[None]:
    """Let adapters take what comes as it comes, within the block: for use under autocast, which has their products in its own dtype.

    peft else widens every input to an adapter's float32, only for autocast to narrow it again: the same numbers, two copies of each activation more.
    """
    if not has_lora(backbone):
        yield
        return
    from peft.helpers import disable_input_dtype_casting

    with disable_input_dtype_casting(backbone):
        yield


def merged_state(backbone: nn.Module) -> dict[str, Tensor]:
    """The backbone's state with its adapters added to the weights that they adapt, under the names it has without them; the backbone stays as it is.

    What is added up is put on the processor, so a GPU need not hold the weights twice. With adapters all of it is float32, also over a bfloat16 backbone: in eight
    bits most of what an adapter adds to a weight is lost.
    """
    state = backbone.state_dict()
    if not has_lora(backbone):
        return state
    for name, module in backbone.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        layer: Any = module
        base = f"{name}.base_layer."
        weight = state[f"{base}weight"]
        added = layer.get_delta_weight(_NAME).detach()
        state[f"{base}weight"] = (weight.float() + added.float()).cpu()
    return {
        name.replace(".base_layer.", "."): value if value.dtype == torch.float32 else _wide(value)
        for name, value in state.items()
        if ".lora_" not in name
    }


def tower_layers(module: nn.Module, config: LoraConfig) -> list[str]:
    """Full names of the linear layers of an encoder of towers that get an adapter: of all its layers, or of those whose names end as `config.targets` say.

    Raises:
        ConfigError: a target that no layer has, or `vision`, which such an encoder does not read.
    """
    if config.vision:
        raise ConfigError(
            "lora.vision = True changes nothing: of an encoder of towers every tower gets adapters; leave it out"
        )
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    inside = [name for name in linear if ".layer." in f".{name}" or ".layers." in f".{name}"]
    if config.targets == LANGUAGE_LAYERS:
        return inside
    chosen = [name for name in inside if name.rsplit(".", 1)[-1] in config.targets]
    if missing := set(config.targets) - {name.rsplit(".", 1)[-1] for name in chosen}:
        known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in inside}))
        raise ConfigError(
            f"LoraConfig.targets: the encoder has no linear layer {', '.join(sorted(missing))}; it has {known}"
        )
    return chosen


def save_merged(module: Any, folder: Path) -> None:
    """Write a module of transformers with its adapters added to the weights, and the adapters alone beside it."""
    with quiet():
        module.save_pretrained(folder, state_dict=merged_state(module))
    if has_lora(module):
        declare_float32(folder)
        if not any(is_new(name) for name, _ in module.named_parameters()):
            # of a backbone with parts of ours peft knows nothing
            save_adapter(module, folder / ADAPTER_FOLDER)


def declare_float32(folder: Path) -> None:
    """Say in the `config.json` of a saved backbone that its weights are float32: transformers writes the dtype that it had in memory."""
    about = read_json(folder / "config.json")
    for part in (about, *(each for each in about.values() if isinstance(each, dict))):
        if "dtype" in part:
            part["dtype"] = "float32"
    write_json(folder / "config.json", about)


def _wide(value: Tensor) -> Tensor:
    return value.float().cpu() if value.is_floating_point() else value


def save_adapter(backbone: nn.Module, folder: Path) -> None:
    """Write the adapter alone as peft does, for `PeftModel.from_pretrained(backbone, folder)`."""
    import peft
    from safetensors.torch import save_file

    tuned: Any = backbone
    found = peft.get_peft_model_state_dict(tuned, adapter_name=_NAME)
    folder.mkdir()
    weights = {f"base_model.model.{name}": value.contiguous() for name, value in found.items()}
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    tuned.peft_config[_NAME].save_pretrained(folder)


def _names(module: nn.Module, config: LoraConfig) -> list[str]:
    """Full names of the layers that get an adapter: the picture tower of one family has layers of the same short names as the language model."""
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    language = [name for name in linear if ".language_model." in name]
    chosen = [name for name in language if name.rsplit(".", 1)[-1] in config.targets]
    missing = set(config.targets) - {name.rsplit(".", 1)[-1] for name in chosen}
    if missing:
        known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in language}))
        raise ConfigError(
            f"LoraConfig.targets: the backbone has no linear layer {', '.join(sorted(missing))}; it has {known}"
        )
    if config.vision:
        chosen += [name for name in linear if part_of(name) == "vision"]
    return chosen
