"""A study's joint draws read back: against the cells' own files, per encoder and seed, what is refused, and what older studies lack."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from exchange_rate.evidence.draw_file import DRAWS, SCHEMA, read_draw_file
from exchange_rate.evidence.draws import read_draws
from exchange_rate.evidence.records import read_study
from exchange_rate.study.run import run_study
from moon_rec.errors import StudyError
from moon_rec.files import digest_file
from tests.exchange_rate.conftest import RECALL, Memory, make_plan, make_shop, plant

NUM_DRAWS, NUM_SPLITS = 25, 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tracker, plan and cells of a planted study."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "memory").mkdir()
    memory = Memory(folder / "memory")
    update = {"num_draws": NUM_DRAWS, "num_splits": NUM_SPLITS, "num_seeds": 2}
    plan = make_plan().model_copy(update=update)
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        result = run_study(make_shop(folder), plan, folder / "work", memory, workers=1)
    return memory, result


@pytest.fixture
def study(made):
    return read_study(made[0])


@pytest.fixture
def drawn(made, study):
    return read_draws(made[0], study)


def own_file(made, study, kind, **labels):
    """What a cell itself has kept, by name of the figure."""
    cell = next(
        cell
        for cell in study.about["cells"]
        if cell["kind"] == kind and labels.items() <= cell["labels"].items()
    )
    table = pl.read_parquet(made[1].folder / f"{kind}-{cell['key']}" / DRAWS)
    return {row["name"]: row for row in table.iter_rows(named=True)}


def ranker_of(study):
    return study.about["rankers"][0]["name"]


def test_metric_and_outcome_are_the_cells_own_and_means_over_seeds(made, study, drawn):
    found = drawn.of(ranker_of(study), RECALL)
    assert found.encoders == tuple(study.about["encoders"])
    assert found.metric.shape == found.outcome.shape == (NUM_DRAWS, 6)
    assert found.metric_halves.shape == found.outcome_halves.shape == (NUM_SPLITS, 2, 6)
    assert found.num_users == 60
    for column, name in enumerate(found.encoders):
        metric = own_file(made, study, "encoder", encoder=name)[RECALL]
        assert found.metric[:, column].tolist() == metric["draws"]
        assert found.metric_halves[:, :, column].ravel().tolist() == metric["halves"]
        seeds = [
            own_file(made, study, "ranker", encoder=name, role="content", seed=seed)["auc"]
            for seed in (0, 1)
        ]
        for values, of in ((found.outcome, "draws"), (found.outcome_halves, "halves")):
            expected = np.mean([seed[of] for seed in seeds], axis=0)
            np.testing.assert_allclose(values[..., column].ravel(), expected, rtol=1e-14)


def test_an_outcome_over_permuted_vectors_is_of_the_same_encoder_and_seed(made, study, drawn):
    found = drawn.of(ranker_of(study), RECALL, kind="over permuted")
    controls = {
        cell["labels"]["encoder"]
        for cell in study.about["cells"]
        if cell["labels"].get("role") == "permuted"
    }
    assert set(found.encoders) == controls
    for column, name in enumerate(found.encoders):
        true, permuted = (
            [
                own_file(made, study, "ranker", encoder=name, role=role, seed=seed)["auc"]["draws"]
                for seed in (0, 1)
            ]
            for role in ("content", "permuted")
        )
        expected = np.mean(np.array(true) - np.array(permuted), axis=0)
        np.testing.assert_allclose(found.outcome[:, column], expected, rtol=1e-12)


def test_what_users_have_in_common_is_seen_in_draws_and_drops_out_of_a_difference(study, drawn):
    """Planted: all figures share most of their noise, which single standard errors take for independent."""
    plain = drawn.of(ranker_of(study), RECALL)
    between = np.corrcoef(plain.metric.T)[np.triu_indices(6, 1)]
    assert between.min() > 0.4
    over = drawn.of(ranker_of(study), RECALL, kind="over permuted")
    own = plain.outcome[:, plain.encoders.index(over.encoders[0])]
    assert over.outcome[:, 0].std() < 0.7 * own.std()


def test_encoders_may_be_named_and_one_without_figures_is_refused(study, drawn):
    names = ["full", "random"]
    found = drawn.of(ranker_of(study), RECALL, encoders=names)
    assert found.encoders == ("full", "random")
    with pytest.raises(StudyError, match="'full' has no metric 'price' under the draws"):
        drawn.of(ranker_of(study), "price", encoders=names)
    with pytest.raises(StudyError, match="'full' has no 'auc' of 'no ranker'"):
        drawn.of("no ranker", RECALL, encoders=names)
    assert drawn.of(ranker_of(study), "price") is None


def test_a_split_without_a_value_is_left_out_and_said(made, study, capsys):
    def emptied(values):
        values[2] = float("nan")
        return values

    memory = changed(made, lambda table: on_rows(table, "halves", emptied))
    found = read_draws(memory, read_study(memory)).of(ranker_of(study), RECALL)
    assert found.metric_halves.shape == (NUM_SPLITS - 1, 2, 6)
    assert "have no value on some half of the users" in capsys.readouterr().err


def test_an_older_study_has_none_and_says_so(made, capsys):
    memory = changed(made, None)
    assert read_draws(memory, read_study(memory)) is None
    assert "has no joint draws of users" in capsys.readouterr().err


def on_rows(table, column, change):
    values = [change(list(one)) for one in table[column]]
    return table.with_columns(pl.Series(column, values, dtype=table.schema[column]))


def changed(made, change):
    """The study with another `draws.parquet`, recorded as its own; None: an older study without any."""
    memory = made[0]
    parent = next(run["id"] for run in memory.all if run["kind"] == "study")
    copy = Memory(memory.folder.parent / f"changed{len(list(memory.folder.parent.iterdir()))}")
    shutil.copytree(memory.folder, copy.folder)
    copy.all = memory.all
    about = json.loads((copy.folder / parent / "study.json").read_text())
    file = copy.folder / parent / DRAWS
    if change is None:
        about.pop("draws")
    else:
        change(pl.read_parquet(file)).write_parquet(file)
        about["draws"]["digest"] = digest_file(file)
    (copy.folder / parent / "study.json").write_text(json.dumps(about))
    return copy


def first(table, **values):
    """The table with other values in its first row."""
    rows = table.to_dicts()
    rows[0] |= values
    return pl.DataFrame(rows, schema=table.schema)


REFUSED = {
    "a column missing": (lambda table: table.drop("units"), "wanted cell, name, units"),
    "another type": (lambda table: table.cast({"num_units": pl.Int8}), "num_units Int8"),
    "a short list": (lambda table: first(table, draws=[0.5] * 24), "draws of another length than 25"),
    "half a split": (lambda table: first(table, halves=[0.5] * 7), "halves of another length than 8"),
    "an infinite draw": (lambda table: first(table, draws=[float("inf")] * 25), "a number in draws that is not finite"),
    "a draw that is NaN": (lambda table: first(table, draws=[float("nan")] * 25), "a number in draws that is not finite"),
    "an endless half": (lambda table: first(table, halves=[1e300] * 8), "a number in halves that is not finite"),
    "a value that is NaN": (lambda table: first(table, value=float("nan")), "a number in value"),
    "a null in a list": (lambda table: first(table, draws=[None] * 25), "a list with a value that is missing"),
    "no name": (lambda table: first(table, name=None), "a value that is missing"),
    "other units": (lambda table: first(table, units="pixels"), "units other than users and items"),
    "no units": (lambda table: first(table, num_units=0), "less than one unit"),
    "a row twice": (lambda table: pl.concat([table.head(1), table]), "a name or a cell twice"),
    "another figure": (lambda table: first(table, value=table["value"][0] + 1e-6), "its run has"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_draws_is_refused_in_one_line(made, name):
    change, says = REFUSED[name]
    memory = changed(made, change)
    with pytest.raises(StudyError) as error:
        read_draws(memory, read_study(memory))
    assert says in str(error.value) and "\n" not in str(error.value)
    assert DRAWS in str(error.value)


def test_a_file_that_is_not_the_recorded_one_is_refused(made, study, tmp_path):
    file = tmp_path / DRAWS
    file.write_bytes(b"PAR1")
    about = study.about["draws"]
    with pytest.raises(StudyError, match="is not the file that"):
        read_draw_file(file, about, DRAWS)
    with pytest.raises(StudyError, match="cannot be read as Parquet"):
        read_draw_file(file, about | {"digest": digest_file(file)}, DRAWS)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(StudyError, match="is a link"):
        read_draw_file(tmp_path / "link", about, DRAWS)


def test_a_study_of_a_hundred_encoders_stays_small(tmp_path):
    """8 bytes a number on disk and in memory: 2 kB a figure at the default counts."""
    rows = 6_600
    table = pl.DataFrame(
        {
            "cell": [f"{row // 60:016x}" for row in range(rows)],
            "name": [f"metric {row % 60}" for row in range(rows)],
            "units": "users",
            "num_units": 10,
            "value": 0.5,
            "draws": [np.random.default_rng(0).random(200)] * rows,
            "halves": [np.full(40, 0.5)] * rows,
        },
        schema_overrides=SCHEMA,
    )
    table.write_parquet(tmp_path / DRAWS)
    about = {"num_draws": 200, "num_splits": 20, "digest": digest_file(tmp_path / DRAWS)}
    found = read_draw_file(tmp_path / DRAWS, about, DRAWS)
    assert found.height == rows and found.estimated_size() < 2_200 * rows
