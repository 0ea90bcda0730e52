"""What roll-outs earn: how answers are read, how right they are, whether their vectors find their queries."""

import polars as pl
import pytest
import torch

from representation.model.prompt import attribute_texts
from representation.reasoning.rewards import (
    AttributeNames,
    Rewards,
    attribute_f1,
    retrieval_success,
    true_pairs,
)

NAMES = AttributeNames(["colour", "base colour", "Material", ""])


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("colour red", {("colour", "red")}),
        ("Base Colour deep red, MATERIAL cotton", {("base colour", "deep red"), ("material", "cotton")}),
        ("material cotton, colour", None),  # a name without a value
        ("colour red, colour blue", None),  # a name twice
        ("size small", None),  # a name that is not known
        ("red", None),
        ("", None),
        ("colour red,", None),
        ("colours red", None),
    ],
)  # fmt: skip
def test_an_answer_is_valid_where_each_part_is_a_known_name_and_a_value(answer, wanted):
    found = NAMES.read(answer)
    assert found == (None if wanted is None else frozenset(wanted))


def test_f1_counts_what_is_stated_too_much():
    true = frozenset({("colour", "red"), ("material", "cotton")})
    assert attribute_f1(true, true) == 1.0
    assert attribute_f1(frozenset({("colour", "red")}), true) == pytest.approx(2 / 3)
    more = true | {("base colour", "red"), ("size", "small")}
    assert attribute_f1(frozenset(more), true) == pytest.approx(4 / 6)
    assert attribute_f1(frozenset({("colour", "blue")}), true) == 0.0
    assert attribute_f1(frozenset(), frozenset()) == 0.0


def test_names_and_truth_come_from_the_products():
    attributes = [[{"name": "Colour", "value": "Deep  Red"}, {"name": "size", "value": None}], None]
    items = pl.DataFrame({"attributes": attributes})
    assert len(AttributeNames.of(items)) == 2
    assert true_pairs(items) == [frozenset({("colour", "deep red")}), frozenset()]


@pytest.mark.parametrize(
    "pairs",
    [
        [("colour", "Red, deep"), ("size", "5")],  # a value with a separator
        [
            ("size, EU", "42"),
            ("colour", "red，blue, green"),
        ],  # a name with one, and one of full width
        [("material", "cotton"), ("material", "wool")],  # a name twice
        [("rating", "-"), ("colour", "red")],  # a value without a word
        [("colour", "colour red")],
        [("colour", None), ("size", "5")],  # no value
    ],
)
def test_what_pretraining_teaches_of_a_product_is_valid_and_right(pairs):
    items = pl.DataFrame({"attributes": [[{"name": name, "value": value} for name, value in pairs], [{"name": "colour", "value": "blue"}]]})  # fmt: skip
    names = AttributeNames.of(items)
    for answer, true in zip(attribute_texts(items), true_pairs(items), strict=True):
        assert names.read(answer) == true and names.read(answer.upper()) == true, answer
        assert attribute_f1(true, true) == 1.0
    assert names.read("colour red, deep blue, weight 5") is None
    assert names.read("colour blue, colour red, colour green") is None


@pytest.mark.parametrize("k", [1, 2, 3])
def test_success_is_that_of_a_loop(k):
    random = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(12, 4, generator=random), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(6, 4, generator=random), dim=1)
    queries[4] = queries[2]  # a tie, which counts against
    own = torch.arange(6).repeat_interleave(2)
    passed = torch.rand(12, 6, generator=random) < 0.3
    passed[torch.arange(12), own] = False
    wanted = []
    for row in range(12):
        ahead = 0
        for query in range(6):
            if query != own[row] and not passed[row, query]:
                ahead += bool(vectors[row] @ queries[query] >= vectors[row] @ queries[own[row]])
        wanted.append(float(ahead < k))
    found = retrieval_success(vectors, queries, own, passed, k)
    assert found.tolist() == wanted and 0 < sum(wanted) < 12


def test_only_valid_roll_outs_earn():
    true = [frozenset({("colour", "red")})] * 3
    stated = [frozenset({("colour", "red")}), None, frozenset({("colour", "blue")})]
    found = Rewards(2.0, 0.5, -1.0).of(stated, true, torch.tensor([1.0, 1.0, 1.0]))
    assert found.rewards.tolist() == [2.5, -1.0, 0.5]
    assert found.valid.tolist() == [1.0, 0.0, 1.0] and found.f1.tolist() == [1.0, 0.0, 0.0]
