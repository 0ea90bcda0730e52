"""The CTR model: TorchRec tables, behaviour modules, a tower.

Notable choices
- One `EmbeddingCollection` holds all id tables; an item, category or brand has the same row as target and
  as behaviour. A request's candidates are one jagged list of the KeyedJaggedTensor, so what a request
  shares is looked up and attended once.
- Semantic ids are further ids of an item, as target and as behaviour: a table a level, their sum one more
  part of the item's embedding.
- What a search unit found for each row is read by modules of its own, row by row, with the same tables.
- The tower's first layer is split in the share of the request and the share of the row: the former is
  computed once a request and added to its rows. It is the same linear layer.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingConfig
from torchrec.modules.embedding_modules import EmbeddingCollection
from torchrec.sparse.jagged_tensor import JaggedTensor

from ranking.assembly import TARGET_ALONE, ReadSizes, assemble
from ranking.batch import Batch, ContentBatch
from ranking.behaviour import BehaviourModule, Behaviours, Interest, Query, Target
from ranking.behaviour.slices import in_slices
from ranking.config import RankerConfig
from ranking.features import HISTORY_FEATURES, read_features
from ranking.start_weights import StartWeights
from ranking.tower import Tower
from ranking.unit_vectors import unit_vectors


@dataclass(frozen=True)
class InputSizes:
    """What the shapes of a ranker depend on besides its settings.

    Attributes:
        num_embeddings: feature -> rows of its table (`user, item, category, brand, price, query`).
        num_context: numeric columns.
        history_length, query_history_length: most behaviours of each kind.
        has_searches: whether the shop has searches; without, there is no query sequence.
        content_dim: width of the frozen vectors, 0 for ids only.
        has_query_content: whether queries have vectors.
        num_code_levels, num_codes: semantic ids of items, 0 for none; code 0 is "no vector".
    """

    num_embeddings: dict[str, int]
    num_context: int
    history_length: int
    query_history_length: int
    has_searches: bool
    content_dim: int
    has_query_content: bool
    num_code_levels: int = 0
    num_codes: int = 0

    @property
    def item_features(self) -> list[str]:
        """Ids of an item, as target and as behaviour."""
        return read_features(HISTORY_FEATURES, self.num_embeddings)

    @property
    def request_features(self) -> list[str]:
        """Ids that all candidates of a request share."""
        is_known = self.num_embeddings["user"] > 1
        return ["user"] * is_known + ["query"] * self.has_searches

    @property
    def code_names(self) -> list[str]:
        """Feature names of the semantic ids."""
        return [f"code_{level}" for level in range(self.num_code_levels)]


class Ranker(nn.Module):
    """Click logit of every candidate.

    Args:
        sizes: of the inputs.
        config: of the model; see `RankerConfig`.
        click_rate: of the train rows, where the output's bias starts.
        is_to_be_sharded: the tables are left on the meta device: who shards them fills the shards by `start_weights`.
    """

    def __init__(
        self,
        sizes: InputSizes,
        config: RankerConfig,
        click_rate: float = 0.5,
        is_to_be_sharded: bool = False,
    ):
        super().__init__()
        self.sizes, self.config, dim = sizes, config, config.embedding_dim
        self.start_weights: dict[str, StartWeights] = {}
        self.tables = EmbeddingCollection(
            tables=_table_configs(sizes, config, self.start_weights),
            device=torch.device("meta") if is_to_be_sharded else None,
        )
        item_dim = dim * (len(sizes.item_features) + (sizes.num_code_levels > 0))
        shared, searched = _read_sizes(sizes, config, item_dim)
        self.behaviour = assemble(shared, config)
        self.found = None
        if config.search != "none":
            self.found = assemble(searched, config, left_out=TARGET_ALONE)
        row_dim = item_dim + dim + self.behaviour.target_dim + sizes.num_context
        if self.found is not None:
            row_dim += self.found.target_dim + self.found.request_dim
        request_dim = dim * len(sizes.request_features) + self.behaviour.request_dim
        self.row_layer = nn.Linear(row_dim, config.tower[0])
        self.request_layer = None
        if request_dim:
            self.request_layer = nn.Linear(request_dim, config.tower[0], bias=False)
        inner = self.behaviour
        self.tower = Tower(config.tower, inner.hidden_dims, inner.has_logit, click_rate)

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(rows,)`, in the batch's order of rows."""
        return self.logits(batch, self.tables(batch.ids))

    def logits(self, batch: Batch, looked_up: dict[str, JaggedTensor]) -> Tensor:
        """Logits `(rows,)` from what the tables gave for `batch.ids`."""
        item = self._items(looked_up, "")
        target, sequences = self._reads(batch, looked_up, item)
        interest = self.behaviour(target, sequences)
        rows = batch.candidate_rows
        row = [item, looked_up["price"].values(), _of_rows(interest.per_target, rows)]
        if self.found is not None:
            found = self._items(looked_up, "searched_")
            row.append(self._found_interest(batch, target, item, found).joined()[:, 0])
        sums = self.row_layer(torch.cat([*row, batch.context], dim=-1))
        if self.request_layer is not None:
            request = [looked_up[name].values() for name in self.sizes.request_features]
            of_request = self.request_layer(torch.cat([*request, interest.per_request], dim=-1))
            sums = sums + of_request.index_select(0, batch.request_rows)
        hidden = [_of_rows(layer, rows) for layer in interest.hidden]
        logit = interest.logit
        inner = None if logit is None else _of_rows(logit[..., None], rows)[:, 0]
        return self.tower(sums, hidden, inner)

    def content_logits(self, batch: Batch) -> Tensor:
        """Logits `(rows,)` of the content model alone (MAKE): no id is looked up."""
        assert batch.content is not None
        target = Target(batch.context.new_zeros(*batch.candidate_mask.shape, 0))
        masks = [batch.history_mask, batch.past_query_mask][: 1 + self.sizes.has_searches]
        empty = [Behaviours(mask.new_zeros(int(mask.sum()), 0), mask) for mask in masks]
        interest = in_slices(self.content_model(), *_with_content(target, empty, batch.content))
        assert interest.logit is not None
        return _of_rows(interest.logit[..., None], batch.candidate_rows)[:, 0]

    def content_model(self) -> BehaviourModule:
        """The module that is a model of its own (MAKE)."""
        return next(module for module in self.behaviour.parts if module.has_logit)  # type: ignore[return-value]

    def dense_parameters(self) -> list[nn.Parameter]:
        """All parameters but the tables'."""
        return [p for name, p in self.named_parameters() if not name.startswith("tables.")]

    def _items(self, looked_up: dict[str, JaggedTensor], prefix: str) -> Tensor:
        """Embeddings of items `(events, item_dim)`: item, category, brand, and the sum of their codes."""
        parts = [looked_up[f"{prefix}{name}"].values() for name in self.sizes.item_features]
        codes = [looked_up[f"{prefix}{name}"].values() for name in self.sizes.code_names]
        if codes:
            parts.append(torch.stack(codes).sum(dim=0))
        return torch.cat(parts, dim=-1)

    def _reads(
        self, batch: Batch, looked_up: dict[str, JaggedTensor], item: Tensor
    ) -> tuple[Target, list[Behaviours]]:
        """Targets and the sequences that all targets of a request share."""
        sequences = [Behaviours(self._items(looked_up, "history_"), batch.history_mask)]
        if self.sizes.has_searches:
            searches = looked_up["past_query"].values()
            sequences.append(Behaviours(searches, batch.past_query_mask))
        target = Target(_padded(item, batch.candidate_mask, batch.candidate_rows))
        if self.sizes.content_dim:
            assert batch.content is not None, "a ranker that reads content got a batch without"
            return _with_content(target, sequences, batch.content)
        return target, sequences

    def _found_interest(
        self, batch: Batch, target: Target, item: Tensor, found: Tensor
    ) -> Interest:
        """What the modules make of the behaviours found for each row: rows as requests of one target."""
        assert self.found is not None and batch.searched_mask is not None
        behaviours = Behaviours(found, batch.searched_mask)
        one = Target(item[:, None])
        if self.sizes.content_dim:
            assert batch.content is not None and target.content is not None
            behaviours = replace(
                behaviours,
                content=batch.content.searched,
                has_content=batch.content.has_searched,
                is_stored=True,
            )
            one = _one_target_a_row(target, item, batch)
        return self.found(one, [behaviours])


