"""Settings -> behaviour modules: the sequence model and the ways of using content, side by side.

A ranker with a search unit has two such combinations: one over what all targets of a request share (its
newest behaviours, its past searches), one over what was found for each target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ranking.behaviour import (
    BST,
    CUBE,
    DIEN,
    DIN,
    DMF,
    MAKE,
    BehaviourModule,
    Combination,
    SimilarityAwareAttention,
    SimilarityScores,
    SimTier,
    TargetVector,
)
from ranking.behaviour.dien import refuse_longer
from ranking.config import RankerConfig, Way

SEQUENCE_MODELS = {"din": DIN, "dien": DIEN, "bst": BST}
TARGET_ALONE: tuple[Way, ...] = ("vector", "make", "semantic_ids")
"""Ways that nothing is added to by what a search unit found."""


@dataclass(frozen=True)
class ReadSizes:
    """What a combination of modules reads.

    Attributes:
        target_dim: width of the target's ID embedding.
        behaviour_dims: of each sequence's ID embeddings.
        lengths: most behaviours of each sequence.
        with_content: whether each sequence has frozen vectors.
        content_dim: their width, 0 for none.
        has_query: whether requests have queries with vectors.
    """

    target_dim: int
    behaviour_dims: tuple[int, ...]
    lengths: tuple[int, ...]
    with_content: tuple[bool, ...]
    content_dim: int
    has_query: bool

    @property
    def content_lengths(self) -> list[int | None]:
        """The lengths, None for a sequence without vectors."""
        pairs = zip(self.lengths, self.with_content, strict=True)
        return [length if content else None for length, content in pairs]


def assemble(sizes: ReadSizes, config: RankerConfig, left_out: Sequence[Way] = ()) -> Combination:
    """The sequence model, then the configured ways but those left out.

    Raises:
        RankingError: histories longer than the sequence model reads.
    """
    sequence = SEQUENCE_MODELS[config.sequence](
        sizes.target_dim, sizes.behaviour_dims, config.attention_dim
    )
    if isinstance(sequence, DIEN | BST):
        refuse_longer(max(sizes.lengths), sequence.max_length, config.sequence.upper())
    ways: list[Way] = [way for way in config.ways if way not in left_out and way != "semantic_ids"]
    return Combination([sequence, *(_way(way, sizes, config) for way in ways)])


def _way(way: Way, sizes: ReadSizes, config: RankerConfig) -> BehaviourModule:
    """One way; semantic ids are no module but further ids of every item."""
    if way == "vector":
        return TargetVector(sizes.content_dim, config.projection_dim, sizes.has_query)
    if way == "scores":
        return SimilarityScores(sizes.content_lengths)
    if way == "simtier":
        return SimTier(sizes.with_content)
    if way == "sata":
        return SimilarityAwareAttention(sizes.target_dim, sizes.behaviour_dims, sizes.with_content)
    if way == "dmf":
        return DMF(sizes.target_dim, sizes.behaviour_dims, sizes.with_content)
    if way == "make":
        return MAKE(sizes.content_dim, sizes.with_content, hidden_dims=config.make_hidden)
    return CUBE(
        sizes.target_dim,
        sizes.behaviour_dims,
        content_dim=sizes.content_dim,
        score_lengths=sizes.content_lengths,
        has_query=sizes.has_query,
        hidden_dim=config.attention_dim,
        projection_dim=config.projection_dim,
        scores=config.scores,
        num_tiers=config.num_tiers,
        temperature=config.temperature,
        learn_temperature=config.learn_temperature,
        id_interest=False,
    )
