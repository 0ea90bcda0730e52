"""A vision tower and a language model, each as it was published -> one LLaVA whose projector is yet to be trained.

Notable choices, ours where nothing else is said:
- The states taken are the last layer's, in CLIP's case the last but one's, as LLaVA takes them; a class token is dropped (LLaVA's `default`).
- A new projector hands on tokens as large as the language model's own embeddings, whatever the tower's scale: its weights are drawn with a seed and scaled on
  made-up pictures. Tokens far larger or smaller than words would drown them, or drown in them.
- Tokens that prompts need and the tokenizer lacks are added behind its own; each begins as the mean of the embeddings of the words in its name.
- A tower with learned positions takes another picture size by having them interpolated once, as its own code does it, so that the folder opens in
  transformers at the new size.
"""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from moon_rec.errors import EncoderError
from moon_rec.seeds import seed_of
from representation.encoders.checkpoint import (
    load_tokenizer,
    load_weights,
    read_config,
    settings_in,
)
from representation.model.backbone import Channels
from representation.model.gguf import read_gguf
from representation.model.llava import tower_states
from representation.model.quiet_transformers import quiet
from representation.model.tokenizer import IMAGE_PAD, PADDING, SPECIAL_TOKENS

IMAGE_SIZE = 224
"""Most pixels a side unless told; a tower whose own pictures are smaller keeps theirs."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NORMALISATION = {"dinov2": IMAGENET, "dinov2_with_registers": IMAGENET, "dinov3_vit": IMAGENET, "clip_vision_model": CLIP}  # fmt: skip
"""Of a folder without `preprocessor_config.json`, by the tower's `model_type`; of others the middle."""
NEEDED_TOKENS = tuple(token for token in SPECIAL_TOKENS if token != "<|video_pad|>")
_UNUSED = ("pooler", "head", "vision_model.head", "post_layernorm", "vision_model.post_layernorm", "embeddings.mask_token")  # fmt: skip
"""Weights of towers on which no state of a layer depends."""


class Tower(NamedTuple):
    """A vision tower, the side of its pictures in pixels, and mean and deviation of the channels."""

    module: Any
    image_size: int
    mean: Channels
    std: Channels


def read_tower(name: str | Path, image_size: int | None = None) -> Tower:
    """The vision tower of a folder or a name on the hub; of CLIP, SigLIP and the like the picture's side.

    Args:
        image_size: None: as its own processor has it, at most 224.

    Raises:
        EncoderError: nothing there, a model that reads no pictures, or that cannot take them at this size.
    """
    if read_config(name)["model_type"] == "timm_wrapper":
        raise EncoderError(
            f"--vision {name}: a model of timm gives maps, and LLaVA in transformers reads tokens; name the same tower as transformers publishes it, such as DINOv2, SigLIP, CLIP or ViT"
        )
    try:
        config = AutoConfig.from_pretrained(str(name), trust_remote_code=False)
    except (ValueError, KeyError):
        raise EncoderError(
            f"--vision {name}: transformers knows no model_type {read_config(name)['model_type']!r}; name a vision tower, such as DINOv2, SigLIP, CLIP or ViT"
        ) from None
    part = "vision_config" if getattr(config, "vision_config", None) is not None else ""
    vision = getattr(config, part) if part else config
    kind = MODEL_MAPPING.get(type(vision), None)
    if kind is None or getattr(kind, "main_input_name", "") != "pixel_values":
        raise EncoderError(
            f"--vision {name}: model_type {config.model_type!r} reads no pictures; name a vision tower, such as DINOv2, SigLIP, CLIP or ViT"
        )
    tower = load_weights(kind, name, torch.float32, may_lack=_UNUSED, part=part)
    size, mean, std = _pictures(name, vision)
    if image_size is not None and image_size % vision.patch_size:
        raise EncoderError(
            f"--image-size {image_size} must be a multiple of {vision.patch_size}, the patches of {name}"
        )
    size = image_size or size
    return Tower(_at_size(tower, size, name), size, mean, std)


def read_language_model(name: str | Path) -> tuple[Any, PreTrainedTokenizerFast]:
    """A causal language model in float32 and its tokenizer: a folder, a name on the hub, or a GGUF file.

    Raises:
        EncoderError: nothing there, a model of another kind, or one that LLaVA cannot hold.
    """
    if str(name).endswith(".gguf"):
        model, tokenizer = read_gguf(Path(name))
    else:
        config = read_config(name)
        if "vision_config" in config or "Causal" not in str(config.get("architectures")):
            raise EncoderError(
                f"--language {name}: model_type {config['model_type']!r} is no causal language model of text alone; name one, such as SmolLM2, Llama, Qwen3 or Gemma 3"
            )
        model = load_weights(
            AutoModelForCausalLM, name, torch.float32, may_lack=("lm_head.weight",)
        )
        tokenizer = load_tokenizer(name, model)
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise EncoderError(
            f"--language {name}: its head has a bias, which LLaVA's has not; name another"
        )
    return model, tokenizer


