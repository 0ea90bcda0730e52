"""What is looked at in a ranker and in a checkpoint of its training, before either is used; see `moon_rec.verification`."""

from pathlib import Path
from typing import Any

from moon_rec.errors import RankingError
from moon_rec.verification import Verified, as_recorded, tensors_in
from ranking.content.semantic_ids import SemanticIds
from ranking.content.vector_origin import VectorOrigin
from ranking.features.preparation import Preparation
from ranking.saved import Said, check_fit, parse_about, read_about, refuse_changed, weights_of
from ranking.seed_folders import RANKER_FILE
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
        return as_recorded(about, folder / RANKER_FILE)

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

    return found.look_all(
        {
            RANKER_FILE: of_itself,
            "files": files,
            "header of weights": weights,
            "preparation": preparation,
            "samples of vectors": vectors,
        }
    )


def verify_checkpoint(folder: Path) -> Verified:
    """What a stopped training of a ranker goes on from."""

    def position() -> str:
        at = read_position(folder)
        return f"step {at.step:,}, epoch {at.epoch:,}; files not recorded"

    looks = {POSITION: position, "headers of tensors": lambda: tensors_in(folder)}
    return Verified("checkpoint of a ranker").look_all(looks)
