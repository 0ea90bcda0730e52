"""Every settings class of the library, found rather than listed, and what is needed to make one."""

import importlib
import pkgutil
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from moon_rec.config import Config
from representation.recipes.card import Card, Mechanism
from representation.recipes.mark import RecipeMark

PACKAGES = ("moon_rec", "ranking", "representation", "exchange_rate")
NEEDED = {
    "CoAugmentationConfig": ["folder=augmented"],
    "EncoderConfig": ["image_size=16", "widths=[8]"],
    "EncoderRun": ["name=first", "random=true"],
    "StudyConfig": ["encoders=[{name='first',random=true}]"],
}
"""Words without which a class cannot be made."""
NO_SETTINGS = {Card, Mechanism, RecipeMark}
"""Read like settings, by the same errors; they set nothing."""


def all_configs() -> list[type[Config]]:
    """All subclasses of `Config` in the library, nested and inherited ones too."""
    for package in PACKAGES:
        inside = importlib.import_module(package).__path__
        for found in pkgutil.walk_packages(inside, f"{package}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    found = set(_subclasses(Config)) - NO_SETTINGS
    return sorted(found, key=lambda kind: kind.__name__)


def _subclasses(kind: type) -> list[type]:
    direct = [one for one in kind.__subclasses__() if one.__module__.split(".")[0] in PACKAGES]
    return [*direct, *(one for each in direct for one in _subclasses(each))]


def all_settings() -> list[tuple[type[Config], str]]:
    """Every setting of every class."""
    return [(kind, name) for kind in all_configs() for name in kind.model_fields]


def leaves(field: FieldInfo) -> list[tuple[Any, list[Any]]]:
    """Plain types within a setting's type, each with what bounds it."""
    return _leaves(field.annotation, list(field.metadata))


def _leaves(annotation: Any, bounds: list[Any]) -> list[tuple[Any, list[Any]]]:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        for one in more:
            bounds = bounds + list(getattr(one, "metadata", [one]))
        return _leaves(inner, bounds)
    arguments = [one for one in get_args(annotation) if one not in (type(None), ...)]
    if str(get_origin(annotation)) == "typing.Literal":
        return [(annotation, bounds)]
    if not arguments:
        return [(annotation, bounds)]
    is_container = get_origin(annotation) in (tuple, dict)
    return [leaf for one in arguments for leaf in _leaves(one, [] if is_container else bounds)]
