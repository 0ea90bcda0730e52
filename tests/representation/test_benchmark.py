"""The command: encoders and tables side by side, its files, its refusals."""

import json

import numpy as np
import pytest

from moon_rec.command import run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.tracking import Tracker
from representation.benchmark import main

SMALL = ["--labelled", "gallery", "--set", "num_resamples=20", "--set", "num_queries=12"]


@pytest.fixture(scope="module")
def tables(little_shop, tmp_path_factory):
    """Random vectors of products and searches."""
    random, out = np.random.default_rng(0), tmp_path_factory.mktemp("tables")
    for name, key in (("items", "item_id"), ("searches", "search_id")):
        ids = getattr(little_shop, name).select(key).collect()[key].to_numpy()
        table = EmbeddingTable.from_arrays(
            ids, random.normal(size=(len(ids), 6)).astype(np.float32)
        )
        table.save(out / name)
    return out


def test_tables_of_unlike_coverage_are_told_by_name(little_shop, tables, tmp_path, capsys):
    """Half of the vectors: their products are never found, and both are named."""
    whole = EmbeddingTable.open(tables / "items")
    EmbeddingTable.from_arrays(whole.ids[::2], whole.vectors[::2]).save(tmp_path / "half")
    arguments = [str(little_shop.path), "--tables", f"whole={tables}/items,{tables}/searches"]
    arguments += ["--tables", f"half={tmp_path}/half,{tables}/searches"]
    assert run(main, [*arguments, "--out", str(tmp_path / "out"), *SMALL, "--set", "ks=[48]"]) == 0
    said = capsys.readouterr().out
    assert "half: coverage: 24 of 48 (50.0%) items have a vector" in said
    assert "unlike coverage of items: whole 48 of 48 (100.0%), half 24 of 48 (50.0%)" in said
    record = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert record["coverage"]["half"] == {"items": {"count": 24, "total": 48}}
    found = [one["retrieval"]["image->both"]["recall@48"] for one in record["results"]]
    assert found[0]["value"] == 1 and found[1]["value"] < 1
    assert found[0]["count"] == found[1]["count"]


def test_an_encoder_and_tables_side_by_side(little_shop, encoder_path, tables, tmp_path, capsys):
    out, uri = tmp_path / "out", f"sqlite:///{tmp_path}/runs.db"
    brought = f"brought={tables}/items,{tables}/searches"
    arguments = [str(little_shop.path), "--encoder", f"tiny={encoder_path}", "--tables", brought]
    arguments += ["--out", str(out), "--track", uri, *SMALL]
    assert run(main, arguments) == 0
    found = json.loads((out / "benchmark.json").read_text())
    assert [one["name"] for one in found["results"]] == ["tiny", "brought"]
    tiny, brought = found["results"]
    assert all("recall@10" in cell for cell in tiny["retrieval"].values())
    assert brought["retrieval"]["text->both"]["recall@10"]["count"] == 12
    assert tiny["classification"]["attribute colour"]["image"]["num_labels"] == 8
    assert found["set"]["is_simulated"] and found["set"]["queries"]["product"] == 12
    assert "text->both" in found["recall@10 minus the first"]["brought"]
    assert (out / "benchmark.png").stat().st_size > 10_000
    assert "SIMULATED" in (out / "benchmark.md").read_text()
    assert "Retrieval, recall@10" in capsys.readouterr().out
    runs = Tracker(uri).runs(kind="benchmark")
    assert {one["params"]["name"] for one in runs} == {"tiny", "brought"}
    value = tiny["retrieval"]["image->image"]["recall@5"]["value"]
    logged = next(one for one in runs if one["params"]["name"] == "tiny")
    assert logged["metrics"]["retrieval/image_to_image/recall@5"] == value
    before = {path: path.stat().st_mtime_ns for path in (out / "vectors").rglob("*.safetensors")}
    arguments = [*arguments[: arguments.index("--track")], *SMALL, "--overwrite"]
    assert run(main, arguments) == 0
    assert before == {
        path: path.stat().st_mtime_ns for path in (out / "vectors").rglob("*.safetensors")
    }
    again = json.loads((out / "benchmark.json").read_text())
    assert timeless(again) == timeless(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SHOP"], "nothing to measure"),
        (["--encoder", "x"], "one of the two"),
        (["SHOP", "--published", "mbe:x", "--encoder", "x"], "one of the two"),
        (["--published", "mbe", "--encoder", "x"], "wanted KIND:DIR"),
        (["SHOP", "--encoder", "x=", "--tables", "y=z"], "wanted DIR or NAME=DIR"),
        (["SHOP", "--tables", "items"], "wanted NAME=ITEMS_DIR"),
        (["SHOP", "--encoder", "a/x", "--encoder", "b/x"], "two contestants are called 'x'"),
        (["SHOP", "--tables", "y=nowhere"], "no embedding table at nowhere"),
        (["SHOP", "--encoder", "./nowhere"], "nowhere"),
        (["SHOP", "--encoder", "x", "--set", "attribute_wording=what"], "it must hold {label}"),
        (["SHOP", "--encoder", "x", "--set", "category_wording={brand}"], "only {label}"),
        (["SHOP", "--encoder", "x", "--set", "ks=[0]"], "ks.0 = 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(little_shop, tmp_path, capsys, arguments, words):
    given = [str(little_shop.path) if word == "SHOP" else word for word in arguments]
    out = tmp_path / "out"
    assert run(main, [*given, "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and words in error
    assert not out.exists()


def timeless(found: dict) -> dict:
    for one in found["results"]:
        one.pop("seconds")
    return found
