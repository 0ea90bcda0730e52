"""What the vectors behind two folders of scores cover: told beside their difference, for rankers of unlike coverage differ in more than their encoder."""

from collections.abc import Mapping
from pathlib import Path

from moon_rec.errors import MoonRecError
from moon_rec.files import read_json
from moon_rec.vector_pairs import Coverage, told_unlike


def score_coverage(folder: Path) -> Coverage | None:
    """As `ranking.evaluate` noted it in `folder`, or in a folder of it for each seed; None for scores without vectors or without a note."""
    for file in sorted(folder.glob("metrics.json")) or sorted(folder.glob("*/metrics.json")):
        try:
            noted = read_json(file).get("coverage")
        except (MoonRecError, AttributeError):
            continue
        if noted:
            return Coverage.of_dict(noted)
    return None


def told_coverage(folders: Mapping[str, Path]) -> str:
    """A line for each folder whose scores read vectors, by name, and one more where they are not alike."""
    found = {name: score_coverage(folder) for name, folder in folders.items()}
    lines = [f"{name}: {one}" for name, one in found.items() if one is not None]
    return "\n".join([*lines, *filter(None, [told_unlike(found)])])
