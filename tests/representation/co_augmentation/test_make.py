"""What is written, cut out, scored and kept, and the folder of it."""

import io
import itertools

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

from moon_rec.errors import ConfigError, EncoderError
from moon_rec.files import read_json
from representation.co_augmentation import make
from representation.co_augmentation.config import KINDS, AugmentConfig
from representation.co_augmentation.cut_out import (
    CutOut,
    cut_out,
    detail,
    on_ground,
    perspective,
    tilted,
)
from representation.co_augmentation.edited import PROMPTS, EditedPictures
from representation.co_augmentation.files import read_augmentation
from representation.co_augmentation.generator import Product
from representation.co_augmentation.image_title_filter import (
    ImageTitleFilter,
    is_kept,
    least_score,
)
from representation.co_augmentation.make import augment
from representation.co_augmentation.titles import TemplateTitles, products_of
from representation.co_augmentation.written import ENRICH, WrittenTitles
from representation.curation.entities import Gazetteer
from tests.representation.co_augmentation.conftest import Painter, Writer


def planted(ground=(200, 215, 205)) -> Image.Image:
    """A product of two colours with a small mark at its lower right, on a ground of one colour."""
    picture = Image.new("RGB", (64, 64), ground)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((14, 18, 49, 45), fill=(40, 60, 160))
    for place in range(36, 46, 2):
        pen.line((place, 34, place, 42), fill=(250, 240, 30))
    return picture


def of(picture: Image.Image, item_id: int = 7, title: str = "a mug") -> Product:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Product(item_id, title, image=buffer.getvalue())


def test_the_clean_picture_is_the_product_alone_on_white():
    clean = cut_out(planted(), 64)
    assert clean is not None and clean.pixels.shape == (64, 64, 3)
    product = clean.share[..., 0] > 0.99
    assert (clean.pixels[clean.share[..., 0] == 0] == 255).all()
    rows, columns = np.flatnonzero(product.any(1)), np.flatnonzero(product.any(0))
    assert abs(columns[0] - (63 - columns[-1])) <= 2 and abs(rows[0] - (63 - rows[-1])) <= 2
    blue = (np.abs(clean.pixels.astype(int) - (40, 60, 160)).max(axis=2) < 12) & product
    assert blue.sum() > 0.7 * product.sum()
    assert cut_out(Image.new("RGB", (30, 30), (9, 9, 9)), 64) is None


def test_another_ground_leaves_the_product_and_changes_the_rest():
    clean = cut_out(planted(), 64)
    assert clean is not None
    found = on_ground(clean, planted((90, 20, 20)), np.random.default_rng(0))
    inside, outside = clean.share[..., 0] == 1, clean.share[..., 0] == 0
    assert (found[inside] == clean.pixels[inside]).all()
    assert (found[outside] == 255).all(axis=1).mean() < 0.05
    other = on_ground(clean, planted((90, 20, 20)), np.random.default_rng(1))
    assert (found != other)[outside].any(axis=1).mean() > 0.9


def test_a_view_maps_corners_to_corners():
    """The eight coefficients against the map that they stand for, and nothing moved where no corner is."""
    random = np.random.default_rng(0)
    seen = np.array([[0, 0], [0, 9], [9, 9], [9, 0]], float)
    shown = seen + random.uniform(-2, 2, seen.shape)
    a, b, c, d, e, f, g, h = perspective(seen, shown)
    for (x, y), (u, v) in zip(seen, shown, strict=True):
        below = g * x + h * y + 1
        np.testing.assert_allclose([(a * x + b * y + c) / below, (d * x + e * y + f) / below], [u, v])  # fmt: skip
    np.testing.assert_allclose(perspective(seen, seen), [1, 0, 0, 0, 1, 0, 0, 0], atol=1e-12)
    clean = cut_out(planted(), 64)
    assert clean is not None
    views = [tilted(clean, np.random.default_rng(seed)) for seed in range(8)]
    assert all((view != clean.pixels).any() for view in views)
    assert all((view[0] == 255).mean() > 0.9 for view in views)


def test_a_detail_is_where_the_edges_are():
    clean = cut_out(planted(), 64)
    assert clean is not None
    yellow = np.abs(detail(clean).astype(int) - (250, 240, 30)).max(axis=2) < 60
    before = np.abs(clean.pixels.astype(int) - (250, 240, 30)).max(axis=2) < 60
    assert yellow.sum() > 2 * before.sum() > 0


