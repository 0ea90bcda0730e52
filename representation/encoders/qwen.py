"""What a Qwen-VL encoder needs besides weights and tokenizer, and what of it a plain checkpoint's own files say.

Three kinds of checkpoint are told apart by their files:
- Qwen2.5-VL and Qwen3-VL are generative. They become embedders as MOON makes them (technical report, post-training): attention in both directions, mean of the
  output states.
- Qwen3-VL-Embedding has Qwen3-VL's `config.json` and is an embedder already: attention stays causal, the vector is the state of the last token, and content
  stands in the chat template, an instruction as its system turn. It is known by its pooling module's `config.json` (`lasttoken`), by the script
  `scripts/qwen3_vl_embedding.py` that it is published with, or, where neither is there, by `Qwen3-VL-Embedding` in its name.

What is known of Qwen3-VL-Embedding, and whence: the last token's state, the default instruction "Represent the user's input" and "Retrieve images or text
relevant to the user's query" for queries, from the README of QwenLM/Qwen3-VL-Embedding; picture before text, the turn of the assistant opened at the end and
an instruction closed by a full stop, from its published script; `<|endoftext|>` behind it all is what its own tokenizer adds. Its weights were not at hand
here: the frame is held to a tokenizer with that template, the forward pass to transformers' own (tests/representation/encoders/test_qwen.py).
A choice of ours: pictures are squares of `image_size` (224 pixels unless told), where these families take any shape.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from transformers import PreTrainedTokenizerBase

from moon_rec.bounds import LengthOrZero, RisingWidths
from moon_rec.config import Config, make_config
from moon_rec.files import digest_of
from representation.core_region.config import CoreRegionConfig
from representation.encoders.checkpoint import pooling_of, settings_in
from representation.encoders.frame_inputs import framing_tokens
from representation.fusion.config import FusionConfig, ResidualEnhancementConfig
from representation.mixture.config import ExpertsConfig
from representation.model.added_parts import AddedParts
from representation.model.backbone_config import Attention, BackboneConfig, Pooling
from representation.model.prompt import CONTENT, PromptConfig
from representation.picture_focus.config import CompressionConfig, LateFusionConfig

Channel = Annotated[float, Field(ge=-10, le=10)]
Channels = tuple[Channel, Channel, Channel]
FAMILY_IMAGES: dict[str, tuple[Channels, Channels]] = {
    "qwen3_vl": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "qwen2_5_vl": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
"""Mean and deviation of each family's published image processors, for a folder without one."""

CHECKPOINT_IMAGE_SIZE = 224
EMBEDDING_WIDTHS = (64, 128, 256, 512, 1024)
"""Qwen3-VL-Embedding is trained for prefixes (its README); which ones it does not say, so these powers of two are ours."""

LONGER = PromptConfig(query_tokens=64, title_tokens=64, richer_tokens=256)
"""Lengths for a checkpoint that is opened as it is: large models are not fed the few tokens that small ones are trained on."""


class EncoderConfig(Config):
    """What an encoder needs besides weights and tokenizer; saved as `moon_rec.json`.

    Attributes:
        image_size: side of a picture, in pixels.
        image_mean, image_std: of the channels: what pixels in [0, 1] are normalised by.
        widths: Matryoshka widths, the full one last.
        prompt: wording and lengths.
        pooling: `mean` of the output states over all real tokens (MOON), or the state of the `last` one.
        attention: `bidirectional` (MOON), or `causal` as the language model was trained.
        core_region: what of a picture is encoded beside it (MOON); None: nothing.
        experts: what stands in place of the language model's feed-forward layers; None: they do themselves.
        fusion: how vectors look again at the raw picture and words (MOON3.0); None: not.
        residual_enhancement: how layers' states get fine detail back (MOON3.0); None: not.
        late_fusion: how vectors are mixed with what the vision tower saw (NoteLLM-2); None: not.
        compression_tokens: how a picture is compressed to a token before the words are read (NoteLLM-2); None: not.
        reasoning_tokens: most tokens of the attributes that the model writes of a product before its vector (`representation.reasoning`); 0: it writes none.
    """

    image_size: Annotated[int, Field(ge=1, le=4_096)]
    image_mean: Channels = (0.5, 0.5, 0.5)
    image_std: Channels = (0.5, 0.5, 0.5)
    widths: Annotated[RisingWidths, Field(min_length=1)]
    prompt: PromptConfig = PromptConfig()
    pooling: Pooling = "mean"
    attention: Attention = "bidirectional"
    core_region: CoreRegionConfig | None = None
    experts: ExpertsConfig | None = None
    fusion: FusionConfig | None = None
    residual_enhancement: ResidualEnhancementConfig | None = None
    late_fusion: LateFusionConfig | None = None
    compression_tokens: CompressionConfig | None = None
    reasoning_tokens: LengthOrZero = 0

    @property
    def added(self) -> AddedParts:
        """What was put into the backbone's module."""
        return AddedParts(**{name: getattr(self, name) for name in AddedParts._fields})

    def digest(self) -> str:
        """As `Config.digest`; the settings that came later count only where they are not at their defaults, so older encoders keep their names."""
        values = self.model_dump(mode="json")
        later = (
            ("pooling", "mean"),
            ("attention", "bidirectional"),
            ("experts", None),
            ("core_region", None),
            ("fusion", None),
            ("residual_enhancement", None),
            ("late_fusion", None),
            ("compression_tokens", None),
            ("reasoning_tokens", 0),
        )
        for name, default in later:
            if values[name] == default:
                del values[name]
        return digest_of(values)


