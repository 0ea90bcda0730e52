"""Learning from another model's vectors: the terms written out, who is taught and who not, and a training that comes nearer to its teacher."""

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError, EncoderError
from representation.encoder import ProductEncoder
from representation.posttraining import posttrain
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule
from representation.posttraining.step import ContrastiveStep
from representation.posttraining.teacher import Teacher
from tests.representation.conftest import TINY

MIXTURE = {"text->title+image": 1.0}


def tables(shop, dim, without=()):
    """Random vectors of all items and searches but some items."""
    random = np.random.default_rng(7)
    found = []
    for frame, key in ((shop.items, "item_id"), (shop.searches, "search_id")):
        ids = frame.select(key).collect()[key].to_numpy()
        ids = ids[~np.isin(ids, without)] if key == "item_id" else ids
        vectors = random.normal(size=(len(ids), dim)).astype(np.float32)
        found.append(EmbeddingTable.from_arrays(ids, vectors, shop=shop.digest, encoder="teacher"))
    return found


def step_of(encoder, known, teacher, **values):
    settings = {"batch_size": 8, "precision": "float32", "steps": 12, "mixture": MIXTURE, **values}
    config = PosttrainConfig.model_validate(settings)
    width = encoder.widths[-1:]
    return ContrastiveStep(config, width, known, encoder.device, teacher=teacher)


def loss_of(step, encoder, batch):
    embed = lambda *sides: [encoder.embed(side) for side in sides]  # noqa: E731
    return step.backward(batch, 0, embed, torch.float32).loss.item()


@pytest.fixture
def batch(little_shop, encoder, known):
    schedule = Schedule(logged_pairs(little_shop), own_pairs(little_shop), MIXTURE, {}, 12, 8, 0)
    return Batches(little_shop, encoder, schedule, known, None, 0).make(0)


def unit(table, ids):
    return functional.normalize(torch.from_numpy(table.lookup(np.asarray(ids))[0]), dim=1)


@pytest.mark.parametrize("dim", [4, 40])
def test_both_terms_written_out(little_shop, encoder, known, batch, dim):
    """One item of the batch has no vector: its row is taught nothing, and nobody is asked about it."""
    lost = int(batch.item_ids[2])
    items, queries = tables(little_shop, dim, [lost])
    teacher = Teacher(items, queries, encoder.dim, encoder.device)
    plain = loss_of(step_of(encoder, known, None), encoder, batch)
    kept = [row for row in range(8) if int(batch.item_ids[row]) != lost]
    with torch.no_grad():
        own = encoder.embed(batch.queries), encoder.embed(batch.items)
    of_searches, of_items = unit(queries, batch.search_ids), unit(items, batch.item_ids[kept])
    total = 0.0
    for row in kept:
        sought = (of_searches[row] @ of_items.T / 0.2).double().softmax(0)
        found = (own[0][row] @ own[1][kept].T / 0.2).double().log_softmax(0)
        total += float((sought * (sought.log() - found)).sum())
    step = step_of(encoder, known, teacher, score_distillation=0.5, distillation_temperature=0.2)
    assert loss_of(step, encoder, batch) - plain == pytest.approx(0.5 * total / 8, rel=1e-3)
    apart = 0.0
    for vectors, taught, rows in ((own[0], of_searches, range(8)), (own[1], of_items, kept)):
        wanted = teacher.narrowed(taught)
        found = functional.normalize(vectors[list(rows)][:, : teacher.width], dim=1)
        apart += float((found - wanted).square().sum()) / 8 / 2
    step = step_of(encoder, known, teacher, vector_distillation=2.0)
    assert loss_of(step, encoder, batch) - plain == pytest.approx(2 * apart, rel=1e-3)


def test_a_wider_teacher_is_narrowed_by_its_longest_directions(little_shop):
    """Vectors that lie in few of many dimensions keep all their cosines."""
    random = np.random.default_rng(0)
    inner = random.normal(size=(60, 6)) @ np.linalg.qr(random.normal(size=(30, 6)))[0].T
    items = EmbeddingTable.from_arrays(np.arange(60), inner.astype(np.float32))
    teacher = Teacher(items, items, 6, torch.device("cpu"))
    whole = unit(items, np.arange(60))
    narrow = teacher.narrowed(whole)
    assert narrow.shape == (60, 6)
    assert torch.allclose(narrow @ narrow.T, whole @ whole.T, atol=1e-5)


def test_a_product_that_asks_for_itself_is_taught_as_that_product(little_shop):
    items, queries = tables(little_shop, 5)
    teacher = Teacher(items, queries, 5, torch.device("cpu"))
    item, search = int(items.ids[3]), int(queries.ids[1])
    rows = pl.DataFrame(
        {"search_id": [search, search, -9], "query_item_id": [None, item, None]},
        schema={"search_id": pl.Int64, "query_item_id": pl.Int64},
    )
    found = teacher.queries(rows)
    assert torch.equal(found.vectors[0], unit(queries, [search])[0])
    assert torch.equal(found.vectors[1], unit(items, [item])[0])
    assert found.is_there.tolist() == [True, True, False] and not found.vectors[2].any()


def teach(shop, out, folder, **values):
    settings = {"backbone": TINY, "steps": 12, "batch_size": 12, "learning_rate": 1e-2}
    config = PosttrainConfig.model_validate({**settings, "mixture": MIXTURE, **values})
    posttrain(shop, out, config, teacher=folder)
    return ProductEncoder.from_pretrained(out, device="cpu")


@pytest.fixture(scope="module")
def folder(little_shop, tmp_path_factory):
    where = tmp_path_factory.mktemp("teacher")
    for name, table in zip(("items", "queries"), tables(little_shop, TINY.text_dim), strict=True):
        table.save(where / name)
    return where


def test_a_training_comes_nearer_to_its_teacher(little_shop, folder, tmp_path):
    items = little_shop.items.sort("item_id").collect()
    teacher = EmbeddingTable.open(folder / "items")
    wanted = unit(teacher, items["item_id"].to_numpy()).numpy()
    nearness = []
    for name, weight in (("plain", 0.0), ("taught", 20.0)):
        vectors = folder if weight else None
        encoder = teach(little_shop, tmp_path / name, vectors, vector_distillation=weight)
        nearness.append((encoder.encode_items(items) * wanted).sum(axis=1).mean())
    assert nearness[1] > nearness[0] + 0.2


def test_going_on_is_to_the_same_bits_and_with_the_same_teacher(little_shop, folder, tmp_path):
    asked = {"score_distillation": 1.0, "vector_distillation": 1.0, "steps": 6}
    whole = teach(little_shop, tmp_path / "whole", folder, **asked)
    again = teach(little_shop, tmp_path / "again", folder, **asked, resume_every=2)
    assert whole.digest == again.digest


@pytest.mark.parametrize(
    ("values", "has_teacher", "said"),
    [
        ({"score_distillation": 1.0}, False, "give --teacher"),
        ({}, True, "changes nothing: set score_distillation"),
    ],
)
def test_a_teacher_and_its_weights_go_together(little_shop, folder, tmp_path, values, has_teacher, said):  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        teach(little_shop, tmp_path / "out", folder if has_teacher else None, **values)


def test_a_folder_without_tables_is_refused(little_shop, tmp_path):
    with pytest.raises(EncoderError, match="no vectors at"):
        teach(little_shop, tmp_path / "out", tmp_path, score_distillation=1.0)
