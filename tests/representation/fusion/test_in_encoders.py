"""Fusion and residual enhancement within a Qwen3-VL and composed encoders: the start, absent modalities, batches, saving, training on."""

import copy

import numpy as np
import polars as pl
import pytest
import torch

from moon_rec.errors import ConfigError, EncoderError
from representation.encoder import ProductEncoder
from representation.encoders.composed import compose_encoder
from representation.fusion import FusionConfig, ResidualEnhancementConfig
from representation.model.backbone import checkpoint_gradients
from representation.model.lora import LoraConfig
from representation.model.prompt import product_texts
from representation.posttraining import PosttrainConfig, posttrain
from representation.verification import verify_encoder
from tests.representation.encoders.composed_parts import PAIRS, language_folder, vision_folder
from tests.representation.encoders.test_composed import frame_of

FUSION = FusionConfig(heads=2)
RESIDUAL = ResidualEnhancementConfig(rank=4, every=2)
PARTS = ("modality_fusion", "residual_enhancement")


@pytest.fixture(scope="module")
def composed_path(tmp_path_factory):
    root = tmp_path_factory.mktemp("fused")
    vision, language = PAIRS[2]
    towers = vision_folder(vision, root / vision), language_folder(language, root / language)
    return compose_encoder(*towers).save_pretrained(root / "composed")


@pytest.fixture(params=["gemma3", "qwen"])
def plain(request, composed_path, encoder_path) -> ProductEncoder:
    """Composed of CLIP and Gemma 3, and a Qwen3-VL with DeepStack."""
    path = encoder_path if request.param == "qwen" else composed_path
    return ProductEncoder.from_pretrained(path, device="cpu")


one_of_them = pytest.mark.parametrize("plain", ["qwen"], indirect=True)


def added(encoder: ProductEncoder) -> ProductEncoder:
    encoder.add_fusion(FUSION, 0)
    encoder.add_residual_enhancement(RESIDUAL, 0)
    return encoder


def learnt(encoder: ProductEncoder) -> ProductEncoder:
    """With parts that do something."""
    draws = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in added(encoder).module.named_parameters():
            if any(part in name.split(".") for part in PARTS):
                value.add_(torch.randn(value.shape, generator=draws) / 5)
    return encoder


def rows_of(encoder: ProductEncoder, count: int, has_picture: bool, side="item"):
    texts = product_texts(frame_of(count), "richer")
    size = encoder.layout.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    tokens = encoder.tokens(texts, side, "richer")
    return encoder.prepare(side, tokens, pictures if has_picture else None)


def test_at_the_start_an_encoder_is_what_it_was(plain):
    items, digest = frame_of(6), plain.digest
    before = plain.encode_items(items, progress=False)
    np.testing.assert_array_equal(added(plain).encode_items(items, progress=False), before)
    assert plain.digest != digest
    with pytest.raises(EncoderError, match="has fusion already"):
        plain.add_fusion(FUSION, 0)
    with pytest.raises(EncoderError, match="has residual_enhancement already"):
        plain.add_residual_enhancement(RESIDUAL, 0)


