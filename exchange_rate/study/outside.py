"""What a plan takes from outside: folders of encoders, names on the hub, files of vectors; looked at before the first cell, so that nothing is trained beside what is missing.

Each is known by a digest, which is part of the keys of the cells that read it: another file at the same place makes new cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import StudyConfig
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError, StudyError, first_line
from moon_rec.files import digest_file, digest_of
from moon_rec.shop import Shop
from moon_rec.vector_pairs import LEAST_SHARE, Covered, open_pair

if TYPE_CHECKING:
    from representation.recipes.mark import RecipeMark

Found = dict[str, dict[str, "Outside"]]
"""By the encoder's name in the plan and the setting that names it."""


@dataclass(frozen=True)
class Outside:
    """Something that a plan names.

    Attributes:
        path: where it is; of the hub, its name there.
        digest: of its files; of the hub, the commit.
        ids: the file of its rows' ids, where that is another.
        told: what was found there, in words.
        recipe: of an encoder's folder, that it says its training was of.
    """

    path: str
    digest: str
    ids: str = ""
    told: str = ""
    recipe: "RecipeMark | None" = None


def find_outside(shop: Shop, config: StudyConfig) -> Found:
    """Everything that the plan names, looked at.

    Raises:
        StudyError: the first that is missing, cannot be read or does not go with the shop; by its key, with how to mend it.
    """
    found: Found = {}
    for place, entry in enumerate(config.encoders):
        own = found[entry.name] = {}
        for setting in ("start", "folder", "hub"):
            given = getattr(entry, setting)
            if given is not None:
                with _said_of(f"encoders.{place}.{setting} = {given!r}"):
                    own[setting] = _LOOK[setting](given)
        augmented = None if entry.posttraining is None else entry.posttraining.co_augmentation
        if augmented is not None:
            key = f"encoders.{place}.posttraining.co_augmentation.folder"
            with _said_of(f"{key} = {augmented.folder!r}"):
                own["co_augmentation"] = _augmentation(shop, augmented.folder)
        if entry.items is not None:
            with _said_of(f"encoders.{place} ({entry.name!r})"):
                own.update(_tables(shop, entry))
    return found


class _said_of:
    """Put the key before whatever is refused inside."""

    def __init__(self, where: str):
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, MoonRecError):
            raise StudyError(f"{self._where}: {error}") from None


def _folder(path: str) -> Outside:
    from representation.encoders.checkpoint import family_of, read_config, recipe_of

    if not Path(path).is_dir():
        raise StudyError(
            "there is no such folder; a name on the Hugging Face hub is given as hub = ..."
        )
    recipe = recipe_of(path)
    family = family_of(read_config(path), path)
    told = f"an encoder of the family {family}{f', of recipe {recipe.name}' if recipe else ''}"
    return Outside(path, _digest_of_folder(Path(path)), told=told, recipe=recipe)


def _start(path: str) -> Outside:
    from representation.encoders.checkpoint import family_of, read_about, read_config

    found = _folder(path)
    if read_about(path) is None and family_of(read_config(path), path) not in ("text", "dual"):
        raise StudyError(
            "a plain checkpoint of a language model; trainings start from an encoder of moon_rec, from a text or dual encoder, or, for all encoders of a plan, from backbone.checkpoint"
        )
    return found


def _hub(name: str) -> Outside:
    """The commit in the local cache, else the one that the hub names."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError

    if Path(name).exists():
        raise StudyError("this is a folder here; give it as folder = ...")
    try:
        local = Path(snapshot_download(name, local_files_only=True))
        return Outside(name, local.name, told=f"in the local cache, commit {local.name[:8]}")
    except HFValidationError as error:
        raise StudyError(f"no name on the hub ({first_line(error)})") from None
    except OSError:
        pass
    try:
        commit = HfApi().model_info(name, timeout=10.0).sha or ""
    except Exception as error:  # of many libraries: offline, refused, not there
        raise StudyError(
            f"not in the local cache, and the hub gives nothing ({first_line(error)}); fetch it once with a network, or give folder = a copy of it"
        ) from None
    return Outside(name, commit, told=f"on the hub, commit {commit[:8]}, fetched by its first cell")


def _augmentation(shop: Shop, folder: str) -> Outside:
    from representation.co_augmentation.files import read_augmentation

    found = read_augmentation(folder, shop)
    told = f"{found.titles.height:,} enriched titles, {found.pictures.height:,} expanded pictures"
    return Outside(folder, found.digest, told=told)


_LOOK = {"start": _start, "folder": _folder, "hub": _hub}


def _tables(shop: Shop, entry: EncoderRun) -> dict[str, Outside]:
    """Brought tables of items and searches, held against the shop."""
    is_folder = {Path(path).is_dir() for path in (entry.items, entry.searches) if path is not None}
    if is_folder == {True, False}:
        raise StudyError(
            f"items = {entry.items!r} and searches = {entry.searches!r}: one is a folder, the other a file; bring both with python -m representation.bring"
        )
    if True in is_folder:
        if entry.item_ids or entry.search_ids:
            raise StudyError(f"{entry.items} is a folder, which has its ids; leave item_ids and search_ids out")  # fmt: skip
        pair = open_pair(shop, entry.items, entry.searches)
        known = pair.items.widths if pair.items is not None else ()
        if odd := [width for width in entry.widths if width not in known]:
            raise StudyError(
                f"widths has {odd[0]}, and the table has {', '.join(map(str, known))}; bring it with --widths"
            )
        found = {"items": (entry.items, pair.items), "searches": (entry.searches, pair.queries)}
        told = {"items": pair.coverage.items, "searches": pair.coverage.searches}
        return {
            name: Outside(str(path), table.digest, told=f"{told[name]} {name} have a vector")
            for name, (path, table) in found.items()
            if isinstance(table, EmbeddingTable)
        }
    return dict(_files(shop, entry))


def _files(shop: Shop, entry: EncoderRun) -> Iterator[tuple[str, Outside]]:
    from representation.storage.row_ids import Whose, read_row_ids
    from representation.storage.vector_files import open_vectors

    given: list[tuple[str, str | None, str | None, Whose, str, Any]] = [
        ("items", entry.items, entry.item_ids, "items", "item_id", shop.items),
        ("searches", entry.searches, entry.search_ids, "queries", "search_id", shop.searches),
    ]
    dims: dict[str, int] = {}
    for name, path, ids, whose, key, frame in given:
        if path is None:
            continue
        source = open_vectors(path, ids=ids)
        dims[path] = source.dim
        if entry.widths and entry.widths[-1] >= source.dim:
            raise StudyError(
                f"widths has {entry.widths[-1]}, and vectors are {source.dim} wide; leave it out"
            )
        rows = read_row_ids(path, source, shop, whose)
        wanted = frame.select(key).collect()[key].to_numpy()
        covered = Covered(int(np.isin(wanted, rows.ids[rows.is_known]).sum()), len(wanted))
        if not covered.count or (name == "items" and covered.share < LEAST_SHARE):
            raise StudyError(
                f"{path}: {covered} {name} of shop {shop.name} have a vector; bring vectors by the ids of this shop's log"
            )
        digest = digest_of([digest_file(Path(one)) for one in (path, ids) if one])
        yield name, Outside(path, digest, ids or "", f"{covered} {name} have a vector")
    if len(set(dims.values())) > 1:
        named = " and ".join(f"{path} is {dim} wide" for path, dim in dims.items())
        raise StudyError(f"{named}: vectors of items and searches come from one encoder")


def _digest_of_folder(folder: Path) -> str:
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    return digest_of([[str(one.relative_to(folder)), digest_file(one)] for one in files])
