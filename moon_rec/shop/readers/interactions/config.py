"""What a user says of their tables: which column is what, and what values mean that do not say it themselves.

A column within a column of lists or structs is named by the way to it: `images[0].large`, `label_0[1]`.
"""

import codecs
import functools
from typing import Annotated, ClassVar, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator

from moon_rec.bounds import Name, Names
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.shop.non_clicks import NonClickConfig
from moon_rec.shop.readers.tables import TablesConfig
from moon_rec.values import Unit

Column = Name | None


@functools.cache
def _time_zones() -> set[str]:
    """Those of the system, looked up once: each time opens 600 files."""
    return available_timezones()


class FileForm(Config):
    """How the files of a table are written, where the files do not say it.

    Attributes:
        names: the columns in their order, for files without a header.
        separator: between the fields of a line; one of several characters, such as "::", knows no quotes. None: as the first line has it.
        encoding: of the texts, such as "latin-1"; files that are not UTF-8 are read whole. None: UTF-8.
    """

    names: Names = ()
    separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    encoding: Name | None = None

    @field_validator("encoding")
    @classmethod
    def _is_an_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise ValueError(
                    f"{encoding!r} is no encoding; name one such as 'latin-1'"
                ) from None
        return encoding


class TimeColumns(FileForm):
    """How the times of a table are written.

    Attributes:
        time_format: of times that are texts, such as "%d.%m.%Y %H:%M" (strftime); None takes ISO 8601.
        time_zone: of times that name none, such as "Europe/Berlin".
    """

    table: ClassVar[str]
    time_format: Name | None = None
    time_zone: Name = "UTC"

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, zone: str) -> str:
        if zone not in _time_zones():
            raise ValueError(f"{zone!r} is no time zone; name one such as 'Europe/Berlin'")
        return zone


class LogColumns(TimeColumns):
    """Columns of the log, by what they are; one that is not named is looked for by its usual names.

    Attributes:
        user, item, time: the three that nothing can stand in for.
        clicked, carted, purchased: outcomes of a row: true and false, 0 and 1, or numbers with a threshold. Without `clicked` every row is
            a positive.
        request: the page that a row was shown on; without it the rows of a user at one moment are one.
        position: place on the page; without it the order of the rows.
        shown, chosen: lists of what a page showed and of what was clicked of it (instead of `item` and `clicked`); a text such as
            `N1-1 N2-0` holds both.
        query: the words that were searched for.
        unfold: columns of lists of one length a row, such as a user's items and their times; each element becomes a row. Of a list of structs
            the fields become columns.
        kind: what a row is, such as `event_type`; only `event_kinds` read it.
        event_kinds: values of `kind` whose rows are no impressions: they go to the table of events, where `events.clicked_kinds` and its like
            say what was done.
        time_format: of times that are texts, such as "%d.%m.%Y %H:%M" (strftime); None takes ISO 8601.
        time_zone: of times that name none, such as "Europe/Berlin".
        keep: further columns that become context columns; None keeps all.
    """

    user: Column = None
    item: Column = None
    time: Column = None
    clicked: Column = None
    carted: Column = None
    purchased: Column = None
    request: Column = None
    position: Column = None
    shown: Column = None
    chosen: Column = None
    query: Column = None
    unfold: Names = ()
    kind: Column = None
    event_kinds: Names = ()
    keep: Names | None = None

    table: ClassVar[str] = "log"


class EventColumns(TimeColumns):
    """Columns of a table of behaviour that was no impression. A row whose item and time are lists is a row for each of them.

    Attributes:
        user, item, time: the three that nothing can stand in for; ids are those of the log.
        clicked, carted, purchased: what was done, as of the log; without them and `kind` every row is a click (a view of the product).
        kind: what was done, in one column of words, such as `event_type`.
        clicked_kinds, carted_kinds, purchased_kinds: which words of `kind` mean that, in any case of letters; what was carted or bought
            counts as clicked, too.
        left_out_kinds: words of `kind` whose rows are left out and counted. Any other word is refused.
        time_format, time_zone: as of the log.
        time_unit: of this table, where it is another than the log's.
    """

    user: Column = None
    item: Column = None
    time: Column = None
    clicked: Column = None
    carted: Column = None
    purchased: Column = None
    kind: Column = None
    clicked_kinds: Names = ("view", "click", "pv", "detail", "product_view", "impression_click")
    carted_kinds: Names = ("cart", "addtocart", "add_to_cart")
    purchased_kinds: Names = ("purchase", "buy", "order", "transaction")
    left_out_kinds: Names = ()
    time_unit: Unit | None = None

    table: ClassVar[str] = "events"


class ItemColumns(FileForm):
    """Columns of the table of items.

    Attributes:
        item: the id, as the log has it.
        group: products that are one another's variants (spu_id); without it each is its own.
        title, category, brand, description, price: texts and a number. A category that is a list is joined by `/`.
        image: bytes, a struct with `bytes` or `path`, or the name of a file among `--pictures`.
        listed_at: when it was first for sale; without it the first time that the log has it.
        keep: further columns that stay; None keeps all.
    """

    item: Column = None
    group: Column = None
    title: Column = None
    category: Column = None
    brand: Column = None
    description: Column = None
    price: Column = None
    image: Column = None
    listed_at: Column = None
    keep: Names | None = None


class UserColumns(FileForm):
    """Columns of the table of users: the id as the log has it.

    Attributes:
        user: the id.
        keep: further columns that stay; None keeps all.
    """

    user: Column = None
    keep: Names | None = None


class InteractionsConfig(TablesConfig):
    """How a log, and what there is beside it, becomes a shop.

    Attributes:
        log, items, users, events: which column is what.
        page_gap: seconds; rows of a user with less between them are one page, of the first one's time. None: rows of one moment are.
        incomplete: rows of the log without user, item or time, and rows of the tables beside it without an id, are `refused`, or `dropped` and counted.
        non_clicks: how they are drawn where the log has positives alone.
    """

    log: LogColumns = LogColumns()
    items: ItemColumns = ItemColumns()
    users: UserColumns = UserColumns()
    events: EventColumns = EventColumns()
    page_gap: Annotated[float, Field(gt=0, le=86_400)] | None = None
    incomplete: Literal["refused", "dropped"] = "refused"
    non_clicks: NonClickConfig = NonClickConfig()

    counts_when: ClassVar[Rules] = {
        "page_gap": CountsWhen(
            lambda config: config.log.request is None and config.log.shown is None,
            "log.request or log.shown says what a page is; leave it out",
        )
    }
