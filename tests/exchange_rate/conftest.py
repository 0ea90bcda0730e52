"""A study whose cells cost nothing: every function of `exchange_rate.study.cell_kinds.KINDS` is replaced by one that plants its numbers."""

import contextlib
import itertools
import json
import shutil
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from exchange_rate.report.write import write_report
from exchange_rate.study import cells, preflight
from exchange_rate.study.cell_files import CellResult
from exchange_rate.study.draws import keep_encoder_draws
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import StudyConfig
from exchange_rate.study.preflight import Measurable
from exchange_rate.study.run import run_study
from moon_rec.errors import StudyError
from moon_rec.estimate import Estimate
from moon_rec.shop import Shop
from moon_rec.tracking import Tracker
from moon_rec.tracking.store import Store
from moon_rec.user_draws import UnitValues
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig

RECALL = "image_search_recall@10"
SLOPE = 0.2
TABLES = {"items": "aaaaaaaaaaaaaaaa", "queries": "bbbbbbbbbbbbbbbb"}
"""Digests of the vectors that a planted encoder says it made, and rankers that they read."""


def estimate(value, half=0.01, words="planted"):
    return Estimate(value, value - half, value + half, 100, words)


def make_shop(folder) -> Any:
    """As much of a shop as a study asks for."""
    rows = pl.LazyFrame({"row": range(10)})
    shop = SimpleNamespace(
        path=folder / "shop",
        name="planted",
        digest="0123456789abcdef",
        source="planted for a test",
        is_simulated=True,
        non_clicks=None,
        cut_time=datetime(2025, 1, 20),
        test_time=datetime(2025, 1, 25),
        items=rows,
        searches=rows,
        impressions=rows,
    )
    shop.about = partial(Shop.about, shop)
    return shop


def make_plan():
    """Six encoders, three seeds."""
    pretraining = PretrainConfig(steps=10)
    posttraining = PosttrainConfig(steps=40, checkpoint_steps=(10, 20))
    short = posttraining.model_copy(update={"checkpoint_steps": ()})
    return StudyConfig(
        name="planted",
        follow_validation=False,
        encoders=(
            EncoderRun(name="random", random=True),
            EncoderRun(name="pretrained", pretraining=pretraining),
            EncoderRun(name="full", pretraining=pretraining, posttraining=posttraining),
            EncoderRun(name="direct", posttraining=short),
        ),
    )


def rated_plan():
    """The same with three trainings more: enough paths among trained encoders for a rate."""
    plan = make_plan()
    short = plan.encoders[-1].posttraining
    assert short is not None
    others = [
        EncoderRun(name=f"other {seed}", posttraining=short.model_copy(update={"seed": seed}))
        for seed in range(1, 4)
    ]
    return plan.model_copy(update={"encoders": (*plan.encoders, *others)})


def plant(patch):
    """Replace what cells do; `calls` counts them by kind, `recall` may be changed before a study runs."""
    about = SimpleNamespace(calls=Counter(), slope=SLOPE, half=0.01, recall={}, order=[])
    about.recall = {"random": 0.05, "pretrained": 0.15, "full at step 10": 0.3}
    about.recall |= {"full at step 20": 0.45, "full": 0.7, "direct": 0.6}
    about.recall |= {f"other {seed}": 0.05 + 0.15 * seed for seed in range(1, 4)}

    def cell(kind):
        def run(spec, folder, own):
            about.calls[kind] += 1
            about.order.append(spec.name)
            return _with_draws(spec, own, _MAKE[kind](spec, about))

        return run

    planted = Measurable({"image": 1000, "text": 0, "mixed": 0}, {"image": 1000}, False, ())
    patch.setattr(preflight, "what_is_measurable", lambda *_: planted)
    for kind in cells.KINDS:
        patch.setitem(cells.KINDS, kind, cell(kind))
    return about


@pytest.fixture
def shop(tmp_path):
    return make_shop(tmp_path)


@pytest.fixture
def plan():
    return make_plan()


