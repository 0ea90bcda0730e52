"""Rankers that differ in how they use content, trained and scored with several seeds; a finished one is kept.

Notable choices
- A run writes down all it depends on: shop, features, settings, vectors, and the code with the libraries that
  compute. Asked for again with the same, it is not trained again; with another it is, which is said.
- Its permuted control reads the same vectors dealt out among the same ids: what is then left of a gain
  does not come from content.
- Runs share nothing, so they go side by side in processes of one thread each.
"""

import functools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from moon_rec.children import end_children, end_with_parent
from moon_rec.code_version import differing
from moon_rec.config import load_config, unread
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError, MoonRecError, RankingError
from moon_rec.files import read_json, write_json
from moon_rec.kept import note_begins_again, note_kept
from moon_rec.outputs import OutputKind, atomic_folder, json_that, refuse_taken
from moon_rec.progress import progress, say, silence
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import with_own_ids
from moon_rec.vector_pairs import Accepted, open_pair
from ranking.config import RankerConfig
from ranking.features import FeatureConfig, Period
from ranking.version import made_by

if TYPE_CHECKING:
    from ranking.evaluate import Scorer
    from ranking.features import RankingTables

FEATURES = FeatureConfig.model_fields.keys()

RUN = OutputKind(
    "a scored run of ranking.ways",
    "run.json",
    json_that(
        lambda about: {"made_of", "config"} <= about.keys() or "key" in about
    ),  # "key" of an earlier version
    ("scores.parquet",),
)
IDS_ONLY = "none"
"""The baseline: ids and, unless the features say otherwise, counters."""
NO_COUNTERS = "none,counters=none"
TREES, TREES_SIMILARITY = "trees", "trees+similarity"
FACTORISATION = "factorisation"
NO_NETWORKS = (FACTORISATION, TREES, TREES_SIMILARITY)
"""Rows without a network, which have no setting of one."""
STANDARD = (
    IDS_ONLY,
    NO_COUNTERS,
    FACTORISATION,
    TREES,
    TREES_SIMILARITY,
    "none,sequence=dien",
    "none,sequence=bst",
    "vector",
    "scores",
    "simtier",
    "sata",
    "simtier+sata",
    "dmf",
    "make",
    "simtier+make",
    "cube",
    "semantic_ids",
)


@dataclass(frozen=True)
class Variation:
    """A ranker of the comparison.

    Attributes:
        name: its content, then its other settings: `simtier+sata,search=content`; without a network one of `NO_NETWORKS`.
        settings: of the network, each `name=value`; without one there are none.
        features: settings of the features in which it differs from the others, such as `counters=none`.
        is_permuted: whether its vectors are dealt out at random.
    """

    name: str
    settings: tuple[str, ...]
    features: tuple[str, ...] = ()
    is_permuted: bool = False

    @classmethod
    def parse(cls, text: str) -> "Variation":
        """From its name.

        Raises:
            ConfigError: a setting of networks for one of `NO_NETWORKS`.
        """
        content, *others = text.split(",")
        features = tuple(word for word in others if word.partition("=")[0] in FEATURES)
        settings = tuple(word for word in others if word not in features)
        if content not in NO_NETWORKS:
            return cls(text, (f"content={content!r}", *settings), features)
        if settings:
            raise ConfigError(
                f"{text}: {content} has no setting {settings[0]!r}, which is a network's; leave it out (settings of the features go with it)"
            )
        return cls(text, (), features)

    @property
    def is_network(self) -> bool:
        """Whether it has settings of a network."""
        return bool(self.settings)

    def permuted(self) -> "Variation":
        """Its control."""
        return replace(self, name=f"{self.name}, permuted", is_permuted=True)

    def config(self, settings: Sequence[str], seed: int) -> RankerConfig | None:
        """The ranker's configuration with that seed, None without a network; `settings` are those all variations share, as far as it can read them.

        Raises:
            ConfigError: a setting that is not known, of a wrong value, or, of its own ones, without effect.
        """
        if not self.is_network:
            return None
        return load_config(RankerConfig, None, [*self.settings, f"seed={seed}"], settings)

    def features_of(self, shared: FeatureConfig) -> FeatureConfig:
        """Its features: the shared ones, but for its own.

        Raises:
            ConfigError: a setting of a wrong value or without effect.
        """
        return load_config(FeatureConfig, None, self.features, base=shared.changed())

    def reads_vectors(self, settings: Sequence[str]) -> bool:
        """Whether it needs vectors."""
        config = self.config(settings, 0)
        return self.name.startswith(TREES_SIMILARITY) if config is None else config.reads_vectors

    def folder(self, out: Path) -> Path:
        """Where its runs are, one folder a seed."""
        return out / "scores" / self.name.replace("/", "-").replace(" ", "")


