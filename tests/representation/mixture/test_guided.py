"""Tokens of a product's category and attributes reach their experts, and nobody else's do."""

import polars as pl
import pytest
import torch

from representation.encoder import ProductEncoder
from representation.mixture import Experts, ExpertsConfig, Gates
from representation.mixture.guided import (
    ATTRIBUTE,
    CATEGORY,
    Mark,
    MarkedText,
    guided_gates,
    split_roles,
    with_roles,
)
from representation.model.prompt import product_texts

ITEMS = pl.DataFrame(
    {
        "title": ["red mug | Things", "ﬀ café  lamp"],
        "category": ["Things/Mug", None],
        "brand": ["Maker1", None],
        "attributes": [
            [{"name": "colour", "value": "red"}, {"name": "size", "value": "Ａ4"}],
            [{"name": "colour", "value": "blue"}],
        ],
        "description": ["A mug, colour red.", "Things/Mug"],
    }
)


@pytest.fixture
def guided(encoder) -> ProductEncoder:
    encoder.add_experts(ExpertsConfig(num_experts=4, top_k=1, guided=True), 0)
    return encoder


def test_category_and_attributes_of_a_richer_text_are_marked():
    found = [
        {text[mark.first : mark.end]: mark.role for mark in text.marks}
        for text in product_texts(ITEMS, "richer")
    ]
    assert found == [
        {"Things/Mug": CATEGORY, "colour red, size A4": ATTRIBUTE},
        {"colour blue": ATTRIBUTE},
    ]
    assert not any(getattr(text, "marks", ()) for text in product_texts(ITEMS, "title"))


def test_a_text_is_what_it_was_without_marks():
    parts = [["red mug | Things", "Things/Mug", "Maker1", "colour red, size A4", "A mug, colour red."], ["ﬀ café lamp", "colour blue", "Things/Mug"]]  # fmt: skip
    assert product_texts(ITEMS, "richer") == [" | ".join(each) for each in parts]


def test_a_token_takes_the_role_of_the_characters_that_it_has_a_part_of():
    marks = [Mark(4, 8, CATEGORY), Mark(10, 12, ATTRIBUTE)]
    carried = with_roles([7, 8, 9, 10, 11], [(0, 4), (3, 6), (6, 10), (9, 12), (12, 13)], marks)
    ids, roles = split_roles(torch.tensor([carried]))
    assert ids.tolist() == [[7, 8, 9, 10, 11]]
    assert roles.tolist() == [[0, CATEGORY, CATEGORY, ATTRIBUTE, 0]]
    assert split_roles(torch.tensor([[3, 4]]))[1] is None
    assert MarkedText.joined([("", CATEGORY), ("b", ATTRIBUTE)], " | ").marks == (Mark(0, 1, ATTRIBUTE),)  # fmt: skip


def test_tokens_of_category_and_attributes_carry_their_role(guided):
    """What the tokens with a role say is the category and the attributes, whatever else of the text says the same."""
    tokens = guided.tokens(product_texts(ITEMS, "richer"), "item", "richer")
    inputs = guided.prepare("item", tokens, None)
    said = [
        [
            guided.tokenizer.decode(inputs.token_ids[row][inputs.roles[row] == role]).strip()
            for role in (CATEGORY, ATTRIBUTE)
        ]
        for row in range(2)
    ]
    assert said == [["things/mug", "colour red, size a4"], ["", "colour blue"]]
    plain = guided.tokens([str(text) for text in product_texts(ITEMS, "richer")], "item", "richer")
    assert torch.equal(inputs.token_ids, guided.prepare("item", plain, None).token_ids)


def test_queries_have_no_guided_tokens(guided):
    """Not even a product that is a query, by its richer text."""
    tokens = guided.tokens(product_texts(ITEMS, "richer"), "query", "richer")
    assert guided.prepare("query", tokens, None).roles is None


def test_guided_tokens_reach_their_expert(guided):
    """Each layer's guided experts take as many tokens as there are of their role, the routed ones all others."""
    tokens = guided.tokens(product_texts(ITEMS, "richer"), "item", "richer")
    inputs = guided.prepare("item", tokens, None)
    gates = Gates.of(guided.embed_for_losses(inputs)[:, guided.dim :], guided.config.experts)
    roles = torch.stack([(inputs.roles == role).sum(dim=1) for role in (CATEGORY, ATTRIBUTE)], 1)
    for loads in gates.loads.unbind(dim=1):
        assert torch.equal(loads[:, 2:].long(), roles)
        rest = inputs.mask.sum(dim=1) - roles.sum(dim=1)
        assert torch.equal(loads[:, :2].sum(dim=1).long(), rest)
    assert roles[:, 1].min() > 0


def test_a_guided_expert_changes_its_own_tokens_alone():
    torch.manual_seed(0)
    block = Experts(torch.nn.Linear(6, 6), 6, ExpertsConfig(num_experts=3, top_k=1, guided=True))
    from representation.mixture import Routing

    roles = torch.tensor([[0, CATEGORY, ATTRIBUTE, 0]])
    states = torch.randn(1, 4, 6)

    def made():
        block.take_routing(block, (), {"routing": Routing(roles >= 0, roles)})
        return block(states)

    before = made()
    with torch.no_grad():
        block.experts[1].weight += 1.0
    moved = (made() != before).any(dim=2)
    assert moved.tolist() == [[False, True, False, False]]


def test_a_share_of_a_guided_token_is_left_to_routed_experts():
    gates = torch.tensor([[0.75, 0.25], [1.0, 0.0], [0.5, 0.5]])
    found = guided_gates(gates, torch.tensor([0, CATEGORY, ATTRIBUTE]), 0.6)
    wanted = torch.tensor([[0.75, 0.25, 0, 0], [0.4, 0, 0.6, 0], [0.2, 0.2, 0, 0.6]])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("length", [3, 6])
def test_roles_are_cut_with_their_tokens(guided, length):
    prompt = guided.config.prompt.model_copy(update={"richer_tokens": length})
    guided.config = guided.config.model_copy(update={"prompt": prompt})
    whole = guided.composer.texts(product_texts(ITEMS, "richer"), 100, marked=True)
    cut = guided.tokens(product_texts(ITEMS, "richer"), "item", "richer")
    assert cut == [ids[:length] for ids in whole]
