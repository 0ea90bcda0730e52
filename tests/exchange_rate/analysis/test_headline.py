"""Sentences come from decided states: every combination of them, and none that contradict."""

import itertools
import re

import pytest

from exchange_rate.analysis.decision import decide
from exchange_rate.analysis.headline import headline, scope
from exchange_rate.analysis.rankers import PAIRS
from exchange_rate.analysis.results import (
    AboutShop,
    BySegment,
    Comparison,
    Missing,
    Number,
    Plan,
)

NUMBERS = {"gain": (2, 1, 3), "none": (1, -1, 3), "loss": (-2, -3, -1), "no interval": (2, None, None)}  # fmt: skip
CLAIMS = ("so the gain is content", "that much of the gain is content")
NOTHING = Missing(text="", failed=(), not_run=(), left_out=())


def number(state):
    value, low, high = (one if one is None else one / 100 for one in NUMBERS[state])
    return Number(value=value, low=low, high=high, definition="planted", source="n = 9")


def changed(one, **values):
    """The same with other values, deep ones by `__`."""
    for name, value in values.items():
        first, _, rest = name.partition("__")
        inner = changed(getattr(one, first), **{rest: value}) if rest else value
        one = one.model_copy(update={first: inner})
    return one


def put(found, gain, permuted, over, cold=None, num_seeds=3):
    """The results with these differences of rankers."""
    states = dict(zip(PAIRS, (gain, permuted, over), strict=True))
    comparisons = []
    for (role, against), state in states.items():
        if state != "missing":
            is_first = (role, against) == PAIRS[0]
            gains = BySegment(all=number(state), cold=number(cold) if cold and is_first else None)
            one = Comparison(
                ranker=found.about.ranker, role=role, name=f"ours as {role}", against_role=against,
                against="DIN", encoder="encoder 6", auc=BySegment(), auc_against=BySegment(), gain=gains,
                share=BySegment(), best=BySegment(),
            )  # fmt: skip
            comparisons.append(one)
    return changed(found, comparisons=tuple(comparisons), about__num_seeds=num_seeds)


def said(found):
    return {one.kind: one for one in headline(found)}


def test_no_two_sentences_contradict_in_any_state(found):
    seen = set()
    every = itertools.product(NUMBERS, (*NUMBERS, "missing"), NUMBERS, (None, *NUMBERS), (1, 3))
    for gain, permuted, over, cold, num_seeds in every:
        if permuted == "missing" and over != "gain":
            continue
        true = "missing" if permuted == "missing" else over
        sentences = said(put(found, gain, permuted, true, cold, num_seeds))
        state = (gain, permuted, over, cold, num_seeds)
        first, control = sentences["gain"], sentences["control"]
        claims_content = any(claim in control.text for claim in CLAIMS)
        assert claims_content == (gain == true == "gain" and num_seeds > 1), state
        assert ("No gain is shown" in first.text) == (gain == "none"), state
        assert (" loses against " in first.text) == (gain == "loss"), state
        assert ("two trainings" in first.text) == (num_seeds == 1), state
        assert ("no permuted control" in control.text) == (permuted == "missing"), state
        won = gain == "gain" and cold in ("gain", None) and num_seeds > 1
        assert (first.tone == "good") == won, state
        assert (control.tone == "good") == claims_content, state
        assert "None" not in first.text + control.text, state
        seen.add((first.text, control.text))
    assert len(seen) > 300


@pytest.mark.parametrize(
    ("gain", "permuted", "over", "num_seeds", "content", "words"),
    [
        ("gain", "none", "gain", 3, "all", "so the gain is content"),
        ("gain", "loss", "gain", 3, "all", "permuted vectors show no gain"),
        ("gain", "gain", "gain", 3, "part", "the rest any vectors give"),
        ("gain", "gain", "none", 3, "not shown", "not told apart, so the gain is not shown to be content"),
        ("gain", "gain", "loss", 3, "none", "so the gain is not content"),
        ("none", "loss", "gain", 3, "no gain", "as no gain over DIN is shown, none is said to be content"),
        ("loss", "loss", "gain", 3, "no gain", "none is said to be content"),
        ("no interval", "none", "gain", 3, "no gain", "none is said to be content"),
        ("gain", "none", "gain", 1, "one seed", "nothing is said of what is content"),
        ("gain", "missing", "missing", 3, "no control", "how much of a gain is content is not known"),
    ],
)  # fmt: skip
def test_what_of_a_gain_is_content(found, gain, permuted, over, num_seeds, content, words):
    here = put(found, gain, permuted, over, num_seeds=num_seeds)
    assert decide(here).content == content
    assert words in said(here)["control"].text


def test_a_difference_in_more_than_content_is_told(found):
    ranker = changed(found.ranker, differences=("epochs = 3 (baseline: 1)",))
    gain = said(put(changed(found, rankers=(ranker,)), "gain", "none", "gain"))["gain"]
    assert "differ in more than content: epochs = 3 (baseline: 1)" in gain.text
    assert gain.tone == "caution"


