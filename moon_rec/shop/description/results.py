"""The typed result of `shop describe`, and the JSON schema that follows from it.

Notable choices
- Every figure stands here once: the terminal, `shop.json` and the page print this object and work nothing out.
- The models are the schema (pydantic): `shop.schema.json` is written from the classes below, with their docstrings as descriptions.
- `null` is "there is nothing to measure it on"; no field is NaN.
- `definition` says what a figure is, `source` what it was measured on.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from moon_rec.shop.shop import Period

Verdict = Literal["large", "moderate", "slight", "not shown", "cannot be told"]
FORMAT_VERSION = 1


class Result(BaseModel):
    """A part of the description: fixed, without fields that are not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Share(Result):
    """A share of `count` rows, with its interval at 95 %."""

    value: float | None
    """Between 0 and 1; null of no rows."""
    low: float | None
    """Lower end; null where no interval can be given."""
    high: float | None
    """Upper end; null where no interval can be given."""
    count: int
    """Rows that it is a share of."""


class Provenance(Result):
    """Where the numbers come from."""

    name: str
    """The shop's name."""
    source: str
    """Where its tables come from, in words."""
    is_simulated: bool
    """Whether its behaviour is simulated: then every number here is."""
    non_clicks: Literal["simulated", "sampled", "observed"]
    """How rows without a click came to be: simulated, drawn by a sampler, or shown to a user as far as the manifest says."""
    non_click_recipe: str
    """How they were sampled, in words; empty where they were not."""
    folder: str
    """The shop's folder."""
    digest: str
    """Of all tables and the two times."""
    tables: dict[str, str]
    """Digest of each table's file."""
    own_ids: tuple[str, ...]
    """Kinds of ids that are shown as their owner wrote them."""
    first: datetime | None
    """Time of the first impression (UTC)."""
    last: datetime | None
    """Time of the last impression (UTC)."""
    first_event: datetime | None
    """Time of the first event that was no impression; null without such a table."""
    last_event: datetime | None
    """Time of the last one."""
    cut_time: datetime
    """Train ends here, validation begins."""
    test_time: datetime
    """Validation ends here, test begins."""


class Counts(Result):
    """What the tables hold; `null` where the shop has no such table."""

    items: int
    """Products."""
    spus: int
    """Groups of variants of one product."""
    categories: int
    """Distinct category paths."""
    users: int
    """Distinct users in the log."""
    profiles: int | None
    """Rows of the table `users`."""
    requests: int
    """Distinct request_id."""
    impressions: int
    """Rows of the log."""
    searches: int
    """Searches."""
    events: int | None
    """Behaviour that was no impression, which histories read."""


class PeriodNumbers(Result):
    """One period; shares are of its impressions, cold items of items shown in it, cold users of users in it."""

    period: Period
    """train < cut_time <= validation < test_time <= test."""
    requests: int
    """Distinct request_id."""
    impressions: int
    """Rows of the log."""
    users: int
    """Distinct users."""
    items: int
    """Distinct items shown."""
    searches: int
    """Searches made."""
    click_rate: Share
    """Clicked impressions."""
    cart_rate: Share
    """Carted impressions."""
    purchase_rate: Share
    """Purchased impressions."""
    cold_impressions: Share
    """Impressions of items never shown before the cut."""
    cold_items: Share
    """Of the items shown, those never shown before the cut: all are counted, so there is no interval."""
    cold_users: Share
    """Of the users, those without an impression before the cut: all are counted, so there is no interval."""
    with_history: Share
    """Impressions whose user engaged with something strictly before."""
    median_history: float | None
    """Earlier engagements of the user at an impression."""


class Step(Result):
    """A step of a funnel."""

    name: str
    """What is counted."""
    count: int
    """How many reach it."""
    of_previous: Share | None
    """Of those of the step before; null of the first."""
    of_first: Share | None
    """Of those of the first step; null of the first."""


class Funnel(Result):
    """Steps of which each is part of the one before."""

    name: str
    """Of what it is."""
    period: Period | Literal["all"]
    """Of which period."""
    definition: str
    """What counts as a step."""
    steps: tuple[Step, ...]
    """From all to the fewest."""


class Day(Result):
    """One step of time."""

    start: datetime
    """Its first moment (UTC)."""
    impressions: int
    """Rows of the log."""
    click_rate: Share
    """Clicked impressions."""
    cart_rate: Share
    """Carted impressions."""
    purchase_rate: Share
    """Purchased impressions."""
    with_history: Share
    """Impressions of sampled users who engaged with something strictly before."""
    median_history: float | None
    """Earlier engagements at an impression of the sampled users."""


class Days(Result):
    """The log over time."""

    unit: Literal["hour", "day", "week", "month"]
    """How long a step is."""
    definition: str
    """What the shares and the histories are."""
    source: str
    """What they were measured on."""
    steps: tuple[Day, ...]
    """In order; a step without impressions is absent."""


