"""Recall with pictures or words missing: what is drawn, what is shown of it, what completing it brings."""

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import EncoderError
from moon_rec.shares import mean_share
from representation.co_augmentation.completion import NearestProduct, WrittenWords
from representation.metrics.missing_modality import measure_missing

SHAPES = {"mug": 0, "lamp": 1, "bag": 2, "hat": 3}


class Telling:
    """Reads a product's colour from its picture and its shape from its title, and nothing else; notes what it is shown."""

    modalities = frozenset({"text", "image"})
    dim, widths, digest = 8, (8,), "0" * 16

    def __init__(self, colours):
        self.colours, self.shown = colours, []

    def encode_items(self, frame, modality="both", batch_size=256, progress=True):
        self.shown.append((modality, frame))
        return self._vectors(
            frame["title"] if modality != "image" and "title" in frame.columns else [None] * frame.height,
            frame["image"] if modality != "text" and "image" in frame.columns else [None] * frame.height,
        )  # fmt: skip

    def encode_queries(self, frame, batch_size=256, progress=True):
        return self._vectors(frame["query_text"], frame["query_image"])

    def _vectors(self, titles, images):
        found = np.full((len(titles), 8), 0.01, np.float32)
        for row, (title, image) in enumerate(zip(titles, images, strict=True)):
            for shape, place in SHAPES.items():
                found[row, place] += shape in (title or "")
            if image is not None:
                found[row, 4 + self.colours.get(image, len(image) % 4)] += 1
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def encoder(little_shop) -> Telling:
    items = little_shop.items.collect()
    names = ["red", "green", "blue", "grey"]
    colours = {
        image: names.index(title.split()[0])
        for image, title in items.select("image", "title").iter_rows()
        if image is not None
    }
    return Telling(colours)


class Noted(NearestProduct):
    """Notes who lacks what, and who is known."""

    def __init__(self, encoder):
        super().__init__(encoder)
        self.lacked = {"titles": [], "pictures": []}

    def titles(self, lacking, known):
        self.lacked["titles"].append((lacking, known))
        return super().titles(lacking, known)

    def pictures(self, lacking, known):
        self.lacked["pictures"].append((lacking, known))
        return super().pictures(lacking, known)


def test_lacking_products_are_nested_and_what_they_lack_is_not_shown(little_shop, encoder):
    noted = Noted(encoder)
    rows = measure_missing(little_shop, encoder, noted, k=5)
    assert {(row.lacking, row.share) for row in rows} == {
        (what, share) for what in ("pictures", "texts") for share in (0.0, 0.25, 0.5, 1.0)
    }
    for what, key, hidden in (("pictures", "pictures", "image"), ("texts", "titles", "title")):
        asked = noted.lacked[key]
        ids = [set(lacking["item_id"]) for lacking, _ in asked]
        assert ids[0] < ids[1] < ids[2]
        for lacking, known in asked:
            assert hidden not in lacking.columns
            assert not set(lacking["item_id"]) & set(known["item_id"])
        of_share = {row.share: row.num_lacking for row in rows if row.lacking == what}
        assert of_share[0.0] == 0 and of_share[1.0] == (47 if what == "pictures" else 48)
        assert 0.1 * 48 < of_share[0.25] < 0.4 * 48 and 0.3 * 48 < of_share[0.5] < 0.7 * 48
    # whose words are missing and who has no picture is not asked for, and never found
    assert len(noted.lacked["titles"][-1][0]) == 47


def test_recall_is_that_of_a_gallery_written_out(little_shop, encoder):
    """Whole, by words alone, and completed: each against a loop over searches, and the paired difference's interval."""
    rows = measure_missing(little_shop, encoder, NearestProduct(encoder), k=5, shares=(0.5,), missing=("pictures",))  # fmt: skip
    from moon_rec.seeds import generator
    from moon_rec.shop.engagement import engagements

    items = little_shop.items.sort("item_id").collect()
    lacks = (generator(0, "missing", "pictures").random(48) < 0.5) & items["image"].is_not_null().to_numpy()  # fmt: skip
    images = items["image"].to_list()
    without = [None if lost else image for lost, image in zip(lacks, images, strict=True)]
    donors = [row for row in range(48) if not lacks[row] and images[row] is not None]
    said = encoder._vectors(items["title"], [None] * 48)
    filled = [
        images[donors[int(np.argmax(said[donors] @ said[row]))]] if lacks[row] else image
        for row, image in enumerate(without)
    ]
    galleries = [encoder._vectors(items["title"], shown) for shown in (without, filled)]
    searches = little_shop.in_period(little_shop.searches, "test").sort("search_id").collect()
    queries = encoder.encode_queries(searches)
    engaged = engagements(little_shop, kind="purchased", period="test").collect()
    for row in rows:
        text, image = (searches[name].is_not_null() for name in ("query_text", "query_image"))
        kinds = {"image": image & ~text, "text": text & ~image, "mixed": text & image}
        hits, users = ([], []), []
        for place in kinds[row.searched_by].arg_true():
            bought = engaged.filter(pl.col("search_id") == searches["search_id"][place])["item_id"]
            if not len(bought):
                continue
            users.append(searches["user_id"][place])
            wanted = items["item_id"].is_in(bought.implode()).to_numpy()
            for found, gallery in zip(hits, galleries, strict=True):
                scores = (gallery.astype(float) @ queries[place].astype(float)).round(6)
                own = scores[wanted][0]
                above, tied = (scores > own).sum(), (scores == own).sum()
                found.append(min(max((5 - above) / tied, 0.0), 1.0))
        left, done = (np.array(one) for one in hits)
        assert row.recall.value == pytest.approx(left.mean(), abs=1e-6)
        assert row.completed is not None and row.difference is not None
        assert row.completed.value == pytest.approx(done.mean(), abs=1e-6)
        wanted = mean_share(done - left, groups=np.array(users), bounds=(-1, 1))
        assert row.difference.value == pytest.approx(wanted.value, abs=1e-6)
        assert (row.difference.low, row.difference.high) == pytest.approx((wanted.low, wanted.high), abs=1e-6)  # fmt: skip


def test_a_writer_writes_the_titles_and_each_once(encoder, little_shop):
    class Writer:
        def __init__(self):
            self.asked = []

        def for_pictures(self, items):
            self.asked += items["item_id"].to_list()
            return ["" if item_id % 2 else f"mug {item_id}" for item_id in items["item_id"]]

    writer = Writer()
    completion = WrittenWords(encoder, writer)  # type: ignore[arg-type]
    items = little_shop.items.filter(pl.col("image").is_not_null()).collect()
    few = items.select("item_id", "image")
    assert completion.titles(few[:3], items) == ["mug 100", None, "mug 102"]
    assert completion.titles(few[:4], items) == ["mug 100", None, "mug 102", None]
    assert writer.asked == [100, 101, 102, 103]
    assert completion.pictures(items[:1].drop("image"), items[:0]) == [None]


def test_an_encoder_of_one_modality_is_refused(little_shop):
    class Words:
        modalities = frozenset({"text"})

    with pytest.raises(EncoderError, match="this one reads text alone; name another"):
        measure_missing(little_shop, Words(), NearestProduct(Words()))  # type: ignore[arg-type]
