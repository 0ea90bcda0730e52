"""Small random vision towers and language models of the real architectures, as transformers writes them."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    Gemma3TextConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from moon_rec.files import write_json
from representation.model.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel

PAIRS = (
    ("dinov2", "llama"),
    ("siglip", "qwen3"),
    ("clip", "gemma3"),
    ("vit", "llama"),
    ("dinov3", "qwen3"),
)
REGISTERS = 4
TEXTS = ["red mug", "blue lamp", "green bag | Things/Bag | Maker1", "a grey hat, plain"] * 3
_VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "patch_size": 4,
    "image_size": 16,
}
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.2,
}


def tokenizer(adds_start: bool) -> PreTrainedTokenizerFast:
    """Of another house: none of our tokens, its own padding; `adds_start`: it begins each text with `<bos>`, as Gemma's and Llama's do."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    engine.train_from_iterator(TEXTS, trainer)
    if adds_start:
        start = ("<bos>", engine.token_to_id("<bos>"))
        engine.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[start]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=engine, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )


def vision_folder(kind: str, path: Path) -> Path:
    """CLIP's is a whole CLIP; SigLIP's has no class token; DINOv3's has registers behind it, and no learned positions."""
    torch.manual_seed(sum(kind.encode()))
    wide = {"intermediate_size": 48}
    if kind == "dinov2":
        # positions of larger pictures, interpolated by its own code
        tower = Dinov2Model(Dinov2Config(**_VISION | {"image_size": 28}, mlp_ratio=2))
    elif kind == "dinov3":
        tower = DINOv3ViTModel(DINOv3ViTConfig(**_VISION | wide, num_register_tokens=REGISTERS))
    elif kind == "siglip":
        tower = SiglipVisionModel(SiglipVisionConfig(**_VISION | wide))
    elif kind == "vit":
        tower = ViTModel(ViTConfig(**_VISION | wide), add_pooling_layer=False)
    elif kind == "efficientnet_lite":
        tower = EfficientNetLiteModel(EfficientNetLiteConfig(image_size=32))
    else:
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}  # fmt: skip
        tower = CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION | wide))
    tower.save_pretrained(path)
    about = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    side = 32 if kind == "efficientnet_lite" else 16
    write_json(path / "preprocessor_config.json", about | {"size": {"height": side, "width": side}})
    return path


def language_folder(kind: str, path: Path) -> Path:
    """Gemma's has two layers with a window of 4 tokens, shared embeddings, scaled; Qwen3's embeddings have rows to spare."""
    torch.manual_seed(sum(kind.encode()))
    words = tokenizer(adds_start=kind != "qwen3")
    size = len(words)
    if kind == "llama":
        config = LlamaConfig(**_TEXT, vocab_size=size, pad_token_id=0)
    elif kind == "qwen3":
        config = Qwen3Config(**_TEXT, vocab_size=size + 40, pad_token_id=0)
    else:
        layers = ["sliding_attention", "full_attention", "sliding_attention"]
        config = Gemma3TextConfig(**_TEXT, vocab_size=size, sliding_window=4, layer_types=layers)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    words.save_pretrained(path)
    return path
