"""The CTR model: TorchRec tables, a behaviour module, a tower.

Notable choices
- One `EmbeddingCollection` holds all id tables; an item, category or brand has the same row as target and
  as behaviour. A request's candidates are one jagged list of the KeyedJaggedTensor, so what a request
  shares is looked up and attended once.
- The tower's first layer is split in the share of the request and the share of the row: the former is
  computed once a request and added to its rows. It is the same linear layer.
- The output's bias starts at the click rate's logit, so that the first steps learn differences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingConfig
from torchrec.modules.embedding_modules import EmbeddingCollection

from ranking.batch import Batch, ContentBatch
from ranking.behaviour import CUBE, DIN, BehaviourModule, Behaviours, Query, Target
from ranking.config import RankerConfig

SHARED = ("item", "category", "brand")
EMBEDDING_STD = 0.02


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
    """

    num_embeddings: dict[str, int]
    num_context: int
    history_length: int
    query_history_length: int
    has_searches: bool
    content_dim: int
    has_query_content: bool


class Ranker(nn.Module):
    """Click logit of every candidate.

    Args:
        sizes: of the inputs.
        config: of the model; see `RankerConfig`.
        click_rate: of the train rows, where the output's bias starts.
    """

    def __init__(self, sizes: InputSizes, config: RankerConfig, click_rate: float = 0.5):
        super().__init__()
        self.sizes, dim = sizes, config.embedding_dim
        self.tables = EmbeddingCollection(tables=_table_configs(sizes, dim))
        target_dim = dim * len(SHARED)
        behaviour_dims = [target_dim, dim] if sizes.has_searches else [target_dim]
        self.behaviour = _behaviour(sizes, config, target_dim, behaviour_dims)
        row_dim = target_dim + dim + self.behaviour.target_dim + sizes.num_context
        request_dim = dim * (1 + sizes.has_searches) + self.behaviour.request_dim
        self.row_layer = nn.Linear(row_dim, config.tower[0])
        self.request_layer = nn.Linear(request_dim, config.tower[0], bias=False)
        self.tower = _tower(config.tower)
        with torch.no_grad():
            rate = min(max(click_rate, 1e-6), 1 - 1e-6)
            self.tower[-1].bias.fill_(math.log(rate / (1 - rate)))  # type: ignore[union-attr]

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(rows,)`, in the batch's order of rows."""
        found = self.tables(batch.ids)
        item = torch.cat([found[name].values() for name in SHARED], dim=-1)
        past = torch.cat([found[f"history_{name}"].values() for name in SHARED], dim=-1)
        sequences = [Behaviours(past, batch.history_mask)]
        request = [found["user"].values()]
        if self.sizes.has_searches:
            searches = found["past_query"].values()
            sequences.append(Behaviours(searches, batch.past_query_mask))
            request.append(found["query"].values())
        target = Target(_padded(item, batch.candidate_mask, batch.candidate_rows))
        if self.sizes.content_dim:
            assert batch.content is not None, "a ranker that reads content got a batch without"
            target, sequences = _with_content(target, sequences, batch.content)
        interest = self.behaviour(target, sequences)
        of_rows = interest.per_target.flatten(0, 1).index_select(0, batch.candidate_rows)
        row = torch.cat([item, found["price"].values(), of_rows, batch.context], dim=-1)
        of_request = self.request_layer(torch.cat([*request, interest.per_request], dim=-1))
        hidden = self.row_layer(row) + of_request.index_select(0, batch.request_rows)
        return self.tower(hidden).squeeze(-1)

    def dense_parameters(self) -> list[nn.Parameter]:
        """All parameters but the tables'."""
        return [p for name, p in self.named_parameters() if not name.startswith("tables.")]


def _table_configs(sizes: InputSizes, dim: int) -> list[EmbeddingConfig]:
    features = {
        "user": ["user"],
        **{name: [name, f"history_{name}"] for name in SHARED},
        "price": ["price"],
        "query": ["query", "past_query"],
    }
    return [
        EmbeddingConfig(
            name=name,
            embedding_dim=dim,
            num_embeddings=sizes.num_embeddings[name],
            feature_names=names,
            init_fn=_initialise,
        )
        for name, names in features.items()
    ]


def _initialise(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=EMBEDDING_STD)


def _behaviour(
    sizes: InputSizes, config: RankerConfig, target_dim: int, behaviour_dims: Sequence[int]
) -> BehaviourModule:
    if not sizes.content_dim:
        return DIN(target_dim, behaviour_dims, config.attention_dim)
    of_searches = sizes.query_history_length if sizes.has_query_content else None
    return CUBE(
        target_dim,
        behaviour_dims,
        content_dim=sizes.content_dim,
        score_lengths=[sizes.history_length, of_searches][: len(behaviour_dims)],
        has_query=sizes.has_query_content,
        hidden_dim=config.attention_dim,
        projection_dim=config.projection_dim,
        scores=config.scores,
        num_tiers=config.num_tiers,
        temperature=config.temperature,
        learn_temperature=config.learn_temperature,
    )


def _tower(widths: Sequence[int]) -> nn.Sequential:
    """The layers after the first linear one."""
    layers: list[nn.Module] = [nn.ReLU()]
    for narrow, wide in zip(widths[1:], widths, strict=False):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1))


def _padded(values: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """Rows `(rows, dim)` at their places of the grid `mask`, zeros elsewhere: `(*mask.shape, dim)`."""
    grid = values.new_zeros(mask.numel(), values.shape[-1])
    return grid.index_copy(0, places, values).view(*mask.shape, values.shape[-1])


def _with_content(
    target: Target, sequences: list[Behaviours], content: ContentBatch
) -> tuple[Target, list[Behaviours]]:
    query = None
    if content.query is not None:
        assert content.has_query is not None
        query = Query(content.query, content.has_query)
    vectors = [
        (content.history, content.has_history),
        (content.past_queries, content.has_past_query),
    ]
    full = [
        replace(sequence, content=found, has_content=present)
        for sequence, (found, present) in zip(sequences, vectors, strict=False)
    ]
    return Target(target.ids, content.targets, content.has_target, query), full
