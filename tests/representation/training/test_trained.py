"""Which weights of a composed encoder a training moves, and how fast; that it goes on to the same bits whatever is trained."""

import pytest
import torch
from safetensors.torch import load_file

from moon_rec.errors import ConfigError
from representation.core_region.config import CoreRegionConfig
from representation.encoder import ProductEncoder
from representation.encoders.composed import compose_encoder
from representation.model.lora import LoraConfig
from representation.posttraining import PosttrainConfig, posttrain
from representation.pretraining import PretrainConfig, pretrain
from representation.training.trained import rate_shares
from tests.representation.encoders.composed_parts import language_folder, vision_folder

LORA = LoraConfig(rank=2, dropout=0.3)
STEPS = {"steps": 4, "batch_size": 6, "precision": "float32", "log_every": 1, "num_threads": 1}
TRAINED = {
    "whole": {},
    "lora": {"lora": LORA},
    "lora of both": {"lora": LoraConfig(rank=2, vision=True), "trained_parts": ("projector",)},
    "projector": {"trained_parts": ("projector",)},
    "frozen tower": {"trained_parts": ("projector", "language")},
    "frozen language model": {"trained_parts": ("projector", "vision")},
    "layer rates": {"layer_rate_decay": 0.5, "gradient_checkpointing": True},
    "core region": {"core_region": CoreRegionConfig()},
}
MOVED = {
    "whole": {"vision", "projector", "language"},
    "lora": {"language"},
    "lora of both": {"vision", "projector", "language"},
    "projector": {"projector"},
    "frozen tower": {"projector", "language"},
    "frozen language model": {"projector", "vision"},
    "layer rates": {"vision", "projector", "language"},
    "core region": {"vision", "projector", "language"},
}


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    root = tmp_path_factory.mktemp("composed")
    vision, language = vision_folder("siglip", root / "v"), language_folder("llama", root / "l")
    return compose_encoder(vision, language).save_pretrained(root / "encoder")


class _Stopped(Exception):
    pass


def stopping(at: int):
    def told(step, _):
        if step == at:
            raise _Stopped

    return told


@pytest.mark.parametrize("name", TRAINED)
def test_only_what_is_trained_moves_and_a_stopped_training_goes_on_to_the_same_bits(
    little_shop, composed, tmp_path, name
):
    config = PosttrainConfig(**STEPS, **TRAINED[name], resume_every=2)
    posttrain(little_shop, tmp_path / "whole", config, composed)
    out = tmp_path / "out"
    with pytest.raises(_Stopped):
        posttrain(little_shop, out, config, composed, stopping(3))
    (save,) = (tmp_path / "out.resume").glob("step-*")
    kept = load_file(save / "optimiser.safetensors")
    posttrain(little_shop, out, config, composed)
    wanted, found, before = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", out, composed)
    )
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    encoder = ProductEncoder.from_pretrained(composed, device="cpu")
    moved = {encoder.part_of(key) for key in found if not torch.equal(found[key], before[key])}
    assert moved == MOVED[name]
    moments = {encoder.part_of(key) for key in kept if key.startswith(("model.", "lm_head"))}
    assert moments == MOVED[name]


def test_the_projector_first_by_next_tokens_then_all(little_shop, composed, tmp_path):
    """LLaVA's way; batches of texts alone leave a frozen rest as it is."""
    first = PretrainConfig(**STEPS | {"steps": 8, "learning_rate": 1e-2}, trained_parts=("projector",))  # fmt: skip
    told = []
    pretrain(little_shop, tmp_path / "first", first, composed, lambda _, numbers: told.append(numbers["loss"]))  # fmt: skip
    assert told[-1] < told[0]
    texts = PosttrainConfig(**STEPS, mixture={"text->title+image": 1.0}, trained_parts=("projector",), learn_temperature=False)  # fmt: skip
    posttrain(little_shop, tmp_path / "second", texts, tmp_path / "first")
    before, after = (load_file(folder / "model.safetensors") for folder in (composed, tmp_path / "second"))  # fmt: skip
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved and all("multi_modal_projector" in key for key in moved)


def test_layers_near_the_input_learn_more_slowly(composed):
    encoder = ProductEncoder.from_pretrained(composed, device="cpu")
    named = list(encoder.module.named_parameters())
    found = rate_shares(encoder, [*named, ("log_temperature", torch.ones(()))], 0.5)
    wanted = {
        "model.language_model.layers.2.mlp.up_proj.weight": 1,
        "model.language_model.layers.1.mlp.up_proj.weight": 0.5,
        "model.language_model.layers.0.input_layernorm.weight": 0.25,
        "model.language_model.embed_tokens.weight": 0.125,
        "model.language_model.norm.weight": 1,
        "lm_head.weight": 1,
        "log_temperature": 1,
        "model.multi_modal_projector.linear_1.weight": 1,
        "model.vision_tower.encoder.layers.2.layer_norm1.bias": 1,
        "model.vision_tower.encoder.layers.0.layer_norm1.bias": 0.25,
        "model.vision_tower.embeddings.position_embedding.weight": 0.125,
    }
    for name, share in wanted.items():
        assert name in (*dict(named), "log_temperature")
        assert found.get(name, 1) == share, name
    assert rate_shares(encoder, named, 1.0) == {}


def test_the_first_step_of_a_layer_is_as_long_as_its_rate(little_shop, composed, tmp_path):
    """AdamW's first step moves every weight with a gradient by the rate itself."""
    config = PosttrainConfig(
        **STEPS | {"steps": 1}, layer_rate_decay=0.5, weight_decay=0.0, learning_rate=1e-3
    )
    posttrain(little_shop, tmp_path / "out", config, composed)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (composed, tmp_path / "out")
    )
    for layer, share in ((0, 0.25), (1, 0.5), (2, 1.0)):
        name = f"model.language_model.layers.{layer}.mlp.down_proj.weight"
        name = name if name in before else name.replace("model.language_model", "language_model.model")  # fmt: skip
        moved = (after[name] - before[name]).abs()
        assert moved.median().item() == pytest.approx(1e-3 * share, rel=0.02)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"trained_parts": ("head",)}, "trained_parts has 'head', and the parts of this encoder are language, projector, vision"),
        ({"trained_parts": ("vision", "language", "projector")}, "names every part"),
        ({"trained_parts": ("language",), "lora": LORA}, "trained_parts has 'language', which lora adapts"),
    ],
)  # fmt: skip
def test_parts_that_cannot_be_trained_are_refused(little_shop, composed, tmp_path, settings, why):
    with pytest.raises(ConfigError, match=why):
        posttrain(little_shop, tmp_path / "out", PosttrainConfig(**STEPS, **settings), composed)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("vision", [False, True])
def test_adapters_of_a_composed_encoder_merge_to_the_same_vectors(composed, tmp_path, vision):
    from representation.model.lora import with_lora
    from tests.representation.conftest import items_frame

    encoder = ProductEncoder.from_pretrained(composed, device="cpu")
    items = items_frame().head(6)
    before = encoder.encode_items(items, progress=False)
    with_lora(encoder.module, LoraConfig(rank=2, vision=vision), seed=1)
    adapted = {name for name, value in encoder.module.named_parameters() if value.requires_grad}
    assert any(".vision_tower." in name for name in adapted) == vision
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.5, generator=torch.Generator().manual_seed(len(name)))
    wanted = encoder.encode_items(items, progress=False)
    assert abs(wanted - before).max() > 1e-3
    again = ProductEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "out"), device="cpu")
    assert abs(again.encode_items(items, progress=False) - wanted).max() < 1e-5
