"""Settings of NoteLLM-2's two remedies."""

from typing import Literal

from moon_rec.config import Config


class LateFusionConfig(Config):
    """How a vector is mixed with what the vision tower saw (NoteLLM-2, arXiv 2405.16789).

    Attributes:
        keep_state: add the language model's own state once more behind the gate, as the authors' published code does; without: the gate alone.
    """

    keep_state: bool = True


class CompressionConfig(Config):
    """How a picture is compressed to a token before the words are read (NoteLLM-2's mICL, arXiv 2405.16789).

    Attributes:
        note: a row's vector: the state of a `token` at its end (the paper), or `pooled` as the encoder pools without (of an encoder of the mean: over all its tokens).
    """

    note: Literal["token", "pooled"] = "token"