def test_pictures_depend_on_seed_and_product_alone():
    def made(item_id, seed):
        found = CutOut(lambda random: planted((90, 20, 20)), 48, seed).expanded(
            of(planted(), item_id), KINDS
        )
        return {kind: np.asarray(picture) for kind, picture in found.items()}

    one, again, other, reseeded = made(7, 0), made(7, 0), made(8, 0), made(7, 1)
    assert set(one) == set(KINDS) and all(picture.shape == (48, 48, 3) for picture in one.values())
    for kind in KINDS:
        assert (one[kind] == again[kind]).all()
        is_drawn = kind in ("background", "view")
        assert (one[kind] != other[kind]).any() == is_drawn
        assert (one[kind] != reseeded[kind]).any() == is_drawn
    few = CutOut(lambda random: planted(), 48, 0).expanded(of(planted()), ("view",))
    assert (np.asarray(few["view"]) == one["view"]).all()
    assert CutOut(lambda random: planted(), 48, 0).expanded(of(Image.new("RGB", (9, 9))), KINDS) == {}  # fmt: skip


def test_a_title_gains_the_entities_that_it_does_not_name(little_shop):
    items = little_shop.items.filter(pl.col("item_id").is_in([101, 102, 105])).collect()
    products = products_of(items, [None] * 3, Gazetteer.of_shop(little_shop, fold_plural=False))
    first = products[0]
    assert first.title == "green mug pale"
    assert first.in_title == {"green", "mug"} and first.unsaid == ("maker1",)
    assert set(first.entities) == {"green", "mug", "maker1"}
    wanted = {"green mug pale, maker1", "maker1: green mug pale", "green mug pale (maker1)"}
    seeds = [TemplateTitles(seed).enriched(products)[0] for seed in range(12)]
    assert set(seeds) == wanted
    assert products[2].unsaid == () and TemplateTitles(0).enriched(products)[2] == ""
    assert TemplateTitles(3).enriched(products[:1]) == [seeds[3]]
    bare = Product(1, "", ("red", "mug"))
    assert TemplateTitles(0).enriched([bare]) == ["red, mug"]


def test_the_filters_score_is_the_cosine_of_picture_and_title(encoder, little_shop):
    few = little_shop.items.head(4).collect()
    pictures, titles = few["image"].to_list(), few["title"].to_list()
    pictures[2], titles[3] = None, ""
    found = ImageTitleFilter(encoder).scores(pictures, titles)
    assert np.isnan(found[2:]).all() and is_kept(found, 2.0).tolist() == [False, False, True, True]
    for row in (0, 1):
        item = encoder.encode_items(few[row], "image", progress=False)[0]
        said = pl.DataFrame({"query_text": [titles[row]]})
        query = encoder.encode_queries(said, progress=False)[0]
        assert found[row] == pytest.approx(float(sum(item * query)), abs=1e-5)


def test_a_pair_is_kept_from_the_threshold_or_the_quantile_on():
    scores = np.array([0.4, np.nan, 0.1, 0.3, 0.2], np.float32)
    for threshold, kept in ((0.3, 2), (0.31, 1), (-1.0, 4), (1.0, 0)):
        found = is_kept(scores, least_score(scores, AugmentConfig(threshold=threshold)))
        assert found.sum() == kept + 1 and found[1]  # what has no score is kept
    for quantile, kept in ((0.0, 4), (0.34, 3), (0.67, 2), (0.99, 2)):
        found = is_kept(scores, least_score(scores, AugmentConfig(quantile=quantile)))
        assert found.sum() == kept + 1, quantile
    assert least_score(np.full(2, np.nan), AugmentConfig()) is None


class Scorer:
    """A filter whose scores are told: titles by turn, pictures by kind."""

    about = {"encoder": "told"}  # noqa: RUF012

    def scores(self, pictures, titles):
        value = itertools.cycle([0.1, 0.9])
        return np.array([next(value) for _ in titles])


