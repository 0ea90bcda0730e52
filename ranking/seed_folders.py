"""A ranker trained with several seeds: one folder that holds a ranker, and later a table of scores, a seed.

`ranking.train --seeds` writes it, `ranking.evaluate` scores each, `ranking.compare` pairs them by name.
"""

from pathlib import Path

from moon_rec.errors import RankingError
from moon_rec.outputs import OutputKind, json_with, parquet_with
from ranking.features.preparation import FILES

RANKER_FILE, SCORES_FILE = "ranker.json", "scores.parquet"
RANKER = OutputKind(
    "a ranker",
    RANKER_FILE,
    json_with("format_version", "config", "preparation"),
    (
        "weights.safetensors",
        "semantic_ids.safetensors",
        "items_sample.safetensors",
        "queries_sample.safetensors",
        "preparation/preparation.json",
        *(f"preparation/{file}" for file in FILES.values()),
    ),
)
SEEDS = OutputKind(
    "a folder of one ranker a seed",
    f"seed-*/{RANKER_FILE}",
    RANKER.says,
    RANKER.below("seed-*"),
)
SCORES = OutputKind(
    "a table of scores",
    "",
    parquet_with("request_id", "item_id", "user_id", "score", "is_cold"),
)


def seed_name(seed: int) -> str:
    """Name of a seed's folder."""
    return f"seed-{seed}"


def files_by_seed(folder: Path, file: str) -> dict[str, Path]:
    """Name of each seed's folder -> its file, in the order of the names; "" for a file in `folder` itself.

    Empty where there is none.

    Raises:
        RankingError: a file in `folder` itself and others below it.
    """
    own, below = folder / file, sorted(folder.glob(f"*/{file}"))
    if own.is_file() and below:
        raise RankingError(
            f"{folder} holds {file} and seed folders ({below[0].parent.name} and so on): one ranker or its "
            "seeds, not both; move the one or the others"
        )
    return {"": own} if own.is_file() else {found.parent.name: found for found in below}


def ranker_folders(folder: Path) -> dict[str, Path]:
    """Name of each seed -> the folder of its ranker; "" -> `folder` where it is a ranker or holds none."""
    found = {name: file.parent for name, file in files_by_seed(folder, RANKER_FILE).items()}
    return found or {"": folder}
