"""The backbone: positions, both kinds of attention, padding, sizes and refusals."""

import numpy as np
import pytest
import torch

from moon_rec.config import load_config
from moon_rec.errors import ConfigError, EncoderError
from representation.encoder import untrained_encoder
from representation.model.backbone import BackboneConfig, Inputs
from representation.model.families import load_module
from representation.model.qwen import random_backbone, rotary_positions
from representation.model.tokenizer import shop_texts, token_rarity
from tests.representation.conftest import TINY


def rows_of(encoder) -> list[list[int]]:
    """Rows with and without a picture, of several lengths."""
    composer = encoder.composer
    prompt, texts = (
        composer.prompt("<|product|>"),
        composer.texts(["red mug", "a", "blue lamp deep"], 20),
    )
    return [
        composer.row(prompt, has, text)
        for has, text in zip([True, False, True], texts, strict=True)
    ]


def batch_of(encoder, rows, seed=0) -> Inputs:
    inputs = encoder.composer.batch(rows, None)
    num_pictures = sum(encoder.module.config.image_token_id in row for row in rows)
    layout = encoder.layout
    generator = torch.Generator().manual_seed(seed)
    shape = (num_pictures, layout.grid**2, 3 * layout.patch_size**2)
    inputs.pixels = torch.randn(shape, generator=generator)
    return inputs


def test_positions_equal_transformers(encoder):
    inputs = batch_of(encoder, rows_of(encoder))
    config = encoder.module.config
    grid = torch.tensor([[1, encoder.layout.grid, encoder.layout.grid]] * 2)
    wanted, _ = encoder.module.model.get_rope_index(
        inputs.token_ids,
        mm_token_type_ids=(inputs.token_ids == config.image_token_id).int(),
        image_grid_thw=grid,
        attention_mask=inputs.mask.long(),
    )
    found = rotary_positions(inputs.token_ids == config.image_token_id, encoder.layout)
    real = inputs.mask.expand_as(found)
    assert torch.equal(found[real], wanted[real])


