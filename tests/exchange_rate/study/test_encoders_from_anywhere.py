"""Encoders that are no training of the plan: brought vectors, widths, mixtures, folders; on a shop with a planted taste, without training an encoder."""

import ast

import numpy as np
import polars as pl
import pytest

from exchange_rate.evidence.neighbour_file import read_neighbours
from exchange_rate.evidence.records import read_study
from exchange_rate.study.cells import CellResult
from exchange_rate.study.command import EXAMPLE
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.grid import study_cells
from exchange_rate.study.neighbours import SEARCHES
from exchange_rate.study.plan import RankerPlan, StudyConfig
from exchange_rate.study.run import planned, run_study
from exchange_rate.study.vectors import ITEMS, QUERIES, mixture
from moon_rec.config import load_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import StudyError
from moon_rec.shop import Shop
from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from ranking.config import RankerConfig
from representation.co_augmentation.config import AugmentConfig
from representation.co_augmentation.make import augment
from representation.sets.search_cases import gallery_of
from representation.verification import verify_augmentation
from tests.ranking.conftest import draw_frames, write_shop
from tests.representation.co_augmentation.conftest import Painter, Writer

LEAN = RankerConfig(content="cube", embedding_dim=4, tower=(8,), attention_dim=4, batch_size=256)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A shop, and vectors of its items and searches as files of one's own."""
    folder = tmp_path_factory.mktemp("brought")
    frames, known = draw_frames()
    write_shop(frames, folder / "shop")
    for name, key in (("items", "item_id"), ("queries", "search_id")):
        table = known[name]
        vectors = table.lookup(table.ids)[0]
        pl.DataFrame({key: table.ids, "vector": vectors}).write_parquet(folder / f"{name}.parquet")
        np.save(folder / f"{name}.npy", vectors)
        np.save(folder / f"{name}_ids.npy", table.ids)
    return folder


def plan(folder, **settings):
    brought = EncoderRun(
        name="brought",
        items=str(folder / "items.parquet"),
        searches=str(folder / "queries.parquet"),
        widths=(4,),
    )
    items_alone = EncoderRun(
        name="items alone",
        items=str(folder / "items.npy"),
        item_ids=str(folder / "items_ids.npy"),
        trained=False,
    )
    mixed = EncoderRun(name="mixed", mixture={"brought": 3.0, "brought at width 4": 1.0})
    values = {"encoders": (brought, items_alone, mixed), "rankers": (RankerPlan(ranker=LEAN),)}
    values |= {"num_seeds": 1, "num_resamples": 20, "permuted_encoders": ()}
    values |= {"steering_metric": "text_search_recall@10"}
    return StudyConfig.model_validate(values | settings)


def test_brought_vectors_widths_and_mixtures_are_encoders_of_a_study(folder, tmp_path, memory):
    result = run_study(Shop.open(folder / "shop"), plan(folder), tmp_path / "w", memory, workers=1)
    assert result.failed == ()
    content = result.table.filter(role="content").sort("encoder")
    labels = content.select("encoder", "path", "origin", "is_trained").rows()
    assert labels == [
        ("brought", "brought", "brought", True),
        ("brought at width 4", "brought", "width", True),
        ("items alone", "items alone", "brought", False),
        ("mixed", "brought", "mixture", True),
    ]
    recall = dict(content.select("encoder", "text_search_recall@10").iter_rows())
    assert recall["brought"] > 0 and recall["items alone"] is None  # not measured, not zero
    found = dict(content.select("encoder", "category_accuracy").iter_rows())
    assert found["items alone"] == found["brought"]
    assert dict(content.select("encoder", "dim").iter_rows()) == {"brought": 8, "brought at width 4": 4, "items alone": 8, "mixed": 12}  # fmt: skip
    (choice,) = memory.runs("choice")  # once for the baseline, shared by all rankers over it
    chosen = {name: choice["metrics"][name] for name in ("unknown_rate", "epochs")}
    configs = [ast.literal_eval(one["params"]["config"]) for one in memory.runs("ranker")]
    assert len(configs) == 5
    assert all(chosen.items() <= one.items() for one in configs)
    _finds_what_exact_ranking_finds(Shop.open(folder / "shop"), read_study(memory), memory, result)
    again = run_study(Shop.open(folder / "shop"), plan(folder), tmp_path / "w", memory, workers=1)
    assert again.num_run == 0
    assert memory.runs("study")[-1]["dataset"][1] == Shop.open(folder / "shop").digest


