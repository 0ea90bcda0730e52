"""What settings change: for each class a function from settings to what comes out of them, small enough to be run once a setting."""

import functools
import hashlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from exchange_rate.study import outside
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.grid import study_cells
from exchange_rate.study.plan import RankerPlan, StudyConfig
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError, MoonRecError
from moon_rec.shop import Shop, ShopWriter
from moon_rec.shop.non_clicks import sample_non_clicks
from moon_rec.shop.readers import import_movielens, import_online_retail, import_tables
from moon_rec.shop.readers.interactions import InteractionsConfig, import_interactions
from moon_rec.shop.simulate import simulate_shop
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.training.course import train_ranker
from representation.co_augmentation.config import AugmentConfig
from representation.co_augmentation.files import read_augmentation
from representation.co_augmentation.image_title_filter import ImageTitleFilter
from representation.co_augmentation.make import augment
from representation.curation import curate
from representation.encoder import ProductEncoder, build_encoder, untrained_encoder
from representation.encoders.dual import DualEncoder
from representation.encoders.locked import locked_pair
from representation.encoders.text import TextEncoder
from representation.losses import confidence, filter_weights, margin_at
from representation.metrics.benchmark import measure
from representation.metrics.labels import label_tasks
from representation.model.added_parts import is_new
from representation.model.lora import with_lora
from representation.posttraining import PosttrainConfig, posttrain
from representation.posttraining.augmentation import apply_views, draw_views
from representation.posttraining.pairs import logged_pairs
from representation.pretraining import PretrainConfig, pretrain
from representation.reasoning import reason, roll_outs
from representation.reasoning.encoder import ReasoningEncoder
from representation.search.approximate import ApproximateIndex
from representation.sets.contestant import EncoderContestant
from representation.sets.sampling import sample
from representation.training.added_fusion import ADDED
from tests.moon_rec.shop import test_non_clicks
from tests.moon_rec.shop.readers import test_movielens, test_online_retail
from tests.ranking import conftest as ranking_data
from tests.representation import conftest as shop_data
from tests.representation.co_augmentation import conftest as augmented_data
from tests.representation.core_region.conftest import planted
from tests.representation.curation import conftest as curation_data
from tests.representation.encoders import conftest as checkpoint_data
from tests.representation.word_set import WordEncoder, word_set


@functools.cache
def scratch() -> Path:
    """A folder for all that is made once."""
    made = tempfile.TemporaryDirectory(prefix="settings-")
    scratch.kept = made  # type: ignore[attr-defined]
    return Path(made.name)


def fresh() -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(dir=scratch()))


def digest(*values: Any) -> str:
    """Of arrays, tensors, frames and anything that prints itself."""
    state = hashlib.sha256()
    for value in values:
        plain = value.detach().float().numpy() if isinstance(value, torch.Tensor) else value
        plain = plain.write_json() if isinstance(plain, pl.DataFrame) else plain
        state.update(plain.tobytes() if isinstance(plain, np.ndarray) else repr(plain).encode())
        state.update(repr(getattr(plain, "shape", "")).encode())
    return state.hexdigest()


@contextmanager
def recorded(*names: str) -> Iterator[list[str]]:
    """Calls of the named functions, with those arguments that are plain: how machinery that leaves results alone is seen."""
    calls: list[str] = []

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            plain = [one for one in (*given, *named.items()) if "object at" not in repr(one)]
            calls.append(f"{name}{[repr(one) for one in plain if len(repr(one)) < 60]}")
            return function(*given, **named)

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            module, _, attribute = name.rpartition(".")
            owner = __import__(module, fromlist=[attribute])
            patch.setattr(name, wrap(attribute, getattr(owner, attribute)))
        yield calls


# ranking


@functools.cache
def ranking_shop() -> tuple[Shop, EmbeddingTable, EmbeddingTable]:
    """A sixth of the planted shop, some values of context missing."""
    frames, known = ranking_data.draw_frames()
    some = pl.col("request_id") % 6 == 1
    frames["impressions"] = (
        frames["impressions"]
        .filter(some)
        .with_columns(
            dwell=pl.when(pl.col("item_id") % 5 > 0).then("dwell"),
            carted=pl.col("clicked") & (pl.col("item_id") % 2 == 0),
            leak=pl.col("clicked").cast(pl.Float64) + 0.01 * pl.col("position"),
        )
    )
    shop = ranking_data.write_shop(frames, scratch() / "ranking")
    return shop, known["items"], known["queries"]


