"""Products with enriched titles and expanded pictures: in the steps that have them, in training alone."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from moon_rec.errors import ConfigError, EncoderError
from moon_rec.files import read_json
from representation.co_augmentation.files import read_augmentation
from representation.co_augmentation.shown import CoAugmented, check_co_augmentation
from representation.encoder import ProductEncoder
from representation.model.pixels import square
from representation.model.prompt import product_texts
from representation.posttraining import PosttrainConfig, posttrain
from representation.posttraining.preparation import prepare
from representation.posttraining.train import PostTraining
from tests.representation.co_augmentation.conftest import COLOURS, painted

BOTH = "title+image->richer-text+image"
MIXTURE = {"title+image->title+image": 1.0}


def config_of(folder, **values) -> PosttrainConfig:
    given = {"steps": 4, "batch_size": 6, "mixture": MIXTURE, "log_every": 1}
    augmented = {"folder": str(folder), "share": 1.0, **values.pop("augmented", {})}
    return PosttrainConfig(**{**given, "co_augmentation": augmented, **values})


def batches_of(shop, encoder, config, folder, rank=0, world_size=1):
    found = read_augmentation(folder, shop)
    return prepare(shop, config, encoder, None, rank, world_size, augmentation=found).batches


def pictures_in(inputs, encoder) -> np.ndarray:
    """The squares of a batch `(rows, pictures, side, side, 3)`, from its patches, undone by looking each up."""
    return inputs.pixels.unflatten(0, (len(inputs), -1))


def patches(encoder, pixels: np.ndarray) -> torch.Tensor:
    return encoder.layout.pixels(pixels[None].copy())[0]


def own_squares(shop) -> dict[int, np.ndarray]:
    from moon_rec.shop.pictures import decode

    rows = shop.items.select("item_id", "image").collect().drop_nulls().iter_rows()
    return {item_id: square(decode(data), 16) for item_id, data in rows}


def kinds_of(item_id: int) -> list[str]:
    return list(COLOURS)[: 2 if item_id % 3 == 0 else 4]


def near(one, other) -> bool:
    return bool((one - other).abs().max() < 0.35)  # JPEG


def test_a_row_is_both_titles_and_one_picture_more_than_n_c(little_shop, encoder, folder):
    """h of (2L + (n_c + 1) V) x D: each row of a batch against one composed by hand, and its vector against the mean of the states of that."""
    config = config_of(folder, augmented={"num_pictures": 3})
    batch = batches_of(little_shop, encoder, config, folder).make(0)
    items = little_shop.items.collect()
    own, composer = own_squares(little_shop), encoder.composer
    shown = pictures_in(batch.items, encoder)
    assert shown.shape[1] == 4
    vectors = encoder.embed(batch.items)
    for place, item_id in enumerate(batch.item_ids.tolist()):
        title = product_texts(items.filter(pl.col("item_id") == item_id), "title")[0]
        text = composer.texts([title], 24)[0]
        if item_id % 2:
            text = text + composer.texts([f" | {title} splendid"], 24)[0]
        row = composer.row(composer.prompt("<|product|>"), 4, text)
        real = batch.items.mask[place]
        assert batch.items.token_ids[place][real].tolist() == row
        assert row.count(encoder.module.config.image_token_id) == 4 * encoder.layout.num_tokens
        wanted = [patches(encoder, painted(item_id, kind)) for kind in kinds_of(item_id)]
        wanted.append(patches(encoder, own[item_id]))
        assert torch.equal(shown[place][0], wanted[-1])
        found = [next(at for at, one in enumerate(wanted) if near(each, one)) for each in shown[place][1:]]  # fmt: skip
        drawn = [at for at in found if at < len(wanted) - 1]
        assert len(set(drawn)) == len(drawn) == min(3, len(wanted) - 1)
        alone = composer.batch([row], None)
        alone.pixels = shown[place]
        with torch.inference_mode():
            states = encoder.backbone.output_states(alone, causal=False)[0]
        mean = torch.nn.functional.normalize(states.sum(dim=0) / len(row), dim=0)
        torch.testing.assert_close(vectors[place].detach(), mean, rtol=0, atol=2e-5)


def test_queries_and_alignment_within_a_product_stay_plain(little_shop, encoder, folder):
    settings = {"hard_negatives": 1, "hard_negative_kinds": ("category",), "alignment": {}}
    config = config_of(folder, **settings)
    plain = PosttrainConfig(**{**config.model_dump(), "co_augmentation": None})
    one = batches_of(little_shop, encoder, config, folder).make(1)
    other = prepare(little_shop, plain, encoder).batches.make(1)
    assert torch.equal(one.item_ids, other.item_ids) and torch.equal(one.blocked, other.blocked)
    for mine, theirs in (
        (one.queries, other.queries),
        *zip(one.query_views.values(), other.query_views.values(), strict=True),
        *zip(one.item_views, other.item_views, strict=True),
    ):
        assert torch.equal(mine.token_ids, theirs.token_ids)
        assert mine.pixels is None or torch.equal(mine.pixels, theirs.pixels)
    assert one.hard is not None and other.hard is not None
    for mine, theirs in ((one.items, other.items), (one.hard.items, other.hard.items)):
        assert len(mine.pixels) == 3 * len(theirs.pixels)
        assert mine.num_tokens > theirs.num_tokens
    assert len(one.query_views) == 2 and len(one.item_views) == 2


def test_processes_make_the_rows_that_one_makes(little_shop, encoder, folder):
    config = config_of(folder, hard_negatives=2, hard_negative_kinds=("category",))
    whole = batches_of(little_shop, encoder, config, folder).make(2)
    parts = [batches_of(little_shop, encoder, config, folder, rank, 2).make(2) for rank in (0, 1)]
    for side in ("items", "hard"):
        mine = [getattr(part, side) for part in parts]
        theirs = getattr(whole, side)
        if side == "hard":
            mine, theirs = [part.items for part in mine], theirs.items
        assert torch.equal(torch.cat([part.pixels for part in mine]), theirs.pixels)


def test_a_share_of_the_steps_has_them_and_the_others_are_plain(little_shop, encoder, folder):
    config = config_of(folder, steps=24, augmented={"share": 0.4})
    batches = batches_of(little_shop, encoder, config, folder)
    each = [pictures_in(batches.make(step).items, encoder).shape[1] for step in range(24)]
    assert set(each) == {1, 3} and 4 <= each.count(3) <= 16
    again = batches_of(little_shop, encoder, config, folder)
    assert [pictures_in(again.make(step).items, encoder).shape[1] for step in (7, 3)] == [each[7], each[3]]  # fmt: skip


@pytest.mark.parametrize("form", ["title+image", "richer-text+image", "image", "richer-text"])
def test_in_place_of_the_own_a_row_keeps_its_form(little_shop, encoder, folder, form):
    """As many pictures and one text, of another product's form in nothing; where nothing was made, the own."""
    query = "image" if form == "image" else "text"
    mixture = {f"{query}->{form}": 1.0}
    instead = {"titles": "instead", "pictures": "instead"}
    config = config_of(folder, mixture=mixture, augmented=instead, own_words_share=None)
    batch = batches_of(little_shop, encoder, config, folder).make(0)
    items, own = little_shop.items.collect(), own_squares(little_shop)
    for place, item_id in enumerate(batch.item_ids.tolist()):
        product = items.filter(pl.col("item_id") == item_id)
        if item_id % 2:
            product = product.with_columns(title=pl.lit(f"{product['title'][0]} splendid"))
        if form != "image":
            kind = "richer" if "richer" in form else "title"
            length = 48 if kind == "richer" else 24
            text = encoder.composer.texts(product_texts(product, kind), length)[0]
            row = batch.items.token_ids[place][batch.items.mask[place]].tolist()
            assert row[len(row) - len(text) :] == text
        if "image" in form:
            seen = pictures_in(batch.items, encoder)[place]
            assert len(seen) == 1 and not torch.equal(seen[0], patches(encoder, own[item_id]))
            assert any(near(seen[0], patches(encoder, painted(item_id, kind))) for kind in kinds_of(item_id))  # fmt: skip


