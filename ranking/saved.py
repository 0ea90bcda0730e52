"""What a ranker's folder says of itself, held against its files before anything of it is built."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from moon_rec.bounds import MOST_COUNTED, MOST_IN_MEMORY
from moon_rec.config import make_config
from moon_rec.errors import MoonRecError, RankingError, first_line
from moon_rec.files import read_json
from moon_rec.mapped_tensors import WEIGHTS, Stored, stored_tensors
from moon_rec.recorded import difference, recorded_files
from moon_rec.shop.non_click_recipe import NonClickRecipe
from ranking.config import RankerConfig
from ranking.model import InputSizes, Ranker
from ranking.seed_folders import RANKER_FILE, files_by_seed

FORMAT_VERSION = 2
WEIGHTS_FILE = "weights.safetensors"
_AGAIN = "train the ranker again, or take it from whoever made it"
_COUNTS = {
    "num_context": MOST_IN_MEMORY,
    "history_length": 10_000_000,
    "query_history_length": 10_000_000,
    "content_dim": MOST_IN_MEMORY,
    "num_code_levels": 1_024,
    "num_codes": MOST_IN_MEMORY,
}
"""Of `InputSizes`: the most that each may be."""
_LATER = {"num_code_levels": 0, "num_codes": 0}
_TABLES = {"user", "item", "category", "brand", "price", "query"}


@dataclass(frozen=True)
class Said:
    """`ranker.json`, checked.

    Attributes:
        config, sizes: of the model.
        vectors: of items and queries: digest and encoder, both texts.
        tables, preparation: digests.
        validation_auc, rows_per_second: of the training.
        non_clicks: how those that it was trained on were sampled.
    """

    config: RankerConfig
    sizes: InputSizes
    vectors: dict[str, dict[str, str]]
    tables: str
    preparation: str
    validation_auc: tuple[float, ...]
    rows_per_second: float
    non_clicks: NonClickRecipe | None = None


def read_about(path: Path) -> dict[str, Any]:
    """`ranker.json`, its version checked.

    Raises:
        RankingError: no ranker there, or one of another version.
    """
    try:
        about = read_json(path / "ranker.json")
    except (MoonRecError, OSError) as error:
        seeds = files_by_seed(path, RANKER_FILE)
        hint = f"; it holds those of {', '.join(seeds)}: name one" if seeds else ""
        raise RankingError(f"no ranker at {path}: {error}{hint}") from None
    if not isinstance(about, dict):
        raise RankingError(
            f"{path}/ranker.json is a {type(about).__name__}, wanted names and values; train the ranker again"
        )
    version = about.get("format_version")
    if version == 1:
        raise RankingError(
            f"{path}/ranker.json: format_version 1 did not save vocabularies; train the ranker again"
        )
    if version != FORMAT_VERSION:
        raise RankingError(
            f"{path}/ranker.json: format_version {version!r}, wanted {FORMAT_VERSION}; read it with the "
            "version of moon_rec that wrote it"
        )
    if not (path / "weights.safetensors").is_file():
        raise RankingError(f"no ranker at {path}: weights.safetensors is not there")
    return about


def parse_about(about: Mapping[str, Any], where: Path) -> Said:
    """
    Raises:
        RankingError: a field that is missing or of another type, or a size beyond its bound.
    """
    kinds = {"config": dict, "sizes": dict, "vectors": dict, "tables": str, "preparation": str, "validation_auc": list, "rows_per_second": (int, float)}  # fmt: skip
    for name, kind in kinds.items():
        if not isinstance(about.get(name), kind):
            raise RankingError(f"{where}: {name} is {repr(about.get(name))[:80]}; {_AGAIN}")
    for name, origin in about["vectors"].items():
        is_known = name in ("items", "queries") and isinstance(origin, dict)
        if not is_known or origin.keys() != {"digest", "encoder"} or not _are_texts(origin):
            raise RankingError(f"{where}: vectors.{name:.40} is {repr(origin)[:80]}; {_AGAIN}")
    if not all(isinstance(one, int | float) for one in about["validation_auc"]):
        raise RankingError(f"{where}: validation_auc holds what is no number; {_AGAIN}")
    try:
        non_clicks = NonClickRecipe.read(about.get("non_clicks"))
    except ValueError as error:
        raise RankingError(f"{where}: non_clicks: {error}; {_AGAIN}") from None
    return Said(
        make_config(RankerConfig, about["config"]),
        _sizes(about["sizes"], where),
        about["vectors"],
        about["tables"],
        about["preparation"],
        tuple(about["validation_auc"]),
        float(about["rows_per_second"]),
        non_clicks,
    )


def _are_texts(values: Mapping[str, Any]) -> bool:
    return all(isinstance(one, str) for one in values.values())


def _sizes(values: dict[str, Any], where: Path) -> InputSizes:
    values = {**_LATER, **values}
    tables = values.get("num_embeddings")
    flags = {"has_searches", "has_query_content"}
    if values.keys() != {"num_embeddings", *_COUNTS, *flags}:
        raise RankingError(f"{where}: sizes has {', '.join(values)[:160]}; {_AGAIN}")
    if not isinstance(tables, dict) or not tables.keys() <= _TABLES:
        raise RankingError(f"{where}: sizes.num_embeddings is {repr(tables)[:80]}; {_AGAIN}")
    counts = {f"num_embeddings.{name}": (count, MOST_COUNTED) for name, count in tables.items()}
    counts |= {name: (values[name], most) for name, most in _COUNTS.items()}
    for name, (count, most) in counts.items():
        if type(count) is not int or not 0 <= count <= most:
            raise RankingError(
                f"{where}: sizes.{name} is {repr(count)[:40]}, wanted a whole number from 0 to {most:,}; {_AGAIN}"
            )
    for name in flags:
        if type(values[name]) is not bool:
            raise RankingError(f"{where}: sizes.{name} is {repr(values[name])[:40]}; {_AGAIN}")
    return InputSizes(**values)


def refuse_changed(folder: Path, about: Mapping[str, Any]) -> None:
    """Hold a ranker's files against the digests that `ranker.json` records; one saved before files were recorded promises nothing.

    Raises:
        RankingError: a file that differs, is gone, or was added.
    """
    try:
        files = recorded_files(about, folder / RANKER_FILE)
        why = difference(folder, RANKER_FILE, files, lambda name: name.endswith(".safetensors"))
    except (MoonRecError, OSError) as error:
        raise RankingError(first_line(error)) from None
    if why:
        raise RankingError(why)


def weights_of(folder: Path) -> dict[str, Stored]:
    """Names, dtypes and shapes of a ranker's weights.

    Raises:
        RankingError: no safetensors.
    """
    try:
        return stored_tensors(folder / WEIGHTS_FILE, WEIGHTS)
    except (MoonRecError, OSError) as error:
        raise RankingError(first_line(error)) from None


def load_model(folder: Path, said: Said) -> Ranker:
    """The model with its weights: its shapes are first compared with the weights' header, on torch's `meta` device, which has no memory.

    Raises:
        RankingError: weights that such a ranker has not, or of other shapes.
    """
    check_fit(folder, said)
    model = Ranker(said.sizes, said.config)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except Exception as error:  # safetensors and torch have errors of their own
        raise RankingError(
            f"{folder / WEIGHTS_FILE}: {first_line(error)[:200]}; {_AGAIN}"
        ) from None
    return model


def check_fit(folder: Path, said: Said) -> None:
    """
    Raises:
        RankingError: weights that such a ranker has not, or of other shapes.
    """
    stored = weights_of(folder)
    try:
        with torch.device("meta"):
            needed = {
                name: tuple(one.shape)
                for name, one in Ranker(said.sizes, said.config).state_dict().items()
            }
    except Exception as error:  # settings that pass one by one, and make no model together
        raise RankingError(
            f"{folder / RANKER_FILE} makes no ranker: {type(error).__name__}: {first_line(error)[:160]}; {_AGAIN}"
        ) from None
    for name in sorted(needed.keys() | stored.keys()):
        found = stored[name].shape if name in stored else "none"
        if found != needed.get(name, "none"):
            raise RankingError(
                f"{folder / WEIGHTS_FILE}: {name:.80} has shape {found}, by {RANKER_FILE} it is {needed.get(name, 'none')}; the two do not belong together: {_AGAIN}"
            )
        if stored[name].kind != "F32" and stored[name].kind not in ("F16", "BF16", "F64", "I64"):
            raise RankingError(
                f"{folder / WEIGHTS_FILE}: {name:.80} is {stored[name].kind}; {_AGAIN}"
            )
