"""Matrix factorisation of ids: the literal sum, the owner of its convex part, what is planted, and nothing where nothing is."""

import math

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from moon_rec.errors import RankingError
from ranking import factorisation
from ranking.factorisation import Factors, Ids, fit, train_factors
from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import auc

NUM_USERS, NUM_ITEMS = 5, 7


@pytest.fixture(scope="module")
def log():
    """A small log, whose first ids are unknown, and its labels."""
    random = np.random.default_rng(3)
    users, items = random.integers(0, NUM_USERS, 80), random.integers(0, NUM_ITEMS, 80)
    labels = (random.random(80) < 0.2 + 0.1 * (users % 3) + 0.4 * (items % 2)).astype(float)
    return Ids(users, items, NUM_USERS, NUM_ITEMS), labels


def test_sum_and_gradient_are_those_of_a_literal_loop(log):
    ids, labels = log
    random = np.random.default_rng(0)
    flat = random.normal(size=1 + 4 + 6 + 4 * 2 + 6 * 2)
    bias, user_biases, item_biases = flat[0], [0, *flat[1:5]], [0, *flat[5:11]]
    users = [np.zeros(2), *flat[11:19].reshape(4, 2)]
    items = [np.zeros(2), *flat[19:].reshape(6, 2)]
    wanted = 0.0
    for user, item, label in zip(ids.users, ids.items, labels, strict=True):
        logit = bias + user_biases[user] + item_biases[item] + users[user] @ items[item]
        chance = 1 / (1 + math.exp(-logit))
        wanted -= label * math.log(chance) + (1 - label) * math.log(1 - chance)
    wanted += 3 / 2 * sum(one**2 for one in (*user_biases, *item_biases))
    wanted += 5 / 2 * sum(one @ one for one in (*users, *items))
    objective = factorisation._objective(ids, labels, 2, 3.0, 5.0)
    value, slope = objective(flat)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert np.allclose(slope, approx_fprime(flat, lambda x: objective(x)[0], 1e-6), atol=1e-3)
    assert np.array_equal(Factors.of(flat, ids, 2).flat(), flat)


def test_without_factors_it_is_the_logistic_regression_of_ids(log):
    ids, labels = log
    ones = np.zeros((len(labels), NUM_USERS + NUM_ITEMS))
    ones[np.arange(80), ids.users] = 1
    ones[np.arange(80), NUM_USERS + ids.items] = 1
    ones[:, [0, NUM_USERS]] = 0  # unknown ids have no weight of their own
    owner = LogisticRegression(C=1 / 3, tol=1e-10, max_iter=1000).fit(ones, labels)
    flat = np.zeros(1 + NUM_USERS - 1 + NUM_ITEMS - 1)
    found = fit(ids, labels, Factors.of(flat, ids, 0), 3.0, 0.0)
    assert np.allclose(found.logits(ids), owner.decision_function(ones), atol=1e-3)


def test_planted_factors_are_found_and_biases_alone_miss_them():
    """Clicks follow products of two traits of each id, whose means over the other side are nothing."""
    random = np.random.default_rng(1)
    users, items = random.normal(size=(41, 2)), random.normal(size=(61, 2))

    def drawn(count):
        ids = Ids(random.integers(1, 41, count), random.integers(1, 61, count), 41, 61)
        logits = 2 * np.einsum("rf,rf->r", users[ids.users], items[ids.items])
        return ids, (random.random(count) < 1 / (1 + np.exp(-logits))).astype(float)

    (ids, labels), (held_out, wanted) = drawn(3_000), drawn(1_000)
    truth = 2 * np.einsum("rf,rf->r", users[held_out.users], items[held_out.items])
    plain = fit(ids, labels, Factors.of(np.zeros(101), ids, 0), 3.0, 0.0)
    start = factorisation._with_factors(plain, 4, seed=0)
    found = auc(wanted, fit(ids, labels, start, 3.0, 2.5).logits(held_out))
    assert auc(wanted, plain.logits(held_out)) < 0.6
    assert found - 0.5 > 0.7 * (auc(wanted, truth) - 0.5)


def test_validation_chooses_and_a_ranker_like_any_comes_out(planted, shuffled):
    tables = RankingTables.build(planted.shop, FeatureConfig(counters="none"))
    found, labels = train_factors(tables, seed=1), tables.periods["test"].labels
    scores = found.predict(tables, "test")
    assert len(scores) == len(labels) and scores.min() > 0 and scores.max() < 1
    held_out = tables.periods["validation"].labels
    assert found.validation_auc == auc(held_out, found.predict(tables, "validation"))
    weights = []
    for bias in factorisation.BIAS_WEIGHTS:
        ids = Ids.of(tables, "train")
        start = Factors.of(np.zeros(ids.num_users + ids.num_items - 1), ids, 0)
        plain = fit(ids, tables.periods["train"].labels.astype(float), start, bias, 0.0)
        weights.append(auc(held_out, plain.logits(Ids.of(tables, "validation"))))
    assert found.bias_weight == factorisation.BIAS_WEIGHTS[weights.index(max(weights))]
    assert found.validation_auc >= max(weights)
    nothing = RankingTables.build(shuffled.shop, FeatureConfig(counters="none"))
    labels = nothing.periods["test"].labels
    error = np.sqrt(1 / (12 * min(labels.sum(), (1 - labels).sum())))
    assert abs(auc(labels, train_factors(nothing).predict(nothing, "test")) - 0.5) < 4 * error
    with pytest.raises(RankingError, match="with the same shop and features"):
        found.predict(RankingTables.build(planted.shop, FeatureConfig()), "test")