def test_causal_equals_transformers(encoder):
    """Next-token states are those of the original model, fed as its processor would."""
    from representation.model.pixels import with_frames

    inputs = batch_of(encoder, rows_of(encoder))
    config = encoder.module.config
    original = encoder.module.model(
        input_ids=inputs.token_ids,
        attention_mask=inputs.mask.long(),
        pixel_values=with_frames(inputs.pixels, encoder.layout),
        image_grid_thw=torch.tensor([[1, encoder.layout.grid, encoder.layout.grid]] * 2),
        mm_token_type_ids=(inputs.token_ids == config.image_token_id).int(),
    ).last_hidden_state
    found = encoder.backbone.output_states(inputs, causal=True)
    torch.testing.assert_close(found[inputs.mask], original[inputs.mask], rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_first_token_sees_the_last_only_when_bidirectional(encoder, attention):
    encoder.module.set_attn_implementation(attention)
    rows = rows_of(encoder)[:1]
    changed = [[*rows[0][:-1], rows[0][-1] - 1]]
    for causal in (True, False):
        before, after = (
            encoder.backbone.output_states(batch_of(encoder, which), causal)
            for which in (rows, changed)
        )
        moved = (before[0, 0] - after[0, 0]).abs().max().item()
        assert moved == 0 if causal else moved > 1e-6


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_changes_nothing(encoder, causal, attention):
    encoder.module.set_attn_implementation(attention)
    rows = rows_of(encoder)
    together = batch_of(encoder, rows)
    states = encoder.backbone.output_states(together, causal)
    picture = 0
    for place, row in enumerate(rows):
        alone = encoder.composer.batch([row], None)
        if encoder.module.config.image_token_id in row:
            alone.pixels = together.pixels[picture : picture + 1]
            picture += 1
        wanted = encoder.backbone.output_states(alone, causal)[0]
        torch.testing.assert_close(states[place, : len(row)], wanted, rtol=0, atol=1e-5)


def test_gradients_reach_every_weight(encoder):
    encoder.embed(batch_of(encoder, rows_of(encoder))).square()[:, :5].sum().backward()
    missing = [
        name
        for name, value in encoder.module.named_parameters()
        if value.grad is None or not value.grad.isfinite().all()
    ]
    assert missing == ["lm_head.weight"]  # of next-token prediction alone


def test_same_seed_same_weights_and_global_state_untouched():
    ids = {
        "<|image_pad|>": 1,
        "<|video_pad|>": 2,
        "<|vision_start|>": 3,
        "<|vision_end|>": 4,
        "<|endoftext|>": 0,
    }
    config = BackboneConfig.preset("demo")
    state = torch.get_rng_state()
    one, two, other = (random_backbone(config, ids, 300, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    equal = [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)]
    assert all(equal)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_preset_sizes():
    ids = {
        "<|image_pad|>": 1,
        "<|video_pad|>": 2,
        "<|vision_start|>": 3,
        "<|vision_end|>": 4,
        "<|endoftext|>": 0,
    }
    for name, low, high in (("small", 1.9e6, 2.4e6), ("demo", 0.5e6, 0.9e6)):
        config = BackboneConfig.preset(name)
        backbone = random_backbone(config, ids, config.vocabulary_size, 0)
        assert low < sum(value.numel() for value in backbone.model.parameters()) < high
        assert (
            backbone.lm_head.weight.shape == backbone.model.language_model.embed_tokens.weight.shape
        )


def test_rare_tokens_are_larger_and_the_head_is_apart(little_shop):
    """Those of every text and special ones as small as without, the rarest `scale` times the logarithm of the texts as large; the head does not grow with them."""
    sizes = TINY.model_dump()
    plain = untrained_encoder(little_shop, BackboneConfig(**{**sizes, "token_scale": 0.0}), 3)
    scaled = untrained_encoder(little_shop, BackboneConfig(**{**sizes, "token_scale": 1.5}), 3)
    assert plain.module.lm_head.weight is plain.module.get_input_embeddings().weight
    rarity = token_rarity(scaled.tokenizer, shop_texts(little_shop))
    weight = scaled.module.get_input_embeddings().weight.detach()
    wanted = 0.06 * np.maximum(1.5 * rarity, 1.0)
    deviation = weight.std(dim=1).numpy() / wanted
    assert weight.shape[1] == 32 and abs(deviation.mean() - 1) < 0.05
    assert abs(scaled.module.lm_head.weight.std().item() / 0.06 - 1) < 0.05
    assert rarity.max() > 4 and (rarity[scaled.tokenizer.all_special_ids] == 0).all()


def test_a_random_encoder_finds_products_by_their_words(little_shop):
    """Titles among whole texts, before anything is learnt, mean rank of the product: twenty seeds of each, large rare tokens find better on the mean by four standard errors."""
    items = little_shop.items.drop("image").collect()
    sizes = TINY.model_dump()
    titles = items.select("item_id", query_text="title").rename({"item_id": "search_id"})

    def mean_rank(scale: float, seed: int) -> float:
        config = BackboneConfig(**{**sizes, "token_scale": scale})
        encoder = untrained_encoder(little_shop, config, seed)
        queries = encoder.encode_queries(titles, progress=False)
        scores = queries @ encoder.encode_items(items, modality="text", progress=False).T
        return float((scores > scores.diagonal()[:, None]).sum(axis=1).mean())

    gaps = np.array([mean_rank(0.0, seed) - mean_rank(2.0, seed) for seed in range(20)])
    assert gaps.mean() > 4 * gaps.std(ddof=1) / np.sqrt(20)


def test_refusals():
    with pytest.raises(ConfigError, match="image_size 60"):
        load_config(BackboneConfig, settings=["image_size=60"])
    with pytest.raises(ConfigError, match="preset 'huge'"):
        BackboneConfig.preset("huge")  # type: ignore[arg-type]
    with pytest.raises(EncoderError, match=r"no encoder at ./nowhere.: no such folder"):
        load_module("/nowhere")
