"""Joint draws of users in a study: what cells keep, that resuming changes no bit, and that the joint covariance is that of fresh users."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from exchange_rate.evidence.draw_file import DRAWS
from exchange_rate.study.draws import keep_encoder_draws, keep_ranker_draws
from exchange_rate.study.run import run_study
from moon_rec.files import digest_file
from moon_rec.user_draws import DrawCounts, UnitValues
from ranking.judging.drawn import scores_under_draws

COUNTS = DrawCounts(200, 20)


def artifact(folder):
    """The study's one file below its working folder."""
    (found,) = (folder / "draws").glob(f"*/{DRAWS}")
    return found


def test_the_run_gets_the_figures_of_every_cell_once(shop, plan, planted, tmp_path, memory):
    result = run_study(shop, plan, tmp_path / "work", memory, workers=1)
    table = pl.read_parquet(artifact(tmp_path / "work"))
    own = {
        path.parent.name.split("-")[1]: pl.read_parquet(path)
        for path in result.folder.glob(f"*/{DRAWS}")
    }
    assert planted.calls["encoder"] + planted.calls["ranker"] == len(own)
    assert set(table["cell"]) == set(own)
    for (cell,), rows in table.group_by("cell"):
        assert rows.drop("cell").equals(own[cell])
    assert not table.select("cell", "name").is_duplicated().any()
    sent = memory.folder / result.id / DRAWS
    assert digest_file(sent) == digest_file(artifact(tmp_path / "work"))


def test_resumed_or_made_anew_the_artifact_is_the_same_to_the_bit(
    shop, small, planted, tmp_path, memory
):
    run_study(shop, small, tmp_path / "work", memory, workers=1)
    first = artifact(tmp_path / "work").read_bytes()
    artifact(tmp_path / "work").unlink()
    run_study(shop, small, tmp_path / "work", memory, workers=1)
    run_study(shop, small, tmp_path / "elsewhere", memory, workers=1)
    assert artifact(tmp_path / "work").read_bytes() == first
    assert artifact(tmp_path / "elsewhere").read_bytes() == first


@pytest.mark.parametrize("setting", [{"num_draws": 30}, {"num_splits": 3}])
def test_another_number_of_draws_is_another_cell(shop, small, planted, tmp_path, memory, setting):
    run_study(shop, small, tmp_path / "work", memory, workers=1)
    before = planted.calls.copy()
    run_study(shop, small.model_copy(update=setting), tmp_path / "work", memory, workers=1)
    again = planted.calls - before
    assert again["encoder"] == before["encoder"] and again["ranker"] == before["ranker"]
    assert not any(again[kind] for kind in ("start", "pretraining", "posttraining"))


def test_a_cell_whose_draws_were_changed_runs_again(shop, small, planted, tmp_path, memory, capsys):
    result = run_study(shop, small, tmp_path / "work", memory, workers=1)
    first, before = artifact(tmp_path / "work").read_bytes(), planted.calls.copy()
    next(result.folder.glob(f"encoder-*/{DRAWS}")).write_bytes(b"PAR1")
    run_study(shop, small, tmp_path / "work", memory, workers=1)
    assert (planted.calls - before)["encoder"] == 1
    assert "its output 'draws' was changed since" in capsys.readouterr().err
    assert artifact(tmp_path / "work").read_bytes() == first


@dataclass
class Users:
    """A sample of users for whom all encoders find searches hard, and all rankers impressions, or easy: what they share.

    Three encoders, and a ranker on each; `hits` `(searches, 3)` of `searchers`, `scores` three tables.
    """

    searchers: np.ndarray
    hits: np.ndarray
    scores: list[pl.DataFrame]

    @classmethod
    def drawn(cls, random, num_users=150, first=0):
        ids = first + np.arange(num_users)
        ease = random.normal(size=num_users)
        searchers = np.repeat(np.arange(num_users), random.integers(1, 4, num_users))
        of_search = 0.7 * ease[searchers] + 0.7 * random.normal(size=len(searchers))
        own = 0.6 * random.normal(size=(len(searchers), 3))
        hits = (of_search[:, None] + own > np.array([0.6, 0.3, 0.0])).astype(float)
        rows = np.repeat(np.arange(num_users), 6)
        labels = (random.random(len(rows)) < 0.35).astype(np.int64)
        of_row = random.normal(size=len(rows))
        signal = (0.5 + 0.6 * ease[rows]) * labels
        scores = [
            pl.DataFrame(
                {
                    "request_id": np.arange(len(rows)),
                    "item_id": 0,
                    "user_id": ids[rows],
                    "label": labels,
                    "score": 1 / (1 + np.exp(-(of_row + 0.4 * random.normal(size=len(rows)) + signal))),
                    "is_cold": pl.Series([None] * len(rows), dtype=pl.Boolean),
                }
            )
            for _ in range(3)
        ]  # fmt: skip
        return cls(ids[searchers], hits, scores)

    def figures(self, counts):
        """`(counts.rows, 6)` three recalls and three AUCs, by the mechanism of the cells."""
        names = ("a", "b", "c")
        recalls = UnitValues("users", self.searchers, names, self.hits).under_draws(counts)
        aucs = [scores_under_draws(one, counts)["auc"] for one in self.scores]
        return np.column_stack([recalls, *aucs])


