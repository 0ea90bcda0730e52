"""Which column is what, guessed from its name, and checked against the values seen.

Notable choices
- Names are compared in small letters without their separators, and without the types that RecBole writes behind a colon
  (`item_id:token`). The first usual name that is there wins, in the order of the lists here: `parent_asin` before `asin`.
- Only names decide. Values are looked at to tell what a guess cannot be: a time that is no time, an id that is the same in
  every row. Units of times are never guessed: a draft names the one that fits, for its owner to confirm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from moon_rec.config import Config
from moon_rec.values import TIME, UNITS, Meanings, reading

USERS = (
    "user_id user uid userid customer_id customer visitor_id visitorid reviewer_id reviewerid buyer_id member_id client_id "
    "account_id profile_id player_id session_user"
)
ITEMS = (
    "item_id item iid parent_asin asin product_id product sku article_id article news_id movie_id video_id photo_id goods_id "
    "adgroup_id ad_id creative_id book_id track_id song_id recipe_id stock_code content_id"
)
TIMES = (
    "timestamp time ts unix_review_time unixreviewtime event_time impression_time date_time datetime t_dat time_ms invoice_date "
    "order_time created_at review_time click_time date day"
)
"""Usual names in a log and a table of events."""

USUAL: dict[str, dict[str, str]] = {
    "log": {
        "user": USERS,
        "item": ITEMS,
        "time": TIMES,
        "clicked": "clicked click is_click is_clicked label clk",
        "carted": "carted cart is_cart add_to_cart addtocart is_carted",
        "purchased": "purchased purchase is_purchase is_buy buy bought conversion is_conversion is_conv converted",
        "request": "request_id request impression_id impid page_id pageview_id list_id query_session_id req_id",
        "position": "position pos rank slot place_in_list",
        "shown": "shown impressions article_ids_inview inview candidates candidate_ids impression_list shown_items slate",
        "chosen": "chosen article_ids_clicked clicked_items clicked_ids clicks",
        "query": "query query_text search_query keywords search_text",
        "kind": "",
    },
    "events": {
        "user": USERS,
        "item": f"{ITEMS} article_id_fixed",
        "time": f"{TIMES} impression_time_fixed",
        "clicked": "clicked click is_click is_clicked clk",
        "carted": "carted cart is_cart add_to_cart addtocart is_carted",
        "purchased": "purchased purchase is_purchase is_buy buy bought is_conversion converted",
        "kind": "event_type event action_type action behavior_type behavior behaviour_type behaviour interaction_type activity_type kind",
    },
    "items": {
        "item": "item_id item iid parent_asin asin product_id product sku id article_id news_id movie_id video_id photo_id goods_id adgroup_id ad_id "
        "creative_id book_id recipe_id stock_code content_id",
        "group": "spu_id group group_id parent_id style_id product_code model_id",
        "title": "title name product_title item_title product_name prod_name item_name headline caption product_display_name",
        "category": "category category_str category_path categories category_name main_category i_category product_type_name genres category_id cate_id class",
        "brand": "brand brand_name store manufacturer brand_id",
        "description": "description desc detail_desc abstract body short_description text details",
        "price": "price unit_price list_price sale_price",
        "image": "image picture img photo image_path picture_path img_path image_file filename image_bytes",
        "listed_at": "listed_at published_time release_date first_available date_first_available created_at publish_time upload_time",
    },
    "users": {
        "user": "user_id user uid userid customer_id customer visitor_id reviewer_id member_id id"
    },
}
COSTS = {
    "log": {
        "clicked": "every row counts as a click, and non-clicks are sampled",
        "carted": "no carts: histories and recall go by clicks and purchases",
        "purchased": "no purchases: recall goes by clicks (--set engagement=clicked), curation has nothing to work on",
        "request": "the rows of a user at one moment are one page",
        "position": "the order of the rows on a page stands for it",
        "query": "no searches: recall of searches cannot be measured, encoders learn from the catalogue alone",
    },
    "items": {
        "group": "each item is its own product",
        "title": "no texts: encoders that read words have nothing",
        "category": 'one category, "all"',
        "brand": "none",
        "description": "none",
        "price": "none",
        "image": "no pictures: image search and encoders of pictures have nothing",
        "listed_at": "the first time that the log has an item",
    },
}
"""What goes without a column, in words."""
LIST_ROLES = ("shown", "chosen")


@dataclass(frozen=True)
class Guess:
    """What was found in a table.

    Attributes:
        roles: role -> column, as said by the user or guessed.
        guessed: the roles of them that were guessed.
        missing: roles that no column has.
        further: columns without a role.
    """

    table: str
    roles: dict[str, str]
    guessed: tuple[str, ...]
    missing: tuple[str, ...]
    further: tuple[str, ...] = field(default=())


def plain(name: str) -> str:
    """A column's name as it is compared: RecBole's type left off, `userId` and `User-ID` as `userid`."""
    name = re.sub(r":(token|float|token_seq|float_seq|label)$", "", name.strip())
    return re.sub(r"[^a-z0-9]", "", name.lower())


def guess_roles(table: str, schema: Mapping[str, pl.DataType], said: Config) -> Guess:
    """Which column has which role.

    Args:
        table: `log`, `events`, `items` or `users`.
        schema: names and types of the columns.
        said: what the user named; those are taken as they are.
    """
    roles = {
        role: str(getattr(said, role)) for role in USUAL[table] if getattr(said, role) is not None
    }
    taken, guessed = set(roles.values()), []
    by_plain: dict[str, str] = {}
    for name in schema:
        by_plain.setdefault(plain(name), name)
    for role, names in USUAL[table].items():
        if role in roles or (role == "item" and "shown" in roles):
            continue
        for usual in names.split():
            column = by_plain.get(plain(usual))
            if column is not None and column not in taken and _fits(table, role, schema[column]):
                roles[role] = column
                taken.add(column)
                guessed.append(role)
                break
    if "shown" in guessed and "item" in roles:  # a log of single items that also has a list
        taken.discard(roles.pop("shown"))
        guessed.remove("shown")
    if "chosen" in guessed and "shown" not in roles:
        taken.discard(roles.pop("chosen"))
        guessed.remove("chosen")
    missing = [role for role in USUAL[table] if role not in roles and role not in LIST_ROLES]
    further = [name for name in schema if name not in taken]
    return Guess(table, roles, tuple(guessed), tuple(missing), tuple(further))


def _fits(table: str, role: str, kind: pl.DataType) -> bool:
    """Whether a column of that type can have the role at all."""
    nested = isinstance(kind, pl.List | pl.Array | pl.Struct)
    if role == "shown":
        return isinstance(kind, pl.List | pl.Array) or kind == pl.String
    if role == "chosen":
        return isinstance(kind, pl.List | pl.Array)
    if role == "category" or (table == "events" and role in ("item", "time")):
        return not isinstance(kind, pl.Struct)
    if role == "image":
        return isinstance(kind, pl.Struct) or kind in (pl.String, pl.Binary)
    return not nested and kind != pl.Binary


def units_of(values: pl.Series) -> list[str]:
    """The units in which all of the numbers are times from 1990 to 2100; empty where they are no numbers."""
    values = values.drop_nulls()
    if not values.len() or not values.dtype.is_numeric():
        return []
    fitting = []
    for unit in UNITS:
        how = reading(values.name, values.dtype, TIME, Meanings(time_unit=unit))
        bad = values.to_frame().select(pl.any_horizontal(rule.bad.any() for rule in how.broken))
        if how.value is not None and not bad.item():
            fitting.append(unit)
    return fitting
