"""Co-augmentation: folders of another shop, encoders that cannot score or write, settings that do nothing; one line, nothing written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from moon_rec.shop import Shop
from representation.co_augmentation.config import AugmentConfig
from representation.co_augmentation.image_title_filter import ImageTitleFilter
from representation.co_augmentation.make import augment
from representation.co_augmentation.shown import check_co_augmentation
from representation.co_augmentation.written import WrittenTitles
from representation.posttraining import PosttrainConfig
from tests.bad_inputs.harness import Case, check
from tests.representation.co_augmentation.conftest import Painter, Writer

AUGMENT = "representation.augment shop --out new"
POSTTRAIN = "representation.posttrain shop --out new --set co_augmentation.folder=augmented"


@pytest.fixture(scope="module")
def made(good_workspace, tmp_path_factory) -> Path:
    """A co-augmentation of the good shop."""
    out = tmp_path_factory.mktemp("made") / "augmented"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("representation.co_augmentation.make.save", lambda _, path: path.touch())
        augment(Shop.open(good_workspace / "shop"), out, AugmentConfig(), Writer(), Painter())
    return out


class Words:
    """An encoder of texts alone."""

    modalities = frozenset({"text"})


class Towers:
    """An encoder of both without a language model."""

    modalities = frozenset({"text", "image"})


def _of_another_shop(folder: Path) -> None:
    _say(folder, lambda about: about["shop"].update(digest="0123456789abcdef"))


def _say(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "augmented" / "augmentation.json"
    about = json.loads(path.read_text())
    change(about)
    path.write_text(json.dumps(about))


def _changed(folder: Path) -> None:
    titles = folder / "augmented" / "titles.parquet"
    pl.read_parquet(titles).head(1).write_parquet(titles)


def _other_columns(folder: Path) -> None:
    from moon_rec.files import digest_file

    titles = folder / "augmented" / "titles.parquet"
    pl.DataFrame({"item_id": [1]}).write_parquet(titles)
    _say(folder, lambda about: about["files"].update({"titles.parquet": digest_file(titles)}))


def _for(encoder: type, **values: object) -> Callable[[Path], object]:
    config = PosttrainConfig.model_validate({"co_augmentation": {"folder": "augmented", **values}})
    return lambda folder: check_co_augmentation(config.co_augmentation, encoder())


CASES = [
    Case("co-augmentation: a threshold that is no cosine", f"{AUGMENT} --filter small --set threshold=1.5", ("threshold = 1.5", "less than or equal to 1")),
    Case("co-augmentation: a quantile of all", f"{AUGMENT} --filter small --set quantile=1", ("quantile = 1", "less than 1")),
    Case("co-augmentation: threshold beside quantile", f"{AUGMENT} --filter small --set threshold=.2 --set quantile=.3", ("quantile = 0.3 changes nothing", "leave one of them out")),
    Case("co-augmentation: a threshold without a filter", f"{AUGMENT} --set threshold=.2", ("threshold and quantile change nothing", "--filter")),
    Case("co-augmentation: an unknown kind of picture", f"{AUGMENT} --set pictures=['veiw']", ("pictures", "'view'")),
    Case("co-augmentation: nothing to make", f"{AUGMENT} --set titles=false --set pictures=[]", ("titles = False and no pictures: nothing is left to make",)),
    Case("co-augmentation: a model that is not named", f"{AUGMENT} --generator model", ("--generator model writes titles by a language model", "--encoder")),
    Case("co-augmentation: an encoder beside templates", f"{AUGMENT} --encoder small", ("--encoder small changes nothing", "leave it out")),
    Case("co-augmentation: a filter that is not there", f"{AUGMENT} --filter absent", ("absent",)),
    Case("co-augmentation: a filter of words alone", lambda folder: ImageTitleFilter(Words(), "words"), ("--filter words: this encoder reads text alone", "name one that reads both, such as a CLIP")),
    Case("co-augmentation: a writer without a language model", lambda folder: WrittenTitles(Towers(), "towers"), ("towers: this encoder has no language model that writes", "name a Qwen-VL")),
    Case("co-augmentation: pictures of one colour and titles that say it all", f"{AUGMENT} --set titles=false", ("nothing was made of its", "no picture shows a product that stands out")),
    Case("co-augmentation: an output that is something else", "representation.augment shop --out tables --overwrite", ("tables exists already and is not replaced: it has no augmentation.json",)),
    Case("co-augmentation: a folder that is not there", f"{POSTTRAIN}s", ("augmenteds holds no augmentation.json: make it with python -m representation.augment",)),
    Case("co-augmentation: no folder is named", "representation.posttrain shop --out new --set co_augmentation.share=.5", ("co_augmentation", "folder")),
    Case("co-augmentation: of another shop", POSTTRAIN, ("holds the co-augmentation of shop 0123456789abcdef, this shop is", "make this shop's"), _of_another_shop),
    Case("co-augmentation: titles changed since", POSTTRAIN, ("titles.parquet has SHA-256", "it was changed after it was saved"), _changed),
    Case("co-augmentation: a table of other columns", POSTTRAIN, ("titles.parquet has columns item_id, wanted item_id, title, enriched", "make it again"), _other_columns),
    Case("co-augmentation: names no shop", POSTTRAIN, ("augmentation.json names no shop by its digest",), lambda folder: _say(folder, lambda about: about.pop("shop"))),
    Case("co-augmentation: records no files", POSTTRAIN, ("records no titles.parquet and pictures.parquet",), lambda folder: _say(folder, lambda about: about.pop("files"))),
    Case("co-augmentation: a share of none of the steps", f"{POSTTRAIN} --set co_augmentation.share=0", ("co_augmentation.share = 0", "greater than 0")),
    Case("co-augmentation: as many pictures as none", f"{POSTTRAIN} --set co_augmentation.num_pictures=0", ("co_augmentation.num_pictures = 0",)),
    Case("co-augmentation: a count of pictures that stand instead", f"{POSTTRAIN} --set co_augmentation.pictures=instead --set co_augmentation.num_pictures=3", ("num_pictures = 3 changes nothing", "leave it out")),
    Case("co-augmentation: neither titles nor pictures", f"{POSTTRAIN} --set co_augmentation.titles=none --set co_augmentation.pictures=none", ("titles and pictures are both 'none'",)),
    Case("co-augmentation: pictures where the mixture shows none", f'{POSTTRAIN} --set co_augmentation.titles=none --set mixture={{"text->richer-text"=1.0}}', ("co_augmentation", "changes nothing: no item of this mixture shows what it adds")),
    Case("co-augmentation: beside, in an encoder of two towers", _for(Towers), ("co_augmentation.titles = 'beside': only a language model reads several in a row", "'instead' or 'none'")),
    Case("co-augmentation: pictures for an encoder of words", _for(Words, titles="instead"), ("co_augmentation.pictures = 'beside': the encoder reads text alone; set it to 'none'",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_co_augmentation(case, workspace, made, capsys, monkeypatch):
    shutil.copytree(made, workspace / "augmented")
    check(case, workspace, capsys, monkeypatch)
