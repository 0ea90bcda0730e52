"""Settings of MOON2.0's dual-level alignment; what is made of them is `alignment.py`'s."""

from typing import ClassVar

from moon_rec.bounds import Strength, Temperature
from moon_rec.config import Config, CountsWhen, Rules


class AlignmentConfig(Config):
    """Between products and within a product (MOON2.0, arXiv 2511.12449).

    Attributes:
        query_views: queries of words and picture are aligned with their item by their words alone and by their picture alone, too (the paper's L_inter over text, image and
            both); without, as their kind of pairs shows them.
        intra_weight: of L_intra, a product's picture against its own text and those of the batch's other products; in the paper 1. 0: none.
        intra_temperature: of L_intra; the paper is silent; chosen: .07.
        objective_weights: each alignment's loss is weighed by where its queries' tokens go among the experts (omega, `mixture.modality_driven`); needs an encoder with experts. Without: all
            weigh alike.
        sparsity_weight: of L_sparsity, the entropy of these weights' matrix (varsigma); the paper is silent; chosen: .01.
    """

    query_views: bool = True
    intra_weight: Strength = 1.0
    intra_temperature: Temperature = 0.07
    objective_weights: bool = False
    sparsity_weight: Strength = 0.01

    counts_when: ClassVar[Rules] = {
        "intra_temperature": CountsWhen(
            lambda config: config.intra_weight > 0, "intra_weight is 0; leave it out or raise that"
        ),
        "sparsity_weight": CountsWhen(
            lambda config: config.objective_weights,
            "objective_weights is false; leave it out or set that",
        ),
    }
