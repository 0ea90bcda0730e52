"""Late fusion and compression tokens within a Qwen3-VL and a composed encoder: the start, absent pictures, batches, saving, training, going on."""

import numpy as np
import pytest
import torch

from moon_rec.errors import ConfigError, EncoderError
from representation.encoder import ProductEncoder, open_encoder
from representation.encoders.composed import compose_encoder
from representation.losses import infonce, matryoshka
from representation.model.added_parts import is_new
from representation.model.lora import LoraConfig
from representation.picture_focus import CompressionConfig, LateFusionConfig
from representation.posttraining import PosttrainConfig
from representation.posttraining.preparation import prepare
from representation.posttraining.step import ContrastiveStep
from representation.reasoning import ReasonConfig
from representation.reasoning.train import reason
from representation.verification import verify_encoder
from tests.representation.encoders.composed_parts import language_folder, vision_folder
from tests.representation.encoders.test_composed import frame_of
from tests.representation.stopped import check_goes_on_to_the_same_bits

LATE, TOKENS = LateFusionConfig(), CompressionConfig()


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    root = tmp_path_factory.mktemp("focused")
    towers = vision_folder("dinov2", root / "tower"), language_folder("gemma3", root / "words")
    return compose_encoder(*towers).save_pretrained(root / "composed")


@pytest.fixture(params=["gemma3", "qwen"])
def plain(request, composed, encoder_path) -> ProductEncoder:
    """DINOv2 composed with Gemma 3, which scales embeddings, and a Qwen3-VL with DeepStack."""
    path = encoder_path if request.param == "qwen" else composed
    return ProductEncoder.from_pretrained(path, device="cpu")


def learnt(encoder: ProductEncoder, note="token") -> ProductEncoder:
    """With parts that do something."""
    encoder.add_late_fusion(LATE, 0)
    encoder.add_compression_tokens(CompressionConfig(note=note), 0)
    draws = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if is_new(name):
                value.add_(torch.randn(value.shape, generator=draws) / 5)
    return encoder


def rows_of(encoder: ProductEncoder, texts, has_picture=True, seed=0):
    size = encoder.layout.image_size
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (len(texts), size, size, 3), dtype=np.uint8)
    tokens = encoder.tokens(texts, "item", "richer")
    return encoder.prepare("item", tokens, pictures if has_picture else None)


