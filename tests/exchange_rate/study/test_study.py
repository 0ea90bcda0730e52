"""What runs, what does not run again, and what is tracked; cells are planted, but for the last test."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from exchange_rate.evidence.draws import read_draws
from exchange_rate.evidence.records import read_study, records_table
from exchange_rate.study import cell_kinds
from exchange_rate.study import cell_list as grid_module
from exchange_rate.study import cells as cells_module
from exchange_rate.study.cell_files import CellSpec
from exchange_rate.study.cells import code_of
from exchange_rate.study.command import main
from exchange_rate.study.demo_plan import demo_plan
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import RankerPlan, metric_names
from exchange_rate.study.run import FOLDERS, run_study
from moon_rec.command import run
from moon_rec.config import make_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError, StudyError
from moon_rec.files import read_json
from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from ranking.config import RankerConfig
from ranking.features import FeatureConfig
from representation.metrics.shop_metrics import measure_shop

RECALL = "image_search_recall@10"


def go(shop, plan, tmp_path, memory):
    return run_study(shop, plan, tmp_path / "work", memory, workers=1)


def test_every_cell_runs_once(shop, plan, planted, tmp_path, memory):
    result = go(shop, plan, tmp_path, memory)
    assert planted.calls == {
        "start": 1,
        "pretraining": 1,  # shared by two paths
        "posttraining": 2,
        "encoder": 6,
        "ranker": 3 + 6 * 3 + 6 * 3,
        "comparison": 3 * 6,
    }
    assert result.num_run == sum(planted.calls.values()) and result.num_known == 0


def test_a_finished_cell_is_not_run_again(shop, plan, planted, tmp_path, memory):
    first = go(shop, plan, tmp_path, memory)
    planted.calls.clear()
    second = go(shop, plan, tmp_path, memory)
    assert not planted.calls
    assert second.num_run == 0 and second.num_known == first.num_run
    assert len(memory.runs(kind="ranker")) == 39  # tracked once, named by both studies
    columns = ["ranker", "encoder", "seed", "auc", RECALL]
    assert second.table.select(columns).equals(first.table.select(columns))


def test_what_other_code_made_is_not_taken_up(
    shop, lean, planted, tmp_path, memory, monkeypatch, capsys
):
    first = go(shop, lean, tmp_path, memory)
    capsys.readouterr()
    planted.calls.clear()
    whole = grid_module.code_of
    monkeypatch.setattr(
        grid_module, "code_of", lambda kind: "other" if kind == "comparison" else whole(kind)
    )
    monkeypatch.setattr(cells_module, "code_of", grid_module.code_of)
    second = go(shop, lean, tmp_path, memory)
    assert planted.calls == {"comparison": 6}  # its code alone has changed
    assert second.num_known == first.num_run - 6
    assert "6 finished cells in" in capsys.readouterr().err


def test_a_cells_code_is_what_it_runs():
    assert code_of("encoder") != code_of("ranker") != code_of("comparison")
    assert CellSpec("start", "a", {}, code="x").key != CellSpec("start", "a", {}, code="y").key


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory):
    config = SimulationConfig(num_items=60, num_users=40, num_requests=300)
    return simulate_shop(config, tmp_path_factory.mktemp("small") / "shop")


def test_every_metric_that_may_be_measured_may_be_steered_by(small_shop):
    random = np.random.default_rng(0)
    ids = [frame.select(name).collect()[name].to_numpy() for frame, name in ((small_shop.items, "item_id"), (small_shop.searches, "search_id"))]  # fmt: skip
    tables = [
        EmbeddingTable.from_arrays(
            np.sort(one), random.normal(size=(len(one), 4)).astype(np.float32)
        )
        for one in ids
    ]
    found = set(measure_shop(small_shop, tables[0], tables[1], ks=(1, 7)))
    assert found <= set(metric_names((1, 7), "purchased")) and f"{RECALL[:-3]}@7" in found
    clicks = {name for name in found if name.startswith("image_search_click_recall")}
    assert found - set(metric_names((1, 7), "clicked")) == clicks


def test_a_shop_that_changes_under_a_study_is_refused(small_shop):
    shop = small_shop
    spec = CellSpec("ranker", "one", {}, shop=(str(shop.path), "0123456789abcdef"))
    with pytest.raises(StudyError, match=f"had digest 0123456789abcdef, .* has {shop.digest}"):
        cell_kinds._shop(spec)


def test_one_more_encoder_runs_only_what_is_new(shop, plan, planted, tmp_path, memory):
    go(shop, plan, tmp_path, memory)
    planted.calls.clear()
    few = plan.encoders[3].posttraining.model_copy(update={"num_negatives": 3})
    more = plan.model_copy(
        update={"encoders": (*plan.encoders, EncoderRun(name="few", posttraining=few))}
    )
    planted.recall["few"] = 0.2
    go(shop, more, tmp_path, memory)
    assert planted.calls == {"posttraining": 1, "encoder": 1, "ranker": 6, "comparison": 3}


def test_another_shop_shares_nothing(shop, plan, planted, tmp_path, memory):
    first = go(shop, plan, tmp_path, memory)
    shop.digest = "fedcba9876543210"
    second = go(shop, plan, tmp_path, memory)
    assert second.num_known == 0 and second.num_run == first.num_run


def test_each_encoder_and_ranker_has_its_control_and_validation_chooses(
    shop, plan, planted, tmp_path, memory
):
    result = go(shop, plan, tmp_path, memory)
    control = result.table.filter(pl.col("role") == "permuted")
    assert control.group_by("encoder").len().sort("encoder").rows() == [
        (name, 3) for name in sorted(plan.encoder_names())
    ]
    about = read_study(memory, result.id).about
    assert about["chosen_encoder"] == "direct"  # best on validation; on test it is "full"


def test_encoders_say_their_path_and_whether_they_are_trained(
    shop, lean, planted, tmp_path, memory
):
    table = go(shop, lean, tmp_path, memory).table.filter(pl.col("role") == "content")
    found = table.select("encoder", "path", "is_trained", "origin").unique().sort("encoder").rows()
    here = "trained here"
    assert found == [
        ("direct", "direct", True, here),
        ("full", "full", True, here),
        ("full at step 10", "full", True, here),
        ("full at step 20", "full", True, here),
        ("pretrained", "pretrained", False, here),
        ("random", "random", False, here),
    ]


def test_rankers_side_by_side_share_an_equal_baseline(shop, small, planted, tmp_path, memory):
    rankers = (
        RankerPlan(),
        RankerPlan(ranker=RankerConfig(content="simtier")),
        RankerPlan(name="long", features=FeatureConfig(history_length=90)),
    )
    result = go(shop, small.model_copy(update={"rankers": rankers}), tmp_path, memory)
    baselines = result.table.filter(role="baseline")
    assert baselines.group_by("ranker", maintain_order=True).len().rows() == [
        ("CUBE", 2), ("SimTier", 2), ("long", 2)
    ]  # fmt: skip
    assert baselines["run"].n_unique() == 4  # one training a seed for the first two
    assert planted.calls["ranker"] == 4 + 3 * 2 * 3
    runs = {run["name"] for run in memory.runs("ranker")}
    assert {"DIN on ids and counters · seed 1, for CUBE", "random · SimTier on permuted vectors · seed 0", "pretrained · long · seed 1"} <= runs  # fmt: skip


def test_the_table_holds_runs_metrics_labels_and_digests(shop, plan, planted, tmp_path, memory):
    result = go(shop, plan, tmp_path, memory)
    table = records_table(memory, result.id)
    assert table.equals(result.table)
    row = table.filter((pl.col("encoder") == "full at step 20") & (pl.col("seed") == 1)).row(
        0, named=True
    )
    assert row[RECALL] == pytest.approx(0.45) and row[f"{RECALL}.low"] == pytest.approx(0.44)
    assert row["auc"] == pytest.approx(0.69, abs=0.002)
    assert (row["stages"], row["training_tokens"], row["negatives"]) == (
        "pretraining + posttraining",
        11_000.0,
        127.0,
    )
    assert row["shop_digest"] == shop.digest and len(row["items_digest"]) == 16


def test_longest_chain_goes_first(shop, plan, planted, tmp_path, memory):
    go(shop, plan, tmp_path, memory)
    assert planted.order[0] == "random weights"
    assert planted.order.index("full") < planted.order.index("DIN on ids and counters · seed 0")


def test_plans_that_count_an_encoder_twice_are_refused(plan):
    values = plan.model_dump()
    values["encoders"] = [*values["encoders"], {**values["encoders"][3], "name": "again"}]
    with pytest.raises(ConfigError, match="repeats an earlier encoder"):
        make_config(type(plan), values)
    values["encoders"] = [values["encoders"][0], {**values["encoders"][1], "name": "random"}]
    with pytest.raises(ConfigError, match="two encoders are called 'random'"):
        make_config(type(plan), values)


def test_the_demo_plan_has_what_the_demo_promises():
    plan = demo_plan(seed=7)
    assert len(plan.encoder_names()) == 8 and len({one.name for one in plan.encoders}) == 7
    assert demo_plan(7, Path("v")).encoders[-1].items == "v/items"
    assert plan.permuted_encoders is None
    seeds = [run.posttraining.seed for run in plan.encoders if run.posttraining]
    assert len(seeds) == len(set(seeds)) == 6 and min(seeds) == 7  # paths of their own
    assert plan == demo_plan(seed=7) and plan.digest() != demo_plan(seed=8).digest()


def test_the_command_says_in_one_line_that_there_is_no_shop(tmp_path, capsys):
    code = run(main, [str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    assert code == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


@pytest.mark.slow
def test_end_to_end_on_a_simulated_shop_in_two_processes(tmp_path, tracker):
    from exchange_rate.report.write import write_report
    from representation.model.backbone import BackboneConfig
    from representation.posttraining import PosttrainConfig

    config = SimulationConfig(num_items=120, num_users=80, num_requests=600, seed=1)
    shop = simulate_shop(config, tmp_path / "shop")
    posttraining = PosttrainConfig(steps=4, batch_size=8, checkpoint_steps=(2,))
    plan = demo_plan(1).model_copy(
        update={
            "backbone": BackboneConfig.preset("demo"),
            "encoders": (
                EncoderRun(name="random", random=True),
                EncoderRun(name="trained", posttraining=posttraining),
            ),
            "num_seeds": 2,
            "num_resamples": 20,
        }
    )
    result = run_study(shop, plan, tmp_path / "work", tracker, workers=2)
    again = run_study(shop, plan, tmp_path / "elsewhere", tracker, workers=2)
    assert again.table["auc"].to_list() == result.table["auc"].to_list()  # the same bits
    left = {path.name for path in result.folder.parent.iterdir() if path.is_dir()}
    assert left == set(FOLDERS)  # what a demo that is replaced takes away
    study = read_study(tracker, result.id)
    assert study.about["shop"]["digest"] == shop.digest
    drawn = read_draws(tracker, study)  # whose figures on all users are the runs'
    assert {name for _, name in drawn.figures} >= {"auc", "gauc_warm", "text_search_recall@10"}
    of_all = drawn.of(study.about["rankers"][0]["name"], study.about["steering_metric"])
    assert len(of_all.encoders) == 3 and of_all.outcome.std(axis=0).min() > 0
    found = write_report(tracker, tmp_path / "report", result.id).results
    assert found.rate.verdict == "not identified"  # three encoders
    (trained,) = [one for one in found.encoders if one.name == "trained"]
    assert trained.items is not None and (trained.items.count, trained.items.total) == (120, 120)
    assert read_json(tmp_path / "report" / "report.json")["about"]["is_simulated"] is True
    figures = {path.stem for path in (tmp_path / "report" / "figures").glob("*.png")}
    assert {"neighbours", "attention"} <= figures


def test_a_setting_without_a_plan_is_refused_not_ignored(tmp_path, capsys):
    words = [str(tmp_path / "shop"), "--set", "num_seeds=5", "--out", str(tmp_path / "out")]
    assert run(main, words) == 2
    assert "'num_seeds=5' without --plan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
