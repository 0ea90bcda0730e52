"""Pages of moon_rec: one self-contained HTML file each, from templates that share their look (`templates/page.css`) and their parts (`templates/parts.html.j2`)."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import jinja2
from markupsafe import Markup


class Measured(Protocol):
    """A number with its interval, as typed results have it."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


class Told(Measured, Protocol):
    """One that says what it is and what it was measured on."""

    @property
    def definition(self) -> str: ...
    @property
    def source(self) -> str: ...


def page_environment(package: str, escape: Callable[[Any], str]) -> jinja2.Environment:
    """Templates of a package, and those that all pages share, whose every value is shown as text: `escape` makes it so, but for markup that is ours (figures, numbers, what a macro wrote)."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package), jinja2.PackageLoader("moon_rec")]
        ),
        autoescape=True,  # what `escape` returns is Markup or escaped for HTML; a macro's text is Markup, and not escaped twice
        finalize=lambda value: value if isinstance(value, Markup) else escape(value),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"told": told, "interval": own(interval), "short": own(short)}
    return environment


def own(filter_of_numbers: Callable[..., str]) -> Callable[..., Markup]:
    """A filter whose text is made of digits and our words alone."""
    return lambda *values, **options: Markup(filter_of_numbers(*values, **options))


def interval(number: Measured | None, digits: int = 4, scale: float = 1, sign: bool = False) -> str:
    """A number with its interval, a dash where there is none."""
    if number is None or number.value is None:
        return "–"
    form = f"{'+' if sign else ''}.{digits}f"
    text = format(scale * number.value, form)
    if number.low is None or number.high is None:
        return f"{text} [no interval]"
    return f"{text} [{format(scale * number.low, form)}, {format(scale * number.high, form)}]"


def short(value: float | None) -> str:
    """A count of tokens or pairs in three figures: 12.3k, 4.56M."""
    if value is None or not math.isfinite(value):
        return "–"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"


def told(numbers: Iterable[Told | None]) -> list[str]:
    """What numbers are and on how much they were measured, each definition once."""
    sources: dict[str, dict[str, None]] = {}
    for number in numbers:
        if number is not None and number.definition:
            sources.setdefault(number.definition, {})[number.source] = None
    return [
        f"{definition} ({', '.join(filter(None, found))})" if any(found) else definition
        for definition, found in sources.items()
    ]
