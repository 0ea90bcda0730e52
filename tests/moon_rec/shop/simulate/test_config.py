"""Settings of the simulated shop."""

from datetime import timedelta

import pytest

from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from moon_rec.shop.simulate import SimulationConfig
from moon_rec.shop.simulate.config import START


def test_periods_are_whole_days():
    config = SimulationConfig(days=40, validation_share=0.1, test_share=0.25)
    assert config.cut_time - START == timedelta(days=26)
    assert config.test_time - config.cut_time == timedelta(days=4)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("share_image=0.9", "must sum to 1"),
        ("buys_near=0.5", "must sum to 1"),
        ("days=2", "days"),
        ("request_size=1", "request_size"),
        ("share_browse=1.5", "share_browse"),
        ("catalogue='mine'", "catalogue"),
        ("num_item=3", "num_item"),
    ],
)
def test_a_wrong_setting_is_named(setting, complaint):
    with pytest.raises(ConfigError, match=complaint) as error:
        load_config(SimulationConfig, settings=[setting])
    assert "\n" not in str(error.value)


def test_no_days_left_for_training():
    with pytest.raises(ConfigError, match="leaves none for training"):
        load_config(
            SimulationConfig, settings=["days=4", "validation_share=0.45", "test_share=0.49"]
        )
