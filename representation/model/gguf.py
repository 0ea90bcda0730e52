"""A language model out of a GGUF file, as transformers reads it: once, for reading takes minutes; what is saved of it opens in a second."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from moon_rec.errors import EncoderError, first_line
from representation.model.quiet_transformers import quiet


def read_gguf(file: Path) -> tuple[Any, Any]:
    """Model with its weights in float32, and tokenizer.

    Raises:
        EncoderError: the package gguf is missing, or a file that is no GGUF, is damaged, or lacks weights.
    """
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise EncoderError(
            f"{file}: reading GGUF needs the package gguf; pip install 'moon-rec[weights]'"
        ) from None
    if not file.is_file():
        raise EncoderError(f"{file}: no such file; name a GGUF file that is here")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                str(file.parent), gguf_file=file.name, trust_remote_code=False
            )
            model, found = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
                str(file.parent),
                gguf_file=file.name,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # of a damaged file its readers raise errors of any type
        raise EncoderError(
            f"{file.name} cannot be read as GGUF: {first_line(error)}; take the file as it was published"
        ) from None
    if found["missing_keys"]:
        raise EncoderError(f"{file.name} lacks {sorted(found['missing_keys'])[0]}; take another")
    settings = model.config.to_dict()
    settings.pop("quantization_config", None)  # the weights are plain numbers now
    plain = type(model)(type(model.config)(**settings))
    plain.load_state_dict(model.state_dict())
    return plain.eval(), tokenizer
