"""Text-only encoders: BERT and its kin, as sentence-transformers publishes them, behind the interface that every encoder has.

A baseline and a ready-made start: vectors equal sentence-transformers' own `encode_query` and `encode_document` to 1e-5. Notable choices:
- Pooling, length, prompts and lower-casing are what the checkpoint's own files say; a plain folder without them gets the mean over real tokens (Reimers and
  Gurevych, Sentence-BERT, section 3) and its tokenizer's length.
- Vectors are at unit length even where the checkpoint leaves that out, for all encoders' are.
- EmbeddingGemma 2 is read and trained by its words alone; what else it has, towers for pictures and sound, stays as it is. Its own projection is part of its states.
- A special token's name within a title is plain characters: no product can end its own text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from moon_rec.bounds import MOST_IN_MEMORY
from moon_rec.config import Config, Rules, make_config
from moon_rec.errors import EncoderError
from moon_rec.files import write_json
from representation.encoders.checkpoint import (
    load_tokenizer,
    load_weights,
    pooling_of,
    read_about,
    settings_in,
)
from representation.encoders.frame_encoder import FrameEncoder, pooled
from representation.encoders.frame_inputs import (
    framing_tokens,
    pad_right,
    where_to,
)
from representation.model.backbone import Inputs
from representation.model.prompt import RICHER_ALONE, Richness
from representation.model.tokenizer import encode_plain
from representation.trainable import Side, TextKind

LONGEST = 512
"""Tokens a text is cut to where neither the checkpoint nor its tokenizer names a length."""
_MODELS = "sentence_transformers.models"


class TextConfig(Config):
    """What a text encoder needs besides weights and tokenizer.

    Attributes:
        pooling: `mean` over real tokens, the first token (`cls`), or the `last` real one.
        length: tokens a text is cut to, special ones included.
        lower: texts are put in lower case first.
        query_prompt, item_prompt: put before every query's and every product's text.
        item_text, with_price: what is said of a product, see `prompt.product_texts`.
    """

    pooling: Literal["mean", "cls", "last"] = "mean"
    length: int = Field(default=LONGEST, ge=2, le=MOST_IN_MEMORY)
    lower: bool = False
    query_prompt: str = ""
    item_prompt: str = ""
    item_text: Richness = "richer"
    with_price: bool = False

    counts_when: ClassVar[Rules] = {"with_price": RICHER_ALONE}


class TextEncoder(FrameEncoder):
    """Encodes titles and words; pictures are not read, and a row that has nothing else is refused. It can be trained on pairs of texts (`representation.trainable`).

    Attributes:
        modalities: text.
        dim: width of a vector.
        widths: `(dim,)`: these models are not trained for prefixes.
    """

    family = "text"
    modalities = frozenset({"text"})

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: TextConfig
    ) -> None:
        """Use `from_pretrained`."""
        self.module: Any = model
        self.tokenizer, self.config = tokenizer, config
        settings: Any = model.config
        settings = getattr(settings, "text_config", settings)
        self.dim: int = getattr(settings, "embedding_dim", None) or settings.hidden_size
        self.widths = (self.dim,)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | None = None, **settings: Any
    ) -> "TextEncoder":
        """Open a folder or a name on the hub.

        Args:
            device: `cpu`, `cuda` or another of torch's; None takes a GPU where there is one.
            settings: of `TextConfig`, in place of what the checkpoint says.

        Raises:
            EncoderError: no such checkpoint, or one that does more than transform, pool and normalise.
        """
        model = load_weights(AutoModel, path, torch.float32, may_lack=("pooler.",))
        tokenizer = load_tokenizer(path, model)
        said = (read_about(path) or {}).get("config") or _said(path, tokenizer, model)
        config = make_config(TextConfig, {**said, **settings})
        torch.nn.Module.to(model, where_to(device))
        return cls(model.eval(), tokenizer, config)

    def _write(self, folder: Path) -> None:
        """A folder that sentence-transformers opens, too."""
        super()._write(folder)
        write_modules(folder, self.dim, self.config)

    def tokens(self, texts: Sequence[str], side: Side, kind: TextKind) -> list[list[int]]:
        """Token ids behind the side's prompt, cut to `length` within the frame that `prepare` puts around them."""
        prompts = {"query": self.config.query_prompt, "item": self.config.item_prompt}
        start, end = framing_tokens(self.tokenizer)
        room = max(self.config.length - len(start) - len(end), 0)
        tokenizer: Any = self.tokenizer
        plain = encode_plain(tokenizer, texts, prompt=prompts[side], lower=self.config.lower)
        return [ids[:room] for ids in plain]

    def prepare(
        self, side: Side, tokens: Sequence[list[int]], pictures: np.ndarray | Tensor | None
    ) -> Inputs:
        """As the tokenizer frames a text (`[CLS] ... [SEP]`), padded on the right; see `Trainable.prepare`."""
        assert pictures is None, "a text encoder reads no pictures"
        start, end = framing_tokens(self.tokenizer)
        padding: Any = self.tokenizer.pad_token_id or 0
        return Inputs(*pad_right([start + ids + end for ids in tokens], padding))

    def part_of(self, name: str) -> str:
        """`text`: all of it."""
        return "text"

    def embed(self, inputs: Inputs) -> Tensor:
        """Unit vectors `(batch, dim)` in float32, with gradients."""
        given = {"input_ids": inputs.token_ids, "attention_mask": inputs.mask.long()}
        states = self.module(**given).last_hidden_state
        return pooled(states, inputs.mask, self.config.pooling)


def write_modules(folder: Path, dim: int, config: TextConfig) -> None:
    """Put the files beside a model's weights by which sentence-transformers knows how states become a vector of `dim` numbers; `pooling_of` reads them."""
    names = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_MODELS}.{name}"}
        for number, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    modes = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
    modes |= dict.fromkeys(("max_tokens", "mean_sqrt_len_tokens"), "")
    pooling = {f"pooling_mode_{mode}": ours == config.pooling for mode, ours in modes.items()}
    prompts = {"query": config.query_prompt, "document": config.item_prompt}
    shape = {"max_seq_length": config.length, "do_lower_case": config.lower}
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", shape)
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    for path in paths[1:]:
        (folder / path).mkdir()
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": dim} | pooling)


def _said(path: str | Path, tokenizer: Any, model: Any) -> dict[str, Any]:
    """Settings that the checkpoint's own files name."""
    said: dict[str, Any] = {}
    pooling = pooling_of(path)
    if pooling is not None:
        said["pooling"] = {"lasttoken": "last"}.get(pooling, pooling)
    about = settings_in(path, "sentence_bert_config.json")
    most = getattr(model.config, "max_position_embeddings", None) or LONGEST
    if model.config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        most -= 2  # their positions start behind the padding's
    said["length"] = about.get("max_seq_length") or min(tokenizer.model_max_length, most)
    said["lower"] = bool(about.get("do_lower_case"))
    prompts = settings_in(path, "config_sentence_transformers.json").get("prompts") or {}
    if not isinstance(prompts, dict):
        raise EncoderError(f"{path}: prompts are {prompts!r:.80}, wanted names and texts")
    named = [prompts.get(name) for name in ("document", "passage", "corpus")]
    said["item_prompt"] = next((prompt for prompt in named if prompt), "")
    said["query_prompt"] = prompts.get("query") or ""
    return said
