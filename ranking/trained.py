"""A ranker with all that is needed to score with it again, on any shop: weights, settings, preparation.

Notable choices
- Its folder holds `ranker.json`, `weights.safetensors`, `preparation/` (vocabularies and scales), a sample
  of its vectors (`vector_origin.py`) and, where it reads semantic ids, their `semantic_ids.safetensors`.
  The embedding tables themselves stay where they are.
- New items join without retraining: a shop with more items, and a table with their vectors by the same
  encoder, are read with the saved preparation. A new item has an unknown id and its own vector.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from moon_rec.config import make_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from moon_rec.files import write_json
from moon_rec.outputs import atomic_folder
from moon_rec.progress import progress
from moon_rec.recorded import record
from moon_rec.shop.non_click_recipe import NonClickRecipe
from moon_rec.shown import visible
from ranking.config import RankerConfig
from ranking.content import ContentStores
from ranking.content.item_codes import item_codes
from ranking.content.semantic_ids import SemanticIds
from ranking.content.vector_origin import VectorOrigin
from ranking.features import FeatureConfig, Period, RankingTables, Requests
from ranking.features.preparation import Preparation
from ranking.loader import Loader
from ranking.model import InputSizes, Ranker
from ranking.saved import FORMAT_VERSION, load_model, parse_about, read_about, refuse_changed
from ranking.search_unit import search_options
from ranking.seed_folders import RANKER, RANKER_FILE

SCORING_ROWS = 4096
SCORING_BEHAVIOURS = 2**19
"""Padded behaviours a scoring batch may hold: fewer rows are scored at a time where histories are long."""


@dataclass(frozen=True)
class TrainedRanker:
    """A trained model and its provenance.

    Attributes:
        model: in evaluation mode.
        config: settings of the ranker.
        preparation: vocabularies and scales of its train rows; tables of another are refused.
        sizes: of its inputs.
        tables_digest: of the tables it was trained on.
        items, queries: the frozen vectors it reads, None for a ranker of ids only.
        validation_auc: after each epoch, the first highest that of the weights; empty where it chose nothing.
        rows_per_second: of training.
        semantic_ids: the centroids that give new items their codes, None where it reads none.
        non_clicks: how those of the shop that it was trained on were sampled, None where they were observed.
        rates_lowered: where the training went on with lower rates after it had diverged: each `step`, and the rates `before`.
    """

    model: Ranker
    config: RankerConfig
    preparation: Preparation
    sizes: InputSizes
    tables_digest: str
    items: EmbeddingTable | None = None
    queries: EmbeddingTable | None = None
    validation_auc: tuple[float, ...] = ()
    rows_per_second: float = 0.0
    semantic_ids: SemanticIds | None = None
    rates_lowered: tuple[dict[str, Any], ...] = ()
    non_clicks: NonClickRecipe | None = None

    @property
    def epochs_said(self) -> str:
        """Which epoch is kept of how many, and what chose it, in words."""
        found = self.validation_auc
        if not found:
            epochs = self.config.epochs
            return f"{epochs} epoch{'s' * (epochs > 1)}, as set"
        return (
            f"epoch {found.index(max(found)) + 1} of {len(found)} trained (at most {self.config.epochs}) is kept, with the highest "
            f"validation AUC, {max(found):.4f}"
        )

    @property
    def features(self) -> FeatureConfig:
        """Settings of its tables."""
        return self.preparation.config

    def predict(
        self, tables: RankingTables, period: Period, batch_size: int | None = None
    ) -> np.ndarray:
        """Click probabilities of a period's rows, in the tables' order, float64 `(rows,)`.

        Args:
            batch_size: rows a batch; None: what `SCORING_ROWS` and `SCORING_BEHAVIOURS` allow.

        Raises:
            RankingError: tables of another preparation, or a period without rows.
        """
        self.refuse_other_tables(tables)
        if tables.periods[period].num_rows == 0:
            raise RankingError(
                f"the tables hold no impression of the {period} period; score another period"
            )
        with threads(self.config.num_threads):
            return predict(self.model, self.loader(tables, period, batch_size))

    def loader(
        self,
        tables: RankingTables,
        period: Period,
        batch_size: int | None = None,
        content: ContentStores | None = None,
    ) -> Loader:
        """Batches of a period with all that this ranker reads, in the tables' order.

        Args:
            batch_size: as in `predict`.
            content: what `content` gave for these catalogues, where it is at hand.
        """
        rows = batch_size or self.scoring_rows(tables.periods[period])
        content = content or self.content(tables)
        search = search_options(tables, self.config, content)
        return Loader(tables, period, rows, content, **search)

    def content(self, tables: RankingTables) -> ContentStores | None:
        """The vectors and codes it reads, by row of the tables' catalogues."""
        return content_stores(tables, self.config, self.items, self.queries, self.semantic_ids)

    def scoring_rows(self, requests: Requests) -> int:
        """Rows a batch, so few that the longest history fits `SCORING_BEHAVIOURS` for each."""
        longest = int((requests.history_ends - requests.history_starts).max(initial=1))
        if self.config.search != "none":
            longest = min(longest, self.config.recent_length + self.config.search_length)
        return min(SCORING_ROWS, max(1, SCORING_BEHAVIOURS // max(longest, 1)))

    def refuse_other_tables(self, tables: RankingTables) -> None:
        """Raise RankingError where the tables were not read with this ranker's preparation."""
        wanted, found = self.preparation.digest, tables.preparation.digest
        if found != wanted:
            raise RankingError(
                f"the ranker reads tables of preparation {wanted}, not {found}: build them with "
                "RankingTables.build(shop, preparation=ranker.preparation)"
            )

    def with_vectors(
        self, items: EmbeddingTable | None, queries: EmbeddingTable | None = None
    ) -> "TrainedRanker":
        """The same ranker with tables that hold more items or searches.

        Raises:
            RankingError: tables that another encoder made, see `VectorOrigin`.
        """
        for name, old, new in (("items", self.items, items), ("queries", self.queries, queries)):
            known = VectorOrigin.of(old) if old is not None else None
            _refuse_other_vectors(known, new, name, "the ranker")
        return replace(self, items=items, queries=queries)

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the folder `path`, atomically; the embedding tables stay where they are."""
        tables = {"items": self.items, "queries": self.queries}
        origins = {
            name: VectorOrigin.of(table) for name, table in tables.items() if table is not None
        }
        about = {
            "format_version": FORMAT_VERSION,
            "config": self.config.model_dump(mode="json"),
            "sizes": asdict(self.sizes),
            "tables": self.tables_digest,
            "preparation": self.preparation.digest,
            "vectors": {
                name: {"digest": origin.digest, "encoder": origin.encoder}
                for name, origin in origins.items()
            },
            "validation_auc": list(self.validation_auc),
            "rows_per_second": self.rows_per_second,
        }
        if self.non_clicks is not None:
            about["non_clicks"] = self.non_clicks.as_dict()
        if self.rates_lowered:
            about["rates_lowered"] = list(self.rates_lowered)
        weights = {key: value.cpu().contiguous() for key, value in self.model.state_dict().items()}
        with atomic_folder(path, RANKER, overwrite) as folder:
            save_file(weights, folder / "weights.safetensors")
            if self.semantic_ids is not None:
                self.semantic_ids.save(folder / "semantic_ids.safetensors")
            for name, origin in origins.items():
                origin.save(folder / f"{name}_sample.safetensors")
            self.preparation.save(folder / "preparation")
            write_json(folder / RANKER_FILE, about | {"files": record(folder, RANKER_FILE)})

    @classmethod
    def load(
        cls,
        path: Path | str,
        items: EmbeddingTable | None = None,
        queries: EmbeddingTable | None = None,
    ) -> "TrainedRanker":
        """Read a saved ranker.

        Args:
            items, queries: the vectors it was trained with, when it reads any, or tables with vectors of
                further ids by the same encoder.

        Raises:
            RankingError: no ranker at `path`, one of another version, or vectors of another encoder.
        """
        path = Path(path)
        about = read_about(path)
        refuse_changed(path, about)
        said = parse_about(about, path / RANKER_FILE)
        for name, given in (("items", items), ("queries", queries)):
            known = said.vectors.get(name)
            file = path / f"{name}_sample.safetensors"
            _refuse_other_vectors(
                VectorOrigin.load(file, **known) if known else None, given, name, str(path)
            )
        preparation = Preparation.load(path / "preparation")
        if preparation.digest != said.preparation:
            raise RankingError(
                f"{path / RANKER_FILE} was trained with preparation {visible(said.preparation)[:40]}, the one beside it is {preparation.digest}; put the ranker's own back"
            )
        return cls(
            model=load_model(path, said).eval(),
            config=said.config,
            preparation=preparation,
            sizes=said.sizes,
            tables_digest=said.tables,
            items=items,
            queries=queries,
            validation_auc=said.validation_auc,
            rows_per_second=said.rows_per_second,
            semantic_ids=(
                SemanticIds.load(path / "semantic_ids.safetensors")
                if "semantic_ids" in said.config.ways
                else None
            ),
            rates_lowered=tuple(about.get("rates_lowered", ())),
            non_clicks=said.non_clicks,
        )


def refuse_other_training(
    path: Path,
    config: RankerConfig,
    tables: RankingTables,
    vectors: Mapping[str, EmbeddingTable | None],
) -> None:
    """Raise RankingError where the ranker at `path` was not trained with these settings, tables and vectors."""
    about = read_about(path)
    parse_about(about, path / RANKER_FILE)
    found = {
        "settings": make_config(RankerConfig, about["config"]).digest() == config.digest(),
        "tables": about["tables"] == tables.digest,
        **{
            f"{name} vectors": about["vectors"].get(name, {}).get("digest")
            == (table.digest if table is not None else None)
            for name, table in vectors.items()
        },
    }
    others = [name for name, is_same in found.items() if not is_same]
    if others:
        raise RankingError(
            f"{path} was trained with other {', '.join(others)}; go on with the same ones, replace it with --overwrite, or name another folder"
        )


def _refuse_other_vectors(
    origin: VectorOrigin | None, given: EmbeddingTable | None, name: str, where: str
) -> None:
    if origin is None and given is None:
        return
    if origin is None or given is None:
        found = given.digest if given is not None else "none"
        raise RankingError(
            f"{where} was trained with {name} vectors {origin.digest if origin else 'none'}, got {found}; "
            f"pass the same embedding table of {name}, or leave it out where it read none"
        )
    origin.refuse_other(given, name, where)


@torch.no_grad()
def predict(model: Ranker, loader: Loader) -> np.ndarray:
    """Click probabilities of the loader's rows, in its tables' order, float64 `(rows,)`; on the model's device.

    Raises:
        RankingError: a row whose score is no number.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    found = np.empty(loader.requests.num_rows)
    with progress("score", total=loader.requests.num_rows) as bar:
        for batch in loader.epoch():
            moved = batch if device.type == "cpu" else batch.to(device)
            found[batch.table_rows.numpy()] = torch.sigmoid(model(moved).double()).cpu().numpy()
            bar.advance(batch.num_rows)
    model.train(was_training)
    wrong = np.flatnonzero(~np.isfinite(found))
    if wrong.size:
        raise RankingError(
            f"the model scores row {wrong[0]} (item {loader.requests.item_ids[wrong[0]]}) {found[wrong[0]]}, {wrong.size:,} of {found.size:,} rows: its weights or "
            "inputs are not finite; train it again with a lower learning_rate"
        )
    return found


def content_stores(
    tables: RankingTables,
    config: RankerConfig,
    items: EmbeddingTable | None,
    queries: EmbeddingTable | None,
    semantic_ids: SemanticIds | None = None,
) -> ContentStores | None:
    """The vectors that the configuration asks for.

    Args:
        semantic_ids: the centroids of item codes, wanted exactly by `content="semantic_ids"`.

    Raises:
        RankingError: vectors that are missing, not wanted, or do not fit.
    """
    if not config.reads_vectors:
        if items is not None or queries is not None:
            raise RankingError(
                f'content "{config.content}" reads no vectors: leave out items and queries'
            )
        return None
    if items is None:
        asks = f'content "{config.content}"' if config.ways else f'search "{config.search}"'
        raise RankingError(f"{asks} reads vectors: pass the embedding table of the items")
    stores = ContentStores.of(tables, items, queries)
    codes = {} if semantic_ids is None else item_codes(tables, items, semantic_ids)
    return replace(stores, item_codes=codes, in_batches=config.batches_vectors)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Torch with `number` threads within the block; None leaves them."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
