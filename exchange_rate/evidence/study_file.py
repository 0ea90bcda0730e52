"""`study.json`, which may come from anywhere: its fields with their types and bounds, checked before anything is made of them.

What holds for the whole study is refused in one line. What is wrong with one of its cells is that cell's fault: it is left out by name (`exchange_rate.evidence.records`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import Field

from exchange_rate.evidence.draw_file import MOST_DRAWS, MOST_SPLITS
from exchange_rate.names import REFERENCE, Role
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.files import read_json
from moon_rec.shop.engagement import Engagement
from moon_rec.shown import plain_name, visible

ABOUT = "study.json"
FORMAT = 3
"""Of `study.json`: the one of several rankers, each in its roles, and of encoders from anywhere."""
MOST_BYTES = 1 << 26
MOST_CELLS = 20_000
MOST_SHEET_BYTES = 1 << 25
PNG = b"\x89PNG\r\n\x1a\n"

CAPTIONS = {
    "neighbours": "Searches drawn at random, the products nearest to them, and what was {engagement} after them, framed, with its rank.",
    "attention": "Where the encoder looks for words that shoppers searched with, in products that were then {engagement}: three readings of it.",
}
"""By the sheet's name, to be filled with the study's engagement; its file is `<name>.png`."""

Text = Annotated[str, Field(max_length=20_000)]
Short = Annotated[str, Field(min_length=1, max_length=1_100)]
Amount = Annotated[float, Field(ge=0, le=1e18)]
SeedNumber = Annotated[int, Field(ge=0, lt=2**63)]
RunId = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]


class Fields(pydantic.BaseModel):
    """What a part of the file has: these fields, of these types, and no others. They are no settings: nobody gives them."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )


class AboutRanker(Fields):
    """What a ranker of the plan is called (`exchange_rate.names.RankerNames`)."""

    name: Short
    content: Short
    baseline: Short
    permuted: Short
    differences: Annotated[list[Text], Field(max_length=1_000)] = []


class AboutShop(Fields):
    """Which shop."""

    name: Text
    digest: Short
    source: Text
    is_simulated: bool
    non_clicks: Text = ""
    cut_time: Short
    test_time: Short


class Planned(Fields):
    """What the plan meant to be there."""

    encoders: Annotated[list[Short], Field(max_length=MOST_CELLS)]
    cells: Annotated[int, Field(ge=0, le=MOST_CELLS)]


class FailedCell(Fields):
    """A cell without a result (`exchange_rate.study.failures.Failure`)."""

    name: Short
    kind: Short
    error: Text
    because: Annotated[list[Short], Field(max_length=MOST_CELLS)] = []
    folder: Annotated[str, Field(max_length=200)] = ""


