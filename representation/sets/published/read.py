"""One door to all readers: the layout's name and a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moon_rec.config import load_config, read_toml
from moon_rec.errors import ConfigError
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.published.ground_truth import (
    KaglLayout,
    QrelsLayout,
    read_kagl,
    read_qrels,
)
from representation.sets.published.layout import LAYOUT_FILE, PictureLayout, refuse_paths
from representation.sets.published.m5product import M5ProductLayout, read_m5product
from representation.sets.published.mbe import MbeLayout, read_mbe

KINDS: dict[str, tuple[type[PictureLayout], Callable[[Path, Any], BenchmarkSet]]] = {
    "mbe": (MbeLayout, read_mbe),
    "mbe2": (MbeLayout, lambda folder, layout: read_mbe(folder, layout, "MBE2.0")),
    "m5product": (M5ProductLayout, read_m5product),
    "kagl": (KaglLayout, read_kagl),
    "qrels": (QrelsLayout, read_qrels),
}
"""By kind: the settings of its layout, and its reader."""


def read_set(kind: str, folder: str | Path, settings: Sequence[str] = ()) -> BenchmarkSet:
    """Read a published set.

    Args:
        kind: `mbe`, `mbe2`, `m5product`, `kagl` or `qrels`.
        folder: of its files; a `layout.toml` there names files and columns that differ from the defaults.
        settings: `name=value` words over those of `layout.toml`.

    Raises:
        ConfigError: an unknown kind or setting.
        ShopError: files that are not of that layout.
    """
    if kind not in KINDS:
        raise ConfigError(f"published set {kind!r}: wanted one of {', '.join(KINDS)}")
    layout, reader = KINDS[kind]
    file = Path(folder) / LAYOUT_FILE
    if file.is_file():
        refuse_paths(read_toml(file), str(file))
    config = load_config(layout, file if file.is_file() else None, settings)
    return reader(Path(folder), config)
