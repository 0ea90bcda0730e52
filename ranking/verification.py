"""What is looked at in a ranker and in a checkpoint of its training, before either is used; see `moon_rec.verification`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moon_rec.errors import RankingError
from moon_rec.mapped_tensors import WEIGHTS, stored_tensors
from moon_rec.recorded import recorded_files
from moon_rec.verification import Verified
from ranking.content.semantic_ids import SemanticIds
from ranking.content.vector_origin import VectorOrigin
from ranking.features.preparation import Preparation
from ranking.saved import Said, check_fit, parse_about, refuse_changed, weights_of
from ranking.seed_folders import RANKER_FILE
from ranking.trained import read_about
from ranking.training.checkpoint import POSITION, read_position


def verify_ranker(folder: Path) -> Verified:
    """Files as recorded, weights that fit the settings, the preparation's digest computed anew."""
    found = Verified("ranker")
    about: dict[str, Any] = {}
    said: list[Said] = []

    def of_itself() -> str:
        about.update(read_about(folder))
        said.append(parse_about(about, folder / RANKER_FILE))
        found.names.update({what: one["digest"] for what, one in said[0].vectors.items()})
        return f"content {said[0].config.content}, reads vectors of {', '.join(said[0].vectors) or 'none'}"

    def files() -> str:
        refuse_changed(folder, about)
        count = len(recorded_files(about, folder / RANKER_FILE))
        return f"{count} as recorded" if count else "not recorded: saved before files were"

    def weights() -> str:
        check_fit(folder, said[0])
        return f"{len(weights_of(folder)):,} tensors, as the settings make them"

    def preparation() -> str:
        digest = Preparation.load(folder / "preparation").digest
        if digest != said[0].preparation:
            raise RankingError(
                f"{folder / RANKER_FILE} names preparation {said[0].preparation:.40}, the one beside it is {digest}; put the ranker's own back"
            )
        return f"digest {digest}, computed anew"

    def vectors() -> str:
        for name, origin in said[0].vectors.items():
            VectorOrigin.load(folder / f"{name}_sample.safetensors", **origin)
        if "semantic_ids" in said[0].config.ways:
            SemanticIds.load(folder / "semantic_ids.safetensors")
        return f"{len(said[0].vectors)} read"

    steps: list[tuple[str, Callable[[], str]]] = [
        (RANKER_FILE, of_itself),
        ("files", files),
        ("header of weights", weights),
        ("preparation", preparation),
        ("samples of vectors", vectors),
    ]
    all(found.look(subject, look) for subject, look in steps)
    return found


def verify_checkpoint(folder: Path) -> Verified:
    """What a stopped training of a ranker goes on from."""
    found = Verified("checkpoint of a ranker")

    def position() -> str:
        at = read_position(folder)
        return f"step {at.step:,}, epoch {at.epoch:,}; files not recorded"

    def tensors() -> str:
        files = sorted(folder.glob("*.safetensors"))
        count = sum(len(stored_tensors(file, WEIGHTS)) for file in files)
        return f"{count:,} tensors in {len(files)} files"

    if found.look(POSITION, position):
        found.look("headers of tensors", tensors)
    return found