@pytest.fixture(scope="module")
def simulated():
    """Covariance of six figures over 600 fresh samples of users, and the joint draws' of each of 24 samples."""
    fresh = np.array(
        [
            Users.drawn(np.random.default_rng([1, sample])).figures(DrawCounts(0, 0))[0]
            for sample in range(600)
        ]
    )
    drawn = []
    for sample in range(24):
        users = Users.drawn(np.random.default_rng([2, sample]), first=1_000 * sample)
        drawn.append(np.cov(users.figures(COUNTS)[1 : 1 + COUNTS.draws].T))
    return np.cov(fresh.T), np.array(drawn)


def test_the_joint_covariance_is_that_of_fresh_users(simulated):
    truth, drawn = simulated
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    # a covariance of n normal pairs errs by sqrt((1 + r^2) / n) of its scale
    of_truth = np.sqrt((1 + (truth / scale) ** 2) / 600) * scale
    error = np.sqrt(of_truth**2 + drawn.var(axis=0, ddof=1) / len(drawn))
    z = (drawn.mean(axis=0) - truth) / error
    assert np.abs(z[np.triu_indices(6)]).max() < 3.5  # of 21


def test_encoders_on_the_same_searches_have_correlated_noise_and_their_spread_less(simulated):
    """Independent standard errors, an encoder each, take for noise of a slope what moves all encoders alike."""
    truth, drawn = simulated
    ours = drawn.mean(axis=0)
    for of in (truth, ours):
        correlation = of / np.sqrt(np.outer(np.diag(of), np.diag(of)))
        assert correlation[:3, :3].min() > 0.5 and correlation[3:, 3:].min() > 0.5
        assert correlation[:3, 3:].min() > 0.1  # recall and AUC are of the same users
    centred = np.eye(3) - 1 / 3
    effective = [np.trace(centred @ of[:3, :3] @ centred) / 2 for of in (truth, ours)]
    independent = np.trace(truth[:3, :3]) / 3
    assert effective[1] == pytest.approx(effective[0], rel=0.15)
    assert effective[0] < 0.5 * independent


def test_halves_share_no_noise(simulated):
    """Over samples, the two halves' figures are uncorrelated, where the same half's of two encoders are not."""
    rows = []
    for sample in range(200):
        users = Users.drawn(np.random.default_rng([3, sample]), 100, 1_000 * sample)
        recalls = UnitValues("users", users.searchers, ("a", "b", "c"), users.hits)
        rows.append(recalls.under_draws(DrawCounts(0, 1))[1:])
    halves = np.array(rows)  # (samples, 2, encoders)
    assert abs(np.corrcoef(halves[:, 0, 0], halves[:, 1, 1])[0, 1]) < 4 / np.sqrt(200)
    assert np.corrcoef(halves[:, 0, 0], halves[:, 0, 1])[0, 1] > 0.4


def test_cells_write_what_the_mechanism_gives(tmp_path):
    users = Users.drawn(np.random.default_rng(0), 30)
    settings = {"draws": {"draws": 25, "splits": 3}}
    counts = DrawCounts(25, 3)
    recalls = UnitValues("users", users.searchers, ("a", "b", "c"), users.hits)
    (tmp_path / "encoder").mkdir()
    assert keep_encoder_draws(tmp_path / "encoder", [recalls], settings) == {"draws": DRAWS}
    table = pl.read_parquet(tmp_path / "encoder" / DRAWS)
    expected = recalls.under_draws(counts)
    assert table["name"].to_list() == ["a", "b", "c"] and set(table["num_units"]) == {30}
    for column in range(3):
        row = table.row(column, named=True)
        assert [row["value"], *row["draws"], *row["halves"]] == expected[:, column].tolist()
    (tmp_path / "ranker").mkdir()
    keep_ranker_draws(tmp_path / "ranker", users.scores[0], settings)
    found = scores_under_draws(users.scores[0], counts)
    table = pl.read_parquet(tmp_path / "ranker" / DRAWS)
    assert table["name"].to_list() == list(found)
    for row in table.iter_rows(named=True):
        both = [row["value"], *row["draws"], *row["halves"]]
        np.testing.assert_array_equal(both, found[row["name"]])
