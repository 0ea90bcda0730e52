"""The folder that `shop describe --out` writes: all of it appears at once, or nothing."""

from pathlib import Path

from moon_rec.drawing import as_svg, save_png
from moon_rec.files import write_json
from moon_rec.outputs import OutputKind, atomic_folder, json_with
from moon_rec.shop.description import Description
from moon_rec.shop.page.figures import draw_all
from moon_rec.shop.page.products import Product
from moon_rec.shop.page.render import render

PAGE, DATA, SCHEMA = "shop.html", "shop.json", "shop.schema.json"
DESCRIBED = OutputKind(
    "a description of a shop",
    DATA,
    json_with("format_version", "headline", "provenance", "drift"),
    (PAGE, SCHEMA, "figures/*.png"),
)


def write_description(
    found: Description, shown: list[Product], out: str | Path, overwrite: bool = False
) -> Path:
    """Write `shop.html` (one self-contained file), `shop.json` with `shop.schema.json`, and `figures/*.png`.

    Args:
        shown: a few products of the shop, see `products`.
        overwrite: replace an earlier description.

    Returns:
        The page.

    Raises:
        MoonRecError: `out` exists, and is no description or `overwrite` is false.
    """
    figures = draw_all(found)
    page = render(found, {name: as_svg(one) for name, one in figures.items()}, shown)
    with atomic_folder(out, DESCRIBED, overwrite) as folder:
        (folder / PAGE).write_text(page, encoding="utf-8")
        write_json(folder / DATA, found.model_dump(mode="json"))
        write_json(folder / SCHEMA, schema())
        (folder / "figures").mkdir()
        for name, figure in figures.items():
            save_png(figure, folder / "figures" / f"{name}.png")
    return Path(out) / PAGE


def schema() -> dict:
    """The JSON schema (draft 2020-12) of `shop.json`."""
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return about | Description.model_json_schema(mode="serialization")
