"""What a frozen vision tower makes of pictures is computed once: the same vectors and the same bits with and without, and only where the tower stays as it is."""

import numpy as np
import pytest
import torch

from moon_rec.errors import ConfigError
from representation.encoder import ProductEncoder, open_encoder, open_trainable
from representation.encoders.composed import compose_encoder
from representation.model.backbone import BackboneConfig, Inputs
from representation.model.lora import LoraConfig
from representation.posttraining import PosttrainConfig, posttrain
from representation.training.optimisation import training_mode
from representation.training.trained import keeps_towers
from tests.representation.encoders.composed_parts import language_folder, vision_folder

BEHIND = ("projector", "language")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    towers = {kind: vision_folder(kind, root / kind) for kind in ("dinov2", "efficientnet_lite")}
    return towers | {"llama": language_folder("llama", root / "llama")}


@pytest.fixture(scope="module")
def start(parts, tmp_path_factory):
    """A composed encoder's folder."""
    made = compose_encoder(parts["dinov2"], parts["llama"])
    return made.save_pretrained(tmp_path_factory.mktemp("composed") / "start")


def settings(**given) -> PosttrainConfig:
    values = {"steps": 3, "batch_size": 4, "num_threads": 1, "trained_parts": BEHIND}
    return PosttrainConfig(**values | given)


@pytest.mark.parametrize("family", ["composed", "qwen3"])
def test_vectors_are_the_same_and_a_kept_picture_is_not_seen_again(
    family, start, checkpoints, little_shop, monkeypatch
):
    if family == "composed":
        encoder = ProductEncoder.from_pretrained(start, "cpu")
    else:  # three layers of its tower go into the language model besides
        config = BackboneConfig(checkpoint=str(checkpoints["qwen3"]), image_size=32)
        encoder = ProductEncoder.from_checkpoint(config, "cpu")
    side = encoder.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    tokens = encoder.tokens(["red mug", "", "a blue lamp"], "item", "title")
    items = little_shop.items.collect().head(4)
    before, plain = encoder.encode_items(items), encoder.embed(encoder.prepare("item", tokens, pictures))  # fmt: skip
    encoder.remember({}, {"pictures": (3, lambda a, b: pictures[a:b])}, None, "shop")
    np.testing.assert_allclose(encoder.encode_items(items), before, rtol=0, atol=1e-6)

    def no_more(*_):
        raise AssertionError("the tower is run again")

    monkeypatch.setattr(type(encoder.backbone), "tower_states", no_more)
    inputs = encoder.prepare("item", tokens, pictures)
    torch.testing.assert_close(encoder.embed(inputs), plain, rtol=0, atol=1e-6)
    assert isinstance(inputs, Inputs) and inputs.pixels is None and inputs.num_tokens > 0
    some = encoder.embed(encoder.prepare("item", tokens, pictures).part(1, 3))
    torch.testing.assert_close(some, plain[1:], rtol=0, atol=1e-6)
    with pytest.raises(AssertionError, match="run again"):
        encoder.prepare("item", tokens, 255 - pictures)


@pytest.mark.parametrize("given", [{}, {"precision": "bfloat16", "alter_photos": False}])
def test_training_gives_the_same_bits_with_kept_states_and_without(
    start, little_shop, tmp_path, given, capsys
):
    kept = tmp_path / "kept"
    posttrain(little_shop, tmp_path / "cold", settings(**given), start, features=kept)
    assert "0 were kept" in " ".join(capsys.readouterr().err.split())
    posttrain(little_shop, tmp_path / "warm", settings(**given), start, features=kept)
    assert ", 0 computed; in" in " ".join(capsys.readouterr().err.split())
    posttrain(little_shop, tmp_path / "new", settings(**given), start, features=tmp_path / "other")
    first, *others = (
        open_encoder(tmp_path / each, "cpu").digest for each in ("cold", "warm", "new")
    )
    assert others == [first] * 2
    trained, before = (open_trainable(path, "cpu").module for path in (tmp_path / "cold", start))
    changed = {
        name
        for name, value in before.state_dict().items()
        if not torch.equal(value, trained.state_dict()[name])
    }
    assert changed and not any("vision_tower" in name for name in changed)
    assert any("multi_modal_projector" in name for name in changed)
    assert not (tmp_path / "cold.features").exists()


def test_which_trainings_leave_the_tower_as_it_is(start, checkpoints, little_shop, tmp_path):
    encoder = open_trainable(start, "cpu")
    cases = [
        ({"trained_parts": None}, False),
        ({"trained_parts": ("projector",)}, True),
        ({"trained_parts": ("vision", "projector")}, False),
        ({"trained_parts": None, "lora": LoraConfig()}, True),
        ({"trained_parts": None, "lora": LoraConfig(vision=True)}, False),
        ({"trained_parts": ("projector",), "lora": LoraConfig()}, True),
        ({"trained_parts": ("projector",), "lora": LoraConfig(vision=True)}, False),
    ]
    for given, stays in cases:
        assert keeps_towers(encoder, settings(**given)) == stays, given
    assert not keeps_towers(open_trainable(checkpoints["clip"], "cpu"), settings())
    with pytest.raises(ConfigError, match="change nothing: only an encoder whose towers stay"):
        whole = settings(trained_parts=None)
        posttrain(little_shop, tmp_path / "out", whole, start, features=tmp_path / "kept")
    assert not list(tmp_path.iterdir())


def test_a_tower_without_attention_takes_any_kernel(parts):
    """transformers refused the model around it the fused kernel, at the end of a training."""
    encoder = compose_encoder(parts["efficientnet_lite"], parts["llama"])
    with training_mode(encoder.module, settings()):
        assert encoder.module.config.text_config._attn_implementation == "eager"
    assert encoder.module.config.text_config._attn_implementation == "sdpa"