def composed(
    tower: Tower, language: Any, tokenizer: Any, num_layers: int | None = None, seed: int = 0
) -> LlavaForConditionalGeneration:
    """One model of both; the tokenizer gets what tokens it lacks, and the language model may be changed.

    Args:
        num_layers: keep the language model's first so many layers; None: all.

    Raises:
        EncoderError: it has fewer layers.
    """
    _add_tokens(language, tokenizer)
    text = _shortened(language.config, num_layers)
    vision = tower.module.config
    settings = LlavaConfig(
        vision_config=copy.deepcopy(vision),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_PAD),
        vision_feature_layer=-2 if vision.model_type.startswith("clip") else -1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=text.tie_word_embeddings,
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed_of(seed, "projector"))
        module: Any = LlavaForConditionalGeneration(settings)
        module.model.vision_tower.load_state_dict(tower.module.state_dict())
        kept = module.model.language_model.state_dict().keys()
        states = language.base_model.state_dict()
        module.model.language_model.load_state_dict({name: states[name] for name in kept})
        module.lm_head.load_state_dict(language.get_output_embeddings().state_dict())
        module.tie_weights()
        num_places = (tower.image_size // vision.patch_size) ** 2
        scale_projector(module, tower.image_size, num_places)
    return module.eval()


@torch.no_grad()
def scale_projector(module: Any, image_size: int, num_places: int) -> None:
    """Choose whether a class token is dropped, and draw a projector that makes tokens as large as words' of what the tower makes of made-up pictures."""
    coarse = torch.randn(4, 3, 8, 8)
    pictures = functional.interpolate(coarse, (image_size, image_size), mode="bilinear")
    if tower_states(module, pictures).shape[1] > num_places:
        module.config.vision_feature_select_strategy = "default"
    states = tower_states(module, pictures).flatten(0, 1)
    projector = module.model.multi_modal_projector
    centre = states.mean(0)
    first, second = projector.linear_1, projector.linear_2
    for layer in (first, second):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
    first.weight /= _size(states - centre)
    first.bias -= first.weight @ centre
    words = module.get_input_embeddings()(torch.arange(module.config.text_config.vocab_size))
    second.weight *= _size(words) / _size(projector(states))


def _size(states: Tensor) -> Tensor:
    """Root of the mean square; never zero."""
    return states.square().mean().sqrt().clamp(min=1e-6)


@torch.no_grad()
def _add_tokens(language: Any, tokenizer: Any) -> None:
    """Tokens that prompts and pictures need, their embeddings and their rows of the head."""
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in NEEDED_TOKENS if token not in vocabulary]
    words = {
        token: tokenizer.encode(token.strip("<|>").replace("_", " "), add_special_tokens=False)
        for token in missing
    }
    tokenizer.add_tokens(missing, special_tokens=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = PADDING
    last = max(tokenizer.get_vocab().values())
    rows = language.get_input_embeddings().weight.shape[0]
    if last >= rows:
        with quiet():
            language.resize_token_embeddings(last + 1, mean_resizing=False)
    matrices = {
        id(each.weight): each.weight
        for each in (language.get_input_embeddings(), language.get_output_embeddings())
    }
    for weight in matrices.values():
        for token, ids in words.items():
            weight[tokenizer.convert_tokens_to_ids(token)] = weight[ids].mean(0)


def _shortened(config: Any, num_layers: int | None) -> Any:
    text = copy.deepcopy(config)
    if num_layers is None:
        return text
    if num_layers > text.num_hidden_layers:
        raise EncoderError(
            f"--language-layers {num_layers}: the language model has {text.num_hidden_layers}; name fewer, or leave it out"
        )
    text.num_hidden_layers = num_layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:num_layers]
    return text


def _pictures(name: str | Path, vision: Any) -> tuple[int, Channels, Channels]:
    """Side, mean and deviation of a tower's pictures."""
    about = settings_in(name, "preprocessor_config.json")
    mean, std = NORMALISATION.get(vision.model_type, HALVES)
    own = about.get("crop_size") or about.get("size") or {}
    own = own if isinstance(own, dict) else {"height": own}
    size = own.get("height") or own.get("shortest_edge") or vision.image_size
    size = min(int(size), int(vision.image_size), IMAGE_SIZE)
    size -= size % vision.patch_size
    return size, about.get("image_mean") or mean, about.get("image_std") or std


@torch.no_grad()
def _at_size(tower: Any, size: int, name: str | Path) -> Any:
    """The tower for pictures of `size`: itself where it takes them, else one whose learned positions are interpolated."""
    try:
        tower(torch.zeros(1, 3, size, size))
        return tower
    except (ValueError, RuntimeError):
        pass
    embeddings = tower.embeddings
    owner = getattr(embeddings, "position_embedding", None)
    key = "embeddings.position_embeddings" if owner is None else "embeddings.position_embedding.weight"  # fmt: skip
    state = tower.state_dict()
    try:
        blank = torch.zeros(1, state[key].reshape(-1, state[key].shape[-1]).shape[0], 1)
        other = (size // tower.config.patch_size) ** 2
        # the code of some towers asks how many tokens come with the new size
        leading = blank.shape[1] - (tower.config.image_size // tower.config.patch_size) ** 2
        like = torch.zeros(1, other + leading, state[key].shape[-1])
        positions = embeddings.interpolate_pos_encoding(like, size, size)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise EncoderError(
            f"--vision {name}: takes pictures of {tower.config.image_size} pixels alone ({' '.join(str(error).split())[:120]}); leave --image-size out"
        ) from None
    config = copy.deepcopy(tower.config)
    config.image_size = size
    resized = type(tower)(config)
    state[key] = positions.reshape(resized.state_dict()[key].shape).clone()
    resized.load_state_dict(state)
    return resized.eval()