class AboutDraws(Fields):
    """The artifact `draws.parquet` (`exchange_rate.evidence.draw_file`); older studies have none."""

    num_draws: Annotated[int, Field(ge=1, le=MOST_DRAWS)]
    num_splits: Annotated[int, Field(ge=1, le=MOST_SPLITS)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class AboutNeighbours(Fields):
    """The artifact `neighbours.parquet` (`exchange_rate.evidence.neighbour_file`); older studies have none."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class AboutSegment(Fields):
    """Products that comparisons are also told of: what stands behind their figures' names, and their name for people."""

    key: Annotated[str, Field(pattern=r"^_in_[a-z0-9_-]{1,40}$")]
    name: Text


class About(Fields):
    """All fields of `study.json`; cells and failures stay as they are until each is looked at."""

    format: int
    name: Short
    key: Short
    period: Literal["validation", "test"]
    steering_metric: Short
    num_seeds: Annotated[int, Field(ge=1, le=10_000)]
    seeds: Annotated[list[SeedNumber], Field(min_length=1, max_length=10_000)]
    seed: SeedNumber
    width: Annotated[int, Field(ge=1, le=65_536)] | None
    level: Annotated[float, Field(gt=0.5, lt=1)]
    rankers: Annotated[list[AboutRanker], Field(min_length=1, max_length=1_000)]
    label: Short
    cold_below: Annotated[int, Field(ge=0, le=2**31)]
    engagement: Engagement
    shop: AboutShop
    cells: Annotated[list[Any], Field(max_length=MOST_CELLS)]
    definitions: Annotated[list[Text], Field(max_length=MOST_CELLS)]
    encoders: Annotated[list[Short], Field(max_length=MOST_CELLS)]
    chosen_encoder: Short | None
    planned: Planned | None = None
    failed: Annotated[list[FailedCell], Field(max_length=MOST_CELLS)] = []
    sheets: Annotated[list[Any], Field(max_length=100)] = []
    segments: Annotated[list[AboutSegment], Field(max_length=1_000)] = []
    draws: AboutDraws | None = None
    neighbours: AboutNeighbours | None = None


Origin = Literal["trained here", "folder", "hub", "brought", "mixture", "width"]
"""Where an encoder comes from: random weights and trainings of the plan, a folder, a name on the hub, vectors brought along, tables mixed, a Matryoshka width."""


class EncoderLabels(Fields):
    """Labels of an `encoder` cell.

    Attributes:
        path: encoders of one training (checkpoints, widths) share it: they are no independent points.
        is_trained: it has a contrastive post-training, or comes from outside and is not marked as untrained; the headline is among trained encoders.
        stages: trainings of the plan; the counts beside it are theirs, 0 where a training was somebody else's.
        recipe, card: the recipe that it was trained by and the recipe's card in a line; None where there is none, or an older version tracked it.
        recipe_departures: settings of the recipe that its training had otherwise.
    """

    encoder: Short
    path: Short
    is_trained: bool
    origin: Origin
    stages: Short
    pretraining_tokens: Amount
    posttraining_tokens: Amount
    training_tokens: Amount
    posttraining_pairs: Amount
    negatives: Amount
    recipe: Short | None = None
    card: Short | None = None
    recipe_departures: Text = ""


class RankerLabels(Fields):
    """Labels of a `ranker` cell.

    Attributes:
        ranker: its name in the plan, or a reference's; a baseline that several rankers share stands once for each.
        encoder: None for a baseline and for a reference.
    """

    ranker: Short
    role: Role
    encoder: Short | None
    seed: SeedNumber


class ComparisonLabels(Fields):
    """Labels of a `comparison` cell.

    Attributes:
        reference: what is compared, in that role; it reads no encoder.
    """

    ranker: Short
    role: Literal["content", "permuted", "reference"]
    encoder: Short | None
    against: Literal["baseline", "permuted"]
    reference: Short | None = None

    @pydantic.model_validator(mode="after")
    def _is_of_an_encoder_or_a_reference(self) -> "ComparisonLabels":
        is_reference = self.role == REFERENCE
        if (self.reference is None) is is_reference or (self.encoder is None) is not is_reference:
            raise ValueError(
                f"role {self.role!r} with encoder {self.encoder!r} and reference {self.reference!r}: wanted an encoder, or in the role reference a reference and no encoder"
            )
        return self


class NoLabels(Fields):
    """Stages have none."""


LABELS: dict[str, type[Fields]] = {
    **dict.fromkeys(("start", "pretraining", "posttraining", "choice"), NoLabels),
    "encoder": EncoderLabels,
    "ranker": RankerLabels,
    "comparison": ComparisonLabels,
}
"""By the cell's kind."""


class AboutCell(Fields):
    """One cell; its labels are looked at by its kind."""

    name: Short
    kind: Literal[
        "start", "pretraining", "posttraining", "choice", "encoder", "ranker", "comparison"
    ]
    run: RunId
    labels: dict[str, Any]
    definitions: dict[str, Annotated[int, Field(ge=0)]] = Field(default={}, max_length=10_000)
    key: Short | None = None


def read_about(file: Path, what: str) -> dict[str, Any]:
    """The fields of a `study.json`, as plain values; `sheets` are names of sheets that we draw.

    Args:
        what: which one, for the error.

    Raises:
        StudyError: of another format, with a field that is missing, of another type or out of its bounds, or with a name that is none.
        MoonRecError: no JSON, a link, or too large.
    """
    if file.is_symlink():
        raise StudyError(f"{what}: {file} is a link; put the file itself there")
    if file.stat().st_size > MOST_BYTES:
        raise StudyError(f"{what}: {file.stat().st_size:,} bytes; the most are {MOST_BYTES:,}")
    try:
        found = _whole_letters(read_json(file))
    except RecursionError:
        raise StudyError(f"{what}: {file} is nested too deeply to be read") from None
    version = found.get("format", 1) if isinstance(found, dict) else "unknown"
    if version != FORMAT or isinstance(version, bool):
        raise StudyError(
            f"{what} was tracked by another version (format {str(version)[:20]}, wanted {FORMAT}); run the study again with python -m exchange_rate.study"
        )
    try:
        about = _checked(About, found).model_dump()
    except MoonRecError as error:
        raise StudyError(f"{what}: {error}") from None
    for place, name in enumerate(about["sheets"]):
        where = f"{what}, sheets[{place}]"
        if plain_name(name, where) not in CAPTIONS:
            raise StudyError(f"{where} = {name!r}: there are {', '.join(CAPTIONS)}")
    return about


def read_about_draws(value: Any, what: str) -> dict[str, Any]:
    """The field `draws` alone, of a `study.json` of any version, as plain values.

    Raises:
        StudyError: a field of it that is missing, of another type or out of its bounds.
    """
    try:
        return _checked(AboutDraws, value).model_dump()
    except StudyError as error:
        raise StudyError(f"{what}: {error}") from None


def read_cell(value: Any, num_definitions: int) -> dict[str, Any]:
    """One entry of `cells`, as plain values.

    Raises:
        MoonRecError: it is no cell, or labels that are not those of its kind.
    """
    if not isinstance(value, dict):
        raise StudyError(f"a {type(value).__name__}, no cell")
    cell = _checked(AboutCell, value).model_dump()
    labels = _checked(LABELS[cell["kind"]], cell["labels"])
    cell["labels"] = labels.model_dump(exclude_unset=True)
    if over := [place for place in cell["definitions"].values() if place >= num_definitions]:
        raise StudyError(f"definition {over[0]} of {num_definitions}")
    return cell


def read_sheet(file: Path, what: str) -> bytes:
    """A sheet's picture.

    Raises:
        StudyError: a link, too large, or no PNG.
    """
    if file.is_symlink():
        raise StudyError(f"{what}: {file.name} is a link")
    size = file.stat().st_size
    if size > MOST_SHEET_BYTES:
        raise StudyError(
            f"{what}: {file.name} has {size:,} bytes; the most are {MOST_SHEET_BYTES:,}"
        )
    picture = file.read_bytes()
    if not picture.startswith(PNG):
        raise StudyError(f"{what}: {file.name} is no PNG picture")
    return picture


AnyFields = TypeVar("AnyFields", bound=Fields)


def _checked(kind: type[AnyFields], values: Any) -> AnyFields:
    """The fields of these values.

    Raises:
        StudyError: the first thing that is wrong with them.
    """
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join([kind.__name__, *map(str, first["loc"])])
        if first["type"] == "missing":
            raise StudyError(f"{name} is missing") from None
        raise StudyError(f"{name} = {repr(first['input'])[:80]}: {first['msg']}") from None


def _whole_letters(value: Any) -> Any:
    """Halves of surrogate pairs, which JSON can spell and no file can hold, written out."""
    if isinstance(value, dict):
        return {_whole_letters(name): _whole_letters(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole_letters(one) for one in value]
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return visible(value)
    return value