@functools.cache
def ranking_tables() -> RankingTables:
    from ranking.features import FeatureConfig

    return RankingTables.build(ranking_shop()[0], FeatureConfig(history_length=12))


def of_ranker(config: Any) -> str:
    vectors = ranking_shop()[1:] if config.reads_vectors else ()
    with recorded("ranking.training.course.training_device", "torch.set_num_threads") as calls:
        try:
            ranker = train_ranker(ranking_tables(), config, *vectors)
        except MoonRecError as error:
            return digest(str(error))
    scores = ranker.predict(ranking_tables(), "validation")
    return digest(scores, ranker.validation_auc, calls)


def of_features(config: Any) -> str:
    try:
        tables = RankingTables.build(ranking_shop()[0], config)
    except MoonRecError as error:
        return digest(str(error))
    found: list[Any] = []
    for period in ("train", "validation", "test"):
        found.append(tables.periods[period].is_cold)
        for batch in Loader(tables, period, 256).epoch():
            ids = batch.ids
            found += [ids.values(), ids.lengths(), batch.context, batch.labels]
            found += [batch.candidate_mask.shape, batch.table_rows]
    return digest(*found)


# shops


def of_tables(shop: Shop) -> str:
    frames = [shop.items, shop.searches, shop.impressions]
    shown = [frame.collect().with_columns(pl.col(pl.Binary).hash()) for frame in frames]
    truth = [shop.truth.collect()] if shop.truth is not None else []
    return digest(*shown, *truth, shop.cut_time, shop.test_time)


def of_simulation(config: Any) -> str:
    try:
        return of_tables(simulate_shop(config, fresh() / "shop", data=scratch()))
    except MoonRecError as error:
        return digest(str(error))


def of_movielens(config: Any) -> str:
    raw = fresh()
    (raw / "ratings.csv").write_text(test_movielens.RATINGS)
    (raw / "movies.csv").write_text(test_movielens.MOVIES)
    try:
        return of_tables(import_movielens(raw, raw / "shop", config=config))
    except MoonRecError as error:
        return digest(str(error))


def of_online_retail(config: Any) -> str:
    raw = fresh()
    test_online_retail.rows().write_parquet(raw / "online_retail.parquet")
    return of_tables(import_online_retail(raw, raw / "shop", config))


def of_non_clicks(config: Any) -> str:
    """The rows drawn for a log whose items have three categories."""
    return digest(sample_non_clicks(*test_non_clicks.random_log(0), config).rows)


def of_interactions(config: Any) -> str:
    """A shop of a log that has each of its columns twice, another value in the second; the error's text where it is refused."""
    folder = fresh()
    interactions_files(folder)
    names = ("log", "items", "users", "events")
    log, items, users, events = (folder / f"{name}.csv" for name in names)
    if config.log.shown is not None or config.log.chosen is not None:
        log = folder / "lists.parquet"
    try:
        out = folder / "shop"
        shop = import_interactions([log], out, [items], [users], folder, config, events=[events])
    except MoonRecError as error:
        return digest(str(error).replace(str(folder), ""))
    further = [None if each is None else each.collect() for each in (shop.users, shop.events)]
    return digest(
        of_tables(shop),
        *further,
        shop.name,
        shop.source.replace(str(folder), ""),
        shop.is_simulated,
    )


def of_part(part: str) -> Callable[[Any], str]:
    """The same of one table's columns."""

    def see(columns: Any) -> str:
        config = InteractionsConfig(clicked_at_least=2, carted_at_least=2, purchased_at_least=2)
        return of_interactions(config.model_copy(update={part: columns}))

    return see


