"""The parts of an encoder that knows nothing yet: random weights, and a tokenizer learnt from a shop's texts."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from moon_rec.shop import Shop
from representation.encoders.qwen import EncoderConfig
from representation.model.backbone_config import BackboneConfig
from representation.model.qwen import random_backbone, scale_tokens
from representation.model.tokenizer import shop_texts, token_rarity, train_tokenizer


def random_parts(
    shop: Shop, config: BackboneConfig, seed: int
) -> tuple[Any, PreTrainedTokenizerBase, EncoderConfig]:
    """Module, tokenizer and settings of a `ProductEncoder` with random weights; the tokenizer is learnt from the shop's texts before the cut."""
    texts = shop_texts(shop)
    tokenizer = train_tokenizer(texts, config.vocabulary_size)
    vocabulary = tokenizer.get_vocab()
    module: Any = random_backbone(config, vocabulary, len(vocabulary), seed)
    if config.token_scale:
        scale_tokens(module, token_rarity(tokenizer, texts), config.token_scale)
    dim = config.text_dim
    widths = (*[width for width in sorted(set(config.widths)) if width < dim], dim)
    settings = EncoderConfig(
        image_size=config.side,
        widths=widths,
        prompt=config.prompt,
        pooling=config.pooling or "mean",
        attention=config.attention or "bidirectional",
    )
    return module, tokenizer, settings
