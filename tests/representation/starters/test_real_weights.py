"""The real starters, where they are unpacked: each opens as what it is said to be, and knows what such a model knows."""

import io
import zipfile

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoTokenizer,
)

from representation.encoder import open_encoder
from representation.model import efficientnet_lite


@pytest.mark.parametrize("name", ["minilm", "bge-small"])
def test_text_starters_know_synonyms(real_starters, name):
    encoder = open_encoder(real_starters / name, device="cpu")
    texts = ["scarlet running shoes", "red sneakers", "a cooking pot"]
    items = pl.DataFrame({"item_id": [1, 2, 3], "title": texts})
    vectors = encoder.encode_items(items, "text", progress=False)
    alike, unlike = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert vectors.shape == (3, 384) and alike > unlike + 0.15


def test_smollm2_answers(real_starters):
    path = real_starters / "smollm2"
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False),
        AutoTokenizer.from_pretrained(path, trust_remote_code=False),
    )
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    said = model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    assert "Paris" in tokenizer.decode(said)
    assert sum(one.numel() for one in model.parameters()) == 134_515_008


def test_dinov2_small_is_whole(real_starters):
    model, found = AutoModel.from_pretrained(
        real_starters / "dinov2-small", output_loading_info=True, trust_remote_code=False
    )
    assert not found["missing_keys"] and not found["unexpected_keys"]
    assert sum(one.numel() for one in model.parameters()) == 22_056_576
    with torch.no_grad():
        states = model(torch.zeros(1, 3, 112, 112)).last_hidden_state
    assert states.shape == (1, 1 + 64, 384) and states.isfinite().all()


IMAGENET = {
    "Sandals": (502, 774), "Backpacks": (414,), "Wallets": (748, 893), "Sunglasses": (836, 837), "Jeans": (608,), "Socks": (806,), "Ties": (906,),
}  # fmt: skip
"""Article types of Myntra and the ImageNet classes that they are."""


def test_efficientnet_lite0_knows_products(real_starters, real_data):
    """Ten pictures of 60 x 80 of each type, enlarged: in .40 (measured) the type is among the top 5; by chance in .007."""
    assert efficientnet_lite.STRIDE == 32
    path = real_starters / "efficientnet-lite0"
    model, found = AutoModelForImageClassification.from_pretrained(
        path, output_loading_info=True, trust_remote_code=False
    )
    assert not found["missing_keys"] and not found["unexpected_keys"]
    products = pl.read_csv(real_data / "myntra" / "products.csv.gz")
    pictures, types = [], []
    with zipfile.ZipFile(real_data / "myntra" / "images.zip") as archive:
        inside = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
        for kind in IMAGENET:
            ids = products.filter(pl.col("article_type") == kind)["product_id"].sort()[:10]
            for item in ids:
                image = Image.open(io.BytesIO(archive.read(inside[f"{item}.jpg"]))).convert("RGB")
                square = Image.new("RGB", (80, 80), "white")
                square.paste(image, (10, 0))
                pictures.append(np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC)))
                types.append(kind)
    pixels = (torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.no_grad():
        top = model(pixels).logits.topk(5).indices
    right = [bool(set(row.tolist()) & set(IMAGENET[kind])) for row, kind in zip(top, types, strict=True)]  # fmt: skip
    assert np.mean(right) > 0.25