@pytest.fixture
def lean():
    """The same encoders with one seed and no control: quicker where neither matters."""
    return make_plan().model_copy(update={"num_seeds": 1, "permuted_encoders": ()})


@pytest.fixture
def planted(monkeypatch):
    return plant(monkeypatch)


class Memory:
    """As much of a `Tracker` as studies and reports ask for, in memory: the runs that are there may be changed as a stranger would."""

    uri, experiment = "memory", "planted"

    def __init__(self, folder):
        self.folder, self.all, self._ids = folder, [], itertools.count()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @contextlib.contextmanager
    def run(self, name, kind, params, reads, key=None, parent=None, tags=None):
        tags = {f"moon_rec.{one}": value for one, value in (tags or {}).items()}
        tags |= {f"moon_rec.reads.{what}": digest for what, digest in reads.items()}
        run = {"id": f"run{next(self._ids)}", "name": name, "kind": kind, "key": key, "tags": tags}
        run |= {"params": {one: str(value) for one, value in params.items()}, "metrics": {}}
        own = self.folder / run["id"]

        def write(value, name):
            own.mkdir(exist_ok=True)
            (own / name).write_text(json.dumps(value))

        def keep(path):
            own.mkdir(exist_ok=True)
            shutil.copy(path, own / path.name)

        def dataset(*about):
            run["dataset"] = about

        yield SimpleNamespace(
            id=run["id"], log=run["metrics"].update, json=write, artifact=keep, dataset=dataset
        )
        self.all.append(run)

    def add_to(self, run_id, folder, name, tags, note):
        return ""

    def runs(self, kind=None):
        return [run for run in self.all if kind in (None, run["kind"])]

    def fetch(self, run_id, name):
        if not (self.folder / run_id / name).exists():
            raise StudyError(f"run {run_id}: its artifact {name} cannot be read")
        return self.folder / run_id / name


@pytest.fixture
def memory(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    return Memory(folder)


def copy_of(memory, folder):
    """The same runs in a folder of its own, to be spoilt."""
    shutil.copytree(memory.folder, folder)
    copy = Memory(folder)
    copy.all, copy._ids = deepcopy(memory.all), itertools.count(len(memory.all))
    return copy


@pytest.fixture(scope="session")
def planted_memory(tmp_path_factory):
    """A planted study of nine encoders with two seeds, in memory; a test that changes anything takes a copy."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "memory").mkdir()
    memory = Memory(folder / "memory")
    update = {"num_seeds": 2, "permuted_encoders": ("direct",)}
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        plan = rated_plan().model_copy(update=update)
        run_study(make_shop(folder), plan, folder / "work", memory, workers=1)
    return memory


@pytest.fixture
def tracked(planted_memory, tmp_path):
    """A copy of the planted study that a test may spoil."""
    return copy_of(planted_memory, tmp_path / "tracked")


@pytest.fixture(scope="session")
def planted_report(planted_memory, tmp_path_factory):
    """The report of the planted study."""
    folder = tmp_path_factory.mktemp("planted report")
    return write_report(copy_of(planted_memory, folder / "memory"), folder / "report")


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without figures, for tests of their words: to draw them is most of the work, and figures have tests of their own."""
    monkeypatch.setattr("exchange_rate.report.write.draw_all", lambda results: {})


@pytest.fixture
def small():
    """Two encoders, two seeds and a control of one: 16 cells."""
    return make_plan().model_copy(
        update={
            "num_seeds": 2,
            "encoders": make_plan().encoders[:2],
            "permuted_encoders": ("random",),
        }
    )


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow store without runs: copying it is quicker than making one."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{path}", "moon_rec").open(create=True)
    return path


@pytest.fixture
def tracker(tmp_path, empty_store):
    return new_tracker(tmp_path, empty_store)


def new_tracker(folder, empty_store):
    shutil.copy(empty_store, folder / "mlflow.db")
    return Tracker(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="session")
