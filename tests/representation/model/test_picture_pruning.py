"""Pruned pictures: scores against a loop over attention, short rows against rows put together by hand, 1 the plain encoder to the bit, no batch and no order."""

import copy

import numpy as np
import pytest
import torch

from moon_rec.errors import EncoderError
from representation.encoder import ProductEncoder
from representation.encoders.composed import compose_encoder
from representation.fusion import FusionConfig
from representation.model.attention_weights import eager, weights_of
from representation.model.backbone import Embedded, Inputs
from representation.model.picture_pruning import Pruning, attention_received, pruned
from representation.picture_focus import CompressionConfig, LateFusionConfig
from representation.picture_focus.late_fusion import late_fusion_of
from tests.representation.encoders.composed_parts import PAIRS, language_folder, vision_folder
from tests.representation.encoders.test_composed import batch_of, frame_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pruning")
    vision, language = PAIRS[2]  # CLIP and Gemma 3, two of whose layers have windows
    towers = vision_folder(vision, root / vision), language_folder(language, root / language)
    return compose_encoder(*towers).save_pretrained(root / "composed")


@pytest.fixture(scope="module", params=["gemma3", "qwen"])
def encoder(request, folder, encoder_path) -> ProductEncoder:
    path = encoder_path if request.param == "qwen" else folder
    return ProductEncoder.from_pretrained(path, device="cpu")


@pytest.mark.parametrize("layers", [1, 2])
def test_scores_are_attention_received_by_a_loop(encoder, layers):
    inputs = batch_of(encoder)
    backbone, embedded = encoder.backbone, encoder.backbone.embedded(inputs)
    found = attention_received(backbone, embedded, inputs.mask, False, layers)
    modules = [layer.self_attn for layer in backbone.language_model.layers]
    with torch.no_grad(), eager(modules), weights_of(modules) as weights:
        backbone.states(embedded, inputs.mask, False)
    looks = [one.tolist() for one in weights[:layers]]
    for row in range(len(inputs)):
        real = inputs.mask[row].nonzero().flatten().tolist()
        for token in real:
            total = 0.0
            for one in looks:
                for head in range(len(one[row])):
                    total += sum(one[row][head][asking][token] for asking in real)
            wanted = total / (layers * weights[0].shape[1])
            assert float(found[row, token]) == pytest.approx(wanted, rel=1e-4)


def test_short_rows_are_rows_put_together_by_hand(encoder):
    """The tokens of highest score, at their old positions, DeepStack states with them; one row at a time, without padding."""
    inputs = batch_of(encoder)
    backbone, embedded = encoder.backbone, encoder.backbone.embedded(inputs)
    each = encoder.layout.num_tokens
    scores = attention_received(backbone, embedded, inputs.mask, False, 1)
    short, told = pruned(backbone, embedded, inputs, False, Pruning(0.5))
    positions = backbone.positions(embedded.is_picture)
    with torch.no_grad():
        states = backbone.states(short, told.mask, False)
    picture = 0
    for row in range(len(inputs)):
        shown = embedded.is_picture[row].nonzero().flatten().tolist()
        best = sorted(shown, key=lambda place: -float(scores[row, place]))[: -(-each // 2)]
        places = [at for at in inputs.mask[row].nonzero().flatten().tolist() if at not in shown or at in best]  # fmt: skip
        assert (
            told.token_ids[row, told.mask[row]].tolist() == inputs.token_ids[row, places].tolist()
        )
        added = []
        if shown:
            kept = [shown.index(at) for at in sorted(best)]
            added = [layer[picture, kept][None] for layer in embedded.added]
            picture += 1
        alone = Embedded(
            embedded.states[row, places][None],
            embedded.is_picture[row, places][None],
            added,
            positions=positions[..., row, :][..., places].unsqueeze(-2),
        )
        with torch.no_grad():
            wanted = backbone.states(alone, torch.ones(1, len(places), dtype=torch.bool), False)
        torch.testing.assert_close(states[row, : len(places)], wanted[0], atol=1e-5, rtol=1e-5)
        assert int(told.mask[row].sum()) == len(places)


def test_all_tokens_are_the_plain_encoder_to_the_bit(encoder):
    items = frame_of(4)
    assert encoder.with_pruned_pictures(1.0) is encoder
    inputs = batch_of(encoder)
    embedded = encoder.backbone.embedded(inputs)
    assert pruned(encoder.backbone, embedded, inputs, False, Pruning(1.0)) == (embedded, inputs)
    plain = encoder.encode_items(items, "text", progress=False)
    half = encoder.with_pruned_pictures(0.5)
    np.testing.assert_array_equal(half.encode_items(items, "text", progress=False), plain)


def test_vectors_of_pruned_pictures_depend_neither_on_the_batch_nor_on_the_order(encoder):
    items = frame_of(5)
    encoder = copy.deepcopy(encoder)
    encoder.add_fusion(FusionConfig(heads=2), 0)
    torch.nn.init.normal_(encoder.module.modality_fusion.output.weight)
    half = encoder.with_pruned_pictures(0.5)
    together = half.encode_items(items, progress=False)
    assert np.abs(together - encoder.encode_items(items, progress=False)).max() > 1e-3
    alone = half.encode_items(items, batch_size=1, progress=False)
    turned = half.encode_items(items.reverse(), batch_size=3, progress=False)[::-1]
    for other in (alone, turned):
        np.testing.assert_allclose(together, other, rtol=0, atol=1e-6)


def test_a_pruned_encoder_is_another_one_and_saved_as_none(encoder, tmp_path):
    half = encoder.with_pruned_pictures(0.5)
    assert len({encoder.digest, half.digest, encoder.with_pruned_pictures(0.25).digest}) == 3
    with pytest.raises(EncoderError, match="save the encoder that was pruned"):
        half.save_pretrained(tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_rows_without_a_picture_pass(encoder):
    inputs = encoder.composer.batch([[20, 21], [22]], None)
    embedded = encoder.backbone.embedded(inputs)
    assert pruned(encoder.backbone, embedded, inputs, False, Pruning(0.5))[1] is inputs
    assert isinstance(inputs, Inputs)


def test_late_fusion_sees_the_whole_picture_and_compression_is_refused(encoder):
    """What goes past the language model is not pruned; a picture that is compressed before it is read has nothing to prune."""
    changed = copy.deepcopy(encoder)
    changed.add_late_fusion(LateFusionConfig(), seed=0)
    late = late_fusion_of(changed.module)
    assert late is not None
    with torch.no_grad():
        for weight in late.parameters():
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    inputs = batch_of(changed)
    embedded = changed.backbone.embedded(inputs)
    short, _ = pruned(changed.backbone, embedded, inputs, False, Pruning(0.5))
    assert embedded.seen is not None and short.seen is embedded.seen
    plain, mixed = (each.with_pruned_pictures(0.5).embed(inputs) for each in (encoder, changed))
    shown = embedded.is_picture.any(dim=1)
    assert not torch.allclose(plain[shown], mixed[shown], atol=1e-4)
    torch.testing.assert_close(plain[~shown], mixed[~shown])
    changed.add_compression_tokens(CompressionConfig(), seed=0)
    with pytest.raises(EncoderError, match="compresses each picture"):
        changed.with_pruned_pictures(0.5)