def _read_sizes(
    sizes: InputSizes, config: RankerConfig, item_dim: int
) -> tuple[ReadSizes, ReadSizes]:
    """What is read of a request, and of a row where there is a search unit."""
    has_content = sizes.content_dim > 0
    searches = has_content and sizes.has_query_content
    recent = sizes.history_length
    if config.search != "none":
        recent = min(recent, config.recent_length)
    count = 1 + sizes.has_searches
    shared = ReadSizes(
        target_dim=item_dim,
        behaviour_dims=(item_dim, config.embedding_dim)[:count],
        lengths=(recent, sizes.query_history_length)[:count],
        with_content=(has_content, searches)[:count],
        content_dim=sizes.content_dim,
        has_query=searches,
    )
    searched = replace(
        shared,
        behaviour_dims=(item_dim,),
        lengths=(config.search_length,),
        with_content=(has_content,),
    )
    return shared, searched


def _table_configs(
    sizes: InputSizes, config: RankerConfig, starts: dict[str, StartWeights]
) -> list[EmbeddingConfig]:
    """The tables; what fills each goes into `starts`."""
    prefixes = ["", "history_"]
    if config.search != "none":
        prefixes.append("searched_")
    features = {
        **({"user": ["user"]} if "user" in sizes.request_features else {}),
        **{name: [prefix + name for prefix in prefixes] for name in sizes.item_features},
        "price": ["price"],
        "query": ["query", "past_query"],
        **{name: [prefix + name for prefix in prefixes] for name in sizes.code_names},
    }
    rows = {**sizes.num_embeddings, **dict.fromkeys(sizes.code_names, sizes.num_codes)}
    starts.update((name, StartWeights()) for name in features)
    return [
        EmbeddingConfig(
            name=name,
            embedding_dim=config.embedding_dim,
            num_embeddings=rows[name],
            feature_names=names,
            init_fn=starts[name],
        )
        for name, names in features.items()
    ]