def refuse_unread(variations: Sequence[Variation], settings: Sequence[str]) -> None:
    """Refuse a shared setting that changes none of the rankers.

    Raises:
        ConfigError: there is one.
    """
    rankers = [one for one in variations if one.is_network]
    idle = [unread(RankerConfig, one.settings, settings) for one in rankers]
    for name, why in idle[0].items():
        if all(name in each for each in idle):
            raise ConfigError(f"RankerConfig: {why}; so it is with every way compared")


@dataclass(frozen=True)
class Inputs:
    """What all runs read: folders of the shop and of the embedding tables; `accept` as in `open_pair`."""

    shop: Path
    features: FeatureConfig
    items: Path
    queries: Path | None
    accept: tuple[Accepted, ...] = ()
    period: Period = "test"

    def vectors(self, shop: Shop) -> tuple[EmbeddingTable, EmbeddingTable | None]:
        """The tables of items and of queries, without a word: what is odd about them was said once."""
        with silence():
            items, queries, _ = open_pair(shop, self.items, self.queries, self.accept)
        assert items is not None
        return items, queries


@dataclass(frozen=True)
class Run:
    """One ranker to train and score; without a network there is no `config`."""

    variation: Variation
    seed: int
    config: RankerConfig | None
    reads_vectors: bool
    folder: Path


def check_runs(variations: Sequence[Variation], out: Path, seeds: Sequence[int]) -> None:
    """Raise MoonRecError where what is at a run's place is not of a run."""
    for one in variations:
        for seed in seeds:
            refuse_taken(one.folder(out) / f"seed-{seed}", RUN, overwrite=True)


def run_all(
    inputs: Inputs,
    variations: Sequence[Variation],
    settings: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    processes: int,
) -> dict[str, list[pl.DataFrame]]:
    """Scores of every variation, one table a seed, trained where they are not there yet.

    Raises:
        RankingError: a run failed, with its own words.
    """
    runs = [
        Run(
            one,
            seed,
            one.config(settings, seed),
            one.reads_vectors(settings),
            one.folder(out) / f"seed-{seed}",
        )
        for seed in seeds
        for one in variations
    ]
    note_begins_again("no ranker is finished yet")
    with progress("rankers", total=len(runs)) as bar:
        for run in _finished(inputs, runs, processes):
            bar.advance(note=f"{run.variation.name}, seed {run.seed}")
            note_kept(out / "scores", f"{bar.done:,} of {len(runs):,} rankers")
    tables: dict[str, list[pl.DataFrame]] = {one.name: [] for one in variations}
    for run in runs:
        scores = pl.read_parquet(run.folder / "scores.parquet")
        tables[run.variation.name].append(scores.sort("request_id", "item_id"))
    return tables


def _finished(inputs: Inputs, runs: Sequence[Run], processes: int) -> Iterator[Run]:
    """The runs, as they get done."""
    if processes == 1:
        for run in runs:
            train_and_score(inputs, run)
            yield run
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, end_with_parent) as pool:
        waiting = {pool.submit(train_and_score, inputs, run): run for run in runs}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        except BrokenProcessPool:
            raise RankingError(
                "a process that trained a ranker was killed, perhaps for want of memory; give the same command with fewer --processes: "
                "finished rankers are kept"
            ) from None
        except Exception:
            pool.shutdown(cancel_futures=True)  # what runs beside it is let finish
            raise
        except BaseException:
            end_children()
            pool.shutdown(cancel_futures=True)
            raise


