"""Zero-shot classification against scikit-learn, a planted signal, and shuffled labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import Classified, classify, judge, nearest_labels
from representation.metrics.labels import label_tasks
from representation.sets.contestant import EncoderContestant, NotMeasured

QUICK = BenchmarkConfig(num_resamples=50, fewest_labelled=5)


def one_each(named: np.ndarray, num_labels: int) -> csr_array:
    """A label for each product."""
    rows = np.arange(len(named))
    return csr_array((np.ones(len(named)), (rows, named)), shape=(len(named), num_labels))


@given(st.integers(2, 7), st.integers(1, 60), st.integers(0, 10_000))
def test_figures_are_those_of_scikit_learn(num_labels, count, seed):
    random = np.random.default_rng(seed)
    truth, named = random.integers(0, num_labels, (2, count))
    found = judge(np.arange(count), truth, one_each(named, num_labels), num_resamples=2).figures
    macro = precision_recall_fscore_support(
        truth, named, labels=np.unique(truth), average="macro", zero_division=0
    )
    expected = [accuracy_score(truth, named), *macro[:3]]
    values = [found[name].value for name in ("accuracy", "precision", "recall", "f1")]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_the_interval_is_that_of_resampled_figures():
    random = np.random.default_rng(1)
    truth = random.integers(0, 4, 200)
    named = np.where(random.random(200) < 0.6, truth, random.integers(0, 4, 200))
    found = judge(np.arange(200), truth, one_each(named, 4), num_resamples=2000).figures["f1"]
    literal = []
    for _ in range(400):
        rows = random.integers(0, 200, 200)
        macro = precision_recall_fscore_support(
            truth[rows],
            named[rows],
            labels=np.unique(truth[rows]),
            average="macro",
            zero_division=0,
        )
        literal.append(macro[2])
    low, high = np.quantile(literal, [0.025, 0.975])
    assert abs(found.low - low) < 0.02 and abs(found.high - high) < 0.02
    assert found.low < found.value < found.high and found.count == 200


def test_rare_labels_do_not_move_the_interval_off_its_value():
    random = np.random.default_rng(6)
    truth = np.concatenate([np.zeros(100, int), np.arange(1, 80)])  # most labels have one product
    named = np.where(random.random(179) < 0.3, truth, 0)
    found = judge(np.arange(179), truth, one_each(named, 80), num_resamples=500).figures["f1"]
    assert found.value - found.low == pytest.approx(found.high - found.value, rel=0.3)


def test_planted_vectors_give_the_planted_accuracy():
    random = np.random.default_rng(3)
    labels = np.linalg.qr(random.normal(size=(16, 16)))[0][:5]
    truth = np.arange(100) % 5
    shown = np.where(
        np.arange(100) < 70, truth, (truth + 1) % 5
    )  # 70 lie at their own label, 30 at another
    items = labels[shown] + 0.05 * random.normal(size=(100, 16))
    found = judge(np.arange(100), truth, nearest_labels(items, labels))
    assert found.figures["accuracy"].value == 0.7
    assert found.right.tolist() == [1] * 70 + [0] * 30
    assert (found.majority, found.chance) == (0.2, 0.2)


def test_shuffled_labels_give_chance_within_its_standard_error():
    random = np.random.default_rng(4)
    labels = np.linalg.qr(random.normal(size=(16, 16)))[0][:4]
    truth = np.arange(2000) % 4
    items = labels[truth]
    assert (
        judge(truth, truth, nearest_labels(items, labels), num_resamples=2)
        .figures["accuracy"]
        .value
        == 1
    )
    shuffled = random.permutation(truth)
    found = judge(truth, shuffled, nearest_labels(items, labels), num_resamples=2)
    assert abs(found.figures["accuracy"].value - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)


def test_equal_labels_share_a_product_as_naming_one_at_random_would():
    """Of 3 items on 4 axes, labels 0 to 2 lie on the first; the fourth is orthogonal to all: ties of equal vectors, and of scores alone."""
    labels = np.eye(4)[[0, 0, 0, 1]]
    named = nearest_labels(np.eye(4)[[0, 1, 3]], labels).toarray()
    np.testing.assert_allclose(named, [[1 / 3] * 3 + [0], [0, 0, 0, 1], [1 / 4] * 4])


def test_an_encoder_of_one_vector_names_labels_with_the_accuracy_of_chance():
    random = np.random.default_rng(7)
    truth = random.integers(0, 5, 300)
    found = judge(truth, truth, nearest_labels(np.ones((300, 4)), np.ones((5, 4))), num_resamples=9)
    assert found.figures["accuracy"].value == pytest.approx(1 / 5) == found.chance
    assert found.figures["recall"].value == pytest.approx(1 / 5)
    assert found.figures["accuracy"].tied == 1


def test_shared_labels_have_the_mean_accuracy_of_many_draws():
    random = np.random.default_rng(8)
    labels = np.eye(6)[random.integers(0, 4, 9)]
    items = np.eye(6)[random.integers(0, 6, 60)]
    truth = random.integers(0, 9, 60)
    named = nearest_labels(items, labels)
    found = judge(truth, truth, named, num_resamples=2).figures
    drawn, recalls = [], []
    for _ in range(400):
        one = np.array([random.choice(9, p=row) for row in named.toarray()])
        drawn.append(accuracy_score(truth, one))
        macro = precision_recall_fscore_support(
            truth, one, labels=np.unique(truth), average="macro", zero_division=0
        )
        recalls.append(macro[1])
    assert abs(found["accuracy"].value - np.mean(drawn)) < 4 * np.std(drawn) / 20
    assert abs(found["recall"].value - np.mean(recalls)) < 4 * np.std(recalls) / 20


def test_all_right_and_none_right_of_few_are_no_certainty():
    truth = np.array([0, 1, 1])
    right = judge(truth, truth, one_each(truth, 3), num_resamples=20).figures
    wrong = judge(truth, truth, one_each(np.full(3, 2), 3), num_resamples=20).figures
    for name in ("accuracy", "precision", "recall", "f1"):
        assert right[name].value == right[name].high == 1 and right[name].low < 0.5
        assert wrong[name].value == wrong[name].low == 0 and wrong[name].high > 0.5


def test_pictures_tell_colours_and_titles_do_not(make_set, make_encoder, tmp_path):
    """The words' set says colour and shape in pictures, attributes and categories, never in titles: whoever shows texts with labels would score 1 by title."""
    encoder, bench = make_encoder(), make_set()
    contestant = EncoderContestant("words", encoder, bench, tmp_path)
    found = classify(contestant, label_tasks(bench, QUICK), QUICK)
    assert list(found) == ["category level 2", "attribute colour"]  # one label alone is no task
    for ways in found.values():
        assert accuracy(ways["image"]) == accuracy(ways["title+image"]) == 1
    assert accuracy(found["attribute colour"]["title"]) == pytest.approx(1 / 3)
    assert accuracy(found["category level 2"]["title"]) == pytest.approx(1 / 2)
    leaky = {"category", "attributes", "brand", "description"}
    assert all(not leaky & set(columns) for _, columns in encoder.seen_columns)


def test_what_cannot_be_asked_says_why(make_set, make_encoder, tmp_path):
    bench = make_set(labelled=np.arange(3))
    found = classify(
        EncoderContestant("words", make_encoder(), bench, tmp_path),
        label_tasks(bench, QUICK),
        QUICK,
    )
    assert found["attribute colour"]["image"] == NotMeasured(
        "3 labelled products, fewer than fewest_labelled = 5"
    )
    bench = make_set()
    reader = EncoderContestant(
        "reader", make_encoder(modalities=("text",)), bench, tmp_path / "reader"
    )
    found = classify(reader, label_tasks(bench, QUICK), QUICK)["attribute colour"]
    assert found["image"] == found["title+image"] == NotMeasured("it reads no pictures")
    assert isinstance(found["title"], Classified)
    assert classify(reader, [], QUICK) == {}


def accuracy(one: Classified | NotMeasured) -> float:
    assert isinstance(one, Classified)
    return one.figures["accuracy"].value
