"""A co-augmentation whose every title and picture is known: each kind of picture is of a colour of its own, the product's number in a corner."""

import numpy as np
import pytest
from PIL import Image

from representation.co_augmentation.config import KINDS, AugmentConfig
from representation.co_augmentation.files import read_augmentation
from representation.co_augmentation.make import augment

COLOURS = {"clean": (9, 9, 9), "background": (80, 9, 9), "view": (9, 80, 9), "detail": (9, 9, 80)}


class Writer:
    """Of every other product a title; a `TitleWriter`."""

    about = {"titles": "made up"}  # noqa: RUF012
    word = "splendid"

    def enriched(self, products):
        return [f"{one.title} {self.word}" if one.item_id % 2 else "" for one in products]


class Painter:
    """Of every third product two kinds, of the rest all; a `PicturePainter`."""

    about = {"pictures": "made up"}  # noqa: RUF012

    def expanded(self, product, kinds):
        few = kinds[:2] if product.item_id % 3 == 0 else kinds
        return {kind: Image.fromarray(painted(product.item_id, kind)) for kind in few}


def painted(item_id: int, kind: str) -> np.ndarray:
    pixels = np.full((16, 16, 3), COLOURS[kind], np.uint8)
    pixels[:8, :8] = 40 + 2 * (item_id % 100)
    return pixels


@pytest.fixture(scope="session")
def folder(little_shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("co-augmentation") / "made"
    augment(little_shop, out, AugmentConfig(pictures=KINDS), Writer(), Painter())
    return out


@pytest.fixture
def augmentation(little_shop, folder):
    return read_augmentation(folder, little_shop)