def written(tmp_path_factory, empty_store):
    """Tracker and report of a planted study whose cells are gone from disk."""
    folder = tmp_path_factory.mktemp("written")
    tracker = new_tracker(folder, empty_store)
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        run_study(make_shop(folder), rated_plan(), folder / "work", tracker, workers=1)
    shutil.rmtree(folder / "work")
    return tracker, write_report(tracker, folder / "report")


def _with_draws(spec, folder, result):
    """The same result with its figures under draws of 60 users: each a mean over them, of a part that all cells share and one of its own."""
    if spec.kind not in ("encoder", "ranker"):
        return result
    names = [name for name in result.estimates if not name.startswith("validation.")]
    random = np.random.default_rng(7)
    shared = random.normal(size=60)
    own = np.random.default_rng(int(spec.key, 16)).normal(size=(60, len(names)))
    noise = shared[:, None] + 0.3 * own
    means = [result.estimates[name].value for name in names]
    values = means + 0.05 * (noise - noise.mean(axis=0))
    users = UnitValues("users", np.arange(60), tuple(names), values)
    outputs = result.outputs | keep_encoder_draws(folder, [users], spec.settings)
    return replace(result, outputs=outputs)


def _stage(spec, about):
    numbers = {"pretraining_tokens": 1000.0, "pretraining_loss": 1.0}
    outputs = {"encoder": "encoder"}
    for step in (10, 20, 40):
        numbers |= {f"tokens at step {step}": 500.0 * step, f"pairs at step {step}": 10.0 * step}
        outputs[f"step {step}"] = f"encoder-{step}"
    return CellResult({}, numbers, {}, outputs)


def _encoder(spec, about):
    recall = about.recall[spec.labels["encoder"]]
    estimates = {RECALL: estimate(recall, about.half, "share of planted searches")}
    estimates["image_search_recall@1"] = estimate(recall / 3, about.half)
    estimates["category_accuracy"] = estimate(0.5 + 0.3 * np.sin(40 * recall))
    # validation disagrees with test about the best, so that a test can tell which one chose
    estimates |= {
        f"validation.{RECALL}": estimate(0.9 if spec.labels["encoder"] == "direct" else recall)
    }
    return CellResult(
        estimates,
        {"dim": 64.0},
        TABLES,
        {"items": "items", "queries": "queries"},
    )


def _ranker(spec, about):
    role, seed = spec.labels["role"], spec.labels["seed"]
    recall = about.recall[spec.labels["encoder"]] if role == "content" else 0.0
    wiggle = 0.001 * np.sin(10 * seed + 100 * recall)
    auc = 0.6 + about.slope * recall + wiggle
    estimates = {
        "auc": estimate(auc),
        "auc_cold": estimate(auc - 0.02),
        "gauc": estimate(auc - 0.05),
    }
    reads = TABLES if role == "content" else {}
    return CellResult(estimates, {}, reads, {"scores": "scores.parquet"})


def _comparison(spec, about):
    recall = about.recall[spec.labels["encoder"]] if spec.labels["role"] == "content" else 0.0
    words = f"AUC of {spec.settings['b']} minus AUC of {spec.settings['a']}"
    estimates = {
        "auc_a": estimate(0.6, words="AUC of A"),
        "auc_b": estimate(0.6 + about.slope * recall, words="AUC of B"),
    }
    for segment in ("", "_warm", "_cold"):
        estimates[f"auc_gain{segment}"] = estimate(about.slope * recall, 0.02, words)
        estimates[f"share_of_the_way{segment}"] = estimate(
            recall, words="share of the way (simulated)"
        )
    estimates["auc_best"] = estimate(0.85, words="AUC of the truth")
    return CellResult(estimates, {}, {}, {})


_MAKE = {
    "start": _stage,
    "pretraining": _stage,
    "posttraining": _stage,
    "choice": lambda *_: CellResult({}, {"unknown_rate": 0.3, "epochs": 2.0}, {}, {}),
    "encoder": _encoder,
    "ranker": _ranker,
    "comparison": _comparison,
}
