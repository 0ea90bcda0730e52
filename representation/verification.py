"""What is looked at in an encoder, a plain checkpoint, a curation and a training's save, before any of them is used; see `moon_rec.verification`."""

from pathlib import Path
from typing import Any

import torch

from moon_rec.config import make_config
from moon_rec.errors import EncoderError, first_line
from moon_rec.files import read_json
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.verification import Verified, as_recorded, tensors_in
from representation.curation.files import ABOUT as CURATION_FILE
from representation.curation.files import read_curation
from representation.encoder import ABOUT_FILE, ProductEncoder, open_encoder
from representation.encoders.checkpoint import (
    family_of,
    load_tokenizer,
    read_about,
    read_config,
    refuse_changed,
    settings_in,
)
from representation.encoders.qwen import EncoderConfig
from representation.encoders.strangers import stored_weights
from representation.model.families import load_module

STATE_FILE = "state.json"


def verify_encoder(folder: Path) -> Verified:
    """Files as recorded, sizes that fit, and the digest computed anew from the weights."""
    found = Verified("encoder")
    about: dict[str, Any] = {}

    def say_of_itself() -> str:
        about.update(read_about(folder) or {})
        return f"family {about['family']}, digest {about['digest'][:40]}"

    def files() -> str:
        refuse_changed(folder)
        return as_recorded(about, folder / ABOUT_FILE)

    def digest() -> str:
        own, is_finite = _digest_of(folder, about["family"])
        if own != about["digest"]:
            raise EncoderError(
                f"{folder / ABOUT_FILE} says digest {about['digest']:.40}, its weights, tokenizer and settings have {own}; vectors made with it would be called another's: save the encoder again"
            )
        if not is_finite:
            raise EncoderError(f"{folder}: its weights hold what is no number; train it again")
        found.digest = own
        return f"{own}, computed anew"

    return found.look_all(
        {
            ABOUT_FILE: say_of_itself,
            "files": files,
            "headers of weights": lambda: _weights(folder),
            "digest of weights, tokenizer and settings": digest,
        }
    )


def verify_checkpoint(folder: Path) -> Verified:
    """A plain Hugging Face folder: sizes that fit; it records nothing of itself."""

    def opened() -> str:
        encoder = open_encoder(folder, "cpu")
        return f"opens: vectors of {encoder.dim} numbers; nothing is recorded of its files"

    return Verified("plain checkpoint").look_all(
        {
            "config.json": lambda: f"family {family_of(read_config(folder), folder)}",
            "headers of weights": lambda: _weights(folder),
            "model, tokenizer, pictures": opened,
            "auto_map": lambda: _code(folder),
        }
    )


def verify_curation(folder: Path) -> Verified:
    """Pairs of a shop."""
    found = Verified("curation")

    def look() -> str:
        about = read_curation(folder)
        found.names["shop"] = about["shop"]["digest"]
        return f"files: {as_recorded(about, folder / CURATION_FILE)}"

    def pairs() -> str:
        files = sorted(folder.glob("*.parquet"))
        for file in files:
            refuse_bombs(file, EncoderError)
        return f"{len(files)} tables of pairs"

    return found.look_all({CURATION_FILE: look, "pairs": pairs})


def verify_save(folder: Path) -> Verified:
    """What a stopped training goes on from."""

    def look() -> str:
        about = read_json(folder / STATE_FILE)
        if not isinstance(about, dict) or not isinstance(about.get("step"), int):
            raise EncoderError(f"{folder / STATE_FILE} is that of no save; remove {folder}")
        return f"after step {about['step']:,}; files not recorded"

    looks = {STATE_FILE: look, "headers of tensors": lambda: tensors_in(folder)}
    return Verified("save of a training").look_all(looks)


def _weights(folder: Path) -> str:
    found = stored_weights(folder)
    numbers = sum(one.stop - one.start for one in found.values())
    return f"{len(found):,} tensors, {numbers:,} bytes, in safetensors alone"


def _code(folder: Path) -> str:
    named = [
        file
        for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json")
        if settings_in(folder, file).get("auto_map")
    ]
    return f"in {', '.join(named)}: never followed" if named else "none"


def _digest_of(folder: Path, family: str) -> tuple[str, bool]:
    """An encoder's digest with its weights as they were saved, and whether all of them are finite."""
    if family not in ("qwen", "composed"):
        encoder: Any = open_encoder(folder, "cpu")
        model = encoder.module
    else:
        config = make_config(EncoderConfig, (read_about(folder) or {})["config"])
        model = load_module(folder, None, config.added)
        encoder = ProductEncoder(model, load_tokenizer(folder, model), config)
    try:
        is_finite = all(bool(torch.isfinite(one).all()) for one in model.parameters())
        return encoder.digest, is_finite
    except RuntimeError as error:
        raise EncoderError(f"{folder}: {first_line(error)}") from None
