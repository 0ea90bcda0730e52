"""Settings of experts in place of the feed-forward layers of a language model."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from moon_rec.bounds import Layers
from moon_rec.config import Config, CountsWhen, Rules

NUM_GUIDED = 2
"""MOON's category expert and attribute expert."""


class ExpertsConfig(Config):
    """How many experts a feed-forward layer is replaced by, and which tokens go to which.

    The papers name the construction (MOON, arXiv 2508.11999: N - 2 experts under a learned router, one for category tokens, one for attribute tokens; MOON2.0,
    arXiv 2511.12449: Z experts under a gate that sees each token) and none of the numbers below; every value here is our choice.

    Attributes:
        num_experts: experts of a layer, the guided two among them (MOON: N; MOON2.0: Z); the papers are silent; chosen: 8.
        top_k: routed experts that a token goes to; the papers are silent; chosen: 2, as Mixtral.
        guided: the last two experts take the tokens of a product's category and of its attributes (MOON). Without: all are routed (MOON2.0).
        guided_share: what of such a token its guided expert has, the rest being its routed experts'; the paper is silent; chosen: 1, the guided expert alone.
        every: of so many layers one has experts, the last layer among them; the papers are silent; chosen: 1, every layer.
        router_range: deviation of a new router's weights; the papers are silent; chosen: .02, as Mixtral.
    """

    num_experts: Annotated[int, Field(ge=1, le=256)] = 8
    top_k: Annotated[int, Field(ge=1, le=256)] = 2
    guided: bool = False
    guided_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    every: Layers = 1
    router_range: Annotated[float, Field(gt=0, le=1)] = 0.02

    counts_when: ClassVar[Rules] = {
        "guided_share": CountsWhen(
            lambda config: config.guided, "no expert is guided; leave it out or set guided"
        ),
    }

    @property
    def num_routed(self) -> int:
        """Experts that tokens are routed to: all but the guided ones."""
        return self.num_experts - NUM_GUIDED * self.guided

    @model_validator(mode="after")
    def _experts_suffice(self) -> Self:
        if self.num_routed < self.top_k:
            named = " besides the guided two" if self.guided else ""
            raise ValueError(
                f"top_k = {self.top_k} wants as many experts{named}, and num_experts = {self.num_experts}; raise that or lower top_k"
            )
        return self
