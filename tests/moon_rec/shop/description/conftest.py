"""A simulated shop and what `shop describe --out` writes of it."""

import pytest

from moon_rec.command import run
from moon_rec.shop.commands import main
from moon_rec.shop.simulate import SimulationConfig, simulate_shop


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """A folder with the `shop` and, in `out`, its description; tests read it only."""
    folder = tmp_path_factory.mktemp("described")
    simulate_shop(SimulationConfig(num_users=60, num_requests=200, num_items=60), folder / "shop")
    assert run(main, ["describe", str(folder / "shop"), "--out", str(folder / "out")]) == 0
    return folder