@torch.no_grad()
def both(encoder: ProductEncoder, *rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of rows, and of their pictures."""
    found = encoder.embed_for_losses(rows_of(encoder, *rows))
    return found[:, : encoder.dim], found[:, encoder.dim :]


def test_late_fusion_starts_as_the_encoder_was_and_compression_does_not(plain):
    items = frame_of(4)
    before = plain.encode_items(items, progress=False)
    plain.add_late_fusion(LATE, 0)
    after = plain.encode_items(items, progress=False)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)
    plain.add_compression_tokens(TOKENS, 0)
    assert np.abs(plain.encode_items(items, progress=False) - before).max() > 1e-3
    for name in ("late_fusion", "compression_tokens"):
        with pytest.raises(EncoderError, match=f"has {name} already"):
            getattr(plain, f"add_{name}")(LATE if name == "late_fusion" else TOKENS, 0)


@pytest.mark.parametrize("note", ["token", "pooled"])
def test_vectors_depend_neither_on_the_batch_nor_on_the_order(plain, note):
    items = frame_of(5)
    together = learnt(plain, note).encode_items(items, progress=False)
    alone = plain.encode_items(items, batch_size=1, progress=False)
    turned = plain.encode_items(items.reverse(), batch_size=3, progress=False)[::-1]
    for other in (alone, turned):
        np.testing.assert_allclose(together, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("note", ["token", "pooled"])
def test_a_pictures_vector_is_of_the_picture_alone_and_a_rows_of_both(plain, note):
    encoder = learnt(plain, note)
    rows, pictures = both(encoder, ["red mug", "a blue lamp of glass"])
    other_rows, other_pictures = both(encoder, ["green hat", "bag"])
    torch.testing.assert_close(pictures, other_pictures, rtol=0, atol=1e-6)
    assert (rows - other_rows).abs().max() > 1e-3
    shown_rows, shown_pictures = both(encoder, ["red mug", "a blue lamp of glass"], True, 9)
    assert (shown_pictures - pictures).abs().max() > 1e-3
    assert (shown_rows - rows).abs().max() > 1e-3


def test_without_a_picture_a_row_is_its_words_and_late_fusion_is_not_there(plain):
    encoder = learnt(plain)
    rows, pictures = both(encoder, ["red mug", "a blue lamp of glass"], False)
    assert torch.equal(rows, pictures)
    with torch.no_grad():
        for value in encoder.module.late_fusion.parameters():
            value.mul_(-9)
    assert torch.equal(both(encoder, ["red mug", "a blue lamp of glass"], False)[0], rows)


def test_parts_are_saved_and_opened_again(plain, tmp_path):
    encoder, items = learnt(plain, "pooled"), frame_of(4)
    path = encoder.save_pretrained(tmp_path / "saved")
    again = open_encoder(path, device="cpu")
    assert again.digest == encoder.digest and again.config.late_fusion == LATE
    assert again.config.compression_tokens == CompressionConfig(note="pooled")
    found, wanted = (one.encode_items(items, progress=False) for one in (again, encoder))
    np.testing.assert_array_equal(found, wanted)
    assert verify_encoder(path).digest == encoder.digest


def test_adapters_leave_the_parts_trained_whole(encoder, tmp_path):
    learnt(encoder).adapt(LoraConfig(rank=2), 0)
    own = {name for name, value in encoder.module.named_parameters() if value.requires_grad and "lora_" not in name}  # fmt: skip
    assert own == {"late_fusion.picture.weight", "late_fusion.gate.weight", "compression.tokens"}
    vectors = encoder.encode_items(frame_of(3), progress=False)
    again = open_encoder(encoder.save_pretrained(tmp_path / "tuned"), device="cpu")
    np.testing.assert_allclose(again.encode_items(frame_of(3), progress=False), vectors, atol=1e-5)


TRAINED = {"steps": 4, "batch_size": 6, "learning_rate": 3e-3, "precision": "float32", "num_threads": 1, "log_every": 1}  # fmt: skip


def test_the_loss_is_that_of_rows_and_of_pictures_in_their_shares(little_shop, encoder):
    """Each a plain InfoNCE over all widths, the second over pictures' vectors; of words alone there is but the first."""
    learnt(encoder)
    mixture = {"text->richer-text": 1.0, "image->title+image": 1.0, "text->image": 1.0}
    config = PosttrainConfig(**TRAINED | {"steps": 12}, mixture=mixture, visual_weight=0.3)
    prepared = prepare(little_shop, config, encoder, None, 0, 1, None, None)
    step = ContrastiveStep(config, encoder.widths, prepared.known, encoder.device, has_picture_vectors=True)  # fmt: skip
    seen = set()
    for number in range(12):
        batch = prepared.batches.make(number)
        with torch.no_grad():
            wide = [encoder.embed_for_losses(side) for side in batch.sides]
        found, outcome = step.loss(batch, number, wide)
        parts = []
        for first in (0, encoder.dim):
            queries, items = (one[:, first : first + encoder.dim] for one in wide[:2])
            loss = matryoshka(
                lambda q, i, blocked=batch.blocked: infonce(q, i, temperature=0.07, blocked=blocked),
                queries, items, widths=encoder.widths, weights=encoder.widths,
            )  # fmt: skip
            parts.append(loss)
        shows = batch.kind.name != "text->richer-text"
        wanted = 0.7 * parts[0] + 0.3 * parts[1] if shows else parts[0]
        torch.testing.assert_close(found, wanted)
        assert ("loss_by_sight" in outcome.told) == shows
        seen.add(batch.kind.name)
    assert len(seen) == 3


def test_a_training_with_both_goes_on_to_the_same_bits(little_shop, encoder_path, tmp_path):
    """In chunks, with hard negatives and a queue; parts are drawn by the seed, learn, and are taken up from a save."""
    config = PosttrainConfig(
        **TRAINED, resume_every=2, late_fusion=LATE, compression_tokens=TOKENS, hard_negatives=1, num_negatives=20, chunk_size=3
    )  # fmt: skip
    wanted = check_goes_on_to_the_same_bits(little_shop, tmp_path, config, encoder_path)
    assert wanted["late_fusion.gate.weight"].any() and wanted["late_fusion.picture.weight"].any()


def test_attributes_are_not_written_before_a_compressed_picture(little_shop, encoder, tmp_path):
    path = learnt(encoder).save_pretrained(tmp_path / "start")
    with pytest.raises(ConfigError, match="has compression_tokens: a slot"):
        reason(little_shop, tmp_path / "out", ReasonConfig(steps=1), path)
    assert not (tmp_path / "out").exists()
