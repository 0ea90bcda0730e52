"""Sentences come from decided states: every combination of them, and none that contradict."""

import copy
import itertools
import re

import pytest

from exchange_rate.analysis.decision import PAIRS, decide
from exchange_rate.analysis.headline import headline, scope
from exchange_rate.report.page import render

NUMBERS = {"gain": (2, 1, 3), "none": (1, -1, 3), "loss": (-2, -3, -1), "no interval": (2, None, None)}  # fmt: skip
CLAIMS = ("so the gain is content", "that much of the gain is content")


def number(state):
    value, low, high = (one if one is None else one / 100 for one in NUMBERS[state])
    return {"value": value, "low": low, "high": high, "definition": "planted", "source": "n = 9"}


def put(data, gain, permuted, over, cold=None, num_seeds=3):
    """The data with these differences of rankers."""
    states = dict(zip(PAIRS, (gain, permuted, over), strict=True))
    data["comparison"] = {
        pair: {"auc_gain": number(state)} for pair, state in states.items() if state != "missing"
    }
    if cold is not None:
        data["comparison"][PAIRS[0]]["auc_gain_cold"] = number(cold)
    data["study"]["num_seeds"] = num_seeds
    return data


@pytest.fixture
def data(written):
    return copy.deepcopy(written[1].data)


def said(data):
    return {one["kind"]: one for one in headline(data)}


def test_no_two_sentences_contradict_in_any_state(data):
    seen = set()
    every = itertools.product(NUMBERS, (*NUMBERS, "missing"), NUMBERS, (None, *NUMBERS), (1, 3))
    for gain, permuted, over, cold, num_seeds in every:
        if permuted == "missing" and over != "gain":
            continue
        true = "missing" if permuted == "missing" else over
        sentences = said(put(data, gain, permuted, true, cold, num_seeds))
        state = (gain, permuted, over, cold, num_seeds)
        first, control = sentences["gain"], sentences["control"]
        claims_content = any(claim in control["text"] for claim in CLAIMS)
        assert claims_content == (gain == true == "gain" and num_seeds > 1), state
        assert ("No gain is shown" in first["text"]) == (gain == "none"), state
        assert (" loses against " in first["text"]) == (gain == "loss"), state
        assert ("two trainings" in first["text"]) == (num_seeds == 1), state
        assert ("no permuted control" in control["text"]) == (permuted == "missing"), state
        won = gain == "gain" and cold in ("gain", None) and num_seeds > 1
        assert (first["tone"] == "good") == won, state
        assert (control["tone"] == "good") == claims_content, state
        assert "None" not in first["text"] + control["text"], state
        seen.add((first["text"], control["text"]))
    assert len(seen) > 300


@pytest.mark.parametrize(
    ("gain", "permuted", "over", "num_seeds", "content", "words"),
    [
        ("gain", "none", "gain", 3, "all", "so the gain is content"),
        ("gain", "loss", "gain", 3, "all", "permuted vectors show no gain"),
        ("gain", "gain", "gain", 3, "part", "the rest any vectors give"),
        ("gain", "gain", "none", 3, "not shown", "not told apart, so the gain is not shown to be content"),
        ("gain", "gain", "loss", 3, "none", "so the gain is not content"),
        ("none", "loss", "gain", 3, "no gain", "as no gain over ids only is shown, none is said to be content"),
        ("loss", "loss", "gain", 3, "no gain", "none is said to be content"),
        ("no interval", "none", "gain", 3, "no gain", "none is said to be content"),
        ("gain", "none", "gain", 1, "one seed", "nothing is said of what is content"),
        ("gain", "missing", "missing", 3, "no control", "how much of a gain is content is not known"),
    ],
)  # fmt: skip
def test_what_of_a_gain_is_content(data, gain, permuted, over, num_seeds, content, words):
    put(data, gain, permuted, over, num_seeds=num_seeds)
    assert decide(data).content == content
    assert words in said(data)["control"]["text"]


