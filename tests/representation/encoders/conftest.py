"""Small random checkpoints of each real architecture, as transformers writes them: what the hub holds, in little."""

from pathlib import Path

import pytest
import torch
from tokenizers import pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    EmbeddingGemma2Config,
    EmbeddingGemma2Model,
    GemmaTokenizer,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Siglip2Config,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from moon_rec.files import write_json
from representation.model.tokenizer import train_tokenizer

TEXTS = [
    "red mug",
    "blue lamp",
    "green bag | Things/Bag | Maker1",
    "a grey hat, plain",
    "system user assistant",
] * 3
CHAT = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
    "{%- for part in message.content %}{{ part.text if part.type == 'text' else '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- endfor %}<|im_end|>\n{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}"
)


def qwen_tokenizer(adds_end: bool = False) -> PreTrainedTokenizerFast:
    """Qwen's special tokens over bytes, no space put before a text; `adds_end`: it puts `<|endoftext|>` behind a text, as Qwen3-VL-Embedding's does."""
    tokenizer = train_tokenizer(TEXTS, 340)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.chat_template = CHAT
    if adds_end:
        end = ("<|endoftext|>", tokenizer.get_vocab()["<|endoftext|>"])
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[end]
        )
    return tokenizer


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image": "<|image_pad|>",
        "video": "<|video_pad|>",
        "vision_start": "<|vision_start|>",
        "vision_end": "<|vision_end|>",
    }
    return {f"{name}_token_id": tokenizer.get_vocab()[token] for name, token in names.items()}


TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 512, "initializer_range": 0.15,
}  # fmt: skip


def qwen3(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    rope = {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_interleaved": True,
        "mrope_section": [2, 1, 1],
    }
    vision = {
        "depth": 3, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 16, "out_hidden_size": 32,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1], "initializer_range": 0.15,
    }  # fmt: skip
    text = {**TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "rope_parameters": rope}
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=text, vision_config=vision, tie_word_embeddings=True, **_ids(tokenizer)
        )
    )


def qwen2_5(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
    vision = {
        "depth": 3, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 14, "out_hidden_size": 32,
        "window_size": 112, "fullatt_block_indexes": [1], "initializer_range": 0.15,
    }  # fmt: skip
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope, "pad_token_id": 0}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text, vision_config=vision, tie_word_embeddings=False, **_ids(tokenizer)
        )
    )


WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [
    mark + letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789" for mark in ("", "##")
]
TOWER = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip


def bert(vocabulary: int) -> BertModel:
    return BertModel(
        BertConfig(
            vocab_size=vocabulary, max_position_embeddings=40, initializer_range=0.15, **TOWER
        )
    )


def embedding_gemma(vocabulary: int) -> EmbeddingGemma2Model:
    """Words alone: checkpoints without towers for pictures and sound are published so, too."""
    text = {
        **TOWER, "vocab_size": vocabulary, "num_key_value_heads": 1, "head_dim": 16,
        "hidden_size_per_layer_input": 8, "embedding_dim": 24, "sliding_window": 3, "sliding_window_pattern": 2,
        "initializer_range": 0.15, "max_position_embeddings": 40,
    }  # fmt: skip
    config = EmbeddingGemma2Config(text_config=text, vision_config=None, audio_config=None)
    return EmbeddingGemma2Model(config)


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's own kind over single bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *[f"{letter}</w>" for letter in letters]]
    return CLIPTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[])