def train_and_score(inputs: Inputs, run: Run) -> None:
    """Train one ranker and write `scores.parquet` and `run.json` into its folder, unless they are there."""
    from ranking.evaluate import score

    shop = Shop.open(inputs.shop)
    vectors, features = _vectors(inputs, run, shop), run.variation.features_of(inputs.features)
    made_of = {
        "shop": shop.digest,
        "features": features.digest(),
        "settings": run.variation.name if run.config is None else run.config.digest(),
        "period": inputs.period,
        "vectors": [table.digest for table in vectors],
        **made_by(),
    }
    if _is_done(run, made_of):
        return
    tables = _tables(inputs.shop, features.model_dump_json())
    try:
        fitted, about = _fitted(run, tables, vectors)
    except MoonRecError as error:
        raise RankingError(f"{run.variation.name}, seed {run.seed}: {error}") from None
    scores = with_own_ids(score(fitted, tables, inputs.period), shop.path)
    about |= {"made_of": made_of, "counters": tables.counters}
    with atomic_folder(run.folder, RUN, overwrite=True) as folder:
        scores.write_parquet(folder / "scores.parquet")
        write_json(folder / "run.json", about)


def _fitted(
    run: Run, tables: "RankingTables", vectors: list[EmbeddingTable]
) -> tuple["Scorer", dict[str, Any]]:
    """What scores, and what is told of its training: `chosen` is what validation chose, in words."""
    from ranking.factorisation import train_factors
    from ranking.train import train_ranker
    from ranking.trees import train_trees

    if run.config is not None:
        ranker = train_ranker(tables, run.config, *vectors, description=run.variation.name)
        curve, speed = list(ranker.validation_auc), ranker.rows_per_second
        told = {"config": run.config.model_dump(mode="json"), "validation_auc": curve}
        epochs = curve.index(max(curve)) + 1 if curve else run.config.epochs
        return ranker, told | {"rows_per_second": speed, "chosen": f"epoch {epochs}"}
    if run.variation.name.startswith(FACTORISATION):
        found = train_factors(tables, run.seed)
        chosen = found.chosen
    else:
        found = train_trees(tables, run.seed, *vectors)
        chosen = f"{found.num_trees} trees"
    return found, {"config": {}, "validation_auc": [found.validation_auc], "chosen": chosen}


def _vectors(inputs: Inputs, run: Run, shop: Shop) -> list[EmbeddingTable]:
    """The tables of items and queries that this run reads."""
    if not run.reads_vectors:
        return []
    tables = [table for table in inputs.vectors(shop) if table is not None]
    if run.variation.is_permuted:
        tables = [table.permuted(run.seed) for table in tables]
    return tables


def _is_done(run: Run, made_of: dict[str, Any]) -> bool:
    """Whether its scores are there, of the same inputs and the same code; scores of others are spoken of."""
    written = run.folder / "run.json"
    if not written.exists() or not (run.folder / "scores.parquet").exists():
        return False
    why = differing(read_json(written).get("made_of"), made_of)
    if not why:
        return True
    say(
        f"{run.variation.name}, seed {run.seed}: trained again, for the scores kept were made with {why}"
    )
    return False


def told_of(variation: Variation, out: Path, seed: int) -> dict[str, Any]:
    """What a finished run wrote down: `counters` that it read, what validation has `chosen` in words, and more."""
    return read_json(variation.folder(out) / f"seed-{seed}" / "run.json")


@functools.lru_cache(maxsize=2)
def _tables(shop: Path, features: str) -> "RankingTables":
    """Tables of the shop, built once a process (with and without counters); `features` is JSON."""
    from ranking.features import RankingTables

    return RankingTables.build(Shop.open(shop), FeatureConfig.model_validate_json(features))
