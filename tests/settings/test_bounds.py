"""Every setting of every class: described, bounded, and refused in one line with its name and value where it is out of bounds or of another type."""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest

from moon_rec.config import Config, described, load_config, make_config
from moon_rec.errors import ConfigError
from tests.settings.walk import NEEDED, all_configs, all_settings, leaves

OTHERS = {"TablesConfig": ["cut_time=2025-01-01", "test_time=2025-01-02T03:04:05"]}
"""Words that make a value of a kind which JSON has no type for."""


def _name(one) -> str:
    return one.__name__ if isinstance(one, type) else str(one)


def test_the_walk_finds_all():
    names = {kind.__name__ for kind in all_configs()}
    assert names >= {"RankerConfig", "PosttrainConfig", "LoraConfig", "QrelsLayout", "EncoderRun"}
    assert len(names) >= 25


@pytest.mark.parametrize("kind", all_configs(), ids=_name)
def test_each_setting_is_described(kind):
    assert [name for name in kind.model_fields if not described(kind, name)] == []


@pytest.mark.parametrize("kind", all_configs(), ids=_name)
def test_each_number_has_two_bounds(kind):
    """Also where a subclass gives another default."""
    loose = []
    for name, field in kind.model_fields.items():
        for plain, bounds in leaves(field):
            if plain in (int, float) and (kind.__name__, name) != ("PosttrainConfig", "mixture"):
                has_least = any(
                    isinstance(one, annotated_types.Ge | annotated_types.Gt) for one in bounds
                )
                has_most = any(
                    isinstance(one, annotated_types.Le | annotated_types.Lt) for one in bounds
                )
                if not (has_least and has_most):
                    loose.append(name)
    assert loose == []


def wrong_values(kind: type[Config], name: str) -> list[str]:
    """Values as they stand behind `name=`, each out of the setting's bounds or of another type."""
    field, found = kind.model_fields[name], []
    container = _container(field.annotation)
    for plain, bounds in leaves(field):
        for value in _wrong(plain, bounds):
            if container is None:
                found.append(value)
            elif container is tuple:
                found.append(f"[{value}]")
    if container is tuple:
        found += ["5", "true", "{a = 1}"]
    elif container is dict:
        found += ["5", "[1]", "{a = 1}"]
    else:
        found += ["[]", "[1, 2]", "{}" if not _is_config(field.annotation) else "[1]"]
    return found


def _wrong(plain: Any, bounds: list[Any]) -> list[str]:
    if plain is int:
        return ["true", "1.5", "nan", "inf", "'3'", "some", str(10**30), *_beyond(bounds)]
    if plain is float:
        return ["true", "nan", "inf", "-inf", "'0.5'", "some", "1e300", *_beyond(bounds)]
    if plain is bool:
        return ["1", "0.0", "maybe", "'true'"]
    if plain is str:
        return ["5", "true", "nan"]
    if get_origin(plain) is Literal:
        return ["nonsense", "5", "true"]
    if isinstance(plain, type) and issubclass(plain, Config):
        return ["5", "true", "word", "{nonsense = 1}"]
    return ["true", "5", "nonsense"]


def _beyond(bounds: list[Any]) -> list[str]:
    found = []
    for one in bounds:
        for name, step in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
            if (edge := getattr(one, name, None)) is not None:
                found.append(str(edge + step))
    return found


def _container(annotation: Any) -> type | None:
    if get_origin(annotation) is Annotated:
        return _container(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for one in get_args(annotation) if (found := _container(one))), None)
    return get_origin(annotation) if get_origin(annotation) in (tuple, dict) else None


def _is_config(annotation: Any) -> bool:
    kinds = [annotation, *get_args(annotation)]
    return any(isinstance(one, type) and issubclass(one, Config) for one in kinds)


@pytest.mark.parametrize(("kind", "name"), all_settings(), ids=_name)
def test_out_of_bounds_is_refused_in_one_line(kind, name):
    needed = [word for word in NEEDED.get(kind.__name__, []) if not word.startswith(f"{name}=")]
    for value in wrong_values(kind, name):
        with pytest.raises(ConfigError) as caught:
            load_config(kind, None, [*needed, f"{name}={value}"])
            pytest.fail(f"{kind.__name__} took {name}={value}")
        said = str(caught.value)
        assert "\n" not in said and name in said, said
        assert f"{kind.__name__}.{name}" in said or "has no setting" in said, said


@pytest.mark.parametrize("kind", all_configs(), ids=_name)
def test_an_unknown_setting_is_answered_with_the_nearest(kind):
    known = next(iter(kind.model_fields))
    wrong = f"{known}z"
    with pytest.raises(ConfigError) as caught:
        load_config(kind, None, [*NEEDED.get(kind.__name__, []), f"{wrong}=1"])
    assert f"has no setting {wrong!r}; did you mean {known!r}?" in str(caught.value)


@pytest.mark.parametrize("kind", all_configs(), ids=_name)
def test_settings_that_were_written_down_are_read_again(kind):
    made = load_config(kind, None, [*NEEDED.get(kind.__name__, []), *OTHERS.get(kind.__name__, [])])
    assert make_config(kind, made.model_dump(mode="json")) == made
    assert type(made).model_validate(made.model_dump(mode="json")) == made
