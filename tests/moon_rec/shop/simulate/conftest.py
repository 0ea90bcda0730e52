"""One simulated shop and one world that the tests of this folder read."""

import pytest

from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from moon_rec.shop.simulate.drawn import DrawnCatalogue
from moon_rec.shop.simulate.requests import World


@pytest.fixture(scope="session")
def config():
    return SimulationConfig(
        num_items=1_200, num_users=300, num_requests=3_000, image_size=32, seed=5
    )


@pytest.fixture(scope="session")
def simulated(config, tmp_path_factory):
    """A shop of 30,000 impressions."""
    return simulate_shop(config, tmp_path_factory.mktemp("simulated") / "shop")


@pytest.fixture(scope="session")
def catalogue(config):
    return DrawnCatalogue.make(config.num_items, config.seed, config.image_size)


@pytest.fixture(scope="session")
def world(catalogue, config):
    return World(catalogue, config)
