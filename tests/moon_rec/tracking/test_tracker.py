"""Tracker: what is logged comes back, a finished cell is found, a failed one is not."""

import pytest

from moon_rec.errors import StudyError
from moon_rec.tracking import Tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    return Tracker(f"sqlite:///{tmp_path_factory.mktemp('store')}/inner/mlflow.db")


def test_what_is_logged_comes_back(tracker):
    with tracker.run("study", "study", {}, {}) as study:
        pass
    with tracker.run(
        "cell", "encoder", {"a": {"b": 1}}, {"shop": "abc"}, key="k1", parent=study.id
    ) as run:
        run.log({"image_search_recall@10": 0.5, "left out": float("nan")})
        run.json({"value": [1, 2]}, "more.json")
    (found,) = tracker.runs(kind="encoder", parent=study.id)
    assert found["metrics"] == {"image_search_recall@10": 0.5}
    assert found["params"] == {"a.b": "1"}
    assert found["tags"]["moon_rec.reads.shop"] == "abc"
    assert tracker.read_json(run.id, "more.json") == {"value": [1, 2]}


def test_only_a_finished_cell_is_found(tracker):
    with pytest.raises(RuntimeError), tracker.run("cell", "ranker", {}, {}, key="broken"):
        raise RuntimeError
    with tracker.run("cell", "ranker", {}, {}, key="whole") as run:
        assert tracker.finished("whole") is None
    assert tracker.finished("whole") == run.id
    assert tracker.finished("broken") is None


def test_the_file_store_is_refused_with_the_way_out():
    with pytest.raises(StudyError, match="sqlite:///"):
        Tracker("./mlruns")
