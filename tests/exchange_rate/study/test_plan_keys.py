"""The page of study files holds every key as the settings have it now."""

from pathlib import Path

import pytest

from exchange_rate.study.plan_keys import TABLES, keys, with_keys
from moon_rec.errors import ConfigError

PAGE = Path(__file__).parents[3] / "docs" / "study_files.md"


def test_the_page_holds_todays_keys():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_keys(page), (
        "run python -m exchange_rate.study.plan_keys docs/study_files.md"
    )


def test_every_key_is_described():
    rows = [line for line in keys().splitlines() if line.startswith("| `")]
    assert (
        len(rows) == sum(len(kind.model_fields) for _, kind in TABLES) - 2
    )  # stages' own backbones
    assert not [row for row in rows if row.endswith("|  |")]


def test_a_page_without_a_place_is_refused():
    with pytest.raises(ConfigError, match="no lines"):
        with_keys("# A page")
