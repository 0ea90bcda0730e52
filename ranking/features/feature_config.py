"""Settings of what a ranker reads of a shop."""

import argparse
from typing import ClassVar, Literal, get_args

from pydantic import Field, model_validator

from moon_rec.bounds import Count, LengthOrZero, Names, Scale, Width
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.files import digest_of
from ranking.features.counters import COUNTER_COLUMNS, CounterKind

Period = Literal["train", "validation", "test"]
PERIODS: tuple[Period, ...] = get_args(Period)


class FeatureConfig(Config):
    """What a ranker reads of a shop."""

    label: Literal["clicked", "carted", "purchased"] = Field(
        default="clicked", description="what is predicted"
    )
    history_kind: Literal["clicked", "carted", "purchased"] = Field(
        default="clicked", description="what makes an item a behaviour"
    )
    history_length: LengthOrZero = Field(default=50, description="newest behaviours kept of a user")
    query_history_length: LengthOrZero = Field(
        default=20, description="newest past searches kept of a user"
    )
    num_price_buckets: Width = Field(default=10, description="quantiles of the train items' prices")
    min_query_count: Count = Field(
        default=2, description="train searches a query text needs for an id"
    )
    cold_below: Count = Field(default=1, description="cold: fewer train impressions than this")
    context: Names = Field(
        default=(), description="columns of the impressions that are read as numbers"
    )
    trusted_context: Names = Field(
        default=(),
        exclude_if=lambda names: not names,  # came later: rankers saved before keep their digest
        description="context columns (or position) that are read although they alone tell the train labels nearly "
        "perfectly, because they are known before the page is shown",
    )
    missing_context: Literal["flag", "mean", "error"] = Field(
        default="flag",
        description="a null or NaN in a context column takes the train mean; flag: and a column that "
        "misses values in training gets a 0/1 column which says so; error: it is refused",
    )
    use_position: bool = Field(default=False, description="read where in the list an item stood")
    counters: CounterKind = Field(
        default="rolling",
        description="impressions so far and smoothed click rate of item, user, category, brand and their pairs with the user, "
        "strictly before each request: rolling, those of its own period too; frozen, those before the cut; or none",
    )
    counter_prior: Scale = Field(
        default=20.0,
        description="impressions that the click rate of all stands for in a smoothed one",
    )
    max_candidates: Count | None = Field(
        default=None, description="longer requests are cut; None: where it costs least"
    )

    counts_when: ClassVar[Rules] = {
        "history_kind": CountsWhen(
            lambda config: config.history_length > 0,
            "histories are cut to none; raise history_length",
        ),
        "missing_context": CountsWhen(
            lambda config: bool(config.context) or config.use_position,
            "no column of context is read; name some in context",
        ),
        "counter_prior": CountsWhen(
            lambda config: config.counters != "none",
            "no counters are read; set counters to rolling or frozen",
        ),
    }

    @model_validator(mode="after")
    def _trust_is_in_what_is_read(self) -> "FeatureConfig":
        for name in self.trusted_context:
            if name not in (*self.context, *(["position"] if self.use_position else [])):
                raise ValueError(
                    f"trusted_context names {name!r}, which is not read: context is {list(self.context)}, "
                    f"use_position {self.use_position}; add it there or leave it out here"
                )
        return self

    @model_validator(mode="after")
    def _counters_are_our_own(self) -> "FeatureConfig":
        taken = sorted(set(self.context) & set(COUNTER_COLUMNS))
        if taken:
            raise ValueError(
                f"context names {taken[0]!r}, which is what a built-in counter is called; rename that column of the log"
            )
        return self

    def digest(self) -> str:
        """As `Config.digest`; without counters that of before there were any, which saved rankers have."""
        values = self.model_dump(mode="json")
        if self.counters == "none":
            del values["counters"], values["counter_prior"]
        return digest_of(values)


def add_feature_options(parser: argparse.ArgumentParser) -> None:
    """Add `--feature NAME=VALUE` to a command; what is given is `features`, a list for `load_config`."""
    parser.add_argument(
        "--feature",
        dest="features",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting of the features, such as history_length=50; may be repeated",
    )
