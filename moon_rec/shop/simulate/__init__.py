"""The simulated shop: a drawn or a real catalogue, and shoppers over it."""

from moon_rec.shop.simulate.config import SimulationConfig
from moon_rec.shop.simulate.photos import render_photo
from moon_rec.shop.simulate.simulate import simulate_shop

__all__ = ["SimulationConfig", "render_photo", "simulate_shop"]