def test_a_difference_in_more_than_content_is_told(data):
    data["rankers"]["differences"] = ["epochs = 3 (baseline: 1)"]
    gain = said(put(data, "gain", "none", "gain"))["gain"]
    assert "differ in more than content: epochs = 3 (baseline: 1)" in gain["text"]
    assert gain["tone"] == "caution"


@pytest.mark.parametrize(
    ("verdict", "value", "tone", "words"),
    [
        ("identified", 0.2, "good", "go with +2.00 points of AUC"),
        ("identified", -0.2, "caution", "go with -2.00 points of AUC"),
        ("saturating", 0.2, "caution", "on average"),
        ("sign unstable", 0.2, "caution", "is sign unstable"),
        ("not identified", 0.2, "caution", "is not identified"),
        ("not identified", None, "caution", "No exchange rate can be given"),
    ],
)
def test_a_rate_in_every_verdict(data, verdict, value, tone, words):
    rate = data["rates"]["auc"]
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    rate |= {"verdict": verdict, "slope": rate["slope"] | {"value": value, "low": low, "high": high}}  # fmt: skip
    sentence = said(data)["rate"]
    assert words in sentence["text"] and sentence["tone"] == tone
    assert ("identified." in sentence["text"]) == (verdict == "identified")
    assert value is not None or not re.search(r"[+-]\d\.\d", sentence["text"])


def candidate(metric, error, best=False, told=None, mean=True, verdict="identified"):
    size = {"value": error, "low": error / 2, "high": error * 2, "definition": "d", "source": "s"}
    return {
        "metric": metric,
        "verdict": verdict,
        "left_out_error": size,
        "left_out_error_of_mean": size | {"value": 0.05, "low": None, "high": None},
        "slope_per_deviation": size,
        "kendall": size,
        "is_best": best,
        "is_told_from_best": told,
        "is_told_from_mean": mean,
        "num_encoders": 7,
        "definition": "d",
        "is_shown": True,
    }


@pytest.mark.parametrize(
    ("rest", "mean", "words"),
    [
        ([("b@1", True), ("c", True)], True, "a@1 predicts the AUC of an unseen encoder best, told from all others"),
        ([("b@1", False), ("c", True)], True, "a@1 has the smallest error"),
        ([("b@1", False), ("c", True)], True, "1 other is not told from it (b@1)"),
        ([(f"b{n}", False) for n in range(5)], True, "5 others are not told from it (b0, b1, b2 first)"),
        ([("b@1", True)], False, "None of 2 candidate metrics is shown to predict"),
    ],
)  # fmt: skip
def test_best_is_said_only_of_what_is_told_from_the_others(data, rest, mean, words):
    best = candidate("a@1", 0.01, best=True, mean=mean, verdict="saturating")
    data["candidates"] = [best, *(candidate(name, 0.02, told=told) for name, told in rest)]
    text = said(data)["metric"]["text"]
    assert words in text
    assert ("best" in text) == ("best" in words)
    assert not mean or text.endswith("Its own exchange rate is saturating.")
    # the winner stands first in the tables of both formats
    for template in ("report.html.j2", "report.md.j2"):
        page = render(template, data, {}, [])
        table = page[page.index("Which metric to trust") :]
        assert table.index("a@1") < table.index(rest[0][0])


def test_no_metric_that_can_be_tried_is_said(data):
    data["candidates"] = [candidate("a", 0.1)]
    assert "None of 1 candidate metrics can be tried" in said(data)["metric"]["text"]
    data["candidates"] = []
    assert "metric" not in said(data)


@pytest.mark.parametrize("is_simulated", [True, False])
def test_the_scope_says_what_everything_was_measured_on(data, is_simulated):
    data["is_simulated"] = is_simulated
    text = scope(data)
    assert text.startswith("Simulated shop planted" if is_simulated else "Shop planted")
    assert "test period, label clicked: 6 encoders, 3 seeds each, 24 trained rankers" in text
    data["study"]["num_seeds"] = 1
    assert "one seed each" in scope(data)