def settings_of(
    name: str | Path,
    config: BackboneConfig,
    module: Any,
    tokenizer: PreTrainedTokenizerBase,
) -> EncoderConfig:
    """Settings of the encoder that a plain checkpoint makes: what `config` says, else the checkpoint, else the family.

    Args:
        name: folder or name on the hub.
    """
    dim = module.config.text_config.hidden_size
    is_embedder = is_embedding_checkpoint(name)
    mean, std = _image_normalisation(name, module.config.model_type)
    prompt = config.prompt
    plain = PromptConfig()
    worded = (prompt.query_prompt, prompt.item_prompt) != (plain.query_prompt, plain.item_prompt)
    if (is_embedder if config.chat is None else config.chat) and not worded:
        prompt = prompt.model_copy(
            update={
                "query_prompt": chat_prompt(tokenizer, config.query_instruction),
                "item_prompt": chat_prompt(tokenizer, config.item_instruction),
            }
        )
    settings = {
        "image_size": config.image_size or _image_size(module),
        "image_mean": mean,
        "image_std": std,
        "widths": (*[width for width in sorted(set(config.widths)) if width < dim], dim),
        "prompt": prompt,
        "pooling": config.pooling or ("last" if is_embedder else "mean"),
        "attention": config.attention or ("causal" if is_embedder else "bidirectional"),
    }
    return make_config(EncoderConfig, settings)


def is_embedding_checkpoint(name: str | Path) -> bool:
    """Whether a Qwen-VL checkpoint says that it is an embedder read at its last token."""
    pooling = pooling_of(name)
    if pooling is not None:
        return pooling == "lasttoken"
    if (Path(name) / "scripts" / "qwen3_vl_embedding.py").is_file():
        return True
    return "qwen3-vl-embedding" in Path(name).name.lower()


def chat_prompt(tokenizer: PreTrainedTokenizerBase, instruction: str) -> str:
    """The chat template around a place for content: instruction as the system turn, content as the user's, the assistant's turn opened.

    What the tokenizer itself puts behind a text (Qwen3-VL-Embedding's: `<|endoftext|>`) comes last.
    """
    instruction = instruction.strip()
    if instruction and instruction[-1].isalnum():
        instruction += "."
    turns = [
        {"role": "system", "content": [{"type": "text", "text": instruction}]},
        {"role": "user", "content": [{"type": "text", "text": CONTENT}]},
    ]
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    else:
        text = f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{CONTENT}<|im_end|>\n<|im_start|>assistant\n"
    _, behind = framing_tokens(tokenizer)
    return str(text) + "".join(tokenizer.convert_ids_to_tokens(behind))


def _image_size(module: Any) -> int:
    """224 pixels, or the next smaller side that the patches divide."""
    vision: Any = module.config.vision_config
    step = vision.patch_size * vision.spatial_merge_size
    return max(CHECKPOINT_IMAGE_SIZE // step, 1) * step


def _image_normalisation(name: str | Path, family: str) -> tuple[Channels, Channels]:
    about = settings_in(name, "preprocessor_config.json")
    if not about:
        about = settings_in(name, "processor_config.json").get("image_processor")
    if not isinstance(about, dict):
        return FAMILY_IMAGES[family]
    mean, std = FAMILY_IMAGES[family]
    return about.get("image_mean") or mean, about.get("image_std") or std
