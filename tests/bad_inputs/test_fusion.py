"""Settings of fusion and residual enhancement that do nothing, or that nothing can follow, and folders that have lost theirs: one line, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, build_encoder
from representation.fusion import FusionConfig, ResidualEnhancementConfig
from representation.posttraining import PosttrainConfig, posttrain
from representation.reasoning import ReasonConfig, reason
from representation.reasoning.encoder import ReasoningEncoder
from representation.reasoning.written import Answer, write_answers
from tests.bad_inputs.harness import Case, check
from tests.representation.conftest import TINY

BACKBONE = TINY.model_copy(update={"vocabulary_size": 300})
POSTTRAIN = "representation.posttrain shop --out new"


@pytest.fixture(scope="module")
def encoders(good_workspace, tmp_path_factory) -> Path:
    """A plain encoder, and one with both parts."""
    folder = tmp_path_factory.mktemp("encoders")
    build_encoder(Shop.open(good_workspace / "shop"), folder / "plain", BACKBONE)
    encoder = ProductEncoder.from_pretrained(folder / "plain", device="cpu")
    encoder.add_fusion(FusionConfig(), 0)
    encoder.add_residual_enhancement(ResidualEnhancementConfig(), 0)
    encoder.save_pretrained(folder / "fused")
    encoder = ProductEncoder.from_pretrained(folder / "plain", device="cpu")
    config = encoder.config.model_copy(update={"reasoning_tokens": 2})
    ReasoningEncoder(encoder.module, encoder.tokenizer, config).save_pretrained(folder / "reasons")
    return folder


def _started(name: str, **settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = PosttrainConfig.model_validate({"steps": 2, "batch_size": 4, **settings})
        return posttrain(Shop.open(folder / "shop"), folder / "new", config, folder / name)

    return act


def _reasoned(name: str, **settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = ReasonConfig.model_validate({"steps": 2, "batch_size": 4, **settings})
        return reason(Shop.open(folder / "shop"), folder / "new", config, folder / name)

    return act


def _lost(part: str) -> Callable[[Path], None]:
    """The settings of a part are taken out of the encoder's folder, its weights stay."""

    def change(folder: Path) -> None:
        from moon_rec.files import read_json, write_json

        about = read_json(folder / "fused" / "moon_rec.json")
        about["config"][part] = None
        write_json(folder / "fused" / "moon_rec.json", about)

    return change


def _written(
    change: Callable[[pl.DataFrame], pl.DataFrame], by: str = ""
) -> Callable[[Path], None]:
    """A table of texts, one of each product, and what is wrong with it."""

    def make(folder: Path) -> None:
        ids = Shop.open(folder / "shop").items.select("item_id").collect()
        table = change(ids.with_columns(written=pl.lit("colour red")))
        if by:
            answers = [Answer(text, [5], True) for text in table["written"]]
            write_answers(folder / "written.parquet", table["item_id"].to_list(), answers, by)
        else:
            table.write_parquet(folder / "written.parquet")

    return make


def _written_by_itself(folder: Path) -> None:
    _written(lambda table: table, by=ProductEncoder.from_pretrained(folder / "reasons", "cpu").digest)(folder)  # fmt: skip


