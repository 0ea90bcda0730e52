"""A training by each recipe, in its smallest form, goes on where it was stopped to the bits of one that nothing stopped. (MOON's pretraining and MOON3.0's reasoning: with their stages.)"""

import pytest

from moon_rec.config import make_config, merged
from representation.co_augmentation.config import KINDS, AugmentConfig
from representation.co_augmentation.make import augment
from representation.posttraining import PosttrainConfig
from representation.recipes.recipe import recipe_values, with_stage
from tests.representation.co_augmentation.conftest import Painter, Writer
from tests.representation.stopped import check_goes_on_to_the_same_bits

SMALL = {
    "steps": 4, "batch_size": 6, "learning_rate": 3e-3, "precision": "float32", "num_threads": 1, "resume_every": 2, "log_every": 1
}  # fmt: skip
SMALLER = {
    "moon.refinement": {"num_negatives": 30, "momentum": 0.9},
    "moon1": {"num_negatives": 30, "experts": {"num_experts": 4}},
    "moon2": {"experts": {"num_experts": 4}},
    "moon3": {"fusion": {"heads": 2}, "residual_enhancement": {"rank": 4}},
}
"""Narrow parts, and so few negatives that the queue is drawn from within four steps."""
ADDED = {
    "moon1": ("experts",),
    "moon2": ("experts",),
    "moon3": ("modality_fusion.output", "residual_enhancement.up"),
}
"""What the recipe adds to the encoder and a save must hold, by its weights' names; of MOON3.0 what starts at zero, and learns."""


@pytest.mark.parametrize("recipe", with_stage("posttraining"))
def test_a_recipe_goes_on_to_the_same_bits(recipe, little_shop, encoder_path, tmp_path):
    values = merged(recipe_values(recipe, "posttraining"), SMALL | SMALLER.get(recipe, {}))
    if recipe == "moon2":
        made = AugmentConfig(pictures=KINDS)
        augment(little_shop, tmp_path / "augmented", made, Writer(), Painter())
        values["co_augmentation"] = {"folder": str(tmp_path / "augmented")}
    config = make_config(PosttrainConfig, values)
    found = check_goes_on_to_the_same_bits(little_shop, tmp_path, config, encoder_path)
    for part in ADDED.get(recipe, ()):
        added = [value for name, value in found.items() if part in name]
        assert added and all(value.any() for value in added), part
