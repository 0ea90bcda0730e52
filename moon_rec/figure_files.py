"""Figures as files: PNG, PDF or SVG, whole or not at all, without a date, and known as ours.

Equal figures are equal files. Each says in its metadata who made it, which is how a picture of ours is told from another of the same name.
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from moon_rec.files import atomic_file
from moon_rec.outputs import PICTURE_MAKER


def save_figure(
    figure: Figure, path: Path | str, dpi: float, compress_level: int | None = None
) -> None:
    """Write a figure in the format that the path's end says; PNG where it says none of the three.

    Args:
        compress_level: of a PNG, 0 to 9.
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    kind = kind if kind in ("pdf", "svg") else "png"
    about: dict[str, Any] = {
        "pdf": {"Creator": PICTURE_MAKER, "CreationDate": None},
        "svg": {"Creator": PICTURE_MAKER, "Date": None},
    }.get(kind, {"Software": PICTURE_MAKER})
    options: dict[str, Any] = {}
    if kind == "png" and compress_level is not None:
        options["pil_kwargs"] = {"compress_level": compress_level}
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=dpi, metadata=about, **options)