@pytest.mark.parametrize(
    ("verdict", "value", "tone", "words"),
    [
        ("identified", 0.2, "good", "ten more points of image-search recall@10 go with +2.00 points of the CTR model's AUC [+1.00, +3.00]"),
        ("identified", -0.2, "caution", "go with -2.00 points of"),
        ("saturating", 0.2, "caution", "went with +2.00 points of the CTR model's AUC [+1.00, +3.00] on average, but the curve flattens"),
        ("convex", 0.2, "caution", "but the curve steepens"),
        ("rests on one encoder", 0.2, "caution", "No exchange rate of image-search recall@10 is to be relied on"),
        ("not identified", 0.2, "caution", "No exchange rate of image-search recall@10 is identified"),
        ("not identified", None, "caution", "No exchange rate can be given"),
    ],
)  # fmt: skip
def test_a_rate_in_every_verdict(found, verdict, value, tone, words):
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    rate = changed(found.rate, verdict=verdict, slope__value=value, slope__low=low, slope__high=high)  # fmt: skip
    sentence = said(changed(found, rates=(rate,)))["rate"]
    assert words in sentence.text and sentence.tone == tone
    assert value is not None or not re.search(r"[+-]\d\.\d", sentence.text)
    assert ("Among 7 trained encoders on 7 paths" in sentence.text) == (
        verdict in ("identified", "saturating", "convex")
    )


def test_what_the_next_points_buy_is_said_where_it_is_told_from_nothing(found):
    shape = found.rate.shape
    assert shape is not None
    for value, words in (
        ((0.1, 0.05, 0.15), "the next ten points from the best encoder (encoder 6 at "),
        ((0.1, -0.05, 0.25), "is not told from nothing: +1.00 [-0.50, +2.50]"),
        ((None, None, None), "what the next points buy is not known"),
    ):
        ends = dict(zip(("value", "low", "high"), value, strict=True))
        slope = shape.next_point.model_copy(update=ends)
        rate = changed(found.rate, shape=changed(shape, next_point=slope))
        assert words in said(changed(found, rates=(rate,)))["rate"].text


def test_a_direct_effect_stands_in_the_answers_sentence(found):
    rate = changed(
        found.rate, direct_effect="content gains +4.10 points where the metric would be 0"
    )
    sentence = said(changed(found, rates=(rate,)))["rate"]
    assert sentence.text.endswith("Content gains +4.10 points where the metric would be 0.")
    assert sentence.tone == "caution"


def test_what_would_change_it_is_said_with_the_range_and_who_decides(found):
    rate = found.rate
    assert rate.influence is not None and rate.influence.left_out
    held = said(found)["checks"]
    assert "without any one encoder or path it is" in held.text and "keeps its verdict" in held.text
    assert held.tone == "plain"
    first = rate.influence.left_out[0]
    other = changed(first, verdict="not identified", changes=True)
    others = (other, *rate.influence.left_out[1:])
    torn = said(changed(found, rates=(changed(rate, influence__left_out=others),)))["checks"]
    assert f"another verdict without encoder {first.name!r} (not identified)" in torn.text
    assert torn.tone == "caution" and "keeps its verdict" not in torn.text


def test_without_a_rate_what_to_train_for_one_is_said(found):
    rate = changed(found.rate, verdict="not identified", slope__value=None, slope__low=None, slope__high=None, num_encoders=2, num_paths=2)  # fmt: skip
    few = changed(found, rates=(rate,), counts__trained_paths=2, plan=None)
    assert "train encoders that differ in the metric" in said(few)["rate"].text
    plan = Plan(target=0.2, text="", binding="", parts=(), next_encoder="train one at .5", rows=())
    planned = said(changed(few, plan=plan))["rate"]
    assert planned.text.endswith("Train one at .5.")


def test_no_metric_is_named_where_none_beats_decoys(found):
    choice = changed(found.choice, metric=None, reason="none of 2 metrics beats decoys")
    sentence = said(changed(found, choice=choice))["metric"]
    assert sentence.text == "None of 2 metrics beats decoys." and sentence.tone == "caution"


def test_rankers_stand_beside_the_headlines(found):
    assert "ranker" not in said(found)
    other = changed(found.ranker, name="tree", content="tree", verdict="identified")
    text = said(changed(found, rankers=(found.ranker, other)))["ranker"].text
    assert "tree: +2." in text and "(identified)" in text


@pytest.mark.parametrize("is_simulated", [True, False])
def test_the_scope_says_what_everything_was_measured_on(found, is_simulated):
    shop = AboutShop(name="planted", digest="0", source="planted", is_simulated=is_simulated, cut_time="a", test_time="b")  # fmt: skip
    study = changed(
        found, about__shop=shop, about__is_simulated=is_simulated, about__period="test",
        about__label="clicked", about__num_seeds=3,
    )  # fmt: skip
    text = scope(study)
    assert text.startswith("Simulated shop planted" if is_simulated else "Shop planted")
    assert "test period, label clicked: 7 encoders, 3 seeds each, 21 trained rankers" in text
    assert "one seed each" in scope(changed(study, about__num_seeds=1))
