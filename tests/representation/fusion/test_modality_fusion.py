"""Fusion against a loop over heads and tokens, value and gradient in float64, and what it does with a modality that is not there."""

import math

import pytest
import torch

from moon_rec.errors import EncoderError
from representation.fusion import FusionConfig, ModalityFusion
from representation.fusion.evened import LEAST_SQUARE

BATCH, LENGTH, DIM, HEADS = 3, 6, 8, 2


def block(**settings) -> ModalityFusion:
    made = ModalityFusion(DIM, FusionConfig(heads=HEADS, **settings)).double()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(torch.randn(value.shape, generator=draws).double())
    return made


def given():
    """Pictures of two tokens behind one of a prompt, words of up to three; the first row has no picture, the last no words."""
    draws = torch.Generator().manual_seed(1)
    image, text = torch.zeros(2, BATCH, LENGTH, dtype=torch.bool)
    image[1:, 1:3] = True
    text[0, 1:4] = True
    text[1, 3:5] = True
    vectors = torch.randn(BATCH, DIM, generator=draws).double()
    raw = torch.randn(BATCH, LENGTH, DIM, generator=draws).double()
    return vectors, raw, {"image": image, "text": text}


def evened(state):
    """Divided by the root of the mean square."""
    return state / ((state**2).sum() / len(state) + LEAST_SQUARE).sqrt()


def by_loop(fusion, vectors, raw, masks):
    rows, size = [], DIM // HEADS
    for row in range(BATCH):
        found = []
        for name in fusion.config.modalities:
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                query = (fusion.queries[name].weight @ evened(vectors[row]))[part]
                weights, values = [], []
                for token in range(LENGTH):
                    if not masks[name][row, token]:
                        continue
                    state = evened(raw[row, token])
                    key = (fusion.keys[name].weight @ state)[part]
                    weights.append(((query * key).sum() / math.sqrt(size)).exp())
                    values.append((fusion.values[name].weight @ state)[part])
                total = sum(w * v for w, v in zip(weights, values, strict=True))
                found.append(total / sum(weights) if weights else vectors.new_zeros(size))
        rows.append(vectors[row] + fusion.output.weight @ torch.cat(found))
    return torch.stack(rows)


@pytest.mark.parametrize("modalities", [("image", "text"), ("text",)], ids="-".join)
def test_fusion_against_a_loop(modalities):
    found = []
    for way in (lambda fusion, *each: fusion(*each), by_loop):
        fusion, (vectors, raw, masks) = block(modalities=modalities), given()
        leaves = [vectors.requires_grad_(), raw.requires_grad_()]
        made = way(fusion, vectors, raw, masks)
        (made.square().sum() / 2 + made.sum()).backward()
        found.append([made, *(one.grad for one in (*leaves, *fusion.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("absent", ["image", "text"])
def test_fusion_ignores_an_absent_modality(absent):
    """Whatever stands in its places, and whatever its heads have learnt: value and gradient."""
    fusion, (vectors, raw, masks) = block(), given()
    masks[absent][:] = False
    other = next(name for name in masks if name != absent)
    made = fusion(vectors, raw.requires_grad_(), masks)
    made.square().sum().backward()
    assert not raw.grad[~masks[other]].any() and raw.grad[masks[other]].any()
    for part in (fusion.queries, fusion.keys, fusion.values):
        assert not part[absent].weight.grad.any() and part[other].weight.grad.any()
    changed = torch.where(masks[other][:, :, None], raw.detach(), 1e4)
    assert torch.equal(fusion(vectors, changed, masks), made)
    with torch.no_grad():
        for part in (fusion.queries, fusion.keys, fusion.values):
            part[absent].weight.mul_(-9)
    assert torch.equal(fusion(vectors, raw, masks), made)


def test_without_any_modality_the_vector_stays():
    vectors, raw, masks = given()
    none = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    assert torch.equal(block()(vectors, raw, none), vectors)


def test_at_the_start_the_vector_stays_and_learns():
    """The output starts at zero and moves first; what lies before it follows."""
    vectors, raw, masks = given()
    fusion = ModalityFusion(DIM, FusionConfig(heads=HEADS)).double()
    made = fusion(vectors, raw, masks)
    assert torch.equal(made, vectors)
    made.square().sum().backward()
    assert fusion.output.weight.grad.any() and not fusion.keys["text"].weight.grad.any()


def test_padding_changes_nothing():
    fusion, (vectors, raw, masks) = block(), given()
    cut = {name: mask[:, :5] for name, mask in masks.items()}
    torch.testing.assert_close(fusion(vectors, raw[:, :5], cut), fusion(vectors, raw, masks))


def test_heads_divide_the_width():
    with pytest.raises(EncoderError, match=r"fusion.heads = 3 does not divide 8, the width of"):
        ModalityFusion(DIM, FusionConfig(heads=3))
