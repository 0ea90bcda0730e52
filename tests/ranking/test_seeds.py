"""`--seeds`: several trainings in one command, scored and compared as one ranker."""

import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from ranking.evaluate import main as evaluate_main
from ranking.judging.side_by_side import main as compare_main
from ranking.train import main as train_main
from ranking.trained import TrainedRanker
from ranking.training import course
from ranking.training.course import train_on_rank

SMALL = ["--set", "batch_size=512", "--set", "tower=[8]", "--set", "seed=5", "--set", "epochs=1"]


def shop_and_out(planted, folder, *words):
    return [str(planted.shop.path), "--out", str(folder), *SMALL, *words]


@pytest.fixture(scope="module")
def trained(planted, tmp_path_factory):
    """Ids and vectors, two seeds each; and how often a table of vectors was opened."""
    folder = tmp_path_factory.mktemp("seeds")
    planted.items.save(folder / "items")
    opened = []
    patch = pytest.MonkeyPatch()
    real = EmbeddingTable.open
    patch.setattr(EmbeddingTable, "open", lambda path: opened.append(path) or real(path))
    train_main(shop_and_out(planted, folder / "ids", "--seeds", "2"))
    vectors = ["--content", "vector", "--items", str(folder / "items")]
    train_main(shop_and_out(planted, folder / "vector", "--seeds", "2", *vectors))
    patch.undo()
    return folder, opened


def test_seeds_are_trained_one_after_another_with_vectors_opened_once(planted, trained, tmp_path):
    folder, opened = trained
    assert sorted(path.name for path in (folder / "ids").iterdir()) == ["seed-5", "seed-6"]
    assert len(opened) == 1
    for seed in (5, 6):
        assert TrainedRanker.load(folder / "ids" / f"seed-{seed}").config.seed == seed
    with pytest.raises(RankingError, match="it holds those of seed-5, seed-6: name one"):
        TrainedRanker.load(folder / "ids")
    train_main(shop_and_out(planted, tmp_path / "alone", "--set", "seed=6"))
    files = [one / "weights.safetensors" for one in (tmp_path / "alone", folder / "ids" / "seed-6")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_folder_of_seeds_is_scored_and_compared_as_one_ranker(planted, trained, capsys):
    folder, _ = trained
    shop, few = str(planted.shop.path), ["--resamples", "20"]
    ids, vector = (str(folder / name) for name in ("ids", "vector"))
    evaluate_main([ids, shop, "--out", f"{ids}_scores", *few])
    said = capsys.readouterr().out
    assert "seed-5:" in said and "seed-6:" in said
    assert "over 2 seeds of this ranker: mean, least to most" in said
    items = ["--items", str(folder / "items")]
    evaluate_main([vector, shop, "--out", f"{vector}_scores", *items, *few])
    tables = [
        pl.read_parquet(f"{one}_scores/seed-{seed}/scores.parquet")
        for one in (ids, vector)
        for seed in (5, 6)
    ]
    assert len({str(table["score"].sum()) for table in tables}) == 4
    capsys.readouterr()
    compare_main([f"{ids}_scores", f"{vector}_scores", *few])
    said = capsys.readouterr().out
    assert "seeds: 2" in said and "over users and seeds" in said
    assert "planted (simulated), test period" in said
    with pytest.raises(RankingError, match="holds the scores of several seeds already"):
        evaluate_main([f"{ids}/seed-5", shop, "--out", f"{ids}_scores", *few])


def test_seeds_that_failed_half_way_are_gone_on_with(planted, tmp_path, monkeypatch, capsys):
    out, trainings = tmp_path / "ids", []

    def fails_at_six(tables, config, *others, **named):
        trainings.append(config.seed)
        if config.seed == 6 and trainings.count(6) == 1:
            raise RankingError("training diverged")
        return train_on_rank(tables, config, *others, **named)

    monkeypatch.setattr(course, "train_on_rank", fails_at_six)
    words = shop_and_out(planted, out, "--seeds", "3")
    with pytest.raises(
        RankingError, match=r"seed-6: training diverged; finished seeds are kept.*--resume"
    ):
        train_main(words)
    before = (out / "seed-5" / "ranker.json").read_bytes()
    with pytest.raises(RankingError, match=r"exists already.* or go on with --resume"):
        train_main(words)
    with pytest.raises(RankingError, match="seed-5 was trained with other settings"):
        train_main([*words, "--resume", "--set", "epochs=2"])
    with pytest.raises(RankingError, match="seed-5 was trained with other tables"):
        train_main([*words, "--resume", "--feature", "history_length=3"])
    assert trainings == [5, 6]
    train_main([*words, "--resume"])
    assert trainings == [5, 6, 6, 7]
    assert (out / "seed-5" / "ranker.json").read_bytes() == before
    assert "seed-5: trained already" in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in out.iterdir()) == ["seed-5", "seed-6", "seed-7"]


def test_a_seed_goes_on_from_its_own_checkpoint(planted, tmp_path, monkeypatch):
    out, folders = tmp_path / "ids", []

    def watched(tables, config, *others, checkpoints, **named):
        folders.append(checkpoints.folder.relative_to(tmp_path))
        found = train_on_rank(tables, config, *others, checkpoints=checkpoints, **named)
        if len(folders) == 2:
            raise RankingError("the lights went out")
        return found

    monkeypatch.setattr(course, "train_on_rank", watched)
    words = shop_and_out(planted, out, "--seeds", "2", "--checkpoint-every", "2")
    with pytest.raises(RankingError, match="lights"):
        train_main(words)
    assert [str(one) for one in folders] == ["ids.checkpoints/seed-5", "ids.checkpoints/seed-6"]
    assert any((tmp_path / "ids.checkpoints" / "seed-6").iterdir())
    train_main([*words, "--resume"])
    assert len(folders) == 3 and not (tmp_path / "ids.checkpoints").exists()