EMBED = "representation.embed shop --out new"
BEHIND = f"{EMBED} --encoder reasons --written written.parquet"
OF_WRITTEN = [
    Case(
        "fusion: written attributes for an encoder that does not read them",
        f"{EMBED} --encoder plain --written written.parquet",
        ("--written changes nothing: plain writes nothing", "leave it out"),
        _written(lambda table: table),
    ),
    Case(
        "fusion: no file of written attributes",
        BEHIND,
        ("no table of written attributes at written.parquet", "representation.write"),
    ),
    Case(
        "fusion: written attributes under another name",
        BEHIND,
        ("written.parquet: column written is absent, wanted String", "by hand with item_id and written"),
        _written(lambda table: table.rename({"written": "text"})),
    ),
    Case(
        "fusion: written attributes of text ids",
        BEHIND,
        ("written.parquet: column item_id is String, wanted Int64",),
        _written(lambda table: table.cast({"item_id": pl.String})),
    ),
    Case(
        "fusion: written attributes that lack a product",
        BEHIND,
        ("written.parquet: nothing is written of 1 products, such as item ", "representation.write"),
        _written(lambda table: table[1:]),
    ),
    Case(
        "fusion: a product written about twice",
        BEHIND,
        ("written.parquet: item ", "is written about twice; keep one"),
        _written(lambda table: table[[0, *range(table.height)]]),
    ),
    Case(
        "fusion: a null among written attributes",
        BEHIND,
        ("written.parquet: row 1 holds a null", "give each product a text"),
        _written(lambda table: table.with_columns(written=pl.when(pl.int_range(pl.len()) > 0).then(pl.col("written")))),
    ),
    Case(
        "fusion: tokens that another encoder wrote",
        BEHIND,
        ("written.parquet has tokens of encoder 0123456789abcdef, and this one is ", "leave out the column tokens"),
        _written(lambda table: table, by="0123456789abcdef"),
    ),
    Case(
        "fusion: written of pictures and words, embedded by words alone",
        f"{BEHIND} --modality text",
        ("written.parquet was written of products by modality both, and they are embedded by text", "--modality both"),
        _written_by_itself,
    ),
    Case(
        "fusion: an encoder that is to write and does not",
        "representation.write shop --encoder plain --out new.parquet",
        ("plain writes nothing before it embeds", "representation.reason"),
    ),
    Case(
        "fusion: what is written over something else",
        "representation.write shop --encoder reasons --out shop",
        ("shop",),
    ),
]  # fmt: skip
OF_PRUNING = [
    Case(
        "fusion: more than all of a picture's tokens",
        f"{EMBED} --encoder plain --keep-picture-tokens 1.5",
        ("1.5 of a picture's tokens are to be kept", "above 0 and at most 1"),
    ),
    Case(
        "fusion: none of a picture's tokens",
        f"{EMBED} --encoder plain --keep-picture-tokens 0",
        ("--keep-picture-tokens",),
    ),
    Case(
        "fusion: pruning by layers that are not there",
        f"{EMBED} --encoder plain --keep-picture-tokens 0.5 --pruning-layers 9",
        ("the first 9 layers", "the language model has 2; name 1 to 2"),
    ),
    Case(
        "fusion: layers of a pruning that is none",
        f"{EMBED} --encoder plain --pruning-layers 2",
        ("--pruning-layers 2 changes nothing", "--keep-picture-tokens"),
    ),
    Case(
        "fusion: pruned pictures before an answer",
        f"{EMBED} --encoder reasons --keep-picture-tokens 0.5",
        ("an encoder that writes before it embeds reads whole pictures",),
    ),
]
CASES = [
    Case(
        "fusion: heads that do not divide the width",
        _started("plain", fusion={"heads": 5}),
        ("fusion.heads = 5 does not divide 32", "take a number that does"),
    ),
    Case(
        "fusion: of nothing",
        f"{POSTTRAIN} --set fusion.modalities=[]",
        ("fusion.modalities",),
    ),
    Case(
        "fusion: a modality that is none",
        f'{POSTTRAIN} --set fusion.modalities=["video"]',
        ("fusion.modalities", "'image' or 'text'"),
    ),
    Case(
        "fusion: twice",
        _started("fused", fusion={"heads": 4}),
        ("fusion: the encoder of --start has it already", "leave it out, or set fusion=none over a recipe"),
    ),
    Case(
        "fusion: residual enhancement twice, in reasoning",
        _reasoned("fused", residual_enhancement={"rank": 4}),
        ("residual_enhancement: the encoder of --start has it already", "leave it out"),
    ),
    Case(
        "fusion: what no step would train",
        _started("plain", residual_enhancement={"rank": 4}, trained_parts=["vision"]),
        ("residual_enhancement changes nothing: it starts at zero", "name 'language' in it"),
    ),
    Case(
        "fusion: tokens that are neither",
        f"{POSTTRAIN} --set residual_enhancement.tokens=words",
        ("residual_enhancement.tokens", "'all' or 'picture'"),
    ),
    Case(
        "fusion: a folder that has forgotten its heads, and keeps their weights",
        _started("fused"),
        ("of parts that its moon_rec.json does not name, such as modality_fusion.", "as it was saved"),
        _lost("fusion"),
    ),
    Case(
        "fusion: a folder that has forgotten its residual enhancement",
        _started("fused"),
        ("of parts that its moon_rec.json does not name", "residual_enhancement", "as it was saved"),
        _lost("residual_enhancement"),
    ),
]  # fmt: skip


CASES += [*OF_WRITTEN, *OF_PRUNING]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fusion(case, workspace, encoders, capsys, monkeypatch):
    for folder in encoders.iterdir():
        shutil.copytree(folder, workspace / folder.name)
    check(case, workspace, capsys, monkeypatch)