def test_vectors_depend_neither_on_the_batch_nor_on_the_order(plain):
    items = frame_of(5)
    before = plain.encode_items(items, progress=False)
    together = learnt(plain).encode_items(items, progress=False)
    assert np.abs(together - before).max() > 1e-2
    alone = plain.encode_items(items, batch_size=1, progress=False)
    turned = plain.encode_items(items.reverse(), batch_size=3, progress=False)[::-1]
    for other in (alone, turned):
        np.testing.assert_allclose(together, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("absent", ["image", "text"])
def test_fusion_ignores_a_modality_that_a_row_does_not_show(plain, absent):
    """A prompt's words and special tokens are no words of a product: heads of words see none of a picture alone."""
    encoder, other = learnt(plain), "text" if absent == "image" else "image"
    inputs = rows_of(encoder, 3, absent == "text")
    if absent == "text":
        size = encoder.layout.image_size
        inputs = encoder.prepare("item", [[]] * 3, np.zeros((3, size, size, 3), np.uint8))
    with torch.no_grad():
        vectors = encoder.embed(inputs)
    encoder.embed(inputs).square().mul(torch.arange(encoder.dim)).sum().backward()
    fusion = encoder.module.modality_fusion
    for part in (fusion.queries, fusion.keys, fusion.values):
        assert not part[absent].weight.grad.any() and part[other].weight.grad.any()
    with torch.no_grad():
        for part in (fusion.queries, fusion.keys, fusion.values):
            part[absent].weight.mul_(-9)
        assert torch.equal(encoder.embed(inputs), vectors)
        fusion.values[other].weight.mul_(-9)
        assert not torch.allclose(encoder.embed(inputs), vectors, atol=1e-3)


def test_words_are_those_of_the_product_alone(plain):
    added(plain)
    inputs = rows_of(plain, 3, True)
    shown = [plain.tokenizer.decode(ids[said]) for ids, said in zip(inputs.token_ids, inputs.words, strict=True)]  # fmt: skip
    cut = plain.config.prompt.richer_tokens
    for text, words in zip(product_texts(frame_of(3), "richer"), shown, strict=True):
        said, whole = ("".join(each.lower().split()) for each in (words, text))
        assert said and whole.startswith(said) and (said == whole or len(said) >= cut - 4)
    assert rows_of(plain, 2, False, "query").words.any()
    assert inputs.part(1, 2).words.tolist() == inputs.words[1:2].tolist()


def test_parts_are_saved_and_opened_again(plain, tmp_path):
    encoder, items = learnt(plain), frame_of(5)
    path = encoder.save_pretrained(tmp_path / "saved")
    again = ProductEncoder.from_pretrained(path, device="cpu")
    assert (again.config.fusion, again.config.residual_enhancement) == (FUSION, RESIDUAL)
    assert type(again.module) is type(encoder.module) and again.digest == encoder.digest
    found, wanted = (one.encode_items(items, progress=False) for one in (again, encoder))
    np.testing.assert_array_equal(found, wanted)
    assert verify_encoder(path).digest == encoder.digest
    again.save_pretrained(tmp_path / "twice")
    assert (tmp_path / "twice/model.safetensors").read_bytes() == (path / "model.safetensors").read_bytes()  # fmt: skip


@one_of_them
def test_a_copy_has_parts_of_its_own(plain):
    """As a momentum encoder is made: what one is told never reaches the other."""
    encoder = learnt(plain)
    slow = encoder.with_module(copy.deepcopy(encoder.module))
    inputs = rows_of(encoder, 3, True)
    with torch.no_grad():
        wanted = encoder.embed(inputs)
        for name, value in encoder.module.named_parameters():
            if any(part in name.split(".") for part in PARTS):
                value.add_(1.0)
        assert torch.equal(slow.embed(inputs), wanted)
        assert not torch.equal(encoder.embed(inputs), wanted)


@one_of_them
def test_adapters_leave_the_parts_trained_whole(plain, tmp_path):
    encoder, items = learnt(plain), frame_of(3)
    encoder.adapt(LoraConfig(rank=2), 0)
    own = {name for name, value in encoder.module.named_parameters() if value.requires_grad and "lora_" not in name}  # fmt: skip
    assert {part for part in PARTS for name in own if part in name} == set(PARTS)
    assert all(any(part in name.split(".") for part in PARTS) for name in own)
    vectors = encoder.encode_items(items, progress=False)
    path = encoder.save_pretrained(tmp_path / "tuned")
    again = ProductEncoder.from_pretrained(path, device="cpu")
    np.testing.assert_allclose(again.encode_items(items, progress=False), vectors, atol=1e-5)
    assert not (path / "adapter").exists()


@one_of_them
def test_states_computed_anew_are_told_the_same(plain):
    """Two batches, then the way back: each layer's second pass has its own batch's detail."""
    encoder = learnt(plain)
    encoder.module.train()

    def gradients():
        encoder.module.zero_grad()
        both = [encoder.embed(rows_of(encoder, 3, has)) for has in (True, False)]
        torch.cat(both).mul(torch.arange(encoder.dim)).sum().backward()
        return [torch.cat(both).detach(), *(value.grad for value in encoder.module.parameters())]

    whole = gradients()
    checkpoint_gradients(encoder.module)
    for one, other in zip(whole, gradients(), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", [{"fusion": FUSION}, {"residual_enhancement": RESIDUAL}])
def test_a_part_that_would_not_learn_is_refused(little_shop, encoder_path, tmp_path, part):
    config = PosttrainConfig(steps=1, batch_size=4, trained_parts=("projector",), **part)
    with pytest.raises(ConfigError, match="changes nothing: it starts at zero"):
        posttrain(little_shop, tmp_path / "out", config, encoder_path)


@one_of_them
def test_parts_that_the_config_does_not_know_are_refused(plain):
    learnt(plain)
    config = plain.config.model_copy(update={"fusion": None})
    with pytest.raises(EncoderError, match="fusion = None, and the backbone has some"):
        ProductEncoder(plain.module, plain.tokenizer, config)


def test_a_frame_without_words_or_pictures_is_embedded(plain):
    """Both absent at once within a batch of others."""
    encoder, items = learnt(plain), frame_of(4)
    bare = items.with_columns(
        title=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit("")).otherwise(pl.col("title")),
        image=pl.when(pl.int_range(pl.len()) == 1).then(None).otherwise(pl.col("image")),
    ).select("item_id", "title", "image")
    assert np.isfinite(encoder.encode_items(bare, progress=False)).all()
