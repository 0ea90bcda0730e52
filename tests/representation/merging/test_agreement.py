"""Encoders whose weights mean different things are told apart by name."""

import copy

import pytest
import torch

from moon_rec.errors import EncoderError
from representation.core_region.config import CoreRegionConfig
from representation.encoder import ProductEncoder
from representation.merging.adapters import check_adapter_is_all
from representation.merging.agreement import check_agreement


def with_setting(**values):
    def change(encoder):
        encoder.config = encoder.config.model_copy(update=values)

    return change


def another_tokenizer(encoder):
    encoder.tokenizer = copy.deepcopy(encoder.tokenizer)
    encoder.tokenizer.add_tokens(["onemore"])


def another_casing(encoder):
    encoder.tokenizer = copy.deepcopy(encoder.tokenizer)
    encoder.tokenizer.backend_tokenizer.normalizer = None


def another_model(encoder):
    encoder.module = copy.deepcopy(encoder.module)
    encoder.module.config.text_config.rope_parameters["rope_theta"] = 1.0


def narrower(encoder):
    encoder.module = copy.deepcopy(encoder.module)
    encoder.module.model.language_model.norm.weight = torch.nn.Parameter(torch.ones(31))


def other_patches(encoder):
    encoder.backbone = copy.copy(encoder.backbone)
    encoder.backbone.layout = encoder.layout._replace(merge=1)


def spoilt(encoder):
    encoder.module = copy.deepcopy(encoder.module)
    encoder.module.model.language_model.norm.weight.data.fill_(torch.nan)


@pytest.fixture(scope="module")
def first(encoder_path):
    return ProductEncoder.from_pretrained(encoder_path, device="cpu")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_setting(pooling="last"), "setting pooling is last, wanted mean"),
        (with_setting(core_region=CoreRegionConfig()), "setting core_region is set, wanted None"),
        (with_setting(image_mean=(0.4, 0.4, 0.4)), "setting image_mean is"),
        (another_tokenizer, "the number of tokens is"),
        (another_casing, "the tokenizer's digest is"),
        (another_model, "text_config rope_parameters rope_theta is 1.0, wanted 10000.0"),
        (narrower, r"the shape of model.language_model.norm.weight is \(31,\), wanted \(32,\)"),
        (other_patches, "how a picture becomes tokens is"),
        (spoilt, "b: its weight model.language_model.norm.weight holds what is no number"),
    ],
)
def test_what_differs_is_named(first, change, says):
    other = copy.copy(first)
    check_agreement(first, other, ("a", "b"))
    change(other)
    with pytest.raises(EncoderError, match=says):
        check_agreement(first, other, ("a", "b"))


def test_more_than_an_adapter_is_told_from_an_adapter():
    base = {"one": torch.ones(2, 2), "two": torch.ones(2)}
    deltas = {"one": torch.full((2, 2), 0.5, dtype=torch.float64)}
    tuned = {"one": torch.full((2, 2), 1.5), "two": torch.ones(2)}
    check_adapter_is_all("a", tuned, base, deltas)
    for name, wrong in (("one", torch.full((2, 2), 1.6)), ("two", torch.full((2,), 1.0001))):
        with pytest.raises(EncoderError, match=f"a: {name} is not the base's with the adapter"):
            check_adapter_is_all("a", tuned | {name: wrong}, base, deltas)
    with pytest.raises(EncoderError, match="for three, which the base has not"):
        check_adapter_is_all("a", tuned, base, {"three": deltas["one"]})
