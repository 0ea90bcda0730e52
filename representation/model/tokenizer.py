"""A byte-level BPE tokenizer learnt from the shop's own texts, before the cut only.

A word has the same tokens wherever it stands and however it is capitalised: letters are lowered, and a text begins as if a space stood before it. A model that starts
at random has no other way to know that the `shirt` of a search is the `Shirt` of a title. (Checkpoints keep their own tokenizers, which tell these apart.) Its special tokens are named as Qwen's, so code that fills a prompt works alike on a checkpoint's tokenizer; `<|query|>` and `<|product|>` say which side of
a search a text is. The same texts give the same tokenizer, whatever their order.

Texts are brought to their normal form (`moon_rec.texts`) before any tokenizer sees them, a checkpoint's own as well as ours: in `encode_plain`, through which all that people
wrote goes, and before merges are learnt. It is no part of tokenizer.json, where a checkpoint's tokenizer could not have it.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from moon_rec.errors import EncoderError
from moon_rec.shop import Shop
from moon_rec.texts import has_text, normal_texts
from representation.mixture.guided import marks_of, with_roles
from representation.model.prompt import searchable_texts
from representation.model.rust_panics import refused_panics
from representation.model.word_cache import forget_words

PADDING = "<|endoftext|>"
IMAGE_PAD = "<|image_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
QUERY, PRODUCT = "<|query|>", "<|product|>"
SPECIAL_TOKENS = (
    PADDING,
    TURN_START,
    TURN_END,
    VISION_START,
    VISION_END,
    IMAGE_PAD,
    "<|video_pad|>",
    QUERY,
    PRODUCT,
)


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Learn merges from `texts`, letters lowered; every byte is a token, so no text is ever unknown.

    Args:
        vocabulary_size: the most tokens there may be, special ones included; few texts give fewer.
    """
    engine = Tokenizer(models.BPE())
    engine.normalizer = normalizers.Lowercase()  # type: ignore[assignment]
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # type: ignore[assignment]
    engine.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    engine.train_from_iterator(sorted(normal_texts(texts)), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=engine,
        pad_token=PADDING,
        eos_token=TURN_END,
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
    )
    forget_words(tokenizer.backend_tokenizer)  # a copy of the engine
    return tokenizer


def token_rarity(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> np.ndarray:
    """How rare each token is: ln((texts + 1) / (texts with it + 1)), its inverse document frequency, float64 `(vocabulary,)`; 0 for special tokens."""
    found = np.zeros(len(tokenizer))
    for ids in encode_plain(tokenizer, texts):
        found[np.unique(ids)] += 1
    rarity = np.log((len(texts) + 1) / (found + 1))
    rarity[tokenizer.all_special_ids] = 0.0
    return rarity


def shop_texts(shop: Shop) -> list[str]:
    """Texts of items listed and searches made before the cut: all that a tokenizer may see."""
    cut = shop.cut_time
    items = shop.items.filter(pl.col("listed_at") < cut)
    names = items.collect_schema().names()
    items = items.select([name for name in names if name != "image"]).collect()
    searches = shop.in_period(shop.searches, "train").filter(has_text("query_text"))
    searches = searches.select("query_text").collect()
    return searchable_texts(items) + searches["query_text"].to_list()


def encode_plain(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    prompt: str = "",
    lower: bool = False,
    marked: bool = False,
) -> list[list[int]]:
    """Token ids of texts that people wrote, in normal form. A special token's name within them is read as plain characters, so no title can pretend to be a picture.

    Args:
        prompt: stands before each, as it is.
        lower: letters are lowered, the prompt's too, for a tokenizer that does not do so itself.
        marked: ids carry the roles of the characters that they stand for, where texts are marked (`mixture.guided`); not with `lower`.

    Raises:
        EncoderError: the tokenizer gives up on a text.
    """
    plain = [prompt + text for text in normal_texts(texts)]
    if lower:
        plain = [text.lower() for text in plain]
    engine = tokenizer.backend_tokenizer
    engine.no_truncation()
    engine.no_padding()
    before = engine.encode_special_tokens
    engine.encode_special_tokens = True
    try:
        with refused_panics():
            found = engine.encode_batch(plain, add_special_tokens=False)
            if marked:
                marks = [marks_of(text, len(prompt)) for text in texts]
                return [
                    with_roles(one.ids, one.offsets, at)
                    for one, at in zip(found, marks, strict=True)
                ]
            return [one.ids for one in found]
    except ValueError as error:
        raise EncoderError(f"{error}; take the checkpoint as it was published") from None
    finally:
        engine.encode_special_tokens = before