class Covered(Result):
    """How much of a set has each kind of content; shares of 0 to 1."""

    name: str
    """All items, impressions of a period, or items of a category."""
    count: int
    """Items or impressions."""
    impressions: int
    """Impressions of these items in all periods."""
    title: float | None
    """With a title."""
    description: float | None
    """With a description."""
    brand: float | None
    """With a brand."""
    attributes: float | None
    """With at least one attribute."""
    price: float | None
    """With a price."""
    picture: float | None
    """With a picture."""


class Coverage(Result):
    """Which items have which content."""

    definition: str
    """What counts as having content."""
    overall: tuple[Covered, ...]
    """Of all items, and of the impressions of each period."""
    categories: tuple[Covered, ...]
    """Of the items of the most shown categories, then of the rest together."""


class Queries(Result):
    """What searches ask with; shares of all searches, null where there are none."""

    text_only: float | None
    """By words alone."""
    image_only: float | None
    """By a picture alone."""
    both: float | None
    """By words and a picture."""


class Bin(Result):
    """Values from `low` to `high`: at and above `low`, below `high` (at `high`, too, where both are the same)."""

    low: float
    """Least value."""
    high: float
    """End of the values."""
    count: int
    """How many lie there."""


class Spread(Result):
    """How a quantity is distributed."""

    name: str
    """The quantity."""
    definition: str
    """What one value is."""
    source: str
    """What was measured."""
    count: int
    """Values."""
    missing: int
    """Units without a value."""
    least: float | None
    """The smallest value."""
    median: float | None
    """Half are at or below."""
    p90: float | None
    """Nine of ten are at or below."""
    most: float | None
    """The largest value."""
    mean: float | None
    """Their mean."""
    bins: tuple[Bin, ...]
    """Empty ones are left out at both ends."""


class Place(Result):
    """One position in the requests, or the rest together."""

    position: str
    """As it stands in the log."""
    impressions: int
    """Rows there."""
    click_rate: Share
    """Clicked ones."""


class Places(Result):
    """Clicks by position."""

    definition: str
    """What it is."""
    source: str
    """What it was measured on."""
    positions: tuple[Place, ...]
    """In order; those beyond the last are one row."""


class DriftBin(Result):
    """One bin of a column and its shares of train and test."""

    label: str
    """Which values lie in it."""
    train: float
    """Share of train rows."""
    test: float
    """Share of test rows."""


class ColumnDrift(Result):
    """How another a column is in test than in train."""

    table: str
    """The table, or the log that it was worked out of."""
    column: str
    """The column, or what was worked out."""
    kind: Literal["numeric", "categorical"]
    """Numeric: bins of the train rows' tenths; categorical: the most frequent values of train and the rest."""
    index: float | None
    """Population stability index; null where a period has no rows."""
    chance: float | None
    """The index that 1 of 100 draws without drift goes beyond; null where there are too few users to tell."""
    verdict: Verdict
    """As the definition says."""
    train_rows: int
    """Train rows that were read."""
    test_rows: int
    """Test rows that were read."""
    bins: tuple[DriftBin, ...]
    """All bins."""


class Drift(Result):
    """Every column's drift from train to test."""

    definition: str
    """The index, its bins, the chance level and the verdicts."""
    source: str
    """What was read."""
    columns: tuple[ColumnDrift, ...]
    """Those that drift most first."""
    unread: tuple[str, ...]
    """Columns of a type that no bins are made of."""


class Check(Result):
    """One group of rules and what was found."""

    name: str
    """What was looked for."""
    is_rule: bool
    """True: a shop must keep it; false: its owner judges."""
    found: tuple[str, ...]
    """What was found, a line each; empty: it passed."""


class Pictures(Result):
    """Pictures of items and searches."""

    items: int
    """Items with a picture."""
    items_missing: int
    """Items without one."""
    searches: int
    """Searches with one."""
    broken: int | None
    """Pictures of items and searches that do not decode; null where the rules were not checked."""


class Description(Result):
    """Everything that `shop describe` says of a shop."""

    format_version: Literal[1] = FORMAT_VERSION
    """Raised when a field changes its meaning or goes away."""
    headline: tuple[str, ...]
    """What one acts on, in sentences."""
    provenance: Provenance
    """Where the numbers come from."""
    interval: str
    """What the intervals of shares are."""
    sample: str
    """What intervals, histories and drift were measured on: all users' rows, or those of some."""
    counts: Counts
    """What the tables hold."""
    periods: tuple[PeriodNumbers, ...]
    """Train, validation, test."""
    funnels: tuple[Funnel, ...]
    """Impressions to purchases, searches to clicks."""
    days: Days
    """The log over time."""
    queries: Queries
    """What searches ask with."""
    pictures: Pictures
    """Pictures of items and searches."""
    coverage: Coverage
    """Which items have which content."""
    spreads: tuple[Spread, ...]
    """Prices, request sizes, users and items."""
    places: Places
    """Clicks by position."""
    drift: Drift
    """Every column's drift from train to test."""
    checks: tuple[Check, ...] | None
    """What `shop check` finds; null where it was not asked for."""
