"""Bad plans of studies, and plans that a shop cannot bear: refused before the first cell."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.bad_inputs.harness import Case, check

ONE = '[[encoders]]\nname = "one"\nrandom = true\n'
TWO_ENCODERS = ONE + '[[encoders]]\nname = "two"\nposttraining = { steps = 4 }\n'
BROUGHT = '[[encoders]]\nname = "ours"\nitems = "items"\nsearches = "queries"\n'
BY_WORDS = 'steering_metric = "text_search_recall@10"\n'
BY_ITEMS = 'steering_metric = "category_accuracy"\n'
NO_DAMAGE: Callable[[Path], object] = lambda folder: None  # noqa: E731


def plan(
    text: str,
    says: tuple[str, ...],
    name: str,
    options: str = "",
    damage: Callable[[Path], object] = NO_DAMAGE,
    told: bool = False,
) -> Case:
    """A study with that plan in `plan.toml`."""

    def write(folder: Path) -> None:
        (folder / "plan.toml").write_text(text)
        damage(folder)

    words = f"exchange_rate.study shop --plan plan.toml --out new {options}"
    return Case(f"study files: {name}", words.strip(), says, write, told)


def ranker(settings: str, more: str = "") -> str:
    return f"[[rankers]]\nranker = {{ {settings} }}\n{more}\n" + TWO_ENCODERS


def other_ids(folder: Path) -> None:
    vectors = np.eye(4, dtype=np.float32)
    pl.DataFrame({"item_id": np.arange(4) + 10**9, "vector": vectors}).write_parquet(folder / "mine.parquet")  # fmt: skip


def bytes_of_a_text(folder: Path) -> None:
    (folder / "notes.txt").write_text("to do " * 100)


def wide_searches(folder: Path) -> None:
    for name, key, width in (("items", "item_id", 4), ("searches", "search_id", 5)):
        ids = pl.read_parquet(folder / "tables" / f"{name}.parquet")[key]
        vectors = np.ones((len(ids), width), dtype=np.float32)
        pl.DataFrame({key: ids, "vector": vectors}).write_parquet(folder / f"{name}_mine.parquet")


PLANS = [
    plan('name = "x"', ("StudyConfig.encoders is missing",), "no encoder"),
    plan("encoders = []", ("StudyConfig.encoders", "at least 1"), "an empty list of encoders"),
    plan('encoders = "all"', ("StudyConfig.encoders = 'all'",), "encoders as a text"),
    plan("[[encoders]]\nrandom = true", ("encoders.0.name is missing",), "an encoder without a name"),
    plan(TWO_ENCODERS.replace("two", "one"), ("two encoders are called 'one'", "its own name"), "names doubled"),
    plan(ONE + ONE.replace("one", "two"), ("'two' repeats an earlier encoder",), "an encoder doubled"),
    plan(TWO_ENCODERS.replace("two", ""), ("StudyConfig.encoders.1.name = ''",), "a name without letters"),
    plan("[[encoders]]\nname = 'one'\nrandomm = true", ("encoders.0.randomm", "did you mean 'random'?"), "an unknown setting of an encoder"),
    plan("num_seed = 3\n" + TWO_ENCODERS, ("num_seed", "did you mean 'num_seeds'?"), "an unknown setting"),
    plan("num_seeds = 0\n" + TWO_ENCODERS, ("StudyConfig.num_seeds = 0", "greater than or equal to 1"), "no seed"),
    plan('segments = ["colour"]\n' + TWO_ENCODERS, ("segments has 'colour'", "category:1"), "segments of what products do not have"),
    plan('segments = ["brand", "brand"]\n' + TWO_ENCODERS, ("'brand' is named twice",), "segments twice"),
    plan('references = ["tree"]\n' + TWO_ENCODERS, ("StudyConfig.references.0 = 'tree'", "'trees' or 'factorisation'"), "a reference of an unknown kind"),
    plan('references = ["trees", "trees"]\n' + TWO_ENCODERS, ("'trees' is named twice",), "a reference twice"),
    plan("num_seeds = 2.5\n" + TWO_ENCODERS, ("StudyConfig.num_seeds = 2.5",), "two and a half seeds"),
    plan("seeds = [1, 2, 1]\n" + TWO_ENCODERS, ("StudyConfig.seeds = [1, 2, 1]", "1 is named twice"), "a seed twice"),
    plan("seeds = []\n" + TWO_ENCODERS, ("StudyConfig.seeds = []",), "no seeds by name"),
    plan("seeds = [-1]\n" + TWO_ENCODERS, ("StudyConfig.seeds.0 = -1",), "a seed below zero"),
    plan("num_seeds = 2\nseeds = [1, 2]\n" + TWO_ENCODERS, ("num_seeds = 2 changes nothing", "seeds = (1, 2)"), "seeds by number and by name"),
    plan("width = 0\n" + TWO_ENCODERS, ("StudyConfig.width = 0",), "a width of nothing"),
    plan("width = 8\n" + BROUGHT + "widths = [4]", ("width = 8 beside encoders.0.widths",), "a width beside widths"),
    plan(ONE + "widths = [17]", ("encoders.0.widths has 17, which is not trained", "16, 32, 64"), "a width that is not trained"),
    plan(BROUGHT + "widths = [8, 4]", ("encoders.0.widths = [8, 4]",), "widths that fall"),
    plan('[[encoders]]\nname = "openai/clip"', ("'openai/clip' does not say what it is", "hub", "random = true"), "a name alone"),
    plan(ONE + 'folder = "shop"', ("'one' is said to be random and folder", "one source"), "two sources"),
    plan(ONE + "posttraining = { steps = 4 }", ("'one' is said to be random and training",), "random weights that are trained"),
    plan(ONE + 'start = "x"', ("start = 'x' changes nothing", "posttraining"), "a start without a training"),
    plan(ONE + 'searches = "queries"', ("searches = 'queries' changes nothing", "items"), "vectors of searches alone"),
    plan(BROUGHT.replace('searches = "queries"', 'search_ids = "ids.npy"'), ("search_ids = 'ids.npy' changes nothing",), "ids of no searches"),
    plan(ONE + '[[encoders]]\nname = "mix"\nmixture = { one = 1.0 }', ("encoders.1.mixture",), "a mixture of one"),
    plan(TWO_ENCODERS + '[[encoders]]\nname = "mix"\nmixture = { one = 1.0, tow = 1.0 }', ("encoders.2.mixture names 'tow'", "did you mean 'two'?"), "a mixture of an unknown"),
    plan('[[encoders]]\nname = "mix"\nmixture = { one = 1.0, two = 1.0 }\n' + TWO_ENCODERS, ("encoders.0.mixture names 'one'", "stands before it"), "a mixture of later ones"),
    plan(TWO_ENCODERS + '[[encoders]]\nname = "mix"\nmixture = { one = 1.0, two = 0.0 }', ("encoders.2.mixture.two = 0.0",), "a mixture with a weight of zero"),
    plan('permuted_encoders = ["tow"]\n' + TWO_ENCODERS, ("permuted_encoders names 'tow'", "did you mean 'two'?"), "a control of an unknown"),
    plan(ranker('content = "none"'), ("rankers.0: ranker.content = 'none' reads no vectors", "such as cube"), "a ranker without vectors"),
    plan(ranker('content = "cubes"'), ("StudyConfig.rankers.0.ranker.content = 'cubes'", "cube"), "an unknown way"),
    plan(ranker('content = "cube", seed = 3'), ("ranker.seed = 3 changes nothing", "seeds"), "a ranker's own seed"),
    plan(ranker('content = "cube"', 'baseline = { content = "cube" }'), ("baseline may read no vectors",), "a baseline with vectors"),
    plan(ranker('content = "cube"', 'baseline = { search = "content" }'), ("baseline", "search other than 'content'"), "a baseline that searches by content"),
    plan(ranker('content = "cube"', 'features = { label = "purchased" }'), ("rankers.0.features.label = 'purchased'", "features.label"), "rankers of two labels"),
    plan(ranker('content = "cube"') + '[[rankers]]\nranker = { content = "cube", epochs = 2 }', ("two rankers are called 'CUBE'", "its own name"), "rankers of one name"),
    plan(ranker('content = "cube", search = "content"'), ("history_length = 50",), "a ranker that searches all there is"),
    plan("[[rankers]]\ntrees = true\nranker = { content = 'cube', epochs = 2 }\n" + TWO_ENCODERS, ("rankers.0: trees = true reads no settings of a network", "ranker.epochs = 2", "leave it out"), "trees with a network's setting"),
    plan("[[rankers]]\ntrees = true\nbaseline = { sequence = 'bst' }\n" + TWO_ENCODERS, ("rankers.0: trees = true", "baseline is one"), "trees over a network"),
    plan("keep_rankers = true\n[[rankers]]\ntrees = true\n" + TWO_ENCODERS, ("keep_rankers = true and rankers.0.trees = true", "no format to be kept in"), "trees to be kept"),
    plan(ranker('content = "cube", unknown_rate = 0.2'), ("rankers.0.ranker.unknown_rate = 0.2 changes nothing", "validation chooses it", "follow_validation = false"), "hidden ids given and chosen"),
    plan(ranker('content = "cube", epochs = 2', "baseline = { epochs = 1 }"), ("rankers.0.ranker.epochs = 2 beside baseline.epochs = 1", "follow_validation = false"), "two numbers of epochs where one is chosen"),
    plan("rankers = []\n" + TWO_ENCODERS, ("StudyConfig.rankers = []",), "no ranker"),
    plan("ranker = { content = 'cube' }\n" + TWO_ENCODERS, ("no setting 'ranker'", "did you mean 'rankers'?"), "one ranker as of old"),
    plan('steering_metric = "recall"\n' + TWO_ENCODERS, ("steering_metric 'recall' is not measured", "recall@"), "an unknown metric to steer by"),
    plan('steering_metric = "image_search_recall@7"\n' + TWO_ENCODERS, ("'image_search_recall@7'", "image_search_recall@"), "a metric of another cut"),
    plan('engagement = "liked"\n' + TWO_ENCODERS, ("StudyConfig.engagement = 'liked'",), "an unknown engagement"),
    plan("encoders = [", ("plan.toml is not valid TOML",), "no TOML"),
    plan(TWO_ENCODERS, ("--seed 3", "--set seed=3"), "a seed beside a plan", "--seed 3"),
    plan(TWO_ENCODERS, ("--workers", "'0'"), "no worker", "--workers 0"),
    plan(TWO_ENCODERS, ("tomorrow", "validation"), "an unknown period", "--period tomorrow"),
    plan(TWO_ENCODERS, ("num_seeds", "-1"), "a setting out of range beside a plan", "--set num_seeds=-1"),
    Case("study files: no plan there", "exchange_rate.study shop --plan nowhere.toml --out new", ("no settings file at nowhere.toml",)),
    Case("study files: no shop there", "exchange_rate.study nowhere --out new", ("nowhere",)),
    Case("study files: the output is a file", "exchange_rate.study shop --out notes.txt", ("notes.txt is a file", "--out"), lambda folder: (folder / "notes.txt").touch()),
    Case("study files: tracking in a folder of files", "exchange_rate.study shop --tracking ./mlruns --out new", ("./mlruns", "sqlite:///")),
    Case("study files: tracking in a text file", "exchange_rate.study shop --tracking sqlite:///notes.txt --out new", ("notes.txt is no SQLite database",), bytes_of_a_text),
]  # fmt: skip

OUTSIDE = [
    plan('[[encoders]]\nname = "a"\nfolder = "nowhere"', ("encoders.0.folder = 'nowhere': there is no such folder", "hub = "), "no such folder"),
    plan('[[encoders]]\nname = "a"\nfolder = "tables"', ("encoders.0.folder = 'tables'", "config.json"), "a folder of something else"),
    plan('[[encoders]]\nname = "a"\nstart = "nowhere"\nposttraining = { steps = 4 }', ("encoders.0.start = 'nowhere': there is no such folder",), "no checkpoint to start from"),
    plan('[[encoders]]\nname = "a"\nhub = "tables"', ("encoders.0.hub = 'tables': this is a folder here", "folder = "), "a folder as a hub name"),
    plan('[[encoders]]\nname = "a"\nhub = "a b/c"', ("encoders.0.hub = 'a b/c'",), "no name on the hub"),
    plan('[[encoders]]\nname = "a"\nhub = "nobody-moon/nothing"', ("encoders.0.hub = 'nobody-moon/nothing': not in the local cache", "folder = "), "a hub name without a network"),
    plan(BY_ITEMS + BROUGHT.replace('"items"', '"nowhere.parquet"').replace('searches = "queries"', ""), ("encoders.0 ('ours'): no file of vectors at nowhere.parquet",), "no such vectors"),
    plan(BY_ITEMS + BROUGHT.replace('"items"', '"mine.parquet"').replace('searches = "queries"', ""), ("mine.parquet: 0 of 120 (0.0%) items of shop planted", "ids of this shop's log"), "vectors of another shop's ids", damage=other_ids),
    plan(BROUGHT.replace('"queries"', '"searches_mine.parquet"').replace('"items"', '"items_mine.parquet"'), ("items_mine.parquet is 4 wide", "searches_mine.parquet is 5 wide"), "vectors of two widths", damage=wide_searches),
    plan(BROUGHT.replace('"queries"', '"searches_mine.parquet"'), ("one is a folder, the other a file",), "a folder beside a file", damage=wide_searches),
    plan(BROUGHT + 'item_ids = "ids.npy"', ("has its ids",), "ids beside a folder"),
    plan(BY_ITEMS + BROUGHT + "widths = [4]", ("widths has 4, and the table has 8", "--widths"), "a width that a table has not"),
    plan(BROUGHT.replace('"queries"', '"items"'), ("encoders.0 ('ours')",), "items for searches"),
]  # fmt: skip

SHOPS = [
    plan(TWO_ENCODERS, ("steering_metric = 'image_search_recall@10' cannot be measured", "4 searches by picture in the test period", "wanted 10 or more", "steer by text_search_recall@10"), "a shop with few searches by picture"),
    plan(BY_WORDS + BROUGHT.replace('searches = "queries"', ""), ("no encoder of the plan has vectors of searches", "steer by", "category_accuracy"), "a search metric without vectors of searches"),
    plan('steering_metric = "same_spu_recall@10"\n' + BROUGHT, ("no two items of shop planted are of one SPU",), "siblings in a shop without"),
    plan(BY_WORDS + BROUGHT, ("1 encoders on 1 paths, 1 trained", "rankers: CUBE over DIN on ids", "cells: 14", "searches with something purchased"), "a good one, said and not run", "--dry-run", told=True),
]  # fmt: skip

CASES = [*PLANS, *OUTSIDE, *SHOPS]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_study_files(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
