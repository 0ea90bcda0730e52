"""Fusion against a loop over heads and tokens, value and gradient, and what it does with a modality that is not there."""

import math

import pytest
import torch

from representation.fusion import ModalityFusion

BATCH, DIM, HEADS = 3, 8, 2
LENGTHS = {"image": 4, "text": 5}


def block() -> ModalityFusion:
    made, draws = ModalityFusion(DIM, HEADS), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(torch.randn(value.shape, generator=draws) / 2)
    return made


def given():
    """The first row has no picture, the second two tokens of text."""
    draws = torch.Generator().manual_seed(1)
    states = {name: torch.randn(BATCH, length, DIM, generator=draws) for name, length in LENGTHS.items()}  # fmt: skip
    masks = {name: torch.ones(BATCH, length, dtype=torch.bool) for name, length in LENGTHS.items()}
    masks["image"][0] = False
    masks["text"][1, 2:] = False
    return torch.randn(BATCH, DIM, generator=draws), states, masks


def by_loop(fusion, embedding, states, masks):
    rows, size = [], DIM // HEADS
    for row in range(BATCH):
        found = []
        for name in LENGTHS:
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                query = (fusion.queries[name].weight @ embedding[row])[part]
                weights, values = [], []
                for token in range(LENGTHS[name]):
                    if not masks[name][row, token]:
                        continue
                    state = states[name][row, token]
                    key = (fusion.keys[name].weight @ state)[part]
                    weights.append(((query * key).sum() / math.sqrt(size)).exp())
                    values.append((fusion.values[name].weight @ state)[part])
                total = sum(w * v for w, v in zip(weights, values, strict=True))
                found.append(total / sum(weights) if weights else torch.zeros(size))
        rows.append(embedding[row] + fusion.output.weight @ torch.cat(found))
    return torch.stack(rows)


def test_fusion_against_a_loop():
    found = []
    for way in (lambda fusion, *each: fusion(*each), by_loop):
        fusion, (embedding, states, masks) = block(), given()
        leaves = [embedding.requires_grad_(), *(one.requires_grad_() for one in states.values())]
        made = way(fusion, embedding, states, masks)
        made.square().sum().backward()
        found.append([made, *(one.grad for one in (*leaves, *fusion.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_fusion_ignores_an_absent_modality():
    """Whatever stands in its places, value and gradient; and left out, it is absent from all rows."""
    fusion, (embedding, states, masks) = block(), given()
    masks["image"][:] = False
    states["image"].requires_grad_()
    made = fusion(embedding, states, masks)
    made.sum().backward()
    assert not states["image"].grad.any()
    other = {**states, "image": torch.full_like(states["image"], 1e4)}
    torch.testing.assert_close(fusion(embedding, other, masks), made, rtol=0, atol=0)
    torch.testing.assert_close(fusion(embedding, {"text": states["text"]}, masks), made)


def test_without_any_modality_the_embedding_stays():
    embedding, states, masks = given()
    none = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    assert torch.equal(block()(embedding, states, none), embedding)
    assert torch.equal(block()(embedding, {}, {}), embedding)


def test_at_the_start_the_embedding_stays():
    embedding, states, masks = given()
    assert torch.equal(ModalityFusion(DIM, HEADS)(embedding, states, masks), embedding)


def test_padding_changes_nothing():
    fusion, (embedding, states, masks) = block(), given()
    short = fusion(embedding[1:2], {"text": states["text"][1:2, :2]}, {"text": masks["text"][1:2, :2]})  # fmt: skip
    whole = fusion(embedding[1:2], {"text": states["text"][1:2]}, {"text": masks["text"][1:2]})
    torch.testing.assert_close(short, whole)


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="num_heads 3 must divide the width 8"):
        ModalityFusion(8, 3)
