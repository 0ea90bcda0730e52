"""The tables of keys in docs/study_files.md, made of the settings themselves: `python -m exchange_rate.study.plan_keys docs/study_files.md` puts them into the page."""

import sys
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import RankerPlan, StudyConfig
from moon_rec.command import Parser, run
from moon_rec.config import Config, described
from moon_rec.errors import ConfigError
from moon_rec.files import atomic_file
from ranking.config import RankerConfig
from ranking.features import FeatureConfig
from representation.model.backbone import BackboneConfig
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig

BEGIN = "<!-- keys: made by python -m exchange_rate.study.plan_keys -->"
END = "<!-- end of keys -->"
TABLES: tuple[tuple[str, type[Config]], ...] = (
    ("The plan", StudyConfig),
    ("`[[encoders]]`", EncoderRun),
    ("`[[rankers]]`", RankerPlan),
    ("`ranker = {...}` and `baseline = {...}`", RankerConfig),
    ("`features = {...}`", FeatureConfig),
    ("`pretraining = {...}`", PretrainConfig),
    ("`posttraining = {...}`", PosttrainConfig),
    ("`backbone = {...}`", BackboneConfig),
)


def keys() -> str:
    """All tables as Markdown."""
    parts = []
    for title, kind in TABLES:
        rows = [
            f"| `{name}` | {_default(field.default)} | {_cell(described(kind, name))} |"
            for name, field in kind.model_fields.items()
            if (kind, name) != (PosttrainConfig, "backbone")
            and (kind, name) != (PretrainConfig, "backbone")
        ]
        parts += [f"### {title}", "", "| key | default | what it is |", "|---|---|---|", *rows, ""]
    return "\n".join(parts).rstrip()


def with_keys(page: str) -> str:
    """The page with the tables in their place.

    Raises:
        ConfigError: it has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"the page has no lines {BEGIN!r} and {END!r}; put them where the tables belong")  # fmt: skip
    return f"{before}{BEGIN}\n\n{keys()}\n\n{END}{after}"


def _default(value: Any) -> str:
    """As TOML writes it; a table of settings at their defaults is one."""
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "left out"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Config):
        changed = ", ".join(f'{name} = "{one}"' for name, one in value.changed().items())
        return f"`{{ {changed} }}`" if changed else "its defaults"
    if isinstance(value, tuple) and value and isinstance(value[0], Config):
        return "one of its defaults"
    if isinstance(value, tuple):
        return f"`{list(value)}`".replace("'", '"')
    if isinstance(value, dict):
        return "`{" + ", ".join(f'"{name}" = {one}' for name, one in value.items()) + "}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _cell(text: str) -> str:
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(
        one if place % 2 else one.replace("<", "&lt;") for place, one in enumerate(parts)
    )


def main(argv: list[str] | None = None) -> None:
    """Put the tables into a page."""
    parser = Parser(
        prog="python -m exchange_rate.study.plan_keys",
        description="Put the tables of a plan's keys into a page.",
        example="python -m exchange_rate.study.plan_keys docs/study_files.md",
    )
    parser.add_argument("page", type=Path, help="the Markdown page")
    page: Path = parser.parse_args(argv).page
    text = with_keys(page.read_text(encoding="utf-8"))
    with atomic_file(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(main))
