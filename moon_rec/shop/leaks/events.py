"""Events that know the label: the very click of an impression, stamped a moment before it.

Histories hold what was done strictly before a page. An event log that rounds its times otherwise than the log of impressions puts
the click of a page into the history that the page is ranked by, with the item that was clicked. So the time since the user's
last event of the same item is judged as any column is (`knowledge`). An event at the very moment of its impression is in no
history of it, and counts once in later ones.
"""

from collections.abc import Iterator

import polars as pl

from moon_rec.shop.leaks.columns import sample_requests
from moon_rec.shop.leaks.knowledge import knowledge
from moon_rec.shop.problem import Problem
from moon_rec.shop.shop import Shop


def early_events(shop: Shop) -> Iterator[Problem]:
    """Events whose nearness to the impression of the same item tells `clicked` in the train period."""
    if shop.events is None:
        return
    keys = ["user_id", "item_id"]
    train = shop.in_period(shop.impressions, "train")
    rows = sample_requests(train, [*keys, "clicked"]).drop_nulls("clicked")
    acts = shop.events.select(*keys, "time").join(rows.lazy(), on=keys, how="semi")
    acts = acts.collect(engine="streaming").with_columns(act=pl.col("time")).sort("time")
    rows = rows.sort("time").join_asof(
        acts, on="time", by=keys, strategy="backward", allow_exact_matches=False
    )
    since = (pl.col("time") - pl.col("act")).dt.total_microseconds()
    found = knowledge(rows.select(since).to_series(), rows["clicked"])
    if not found.is_believable:
        yield Problem(
            "events",
            f"knows clicked in the train period: time since the user's last event of the same item: {found}",
            "give an event that is an impression's own click that impression's time, or leave it out",
            "time",
        )
