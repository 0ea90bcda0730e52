"""LoRA: what is trained, what is saved, and memory saved by computing states anew."""

import builtins

import numpy as np
import peft
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from moon_rec.errors import ConfigError
from representation.encoder import ProductEncoder, open_encoder
from representation.model.backbone import checkpoint_gradients
from representation.model.lora import LoraConfig, has_lora, with_lora
from representation.training.optimisation import (
    OptimisationConfig,
    lower_precision,
    training_mode,
)


@pytest.fixture
def items(little_shop):
    return little_shop.items.collect().head(8)


def inputs_of(encoder: ProductEncoder):
    composer = encoder.composer
    rows = [
        composer.row(composer.prompt("<|product|>"), True, text)
        for text in composer.texts(["red mug", "blue lamp"], 9)
    ]
    random = np.random.default_rng(0)
    return composer.batch(rows, random.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8))


def train(encoder: ProductEncoder, steps: int = 3) -> None:
    chosen = [value for value in encoder.module.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(chosen, lr=0.5)
    inputs = inputs_of(encoder)
    for _ in range(steps):
        optimizer.zero_grad()
        encoder.embed(inputs)[:, :4].sum().backward()
        optimizer.step()


def test_starts_as_it_was_and_trains_adapters_alone(encoder, items):
    before = encoder.encode_items(items, progress=False)
    digest = encoder.digest
    frozen = {name: value.clone() for name, value in encoder.module.named_parameters()}
    with_lora(encoder.module, LoraConfig(rank=2))
    np.testing.assert_array_equal(encoder.encode_items(items, progress=False), before)
    trained = {name for name, value in encoder.module.named_parameters() if value.requires_grad}
    layers = len(encoder.module.model.language_model.layers)
    assert len(trained) == layers * 7 * 2 and all(
        "language_model" in name and "lora_" in name for name in trained
    )
    train(encoder)
    vars(encoder).pop("digest", None)
    assert encoder.digest != digest
    assert np.abs(encoder.encode_items(items, progress=False) - before).max() > 1e-3
    for name, value in encoder.module.named_parameters():
        if name not in trained:
            assert torch.equal(value, frozen[name.replace(".base_layer", "")]), name


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's
@pytest.mark.parametrize("vision", [False, True])
def test_saved_is_a_plain_folder_and_an_adapter(encoder, encoder_path, items, tmp_path, vision):
    with_lora(encoder.module, LoraConfig(rank=2, vision=vision), seed=1)
    train(encoder)
    vectors = encoder.encode_items(items, progress=False)
    path = encoder.save_pretrained(tmp_path / "tuned")
    plain = open_encoder(path, device="cpu")
    assert (
        isinstance(plain, ProductEncoder)
        and not has_lora(plain.module)
        and plain.digest == encoder.digest
    )
    np.testing.assert_allclose(plain.encode_items(items, progress=False), vectors, atol=1e-5)
    other = ProductEncoder.from_pretrained(encoder_path, device="cpu")
    peft.PeftModel.from_pretrained(other.module, path / "adapter")  # puts it in place
    np.testing.assert_allclose(other.encode_items(items, progress=False), vectors, atol=1e-5)
    assert has_lora(encoder.module), "saving leaves the encoder in training"


def test_bfloat16_backbone_keeps_float32_adapters(encoder, tmp_path):
    encoder.module.to(torch.bfloat16)
    with_lora(encoder.module, LoraConfig(rank=2))
    kinds = {value.requires_grad: value.dtype for value in encoder.module.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    train(encoder)
    again = ProductEncoder.from_pretrained(
        encoder.save_pretrained(tmp_path / "half"), "cpu", "bfloat16"
    )
    assert {value.dtype for value in again.module.parameters()} == {torch.bfloat16}


def test_under_autocast_adapters_take_inputs_as_they_come(encoder):
    """In training by bfloat16 products no input is widened to float32 first, and vectors and gradients are, bit for bit, those with the widening."""
    encoder.module.to(torch.bfloat16)
    with_lora(encoder.module, LoraConfig(rank=2))
    train(encoder)
    seen: set[torch.dtype] = set()
    for name, module in encoder.module.named_modules():
        if name.endswith("lora_A.default"):
            module.register_forward_pre_hook(lambda _, given: seen.add(given[0].dtype))

    def once() -> list[torch.Tensor]:
        encoder.module.zero_grad()
        with lower_precision(torch.device("cpu"), torch.bfloat16):
            vectors = encoder.embed(inputs_of(encoder))
        vectors[:, :4].sum().backward()
        grads = [value.grad for value in encoder.module.parameters() if value.requires_grad]
        return [vectors.detach(), *[grad.clone() for grad in grads if grad is not None]]

    config = OptimisationConfig(precision="bfloat16")
    found = {}
    for is_narrow in (False, True):
        with training_mode(encoder.module, config):
            if not is_narrow:
                with pytest.MonkeyPatch.context() as patch:
                    for module in encoder.module.modules():
                        if hasattr(module, "cast_input_dtype_enabled"):
                            patch.setattr(module, "cast_input_dtype_enabled", True)
                    found[is_narrow] = once()
                assert seen == {torch.float32}
            else:
                seen.clear()
                found[is_narrow] = once()
                assert seen == {torch.bfloat16}
    for wide, narrow in zip(found[False], found[True], strict=True):
        assert torch.equal(wide, narrow)
    seen.clear()
    with torch.no_grad():
        encoder.embed(inputs_of(encoder))
    assert seen == {torch.float32}, "outside of training all is as before"


def test_same_seed_same_adapters(encoder_path):
    found = []
    for seed in (0, 0, 1):
        encoder = ProductEncoder.from_pretrained(encoder_path, device="cpu")
        with_lora(encoder.module, LoraConfig(rank=2), seed)
        found.append(
            torch.cat(
                [v.detach().flatten() for v in encoder.module.parameters() if v.requires_grad]
            )
        )
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_refusals(encoder, monkeypatch):
    with pytest.raises(ConfigError, match="no linear layer qkv; it has down_proj, gate_proj"):
        with_lora(encoder.module, LoraConfig(targets=("q_proj", "qkv")))
    with_lora(encoder.module, LoraConfig(rank=1))
    with pytest.raises(ConfigError, match="adapters already"):
        with_lora(encoder.module, LoraConfig(rank=1))
    real = builtins.__import__

    def without_peft(name, *rest, **more):
        if name == "peft":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_peft)
    with pytest.raises(ConfigError, match=r"pip install 'moon-rec\[lora\]'"):
        with_lora(encoder.module, LoraConfig())


def gradients_and_bytes(encoder: ProductEncoder) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients of a step, and the bytes of distinct tensors that were kept for them, weights aside."""
    kept: dict[int, int] = {}
    weights = {value.data_ptr() for value in encoder.module.parameters()}

    def pack(value: torch.Tensor) -> torch.Tensor:
        if value.untyped_storage().data_ptr() not in weights:
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    encoder.module.train()
    encoder.module.zero_grad()
    with saved_tensors_hooks(pack, lambda value: value):
        loss = encoder.embed(inputs_of(encoder))[:, :4].sum()
    loss.backward()
    found = {
        name: value.grad.clone()
        for name, value in encoder.module.named_parameters()
        if value.grad is not None
    }
    return found, sum(kept.values())


@pytest.mark.parametrize("lora", [False, True])
def test_states_computed_anew_give_the_same_gradients_in_less_memory(encoder, lora):
    if lora:
        with_lora(encoder.module, LoraConfig(rank=2, vision=True))
    plain, most = gradients_and_bytes(encoder)
    checkpoint_gradients(encoder.module)
    found, least = gradients_and_bytes(encoder)
    assert found.keys() == plain.keys() and len(found) > 20
    for name in plain:
        torch.testing.assert_close(found[name], plain[name], rtol=0, atol=1e-6, msg=name)
    assert least < most / 2, (least, most)
