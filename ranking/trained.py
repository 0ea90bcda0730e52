"""A ranker with all that is needed to score with it again: weights, settings, what it was trained on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from moon_rec.config import make_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError, RankingError
from moon_rec.files import atomic_folder, read_json, write_json
from moon_rec.progress import progress
from ranking.config import RankerConfig
from ranking.content import ContentStores
from ranking.features import FeatureConfig, Period, RankingTables
from ranking.loader import Loader
from ranking.model import InputSizes, Ranker

FORMAT_VERSION = 1
SCORING_ROWS = 4096


@dataclass(frozen=True)
class TrainedRanker:
    """A trained model and its provenance.

    Attributes:
        model: in evaluation mode.
        config, features: settings of the ranker and of its tables.
        sizes: of its inputs.
        tables_digest: of the tables it was trained on; others are refused.
        items, queries: the frozen vectors it reads, None for a ranker of ids only.
        validation_auc: after each epoch, empty with one.
        rows_per_second: of training.
    """

    model: Ranker
    config: RankerConfig
    features: FeatureConfig
    sizes: InputSizes
    tables_digest: str
    items: EmbeddingTable | None = None
    queries: EmbeddingTable | None = None
    validation_auc: tuple[float, ...] = ()
    rows_per_second: float = 0.0

    def predict(
        self, tables: RankingTables, period: Period, batch_size: int = SCORING_ROWS
    ) -> np.ndarray:
        """Click probabilities of a period's rows, in the tables' order, float64 `(rows,)`.

        Raises:
            RankingError: other tables than it was trained on.
        """
        if tables.digest != self.tables_digest:
            raise RankingError(
                f"the ranker was trained on tables {self.tables_digest}, not {tables.digest}: "
                "score with the same shop and feature settings"
            )
        content = content_stores(tables, self.config, self.items, self.queries)
        with threads(self.config.num_threads):
            return predict(self.model, Loader(tables, period, batch_size, content))

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the folder `path` (weights.safetensors, ranker.json), atomically; vectors stay where they are."""
        about = {
            "format_version": FORMAT_VERSION,
            "config": self.config.model_dump(mode="json"),
            "features": self.features.model_dump(mode="json"),
            "sizes": asdict(self.sizes),
            "tables": self.tables_digest,
            "items": self.items.digest if self.items is not None else None,
            "queries": self.queries.digest if self.queries is not None else None,
            "validation_auc": list(self.validation_auc),
            "rows_per_second": self.rows_per_second,
        }
        weights = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        with atomic_folder(path, overwrite=overwrite) as folder:
            save_file(weights, folder / "weights.safetensors")
            write_json(folder / "ranker.json", about)

    @classmethod
    def load(
        cls,
        path: Path | str,
        items: EmbeddingTable | None = None,
        queries: EmbeddingTable | None = None,
    ) -> "TrainedRanker":
        """Read a saved ranker.

        Args:
            items, queries: the vectors it was trained with, when it reads any.

        Raises:
            RankingError: no ranker at `path`, or vectors other than those it was trained with.
        """
        path = Path(path)
        try:
            about = read_json(path / "ranker.json")
            weights = load_file(path / "weights.safetensors")
        except (MoonRecError, OSError) as error:
            raise RankingError(f"no ranker at {path}: {error}") from None
        if about.get("format_version") != FORMAT_VERSION:
            raise RankingError(
                f"{path}/ranker.json: format_version {about.get('format_version')!r}, "
                f"wanted {FORMAT_VERSION}"
            )
        for name, given in (("items", items), ("queries", queries)):
            found = given.digest if given is not None else None
            if found != about[name]:
                raise RankingError(
                    f"{path} was trained with {name} vectors {about[name]}, got {found}; "
                    f"pass the same embedding table of {name}"
                )
        config = make_config(RankerConfig, about["config"])
        sizes = InputSizes(**about["sizes"])
        model = Ranker(sizes, config)
        model.load_state_dict(weights)
        return cls(
            model=model.eval(),
            config=config,
            features=make_config(FeatureConfig, about["features"]),
            sizes=sizes,
            tables_digest=about["tables"],
            items=items,
            queries=queries,
            validation_auc=tuple(about["validation_auc"]),
            rows_per_second=about["rows_per_second"],
        )


@torch.no_grad()
def predict(model: Ranker, loader: Loader) -> np.ndarray:
    """Click probabilities of the loader's rows, in its tables' order, float64 `(rows,)`."""
    was_training = model.training
    model.eval()
    found = np.empty(loader.requests.num_rows)
    with progress("score", total=loader.requests.num_rows) as bar:
        for batch in loader.epoch():
            logits = model(batch).double()
            found[batch.table_rows.numpy()] = torch.sigmoid(logits).numpy()
            bar.advance(batch.num_rows)
    model.train(was_training)
    return found


def content_stores(
    tables: RankingTables,
    config: RankerConfig,
    items: EmbeddingTable | None,
    queries: EmbeddingTable | None,
) -> ContentStores | None:
    """The vectors that `config.content` asks for.

    Raises:
        RankingError: vectors that are missing, not wanted, or do not fit.
    """
    if config.content == "none":
        if items is not None or queries is not None:
            raise RankingError('content "none" reads no vectors: leave out items and queries')
        return None
    if items is None:
        raise RankingError(
            f'content "{config.content}" reads vectors: pass the embedding table of the items'
        )
    return ContentStores.of(tables, items, queries)


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