def test_the_folder_holds_what_was_kept_and_says_what_was_made(little_shop, tmp_path, capsys):
    config = AugmentConfig(pictures=("clean", "detail"), threshold=0.5)
    counts = augment(little_shop, tmp_path / "out", config, Writer(), Painter(), Scorer())  # type: ignore[arg-type]
    about = read_json(tmp_path / "out" / "augmentation.json")
    titles, pictures = (pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("titles", "pictures"))  # fmt: skip
    assert about["shop"]["digest"] == little_shop.digest and about["made"] == counts.made
    assert counts.products == 44 and counts.pictured == 43
    assert counts.made == {"titles": 22, "clean": 43, "detail": 43}
    assert counts.kept["titles"] == titles.height == 22  # titles at odd places score .9
    assert counts.kept["clean"] + counts.kept["detail"] == pictures.height == 43
    assert (titles["score"] >= 0.5).all() and (pictures["score"] >= 0.5).all()
    late = little_shop.items.filter(pl.col("listed_at") >= little_shop.cut_time).collect()
    assert not set(late["item_id"]) & (set(titles["item_id"]) | set(pictures["item_id"]))
    assert "zzlate" not in str(titles.to_dicts())
    assert "clean: 43 made, 0 kept (a cosine of 0.500 or more; 0 unscored)" in capsys.readouterr().err  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["augmentation.json", "pictures.parquet", "sheet.png", "titles.parquet"]  # fmt: skip
    opened = read_augmentation(tmp_path / "out", little_shop)
    assert pl.concat(opened.pieces())["image"].to_list() == pictures["image"].to_list()


def test_how_many_are_made_at_once_changes_nothing(little_shop, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "PIECE", 7)
    monkeypatch.setattr(make, "contact_sheet", lambda *given: None)
    monkeypatch.setattr(make, "save", lambda figure, path: path.touch())
    augment(little_shop, tmp_path / "out", AugmentConfig(), Writer(), Painter())
    for name in ("titles.parquet", "pictures.parquet"):
        assert pl.read_parquet(tmp_path / "out" / name).equals(pl.read_parquet(folder / name))


class Breaks(Painter):
    def expanded(self, product, kinds):
        if product.item_id > 120:
            raise EncoderError("out of paint")
        return super().expanded(product, kinds)


def test_a_run_that_ends_early_leaves_nothing(little_shop, tmp_path):
    with pytest.raises(EncoderError, match="out of paint"):
        augment(little_shop, tmp_path / "out", AugmentConfig(), Writer(), Breaks())
    assert not list(tmp_path.iterdir())


class Nothing:
    about = {}  # noqa: RUF012

    def enriched(self, products):
        return [one.title for one in products]

    def expanded(self, product, kinds):
        return {}


def test_nothing_made_is_refused(little_shop, tmp_path):
    with pytest.raises(EncoderError, match="nothing was made of its 44 products"):
        augment(little_shop, tmp_path / "out", AugmentConfig(), Nothing(), Nothing())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="nothing is left to make"):
        from moon_rec.config import make_config

        make_config(AugmentConfig, {"titles": False, "pictures": ()})


def test_a_model_writes_what_it_is_asked_for_greedily(encoder, little_shop, monkeypatch):
    from representation.pretraining import grading

    few = little_shop.items.filter(pl.col("item_id").is_in([101, 107])).collect()
    recogniser = Gazetteer.of_shop(little_shop, fold_plural=False)
    products = products_of(few, few["image"].to_list(), recogniser)
    writer = WrittenTitles(encoder, "small", most_tokens=4)
    asked = []
    plain = grading.Dialogue.questions

    def seen(self, words, contexts, has):
        asked.extend(zip(words, contexts, has, strict=True))
        return plain(self, words, contexts, has)

    monkeypatch.setattr(grading.Dialogue, "questions", seen)
    found = writer.enriched(products)
    assert asked == [(ENRICH, "green mug pale | maker1", True), (ENRICH, "grey lamp pale | maker1", False)]  # fmt: skip
    assert found == writer.enriched(products[:1]) + writer.enriched(products[1:])
    asked.clear()
    assert len(writer.for_pictures(few.filter(pl.col("item_id") == 101))) == 1
    assert asked == [("Write the product's title.", "", True)]
    with pytest.raises(
        EncoderError, match="towers: this encoder has no language model that writes"
    ):
        WrittenTitles(object(), "towers")  # type: ignore[arg-type]


def test_an_editing_function_gets_the_clean_picture_and_the_prompt():
    calls = []

    def edit(picture, prompt):
        calls.append((picture.size, prompt))
        return Image.new("RGB", (10 + len(calls), 10))

    found = EditedPictures(edit, "pipeline").expanded(of(planted()), ("view", "clean"))
    assert calls == [
        ((64, 64), PROMPTS["clean"].format(title="a mug")),
        ((11, 10), PROMPTS["view"].format(title="a mug")),
    ]
    assert found["clean"].size == (11, 10) and found["view"].size == (12, 10)
    with pytest.raises(
        EncoderError, match="pipeline gave NoneType for the clean picture of item 7"
    ):
        EditedPictures(lambda picture, prompt: None, "pipeline").expanded(of(planted()), KINDS)  # type: ignore[arg-type, return-value]
