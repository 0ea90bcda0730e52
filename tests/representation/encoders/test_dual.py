"""CLIP and SigLIP 2 against transformers' own towers and processors."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import AutoTokenizer, CLIPModel, Siglip2Model, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from representation.encoder import open_encoder
from representation.encoders.dual import DualEncoder

THEIRS = {
    "clip": (CLIPModel, CLIPImageProcessorPil),
    "siglip": (SiglipModel, SiglipImageProcessorPil),
    "naflex": (Siglip2Model, Siglip2ImageProcessorPil),
}
TEXTS = ["red mug", "a much longer text that is cut where the tower ends", "x"]


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
        for size in ((32, 32), (20, 50), (64, 40))
    ]


def frame() -> pl.DataFrame:
    data = []
    for picture in pictures():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data.append(buffer.getvalue())
    return pl.DataFrame({"title": TEXTS, "image": data})


@pytest.mark.parametrize("name", list(THEIRS))
def test_equals_transformers(checkpoints, name):
    path = checkpoints[name]
    kind, processor_kind = THEIRS[name]
    model, processor, tokenizer = (
        kind.from_pretrained(path).eval(),
        processor_kind.from_pretrained(path),
        AutoTokenizer.from_pretrained(path, trust_remote_code=False),
    )
    padding = {"padding": True} if name == "clip" else {"padding": "max_length"}
    words = tokenizer(
        TEXTS if name == "clip" else [text.lower() for text in TEXTS],
        truncation=True,
        max_length=20,
        return_tensors="pt",
        **padding,
    )
    if name != "clip":
        words = {"input_ids": words["input_ids"]}
    with torch.inference_mode():
        texts = functional.normalize(model.get_text_features(**words).pooler_output, dim=-1)
        shown = processor(images=pictures(), return_tensors="pt")
        images = functional.normalize(model.get_image_features(**shown).pooler_output, dim=-1)
    encoder = open_encoder(path, device="cpu")
    found = {
        kind: encoder.encode_items(frame(), kind, progress=False)
        for kind in ("text", "image", "both")
    }
    np.testing.assert_allclose(found["text"], texts.numpy(), atol=1e-5)
    np.testing.assert_allclose(found["image"], images.numpy(), atol=1e-5)
    mean = functional.normalize(texts + images, dim=-1)
    np.testing.assert_allclose(found["both"], mean.numpy(), atol=1e-5)


def test_weight_of_the_words(checkpoints, tmp_path):
    path = checkpoints["clip"]
    for weight, kind in ((1.0, "text"), (0.0, "image")):
        encoder = DualEncoder.from_pretrained(path, "cpu", text_weight=weight)
        both, alone = (
            encoder.encode_items(frame(), which, progress=False) for which in ("both", kind)
        )
        np.testing.assert_allclose(both, alone, atol=1e-6)
    words_only = pl.DataFrame({"query_text": ["red mug"]})
    assert np.linalg.norm(encoder.encode_queries(words_only, progress=False)) == pytest.approx(
        1, abs=1e-5
    )
    again = open_encoder(encoder.save_pretrained(tmp_path / "saved"), device="cpu")
    assert again.config.text_weight == 0.0 and again.digest == encoder.digest


def test_capital_letters_are_nothing_to_siglip(checkpoints):
    encoder = open_encoder(checkpoints["siglip"], device="cpu")
    one, other = encoder.encode_queries(
        pl.DataFrame({"query_text": ["RED Mug", "red mug"]}), progress=False
    )
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", list(THEIRS))
def test_without_a_processor_file_the_towers_size_is_taken(checkpoints, name, tmp_path):
    import shutil

    bare = shutil.copytree(checkpoints[name], tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    wanted = open_encoder(checkpoints[name], device="cpu").encode_items(
        frame(), "image", progress=False
    )
    np.testing.assert_allclose(
        open_encoder(bare, device="cpu").encode_items(frame(), "image", progress=False),
        wanted,
        atol=1e-6,
    )
