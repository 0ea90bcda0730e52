"""Non-clicks beside the rows of a log that has positives alone."""

from datetime import datetime

import polars as pl

from moon_rec.progress import say
from moon_rec.shop.non_click_probe import probe_non_clicks
from moon_rec.shop.non_clicks import NonClickConfig, sample_non_clicks
from moon_rec.shop.readers.interactions.log import OUTCOMES


def with_non_clicks(
    rows: pl.DataFrame,
    listing: pl.DataFrame,
    config: NonClickConfig,
    name: str,
    cut: datetime,
    events: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The positives and what was drawn for them, in the order of their pages; what the sampling gives away is said.

    Args:
        rows: impressions, all clicked.
        listing: item_id, listed_at and category of all items.
        name: the log, for messages.
        cut: where train ends.
        events: what users did besides, which is no non-click either.
    """
    acts = [
        each.select("user_id", "item_id", "time") for each in (rows, events) if each is not None
    ]
    drawn = sample_non_clicks(rows, listing, config, pl.concat(acts))
    say(f"{name} has no outcomes, so every row is a positive; {drawn.told()}")
    others = rows[drawn.rows["positive"]].with_columns(
        *(pl.lit(False).alias(outcome) for outcome in OUTCOMES), item_id=drawn.rows["item_id"]
    )
    rows = pl.concat([rows, others])
    found = probe_non_clicks(rows, listing, cut, config.seed)
    if found.all_rows is not None:
        say(f"what the sampling gives away: {found.all_rows} ({found.all_rows.definition})")
    for warning in found.warnings():
        say(f"warning: {warning}")
    # what was shown where is not known, and a place behind the positives would tell what was sampled
    return rows.with_columns(position=pl.lit(0, pl.Int32)).sort("request_id", "item_id")
