"""The folder that `shop describe --out` writes: all of it appears at once, or nothing."""

from pathlib import Path

from moon_rec.files import write_json
from moon_rec.outputs import OutputKind, atomic_folder, json_with
from moon_rec.shop.description import Description

DATA, SCHEMA = "shop.json", "shop.schema.json"
DESCRIBED = OutputKind(
    "a description of a shop",
    DATA,
    json_with("format_version", "headline", "provenance", "drift"),
    ("shop.html", SCHEMA, "figures/*.png"),
)


def write_description(found: Description, out: Path, overwrite: bool = False) -> None:
    """Write `shop.json` and `shop.schema.json`.

    Raises:
        MoonRecError: `out` exists, and is no description or `overwrite` is false.
    """
    with atomic_folder(out, DESCRIBED, overwrite) as folder:
        write_json(folder / DATA, found.model_dump(mode="json"))
        write_json(folder / SCHEMA, schema())


def schema() -> dict:
    """The JSON schema (draft 2020-12) of `shop.json`."""
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return about | Description.model_json_schema(mode="serialization")