def _finds_what_exact_ranking_finds(shop, study, memory, result):
    """The study's artifact: the same searches for every encoder that has vectors of them, and their nearest products."""
    found = read_neighbours(memory, study)
    assert found is not None
    keys = {cell["labels"]["encoder"]: cell["key"] for cell in study.about["cells"] if cell["kind"] == "encoder"}  # fmt: skip
    searches = {name: set(found.of(key)) for name, key in keys.items()}
    assert searches["items alone"] == set() and 1 <= len(searches["brought"]) <= SEARCHES
    assert searches["brought"] == searches["brought at width 4"] == searches["mixed"]
    own = result.folder / f"encoder-{keys['brought']}"
    items, queries = (EmbeddingTable.open(own / name) for name in (ITEMS, QUERIES))
    gallery = gallery_of(shop, items, "test")
    titles = dict(shop.items.select("item_id", "title").collect().iter_rows())
    for search, (asked, *rows) in found.of(keys["brought"]).items():
        vector = queries.lookup(np.array([search]))[0][0].astype(np.float64)
        cosines = gallery.vectors.astype(np.float64) @ (vector / np.linalg.norm(vector))
        nearest = gallery.frame["item_id"].to_numpy()[np.argsort(-cosines, kind="stable")[:5]]
        assert [row["item_id"] for row in rows] == nearest.tolist()
        assert [row["similarity"] for row in rows] == pytest.approx(np.sort(-cosines)[:5] * -1)
        assert [row["text"] for row in rows] == [titles[one] for one in nearest.tolist()]
        assert asked["place"] == 0 and asked["text"] and found.picture(asked) is None


def test_another_file_in_its_place_is_another_encoder(folder, tmp_path, memory):
    shop, few = Shop.open(folder / "shop"), plan(folder, encoders=(plan(folder).encoders[1],), steering_metric="category_accuracy")  # fmt: skip
    before = {cell.name: cell.make({}).key for cell in planned(shop, few, tmp_path, "test", 1)[0] if not cell.needs}  # fmt: skip
    vectors = np.load(folder / "items.npy", allow_pickle=False)
    np.save(folder / "items.npy", vectors[:, ::-1])
    after = {cell.name: cell.make({}).key for cell in planned(shop, few, tmp_path, "test", 1)[0] if not cell.needs}  # fmt: skip
    np.save(folder / "items.npy", vectors)
    assert {name for name in before if before[name] != after[name]} == {"encoder items alone"}


def test_another_co_augmentation_in_its_place_is_another_training(folder, tmp_path, monkeypatch):
    """And `moon_rec verify` looks at the folder."""
    shop, place = Shop.open(folder / "shop"), tmp_path / "augmented"
    monkeypatch.setattr("representation.co_augmentation.make.save", lambda _, path: path.touch())
    shown = {"co_augmentation": {"folder": str(place)}, "steps": 2}
    entries = (
        EncoderRun.model_validate({"name": "plain", "random": False, "posttraining": {"steps": 2}}),
        EncoderRun.model_validate({"name": "shown", "random": False, "posttraining": shown}),
    )
    config = plan(folder, encoders=entries)

    def keys():
        cells = study_cells(shop, config, "test")
        start = next(cell for cell in cells if cell.kind == "start").make({})
        done = {"start": (start, CellResult({}, {}, {}, {"encoder": "encoder"}))}
        return {cell.name: cell.make(done).key for cell in cells if cell.kind == "posttraining"}

    with pytest.raises(StudyError, match=r"encoders\.1\.posttraining\.co_augmentation\.folder = .* holds no augmentation\.json"):  # fmt: skip
        study_cells(shop, config, "test")
    found = []
    for word in ("splendid", "plain"):
        writer = Writer()
        writer.word = word
        augment(shop, place, AugmentConfig(), writer, Painter(), overwrite=True)
        found.append(keys())
    different = {name for name in found[0] if found[0][name] != found[1][name]}
    assert len(found[0]) == 2 and {name.split(" ")[0] for name in different} == {"shown"}
    looked = verify_augmentation(place)
    assert looked.kind == "co-augmentation" and looked.names["shop"] == shop.digest
    assert not any(one.fault for one in looked.seen)


