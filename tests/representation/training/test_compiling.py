"""Settings of speed: compiled layers compute the same, and what does nothing here is refused."""

import pytest
import torch
from torch import nn

from moon_rec.errors import ConfigError
from representation.model.lora import LoraConfig
from representation.posttraining import PosttrainConfig
from representation.training.compiling import check_speed, compile_layers
from representation.training.optimisation import training_mode


def test_compiled_layers_compute_the_same_under_the_same_names(encoder):
    """Gradients, too, with adapters, for batches of two lengths; `eager` runs what was traced without a compiler of C++."""
    encoder.adapt(LoraConfig(rank=2), 0)
    rows = [encoder.prepare("item", [list(range(5, 5 + length))] * 3, None) for length in (4, 9)]
    found = []
    for is_compiled in (False, True):
        if is_compiled:
            assert compile_layers(encoder.module, "eager") >= 2
        encoder.module.zero_grad()
        vectors = [encoder.embed(one) for one in rows]
        torch.cat(vectors)[:, 0].sum().backward()
        named = encoder.module.named_parameters()
        gradients = {name: one.grad for name, one in named if one.grad is not None}
        found.append((vectors, gradients))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][1]


def test_what_does_nothing_here_is_refused(encoder):
    with pytest.raises(ConfigError, match="compile_layers = True is for a GPU, and the encoder is"):
        check_speed(PosttrainConfig(compile_layers=True), encoder)
    check_speed(PosttrainConfig(attention_kernel="sdpa"), encoder)
    other = type("Other", (), {"device": torch.device("cuda"), "module": nn.Linear(2, 2)})()
    with pytest.raises(ConfigError, match="compile_layers = True changes nothing"):
        check_speed(PosttrainConfig(compile_layers=True), other)
    with pytest.raises(ConfigError, match="attention_kernel = 'sdpa' changes nothing"):
        check_speed(PosttrainConfig(attention_kernel="sdpa"), other)


@pytest.mark.parametrize(("kernel", "used"), [("auto", "eager"), ("eager", "eager"), ("sdpa", "sdpa")])  # fmt: skip
def test_the_kernel_of_attention_is_the_one_asked_for_within_a_training(encoder, kernel, used):
    before = encoder.module.config._attn_implementation
    with training_mode(encoder.module, PosttrainConfig(attention_kernel=kernel)):
        assert encoder.module.config._attn_implementation == used
    assert encoder.module.config._attn_implementation == before
