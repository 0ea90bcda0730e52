"""The check for modality collapse, on encoders that do or do not look at pictures."""

import numpy as np
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.estimate import Estimate
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import classify
from representation.metrics.collapse import _shares, check_collapse
from representation.metrics.labels import label_tasks
from representation.metrics.retrieval import Retrieved, retrieve_all
from representation.sets.contestant import EncoderContestant, NotMeasured, TableContestant

QUICK = BenchmarkConfig(num_resamples=200, headline_k=1, fewest_labelled=5)


def check(contestant, bench):
    classified = classify(contestant, label_tasks(bench, QUICK), QUICK)
    return check_collapse(
        contestant, bench, retrieve_all(contestant, bench, QUICK), classified, QUICK
    )


def test_an_encoder_that_looks_at_both_has_not_collapsed(make_set, make_encoder, tmp_path):
    found = check(EncoderContestant("one", make_encoder(), make_set(), tmp_path), make_set())
    assert found.verdicts == {"text": "not collapsed", "image": "not collapsed"}
    assert found.shares["image"].value == 1
    assert "image not collapsed, 1.00 of both" in found.verdict


def test_the_right_picture_is_worth_what_a_literal_deal_says(make_set, make_encoder, tmp_path):
    """Each product with the picture of another: one that reads marks in pictures loses by it, one that is deaf does not."""
    bench, encoder = make_set(), make_encoder()
    contestant = EncoderContestant("one", encoder, bench, tmp_path)
    dealt = contestant.with_others_pictures()
    for row, unit in enumerate(dealt.unit):
        assert unit[: len(encoder.words)].argmax() == row or unit[row] > 0  # its own texts
        shown = [at for at in np.flatnonzero(unit[:60]) if at != row]
        assert len(shown) == 1  # and the mark of another's picture
    found = check(contestant, bench)
    queries = contestant.queries("product").unit
    hits = []
    for query, row in zip(queries, range(0, 60, 2), strict=True):
        scores = dealt.unit @ query
        scores[row] = -1
        best = np.flatnonzero(np.isclose(scores, scores.max(), atol=1e-6))
        hits.append((row + 1 in best) / len(best))
    assert found.worth is not None
    assert found.worth.value == pytest.approx(1 - np.mean(hits), abs=1e-6)
    assert found.worth.low > 0 and "the right picture instead of another's: +" in found.verdict
    deaf = check(EncoderContestant("two", make_encoder(deaf=True, digest="b" * 16), bench, tmp_path), bench)  # fmt: skip
    assert deaf.worth is not None and deaf.worth.value == 0


def test_an_encoder_that_is_deaf_to_pictures_has_collapsed(make_set, make_encoder, tmp_path):
    found = check(
        EncoderContestant("one", make_encoder(deaf=True), make_set(), tmp_path), make_set()
    )
    assert found.verdicts == {"text": "not collapsed", "image": "collapsed"}
    # one vector for all pictures: any of the 59 other products is as near as the one answer
    assert found.shares["image"].value == pytest.approx((1 / 59 - 1 / 60) / (1 - 1 / 60))
    row = found.rows[0].values
    assert [value(row[way]) for way in ("text", "image", "both")] == [1, pytest.approx(1 / 59), 1]


def test_a_share_whose_interval_holds_the_threshold_is_not_clear(make_set, make_encoder, tmp_path):
    encoder = make_encoder(deaf=True, heard=("m11", "m21", "m31"))  # three answers of thirty
    found = check(EncoderContestant("one", encoder, make_set(), tmp_path), make_set())
    assert found.shares["image"].low < 0.1 < found.shares["image"].high
    assert found.verdicts["image"] == "not clear"


def test_three_queries_are_too_few_to_call_it_collapsed():
    """Text finds none of three and both find all: a bootstrap has the interval [0, 0] and called it collapsed."""
    cells = {
        way: Retrieved({"recall": {1: None}}, 0, 60, np.arange(3), np.full((3, 1), hit))  # type: ignore[dict-item]
        for way, hit in (("text", 0.0), ("image", 1.0), ("both", 1.0))
    }
    shares, verdicts = _shares(cells, 1, QUICK)
    assert verdicts == {"text": "not clear", "image": "not collapsed"}
    assert shares["text"].low <= shares["text"].value < 0 < 0.5 < shares["text"].high
    many = {
        way: Retrieved(
            {"recall": {1: None}}, 0, 60, np.arange(90), np.full((90, 1), cell.hits[0, 0])
        )  # type: ignore[dict-item]
        for way, cell in cells.items()
    }
    assert _shares(many, 1, QUICK)[1]["text"] == "collapsed"


def test_the_mean_accuracy_is_over_tasks(make_set, make_encoder, tmp_path):
    found = check(EncoderContestant("one", make_encoder(), make_set(), tmp_path), make_set())
    rows = {row.name: row.values for row in found.rows}
    assert value(rows["accuracy, mean over attribute tasks"]["image"]) == 1
    assert value(rows["accuracy, mean over category tasks"]["text"]) == 0.5
    one = rows["accuracy, mean over attribute tasks"]["text"]
    assert isinstance(one, Estimate) and one.low < 1 / 3 < one.high and one.high - one.low < 0.3


def test_where_both_are_at_chance_nothing_is_told(make_set, make_encoder, tmp_path):
    encoder = make_encoder()
    encoder.words = {}
    found = check(EncoderContestant("one", encoder, make_set(), tmp_path), make_set())
    assert found.verdicts == {"text": "not clear", "image": "not clear"}


def test_who_lacks_a_modality_is_not_judged(make_set, make_encoder, tmp_path):
    reader = EncoderContestant("reader", make_encoder(modalities=("text",)), make_set(), tmp_path)
    found = check(reader, make_set())
    assert found.verdict == "not decided: it reads no pictures" and not found.verdicts
    assert value(found.rows[0].values["text"]) == 1
    assert found.rows[0].values["both"] == NotMeasured("it reads no pictures")
    table = EmbeddingTable.from_arrays(np.arange(10, 70), np.ones((60, 2), np.float32))
    assert check(TableContestant("bare", table, None, make_set()), make_set()).verdict.startswith(
        "not decided: brought"
    )


def value(one: Estimate | NotMeasured) -> float:
    assert isinstance(one, Estimate)
    return one.value