def test_a_mixtures_cosine_is_the_weighted_mean_of_its_parts():
    random = np.random.default_rng(3)
    one = EmbeddingTable.from_arrays(np.arange(9), random.normal(size=(9, 5)).astype(np.float32))
    two = EmbeddingTable.from_arrays(np.arange(2, 9), random.normal(size=(7, 3)).astype(np.float32))
    mixed = mixture([one, two], [3.0, 1.0], "m", "")
    assert mixed.ids.tolist() == list(range(2, 9)) and mixed.dim == 8

    def cosines(table):
        rows = table.lookup(np.arange(2, 9))[0].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows @ rows.T

    np.testing.assert_allclose(cosines(mixed), 0.75 * cosines(one) + 0.25 * cosines(two), atol=1e-6)
    with pytest.raises(StudyError, match="without a row in common"):
        mixture([one, EmbeddingTable.from_arrays(np.arange(50, 53), np.eye(3, dtype=np.float32))], [1.0, 1.0], "m", "")  # fmt: skip


def test_preflight_says_what_will_be_trained_and_measured(folder, tmp_path):
    shop = Shop.open(folder / "shop")
    cells, lines = planned(shop, plan(folder, permuted_encoders=None), tmp_path / "w", "test", 2)
    text = "\n".join(lines)
    assert "4 encoders on 2 paths, 3 trained" in text
    assert "117 of 120 (97.5%) items have a vector" in text
    assert "permuted control: of each encoder, 4 trainings of rankers" in text
    assert f"cells: {len(cells)} (" in text and "0 of them finished before" in text
    assert "steers by text_search_recall@10" in text and "time: about" in text
    assert "measured by items alone: items alone" in text
    assert not (tmp_path / "w").exists()


def test_a_shop_without_searches_says_at_once_what_can_steer(folder, tmp_path):
    frames, _ = draw_frames()
    frames["searches"] = frames["searches"].head(0)
    frames["impressions"] = frames["impressions"].with_columns(search_id=pl.lit(None, pl.Int64))
    frames["items"] = frames["items"].with_columns(
        spu_id=pl.int_range(pl.len(), dtype=pl.Int64) // 2
    )
    shop = write_shop(frames, tmp_path / "shop")
    mine = plan(folder, encoders=(plan(folder).encoders[1],))
    for metric in ("image_search_recall@10", "text_search_recall@10"):
        with pytest.raises(StudyError, match=r"vectors of searches; steer by same_spu_recall@10, category_accuracy"):  # fmt: skip
            planned(shop, mine.model_copy(update={"steering_metric": metric}), tmp_path, "test", 1)
    random = plan(folder, encoders=(EncoderRun(name="random", random=True),))
    with pytest.raises(StudyError, match=r"has 0 searches by words .* steer by same_spu_recall@10"):
        planned(shop, random, tmp_path, "test", 1)
    _, lines = planned(shop, mine.model_copy(update={"steering_metric": "same_spu_recall@10"}), tmp_path, "test", 1)  # fmt: skip
    assert "not measured, since the shop has nothing for it: search metrics by picture" in " ".join(lines)  # fmt: skip


def test_the_example_is_a_plan(folder, tmp_path):
    config = load_config(StudyConfig, EXAMPLE)
    assert {one.source for one in config.encoders} == {"random", "training", "mixture"}
    text = EXAMPLE.read_text(encoding="utf-8")
    whole = tmp_path / "whole.toml"  # with what stands behind # taken in
    whole.write_text(text.replace("# [[", "[[").replace("\n# name", "\nname").replace("\n# hub", "\nhub").replace("\n# folder", "\nfolder").replace("\n# items", "\nitems").replace("\n# searches", "\nsearches").replace("\n# start", "\nstart").replace("\n# posttraining", "\nposttraining"))  # fmt: skip
    sources = {one.source for one in load_config(StudyConfig, whole).encoders}
    assert sources == {"random", "training", "mixture", "hub", "folder", "brought"}


@pytest.mark.slow
def test_the_example_runs_on_a_tiny_shop(tmp_path, memory):
    shop = simulate_shop(
        SimulationConfig(num_items=120, num_users=80, num_requests=600, seed=1), tmp_path / "shop"
    )
    result = run_study(shop, load_config(StudyConfig, EXAMPLE), tmp_path / "w", memory, workers=1)
    assert result.failed == ()
    assert result.table.filter(role="content")["ranker"].unique().sort().to_list() == ["CUBE", "tiers of similarity"]  # fmt: skip
    assert result.table.filter(role="permuted").height == result.table.filter(role="content").height