def interactions_files(folder: Path) -> None:
    """A log, items and users in which every column `x` has another, `x2`, of the same kind."""
    number = pl.int_range(60)
    rows = pl.DataFrame({"row": range(60)}).select(
        user=pl.format("u{}", number % 5), user2=pl.format("u{}", number % 4),
        user3=pl.when(number != 9).then(pl.format("u{}", number % 5)),
        item=pl.format("i{}", number % 7), item2=pl.format("i{}", number % 6),
        time=pl.lit(datetime(2024, 3, 30)) + pl.duration(minutes=number // 2 * 40),
        time2=pl.lit(datetime(2024, 3, 29)) + pl.duration(minutes=number // 2 * 50),
        clicked=3 - number % 2, clicked2=3 - number % 3, carted=3 - number % 4 % 3, carted2=number * 0 + 1,
        purchased=3 - number % 4 % 3, purchased2=number * 0 + 1,
        request=number // 2, request2=number, position=number % 2, position2=number % 2 + 3,
        query=pl.format("mug {}", number // 2), query2=pl.format("cup {}", number // 2), device=number % 3,
        act=pl.when(number % 7 == 6).then(pl.lit("view")).otherwise(pl.lit("shown")),
    )  # fmt: skip
    clicked = rows.with_columns(clicked=pl.when(pl.col("carted") == 3).then(3).otherwise("clicked"))
    clicked.with_columns(pl.col("time", "time2").dt.to_string("%Y-%m-%d %H:%M:%S")).write_csv(
        folder / "log.csv"
    )
    shown = [[f"i{(row + step) % 7}" for step in range(3)] for row in range(60)]
    lists = {
        "shown": shown,
        "shown2": [each[::-1] for each in shown],
        "chosen": [each[:1] for each in shown],
        "chosen2": [each[1:2] for each in shown],
    }
    pl.DataFrame({"user": rows["user"], "time": rows["time"], **lists}).write_parquet(
        folder / "lists.parquet"
    )
    texts = ("title", "category", "brand", "description")
    pl.DataFrame(
        {"item": [f"i{n}" for n in range(8)], "item2": [f"i{(n + 1) % 8}" for n in range(8)]}
        | {f"group{end}": [f"g{n // (2 + bool(end))}" for n in range(8)] for end in ("", "2")}
        | {
            f"{text}{end}": [f"{text} {n}{end}" for n in range(8)]
            for text in texts
            for end in ("", "2")
        }
        | {f"price{end}": [n + len(end) for n in range(8)] for end in ("", "2")}
        | {f"image{end}": [f"{(n + len(end)) % 8}.png" for n in range(8)] for end in ("", "2")}
        | {
            f"listed_at{end}": [f"2024-01-0{n + 1 + len(end)}" for n in range(8)]
            for end in ("", "2")
        }
    ).write_csv(folder / "items.csv")
    for n in range(8):
        Image.new("RGB", (8, 8), (n * 30, 9, 9)).save(folder / f"{n}.png")
    words = ["look", "basket", "sale", "gone"]
    same = ("user", "user2", "item", "item2", "carted", "carted2", "purchased", "purchased2")
    rows.select(
        *same, *(pl.col(name).dt.to_string("%Y-%m-%d %H:%M:%S") for name in ("time", "time2")),
        clicked=3 - number % 2, clicked2=3 - number % 3,
        kind3=pl.lit("view"), kind4=pl.Series([words[n % 3] for n in range(60)]), kind5=pl.Series([words[n % 4] for n in range(60)]),
    ).head(40).write_csv(folder / "events.csv")  # fmt: skip
    pl.DataFrame(
        {
            "user": [f"u{n}" for n in range(5)],
            "user2": [f"u{(n + 1) % 5}" for n in range(5)],
            "age": range(5),
        }
    ).write_csv(folder / "users.csv")


def of_import(config: Any) -> str:
    try:
        shop = import_tables(plain_tables(), fresh() / "shop", config)
    except MoonRecError as error:
        return digest(str(error))
    return digest(of_tables(shop), shop.name, shop.source, shop.is_simulated)


@functools.cache
def plain_tables() -> Path:
    """The little shop's tables without a manifest: a listing's time in seconds, labels of 1 to 3."""
    folder = fresh()
    shop = little_shop()
    items = shop.items.collect().with_columns(pl.col("listed_at").dt.epoch("s"))
    items.write_parquet(folder / "items.parquet")
    shop.searches.collect().write_parquet(folder / "searches.parquet")
    labels = [pl.col(name).cast(pl.Int64) * 2 + 1 for name in ("clicked", "carted", "purchased")]
    shop.impressions.collect().with_columns(labels).write_parquet(folder / "impressions.parquet")
    return folder


# encoders


@functools.cache
def little_shop() -> Shop:
    return shop_data.little_shop.__wrapped__(_Folders())  # type: ignore[attr-defined]


class _Folders:
    """As much of pytest's `tmp_path_factory` as fixtures ask for."""

    def mktemp(self, name: str) -> Path:
        return fresh()


@functools.cache
def checkpoints() -> dict[str, Path]:
    return checkpoint_data.checkpoints.__wrapped__(_Folders())  # type: ignore[attr-defined]


FEW = ("item_id", "title", "brand", "price", "image")
"""Columns whose text is short enough to be read to its end."""


def _vectors(encoder: Any, *columns: str) -> list[Any]:
    """Vectors of a few items, all their columns or some, and of a few searches."""
    items = little_shop().items.head(4).select(columns or "*").collect()
    searches = little_shop().searches.head(4).collect()
    if encoder.modalities == {"text"}:
        searches = searches.filter(pl.col("query_text").is_not_null())
    named = getattr(encoder, "widths", ())
    return [
        encoder.encode_items(items, progress=False),
        encoder.encode_queries(searches, progress=False),
        named,
    ]


def of_backbone(config: Any) -> str:
    encoder = untrained_encoder(little_shop(), config, 3, device="cpu")
    shapes = [(name, value.shape, value.dtype) for name, value in encoder.module.named_parameters()]
    return digest(*_vectors(encoder), shapes, len(encoder.tokenizer))


@functools.cache
def _plain_encoder() -> ProductEncoder:
    return untrained_encoder(little_shop(), shop_data.TINY, 3, device="cpu")


def of_encoder(config: Any) -> str:
    made = _plain_encoder()
    if config.experts is not None:
        made = _mixed_encoder(config.experts)
    for name in ADDED:
        if (added := getattr(config, name)) is not None:
            made = _fused_encoder(name, added)
    kind = ReasoningEncoder if config.reasoning_tokens else ProductEncoder
    return digest(*_vectors(kind(made.module, made.tokenizer, config)))


def of_core_region(config: Any) -> str:
    """Both squares of a picture whose product is not at its border."""
    from PIL import Image

    from representation.core_region.crops import CoreRegion

    picture = Image.new("RGB", (32, 32), (230, 230, 230))
    picture.paste((200, 20, 30), (9, 11, 20, 23))
    return digest(CoreRegion(config)(picture, 16))


def _mixed_encoder(config: Any) -> ProductEncoder:
    """With experts that differ."""
    encoder = untrained_encoder(little_shop(), shop_data.TINY, 3, device="cpu")
    encoder.add_experts(config, 0)
    draws = torch.Generator().manual_seed(0)
    for name, value in encoder.module.named_parameters():
        if ".experts." in name:
            value.data += torch.randn(value.shape, generator=draws) / 5
    return encoder


def of_experts(config: Any) -> str:
    encoder = _mixed_encoder(config)
    return digest(*_vectors(encoder), sorted(dict(encoder.module.named_parameters())))


def _fused_encoder(name: str, config: Any) -> ProductEncoder:
    """With one of the parts `ADDED` that does something."""
    encoder = untrained_encoder(little_shop(), shop_data.TINY, 3, device="cpu")
    getattr(encoder, f"add_{name}")(config, 0)
    draws = torch.Generator().manual_seed(0)
    for parameter, value in encoder.module.named_parameters():
        if is_new(parameter):
            value.data += torch.randn(value.shape, generator=draws) / 5
    return encoder


def of_fusion(config: Any) -> str:
    return digest(*_vectors(_fused_encoder("fusion", config)))


def of_residual_enhancement(config: Any) -> str:
    return digest(*_vectors(_fused_encoder("residual_enhancement", config)))


def of_late_fusion(config: Any) -> str:
    return digest(*_vectors(_fused_encoder("late_fusion", config)))


def of_compression(config: Any) -> str:
    return digest(*_vectors(_fused_encoder("compression_tokens", config)))


def of_alignment(config: Any) -> str:
    """The loss of a step, and what a batch has besides."""
    from representation.mixture import ExpertsConfig
    from representation.posttraining.preparation import prepare
    from representation.posttraining.step import ContrastiveStep

    encoder = _mixed_encoder(ExpertsConfig(num_experts=2, top_k=1))
    mixture = {"title+image->title+image": 1.0}
    settings = PosttrainConfig(steps=2, batch_size=6, mixture=mixture, alignment=config)
    prepared = prepare(little_shop(), settings, encoder)
    experts = encoder.config.experts
    step = ContrastiveStep(
        settings, encoder.widths, prepared.known, encoder.device, experts=experts
    )
    batch = prepared.batches.make(0)
    with torch.no_grad():
        vectors = [encoder.embed_for_losses(side) for side in batch.sides]
        return digest(step.loss(batch, 0, vectors)[0])


@functools.cache
def augmented_places() -> tuple[str, str]:
    """Where the little shop's co-augmentations are, once `augmented` has made them."""
    return str(fresh() / "one"), str(fresh() / "other")


@functools.cache
def augmented() -> None:
    """All products, and the first half of them."""
    for place, names in zip(augmented_places(), (("clean", "view", "detail"), ("view",)), strict=True):  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("representation.co_augmentation.make.save", lambda _, path: path.touch())
            settings = AugmentConfig.model_validate({"pictures": names})
            augment(little_shop(), place, settings, augmented_data.Writer(), augmented_data.Painter())  # fmt: skip


def of_augment(config: Any) -> str:
    """Titles and pictures kept, of products that stand out from their ground."""
    out = fresh() / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("representation.co_augmentation.make.save", lambda _, path: path.touch())
        augment(planted_shop(), out, config, image_filter=ImageTitleFilter(_plain_encoder()))
    return digest(*(pl.read_parquet(out / f"{name}.parquet").to_dicts() for name in ("titles", "pictures")))  # fmt: skip


@functools.cache
def planted_shop() -> Shop:
    """Six of the little shop's products, on a ground of their own."""
    of = little_shop()
    items = of.items.head(6).collect()
    shown = pl.Series([planted(number) for number in range(6)])
    about = {"name": "planted", "source": "a test", "is_simulated": True}
    out = fresh() / "shop"
    with ShopWriter(out, cut_time=of.cut_time, test_time=of.test_time, **about) as writer:  # fmt: skip
        writer.write("items", items.with_columns(image=shown, title=pl.lit("thing")))
        writer.write("searches", of.searches.collect())
        bought = of.impressions.filter(pl.col("item_id").is_in(items["item_id"].implode()))
        writer.write("impressions", bought.collect())
    return Shop.open(out)


def of_co_augmentation(config: Any) -> str:
    """What a few steps show of products."""
    from representation.posttraining.preparation import prepare

    augmented()
    mixture = {"text->title+image": 1.0}
    settings = PosttrainConfig(steps=6, batch_size=6, mixture=mixture, co_augmentation=config)
    found = read_augmentation(config.folder, little_shop())
    batches = prepare(little_shop(), settings, _plain_encoder(), augmentation=found).batches
    made = [batches.make(step).items for step in range(6)]
    return digest(*(one.token_ids for one in made), *(one.pixels for one in made))


def of_filtering(config: Any) -> str:
    draws = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(3, 20, 4, generator=draws), dim=-1)
    margins = [margin_at(config, step, 3) for step in range(3)]
    phi = [confidence(*vectors, config.scale, margin) for margin in margins]
    return digest(*(filter_weights(one, config.threshold) for one in phi))


def of_prompt(config: Any) -> str:
    """Of a gallery, and of a title alone and a richer text in training."""
    from representation.posttraining.preparation import prepare

    made = _plain_encoder()
    encoder = ProductEncoder(
        made.module, made.tokenizer, made.config.model_copy(update={"prompt": config})
    )
    from representation.posttraining import PosttrainConfig

    mixture = {"text->richer-text": 1.0, "text->title+image": 1.0}
    settings = PosttrainConfig(steps=4, batch_size=6, mixture=mixture)
    batches = prepare(little_shop(), settings, encoder).batches
    tokens = [batches.make(step).items.token_ids for step in range(4)]
    return digest(*_vectors(encoder), *tokens)


def of_text(config: Any) -> str:
    encoder = TextEncoder.from_pretrained(checkpoints()["bert"], "cpu", **config.model_dump())
    encoder.tokenizer.backend_tokenizer.normalizer = None  # type: ignore[attr-defined]
    loud = pl.DataFrame({"query_text": ["RED MUG"]})
    return digest(*_vectors(encoder, *FEW), encoder.encode_queries(loud, progress=False))


def of_dual(config: Any) -> str:
    encoder = DualEncoder.from_pretrained(checkpoints()["clip"], "cpu", **config.model_dump())
    short = (
        little_shop()
        .items.head(4)
        .select("item_id", "price", "brand", "image", title=pl.lit("mug"))
    )
    return digest(*_vectors(encoder), encoder.encode_items(short.collect(), progress=False))


def of_locked(config: Any) -> str:
    vision = checkpoint_data.towers.__wrapped__(_Folders())["dinov2"]  # type: ignore[attr-defined]
    return digest(*_vectors(locked_pair(checkpoints()["bert"], vision, config, device="cpu"), *FEW))


def of_lora(config: Any) -> str:
    backbone = untrained_encoder(little_shop(), shop_data.TINY, 3, device="cpu").module
    with_lora(backbone, config)
    found = [(name, one.shape) for name, one in backbone.named_parameters() if one.requires_grad]
    layers = [one for one in backbone.modules() if hasattr(one, "lora_A")]
    return digest(found, [(one.scaling, str(one.lora_dropout)) for one in layers])


# training


def of_training(train: Callable[..., Any], config: Any, *names: str) -> str:
    out = fresh() / "out"
    log: list[Any] = []
    looped = [
        f"representation.training.loop.{name}"
        for name in ("SharedEncoder", "checkpoint_gradients", "save_state")
    ]
    with recorded("torch.set_num_threads", *looped, *names) as calls:
        try:
            train(little_shop(), out, config, on_log=lambda *told: log.append(told))
        except ConfigError as error:  # what is for a GPU alone is refused here
            return digest(str(error))
    encoders = sorted(path.name for path in out.parent.iterdir())
    return digest(ProductEncoder.from_pretrained(out, device="cpu").digest, log, encoders, calls)


def of_pretraining(config: Any) -> str:
    graded = functools.partial(pretrain, grade=lambda _: {"grade": 1.0})
    return of_training(graded, config, "representation.pretraining.batches.PictureStore")


@functools.cache
def _start() -> Path:
    return _plain_encoder().save_pretrained(fresh() / "start")


def of_reasoning(config: Any) -> str:
    """What a random model writes is never valid; here each second roll-out is, and half right, so that rewards are told apart."""
    inside = "representation.reasoning.train."

    def half_right(*given: Any) -> Any:
        drawn = roll_outs.draw(*given)
        answers = [
            one._replace(has_ended=place % 2 == 0) for place, one in enumerate(drawn.answers)
        ]
        return replace(drawn, answers=answers)

    stated = frozenset({("colour", "red")})
    started = functools.partial(reason, start=_start(), grade=lambda _: {"grade": 1.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{inside}draw", half_right)
        patch.setattr(f"{inside}AttributeNames.read", lambda *_: stated)
        return of_training(started, config)


def of_posttraining(config: Any) -> str:
    inside = "representation.posttraining."
    augmented()
    taught = config.score_distillation or config.vector_distillation
    return of_training(
        functools.partial(posttrain, start=_start(), teacher=teacher_tables() if taught else None),
        config,
        f"{inside}step.cached_backward",
        f"{inside}batches.PictureStore",
    )


@functools.cache
def teacher_tables() -> Path:
    folder = fresh()
    shop, random = little_shop(), np.random.default_rng(0)
    for name, frame, key in (("items", shop.items, "item_id"), ("queries", shop.searches, "search_id")):  # fmt: skip
        ids = frame.select(key).collect()[key].to_numpy()
        vectors = random.normal(size=(len(ids), 6)).astype(np.float32)
        EmbeddingTable.from_arrays(ids, vectors, shop=shop.digest).save(folder / name)
    return folder


def of_curation(config: Any) -> str:
    shop, items, queries = curated_shop()
    found = curate(shop, logged_pairs(shop), config, items, queries)
    return digest(*found.pairs.values(), sorted(found.distances.items()))


@functools.cache
def curated_shop() -> tuple[Shop, EmbeddingTable, EmbeddingTable]:
    shop = curation_data.write_shop(fresh() / "shop")
    return shop, *curation_data.vectors.__wrapped__(shop)  # type: ignore[attr-defined]


def of_augmentation(config: Any) -> str:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    views = draw_views(6, 16, config, np.random.default_rng(1), new_ground=False)
    return digest(apply_views(torch.from_numpy(pictures), views).numpy())


# measuring


def of_index(config: Any) -> str:
    gallery = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    with recorded("faiss.omp_set_num_threads") as calls:
        index = ApproximateIndex(gallery, config)
    return digest(faiss.serialize_index(index._index), calls[:1], index.name)


class _Told(WordEncoder):
    """Notes the rows of a forward pass."""

    sizes: list[int] = []  # noqa: RUF012

    def encode_items(self, frame, modality="both", batch_size=256, progress=True):
        self.sizes.append(batch_size)
        return super().encode_items(frame, modality, batch_size, progress)


def of_benchmark(config: Any) -> str:
    words = [f"m{number}" for number in range(60)] + ["red", "green", "blue", "mug", "lamp", "thing", "goods", "a", "kind", "of"]  # fmt: skip
    _Told.sizes = []
    bench = sample(
        word_set(), config.num_queries, config.num_labelled, config.num_products, config.seed
    )
    result = measure(
        EncoderContestant("words", _Told(words), bench, fresh(), config.batch_size), bench, config
    )
    tasks = repr(label_tasks(bench, config))
    return digest(repr(replace(result, seconds=0.0)), tasks, sorted(set(_Told.sizes)))


def of_study(config: Any) -> str:
    """All cells with what each is given; who is called what."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(outside._LOOK, "hub", lambda name: outside.Outside(name, "a commit"))
        try:
            cells = study_cells(little_shop(), config, "test")
        except MoonRecError as error:
            return digest(str(error))
    for cell in cells:
        inside = inspect.getclosurevars(cell.make).nonlocals
        names = ("settings", "start", "labels", "outside")
        told = {name: inside[name] for name in names if name in inside}
        found.append((cell.name, cell.kind, cell.needs, round(cell.cost, 6), told))
    return digest(found)


def of_run(run: EncoderRun) -> str:
    """Behind two others, which it may mix."""
    others = (
        EncoderRun(name="a", pretraining=PretrainConfig(steps=7), trained=True),
        EncoderRun(name="b", posttraining=PosttrainConfig(steps=9)),
    )
    return of_study(StudyConfig(encoders=(*others, run)))


def of_ranker_plan(plan: RankerPlan) -> str:
    """On one encoder."""
    return of_study(StudyConfig(encoders=(EncoderRun(name="a", random=True),), rankers=(plan,)))


@functools.cache
def outside_files() -> dict[str, str]:
    """What a plan may name: an encoder's folder, vectors of items and searches."""
    folder = fresh()
    build_encoder(little_shop(), folder / "encoder", shop_data.TINY)
    for name, key, frame in (("items", "item_id", little_shop().items), ("searches", "search_id", little_shop().searches)):  # fmt: skip
        ids = frame.select(key).collect()[key].to_numpy()
        vectors = np.random.default_rng(3).normal(size=(len(ids), 4)).astype(np.float32)
        pl.DataFrame({key: ids, "vector": vectors}).write_parquet(folder / f"{name}.parquet")
        np.save(folder / f"{name}.npy", vectors)
        np.save(folder / f"{name}_ids.npy", ids)
    return {path.name: str(path) for path in folder.iterdir()}
