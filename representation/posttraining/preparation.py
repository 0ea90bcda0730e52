"""From a shop to batches: which pairs, which of them are kept, what is known to be no negative, which hard negatives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console

from moon_rec.errors import EncoderError
from moon_rec.progress import say
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from representation.co_augmentation.files import Augmentation
from representation.curation import Curated, curate
from representation.negatives import HardNegatives, KnownPositives
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.mixture import CATALOGUE_KINDS, KINDS, QueryKind
from representation.posttraining.own_pictures import most_own_pictures
from representation.posttraining.own_share import own_share
from representation.posttraining.own_words import MOST_WORDS, OwnWords
from representation.posttraining.pairs import (
    CuratedPairs,
    catalogue_pairs,
    known_items,
    logged_pairs,
    own_pairs,
)
from representation.posttraining.schedule import Schedule
from representation.posttraining.start_vectors import start_vectors, stored_vectors
from representation.trainable import Remembers, Trainable

Pairs = dict[QueryKind, pl.DataFrame]


@dataclass
class Prepared:
    """All that a training reads.

    Attributes:
        batches: of each step.
        curated: what curation left and why, where there was one.
        known: what is never a negative of a query, from all pairs before any were curated away.
    """

    batches: Batches
    known: KnownPositives
    curated: Curated | None


def prepare(
    shop: Shop,
    config: PosttrainConfig,
    encoder: Trainable,
    vectors: str | Path | None = None,
    rank: int = 0,
    world_size: int = 1,
    features: Path | None = None,
    given: CuratedPairs | None = None,
    augmentation: Augmentation | None = None,
) -> Prepared:
    """Find the pairs before the cut, curate them where asked, and make ready to make batches.

    Args:
        encoder: the one to train, as it is before.
        given: pairs that were curated before, trained on in place of all.
        vectors: folder of `representation.embed` with what curation measures likeness by; None: computed with `encoder`.
        augmentation: the folder of `config.co_augmentation`, opened.
        features: where outputs of frozen towers are kept, by the first of several processes; None: in memory, where they are small.

    Raises:
        EncoderError: no pair of any kind in the mixture, or no vectors at `vectors`.
    """
    pairs = _pairs(shop, config)
    searches = shop.in_period(shop.searches, "train")
    known = KnownPositives.from_pairs(pairs, searches, items=known_items(shop))
    mixture = _mixture_for(config, encoder, pairs)
    if "image" not in encoder.modalities:
        read = {KINDS[name].query for name in mixture}
        for query in pairs.keys() - read:
            pairs[query] = pairs[query].head(0)
    curated = None
    if given is not None:
        pairs = given.read(pairs)
    if config.curation is not None:
        items, queries = None, None
        if config.curation.hardest_query and vectors is not None:
            items, queries = stored_vectors(shop, vectors, encoder)
        elif config.curation.hardest_query:
            items, queries = start_vectors(shop, encoder, pairs, rank, world_size)
        curation = config.curation.model_copy(update={"seed": config.seed})
        curated = curate(shop, pairs, curation, items, queries)
        pairs = curated.pairs
        if rank == 0:
            Console(stderr=True).print(curated.table())
    counts = ", ".join(f"{kind} {frame.height:,}" for kind, frame in pairs.items())
    say(f"post-train on pairs before the cut, by query: {counts}")
    hard = None
    if config.hard_negatives:
        hard = HardNegatives(shop, known, config.hard_negative_kinds, config.seed)
    augmented = None
    if config.co_augmentation is not None and augmentation is not None:
        augmented = config.co_augmentation, augmentation
    batches = Batches(
        shop,
        encoder,
        _schedule(shop, config, pairs, mixture),
        known,
        config.augmentation,
        config.seed,
        own_words=OwnWords.of(shop)
        if config.pairs == "log" and config.own_words_share != 0
        else None,
        hard=hard,
        num_hard=config.hard_negatives,
        rank=rank,
        world_size=world_size,
        scratch_bytes=int(config.scratch_gb * 1e9),
        alter_photos=config.alter_photos,
        alignment=config.alignment,
        co_augmentation=augmented,
    )
    batches.decode_ahead()
    if features is not None or (isinstance(encoder, Remembers) and encoder.features_are_small):
        batches.remember_ahead(features if rank == 0 else None, shop.digest)
    return Prepared(batches, known, curated)


def _pairs(shop: Shop, config: PosttrainConfig) -> Pairs:
    if config.pairs == "catalogue":
        pairs = catalogue_pairs(shop)
    else:
        pairs = logged_pairs(shop, config.engagement, config.query_engagement, config.split_mixed)
    return pairs if config.pairs_share == 1 else _drawn(pairs, config.pairs_share, config.seed)


def _drawn(pairs: Pairs, share: float, seed: int) -> Pairs:
    """The pairs of a share of the searches, all of a search or none."""
    ids = pl.concat([rows["search_id"] for rows in pairs.values()]).unique().sort()
    chosen = ids.filter(pl.Series(generator(seed, "pairs' share").random(len(ids)) < share))
    return {kind: rows.filter(pl.col("search_id").is_in(chosen.implode())) for kind, rows in pairs.items()}  # fmt: skip


def readable(config: PosttrainConfig, encoder: Trainable) -> dict[str, float]:
    """The part of the mixture that the encoder reads: without pictures where it reads none.

    Raises:
        EncoderError: it reads none of it.
    """
    names = CATALOGUE_KINDS if config.pairs == "catalogue" else tuple(config.mixture)
    mixture = {name: config.mixture.get(name, 0.0) for name in names}
    if "image" not in encoder.modalities:
        mixture = {name: weight for name, weight in mixture.items() if "image" not in name}
    if not any(mixture.values()):
        shown = "catalogue" if config.pairs == "catalogue" else "mixture"
        raise EncoderError(
            f"the encoder reads text alone, and every kind of pairs of the {shown} shows a picture; give text->richer-text a weight, with pairs = 'log', or take an encoder that reads pictures"
        )
    return mixture


def _mixture_for(config: PosttrainConfig, encoder: Trainable, pairs: Pairs) -> dict[str, float]:
    """`readable`, and a word on how many pairs are left out."""
    mixture = readable(config, encoder)
    left = [name for name, weight in config.mixture.items() if weight and name not in mixture]
    if left and config.pairs == "log":
        counts = ", ".join(f"{name} ({pairs[KINDS[name].query].height:,} pairs)" for name in left)
        say(f"the encoder reads text alone: kinds of pairs that show a picture are left out: {counts}")  # fmt: skip
    return mixture


def _schedule(
    shop: Shop, config: PosttrainConfig, pairs: Pairs, mixture: dict[str, float]
) -> Schedule:
    own = own_pairs(shop)
    shares = _own_shares(shop, config, pairs, mixture, own.height) if config.pairs == "log" else {}
    return Schedule(pairs, own, mixture, shares, config.steps, config.batch_size, config.seed)


def _own_shares(
    shop: Shop,
    config: PosttrainConfig,
    pairs: Pairs,
    mixture: dict[str, float],
    num_products: int,
) -> dict[QueryKind, float]:
    """Of batches of searches by words and by picture, where the mixture has such, the share that is made of the products themselves."""
    asked: dict[QueryKind, tuple[float | None, Callable[[], float]]] = {
        "text": (config.own_words_share, lambda: MOST_WORDS),
        "image": (config.own_picture_share, lambda: most_own_pictures(shop, config.seed)),
    }
    forms = {KINDS[name].query for name, weight in mixture.items() if weight}
    shares: dict[QueryKind, float] = {}
    for form, (share, most) in asked.items():
        if form in forms and share is not None:
            shares[form] = share
        elif form in forms:
            count = pairs[form].height
            shares[form] = own_share(most(), count, num_products)
            say(
                f"{count:,} pairs of searches by {form}, {num_products:,} products: {shares[form]:g} of such a batch is of the products themselves"
            )
    return shares