def test_never_at_test_time(little_shop, encoder_path, folder, tmp_path, monkeypatch):
    """What is saved knows nothing of it, and embeds the plain row, also when the folder is gone and its code cannot run."""
    away = shutil.copytree(folder, tmp_path / "augmented")
    config = config_of(away, steps=2)
    (made,) = posttrain(little_shop, tmp_path / "out", config, encoder_path)
    assert read_json(made.path / "posttraining_log.json")["co_augmentation"]
    shutil.rmtree(away)
    for name in ("of", "is_in"):
        monkeypatch.delattr(CoAugmented, name)
    found, start = (
        ProductEncoder.from_pretrained(path, "cpu") for path in (made.path, encoder_path)
    )
    assert found.config == start.config
    assert "augment" not in (made.path / "moon_rec.json").read_text()
    seen = []
    monkeypatch.setattr(found, "prepare", lambda *given: seen.append(given) or start.prepare(*given))  # fmt: skip
    few = little_shop.items.head(5).collect()
    vectors = found.encode_items(few, progress=False)
    monkeypatch.undo()
    texts = [row for _, tokens, _ in seen for row in tokens]
    assert sorted(texts) == sorted(start.tokens(product_texts(few, "richer"), "item", "richer"))
    assert all(pictures is None or pictures.shape[1:] == (16, 16, 3) for *_, pictures in seen)
    images = np.stack([own_squares(little_shop)[key] for key in few["item_id"]])
    rows = found.prepare("item", found.tokens(product_texts(few, "richer"), "item", "richer"), images)  # fmt: skip
    with torch.inference_mode():
        np.testing.assert_allclose(vectors, found.embed(rows).numpy(), atol=1e-5)
    assert np.abs(vectors - start.encode_items(few, progress=False)).max() > 1e-4


def test_a_training_goes_on_only_from_the_same_co_augmentation(little_shop, folder, tmp_path):
    stage = PostTraining(little_shop, config_of(folder))
    other = shutil.copytree(folder, tmp_path / "other")
    assert stage.reads() == PostTraining(little_shop, config_of(other)).reads()
    (other / "titles.parquet").write_bytes(b"PAR1")
    with pytest.raises(EncoderError, match=r"titles\.parquet has SHA-256 .* it was changed"):
        PostTraining(little_shop, config_of(other))


def test_an_encoder_that_reads_one_picture_is_refused_beside(folder):
    class Towers:
        modalities = frozenset({"text", "image"})

    class Words:
        modalities = frozenset({"text"})

    for encoder, values, says in (
        (Towers(), {}, "titles = 'beside': only a language model reads several"),
        (Towers(), {"titles": "none"}, "pictures = 'beside': only a language model"),
        (Words(), {"titles": "instead"}, "pictures = 'beside': the encoder reads text alone"),
        (Words(), {"pictures": "none"}, "titles = 'beside': only a language model"),
    ):
        with pytest.raises(ConfigError, match=says):
            check_co_augmentation(config_of(folder, augmented=values).co_augmentation, encoder)  # type: ignore[arg-type]
    instead = {"titles": "instead", "pictures": "instead"}
    check_co_augmentation(config_of(folder, augmented=instead).co_augmentation, Towers())  # type: ignore[arg-type]