def _padded(values: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """Rows `(rows, dim)` at their places of the grid `mask`, zeros elsewhere: `(*mask.shape, dim)`."""
    grid = values.new_zeros(mask.numel(), values.shape[-1])
    return grid.index_copy_(0, places, values).view(*mask.shape, values.shape[-1])


def _of_rows(values: Tensor, places: Tensor) -> Tensor:
    """`(batch, candidates, width)` -> `(rows, width)`."""
    return values.flatten(0, 1).index_select(0, places)


def _with_content(
    target: Target, sequences: list[Behaviours], content: ContentBatch
) -> tuple[Target, list[Behaviours]]:
    query = None
    if content.query is not None:
        assert content.has_query is not None
        query = Query(unit_vectors(content.query), content.has_query)
    vectors = [
        (content.history, content.has_history),
        (content.past_queries, content.has_past_query),
    ]
    full = [
        replace(sequence, content=found, has_content=present, is_stored=True)
        for sequence, (found, present) in zip(sequences, vectors, strict=False)
    ]
    targets = unit_vectors(content.targets)
    return Target(target.ids, targets, content.has_target, query), full


def _one_target_a_row(target: Target, item: Tensor, batch: Batch) -> Target:
    """Each row as a request of its own, `(rows, 1, ...)`."""
    assert target.content is not None and target.has_content is not None
    query = target.query
    if query is not None:
        requests = batch.request_rows
        query = Query(
            query.content.index_select(0, requests), query.has_content.index_select(0, requests)
        )
    content = _of_rows(target.content, batch.candidate_rows)
    present = target.has_content.flatten().index_select(0, batch.candidate_rows)
    return Target(item[:, None], content[:, None], present[:, None], query)