def gemma_tokenizer(kind: type = Siglip2Tokenizer) -> GemmaTokenizer | Siglip2Tokenizer:
    """SigLIP 2's tokenizer over letters and bytes, ending a text with `<eos>` and padding behind it: NaFlex checkpoints make it a `Siglip2Tokenizer` in
    transformers, those of fixed resolution a `GemmaTokenizer`."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    names += [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = kind(vocab=vocabulary, merges=[], padding_side="right")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair="$A $B <eos>", special_tokens=[("<eos>", 1)]
    )
    return tokenizer


def dual_checkpoints(root: Path) -> dict[str, Path]:
    """CLIP; MetaCLIP 2; SigLIP 2 of fixed resolution, which is published as `siglip`; SigLIP 2 NaFlex, `siglip2`."""
    words, gemma = clip_tokenizer(), gemma_tokenizer()
    picture = {**TOWER, "image_size": 32, "patch_size": 8}
    text = {
        **TOWER,
        "vocab_size": len(words),
        "max_position_embeddings": 20,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=picture, projection_dim=16))
    text = {
        **TOWER,
        "vocab_size": len(gemma),
        "max_position_embeddings": 20,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    meta = MetaClip2Model(
        MetaClip2Config(text_config=text, vision_config=picture, projection_dim=16)
    )
    fixed = SiglipModel(SiglipConfig(text_config=text, vision_config=picture))
    flexible = Siglip2Model(
        Siglip2Config(text_config=text, vision_config={**TOWER, "patch_size": 8, "num_patches": 16})
    )
    for model in (clip, meta, fixed, flexible):
        for value in model.parameters():
            value.data += (
                torch.randn_like(value) * 0.1
            )  # weights far enough from nothing that every input shows
    side = {"height": 32, "width": 32}
    found = {
        "clip": write(root / "clip", clip, words),
        "metaclip2": write(root / "metaclip2", meta, gemma_tokenizer(GemmaTokenizer)),
        "siglip": write(root / "siglip", fixed, gemma_tokenizer(GemmaTokenizer)),
        "naflex": write(root / "naflex", flexible, gemma),
    }
    for name in ("clip", "metaclip2"):
        cut = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side)
        cut.save_pretrained(found[name])
    SiglipImageProcessorPil(size=side, resample=2).save_pretrained(found["siglip"])
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(found["naflex"])
    return found


def write(folder: Path, model, tokenizer, **files) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name, content in files.items():
        write_json(folder / f"{name}.json", content)
    return folder


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A folder of each family."""
    root = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    plain, ended = qwen_tokenizer(), qwen_tokenizer(adds_end=True)
    processor = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    found = {
        "qwen3": write(root / "qwen3", qwen3(plain), plain, preprocessor_config=processor),
        "qwen2_5": write(root / "qwen2_5", qwen2_5(plain), plain),
        "embedding": write(root / "embedding", qwen3(ended), ended),
    }
    pooling = {
        "word_embedding_dimension": 32,
        "pooling_mode_lasttoken": True,
        "pooling_mode_mean_tokens": False,
    }
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    write_json(
        found["embedding"] / "modules.json",
        [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
            for n, (name, path) in enumerate(modules)
        ],
    )
    found |= dual_checkpoints(root)
    words = BertTokenizer(vocab={token: number for number, token in enumerate(WORD_PIECES)})
    gemma = gemma_tokenizer(GemmaTokenizer)
    found["gemma2"] = write(root / "gemma2", embedding_gemma(len(gemma)), gemma)
    found["bert"] = write(root / "bert", bert(len(WORD_PIECES)), words)
    (found["embedding"] / "1_Pooling").mkdir()
    write_json(found["embedding"] / "1_Pooling" / "config.json", pooling)
    return found


@pytest.fixture(scope="session")
def towers(tmp_path_factory) -> dict[str, Path]:
    """Vision towers by themselves."""
    torch.manual_seed(1)
    root = tmp_path_factory.mktemp("towers")
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
    models = {
        "dinov2": Dinov2Model(Dinov2Config(image_size=32, mlp_ratio=2, **size)),
        "vit": ViTModel(ViTConfig(image_size=32, intermediate_size=32, **size)),
    }
    for name, model in models.items():
        for value in model.parameters():
            value.data += torch.randn_like(value) * 0.1
        model.save_pretrained(root / name)
    return {name: root / name for name in models}
