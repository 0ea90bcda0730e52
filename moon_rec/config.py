"""Settings: frozen pydantic models with a digest, read from TOML and from `name=value` words.

`Config` is the base of every settings class. It refuses unknown names and values of another type, cannot be changed after it is made, and gives the same
digest for the same values in any order: that digest names what a result depended on.

A setting that cannot change the result beside the others is refused, so that nobody compares two runs that are one. The rule: such a setting may be left out
or stand at its default; anything else is refused. So settings that a run wrote down can always be given again. What reads a setting is declared beside it, in
`counts_when`.
"""

import contextlib
import copy
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, get_args

import pydantic

from moon_rec.errors import ConfigError
from moon_rec.files import digest_of
from moon_rec.strict_json import read_bounded

_HINTS = {"string_type": "; put it in quotes", "bool_type": ": true or false"}
"""How to mend what a type of pydantic's errors does not say."""
_SHORT = re.compile(r"[+-]?(\d+\.|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
"""Numbers such as .5, which a shell's user writes and TOML has not."""
MOST_TOML_BYTES = 4 << 20
LENIENT = "lenient"
"""Context of a validation that lets settings pass which change nothing."""


class CountsWhen(NamedTuple):
    """When a setting can change the result.

    Attributes:
        holds: of all the settings.
        words: what reads the setting, said where `holds` is false; `{self.other}` is filled in.
    """

    holds: Callable[[Any], bool]
    words: str


Rules = Mapping[str, CountsWhen]


class Config(pydantic.BaseModel):
    """Base of all settings: frozen; unknown names, other types, NaN and infinities refused, and settings that change nothing.

    Attributes:
        counts_when: by the setting's name; one that is not in it always counts. Subclasses add to it.
    """

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
    counts_when: ClassVar[Rules] = {}

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _of_toml(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """What TOML and JSON have other types for: lists; days and moments, which JSON writes as text."""
        if isinstance(value, list):
            return tuple(value)
        annotation = cls.model_fields[str(info.field_name)].annotation
        is_moment = datetime in (annotation, *get_args(annotation))
        if is_moment and isinstance(value, str | date) and not isinstance(value, datetime):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(str(value))
        return value

    @pydantic.model_validator(mode="after")
    def _all_count(self, info: pydantic.ValidationInfo) -> Self:
        if info.context != LENIENT:
            for why in self.idle().values():
                raise ValueError(why)
        return self

    def changed(self) -> dict[str, Any]:
        """Settings that are not at their defaults."""
        return {name: value for name, value in self if value != _default(type(self), name)}

    def idle(self) -> dict[str, str]:
        """Settings, not at their defaults, that change nothing beside the others: name -> why. Those of nested settings are their own."""
        found, changed = {}, self.changed()
        for kind in type(self).__mro__:
            for name, rule in vars(kind).get("counts_when", {}).items():
                if name in changed and not rule.holds(self):
                    why = rule.words.format(self=self)
                    found[name] = f"{name} = {changed[name]!r} changes nothing: {why}"
        return found

    @classmethod
    def reading(cls, **values: Any) -> Self:
        """Of values that several settings share, what these can read; those that would change nothing stay at their defaults."""
        while True:
            made = cls.model_validate(values, context=LENIENT)
            idle = made.idle().keys() & values.keys()
            if not idle:
                return cls.model_validate(values)
            values = {name: value for name, value in values.items() if name not in idle}

    def digest(self) -> str:
        """16 hex digits that are equal exactly when all settings are."""
        return digest_of(self.model_dump(mode="json"))


AnyConfig = TypeVar("AnyConfig", bound=Config)


def load_config(
    kind: type[AnyConfig],
    file: Path | None = None,
    settings: Sequence[str] = (),
    shared: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
) -> AnyConfig:
    """Make settings of `kind` from its defaults, a TOML file, and `name=value` words, the later over the earlier.

    Args:
        kind: the settings class.
        file: TOML; its tables are nested settings.
        settings: words such as `epochs=2`, `backbone.text_dim=96` or, within a list of the file, `encoders.0.name=first`; a value is read as TOML, else as
            plain text.
        shared: such words under those, that several settings share: where these cannot read one, it stays at its default.
        base: values under those of the file, such as a recipe's; what of them changes nothing beside what is given goes without a word.

    Raises:
        ConfigError: a file that is missing or no TOML, or a setting that is unknown, invalid or changes nothing, by its dotted name.
    """
    given = read_toml(file) if file is not None else {}
    values = over_base(kind, base or {}, given, settings)
    if not shared:
        return _made(kind, values, None)
    under = _put_all({}, shared)
    idle = _made(kind, under | values, LENIENT).idle()
    kept = {name: value for name, value in under.items() if name not in idle}
    return _made(kind, kept | values, None)


def over_base(
    kind: type[Config],
    base: Mapping[str, Any],
    given: Mapping[str, Any],
    settings: Sequence[str] = (),
) -> dict[str, Any]:
    """Values that are given, and words over them, over those of `base` that still count then.

    Raises:
        ConfigError: as `load_config`, but for what changes nothing.
    """
    while True:
        values = _put_all(merged(base, given), settings)
        of_base = base.keys() - _put_all(merged({}, given), settings).keys()
        idle = _made(kind, values, LENIENT).idle().keys() & of_base if of_base else ()
        if not idle:
            return values
        base = {name: value for name, value in base.items() if name not in idle}


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables of settings, those of `over` first; neither is changed."""
    found = {name: copy.deepcopy(value) for name, value in under.items()}
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if both else copy.deepcopy(value)
    return found


def unread(kind: type[Config], settings: Sequence[str], shared: Sequence[str]) -> dict[str, str]:
    """Of `shared` words what these settings cannot read: name -> why.

    Raises:
        ConfigError: as `load_config`.
    """
    under = _put_all({}, shared)
    idle = _made(kind, _put_all(dict(under), settings), LENIENT).idle()
    return {name: why for name, why in idle.items() if name in under}


def make_config(kind: type[AnyConfig], values: Mapping[str, Any]) -> AnyConfig:
    """`kind(**values)` of values that were written down, with pydantic's complaint turned into one line that names the setting.

    Settings that change nothing pass: what was written down was read then.
    """
    return _made(kind, values, LENIENT)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known name is near, else nothing."""
    known = list(known)
    found = difflib.get_close_matches(word, known, 1) or [
        name for name in known if word and name.lower() == word.lower()
    ]
    return f"; did you mean {found[0]!r}?" if found else ""


def described(kind: type[Config], name: str) -> str:
    """What is said of a setting: its own words, or its lines under `Attributes` of its class or of one that it comes from."""
    own = kind.model_fields[name].description
    if own:
        return own
    for parent in kind.__mro__:
        text = (parent.__doc__ or "").partition("Attributes:")[2].partition("\n\n")[0]
        lines = [line for line in text.splitlines() if line.strip()]
        margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
        entries: list[list[str]] = []
        for line in lines:
            if len(line) - len(line.lstrip()) == margin:
                entries.append([])
            entries[-1].append(line.strip())
        for entry in entries:
            names, colon, words = " ".join(entry).partition(": ")
            if colon and name in re.split(r",\s*", names) and words:
                return words
    return ""


def listed(kind: type[Config], prefix: str = "") -> list[str]:
    """A line for each setting: its dotted name, its default and what is said of it; nested settings below their own."""
    lines = []
    for name, field in kind.model_fields.items():
        inner = next(_configs_in(field.annotation), None)
        default = field.get_default(call_default_factory=True)
        value = "" if isinstance(default, Config) else f" = {default!r}"
        words = described(kind, name)
        lines.append(f"  {prefix}{name}{value}{': ' if words else ''}{words}")
        if inner is not None:
            lines += listed(inner, f"{prefix}{name}.")
    return lines


def _made(kind: type[AnyConfig], values: Mapping[str, Any], context: str | None) -> AnyConfig:
    try:
        return kind.model_validate(values, context=context)
    except pydantic.ValidationError as error:
        raise ConfigError(_complaint(kind, error.errors()[0])) from None


def _complaint(kind: type[Config], first: Any) -> str:
    """One line of the first thing that pydantic found wrong."""
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    if first["type"] == "extra_forbidden":
        owner = _owner(kind, path)
        known = sorted(owner.model_fields)
        meant = nearest(path[-1], known)
        return f"{kind.__name__} has no setting {name!r}{meant}; {owner.__name__} knows {', '.join(known)}"
    name = f"{kind.__name__}.{name}".rstrip(".")
    message, given = first["msg"].removeprefix("Value error, "), first.get("input")
    message = message.replace("a valid tuple", "a list, such as [1, 2]")
    if first["type"] == "missing":
        return f"{name} is missing; give it a value"
    if isinstance(given, dict) and first["type"] == "value_error":  # do not fit together
        return f"{name}: {message}"
    if first["type"] == "literal_error" and isinstance(given, str):
        message += nearest(given, re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    message += _HINTS.get(first["type"], "")
    return f"{name} = {_shown(given)}: {message}"


def _owner(kind: type[Config], path: Sequence[str]) -> type[Config]:
    """The settings class that the last name of a path was sought in."""
    for name in path[:-1]:
        field = kind.model_fields.get(name)
        kind = next(_configs_in(field.annotation), kind) if field is not None else kind
    return kind


def _configs_in(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for argument in get_args(annotation):
        yield from _configs_in(argument)


def _default(kind: type[Config], name: str) -> Any:
    return kind.model_fields[name].get_default(call_default_factory=True)


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: no such file, or no TOML in it.
    """
    try:
        return tomllib.loads(read_bounded(Path(file), MOST_TOML_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no settings file at {file}") from None
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read as a settings file: {error.strerror or error}"
        ) from None
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number beyond all bounds
        raise ConfigError(f"{file} is not valid TOML: {error}") from None


def _parse(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return float(text) if _SHORT.fullmatch(text) else text
    return found["value"] if len(found) == 1 else text


def _put_all(values: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    for word in words:
        name, equals, text = word.partition("=")
        path = name.split(".")
        if not equals or not all(path):
            raise ConfigError(f"setting {word!r}: wanted name=value, such as seed=1")
        _put(values, path, _parse(text), word)
    return values


def _put(values: Any, path: list[str], value: Any, word: str) -> None:
    """Put a value at its place among nested tables and lists of tables."""
    for part in path[:-1]:
        if isinstance(values, list):
            values = values[_place(values, part, word)]
        else:
            values = values.setdefault(part, {})
        if not isinstance(values, dict | list):
            raise ConfigError(f"setting {word!r}: {part!r} is not a table of settings")
    if isinstance(values, list):
        values[_place(values, path[-1], word)] = value
    else:
        values[path[-1]] = value


def _place(values: list[Any], part: str, word: str) -> int:
    if not part.isascii() or not part.isdigit() or int(part) >= len(values):
        raise ConfigError(
            f"setting {word!r}: {part!r} is no place in a list of {len(values)}; the first is 0"
        )
    return int(part)


def _shown(value: Any) -> str:
    """A value as TOML has it, cut where it is long."""
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 200 else f"{text[:200]} ..."
