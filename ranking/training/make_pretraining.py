"""MAKE's first step: the content model alone, for several epochs, before it joins the id model.

"Multimodal representations need several epochs where ids overfit after one" (arXiv 2407.19467): so the
content model learns clicks from frozen vectors only, as long as validation gains, and is then trained on
together with the ids. The paper's optimiser and rates are not known; these are the ranker's own.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from moon_rec.progress import progress
from ranking.batch import Batch
from ranking.config import RankerConfig
from ranking.content import ContentStores
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.model import Ranker
from ranking.training.optimiser import rate_factor


def pretrain_content_model(
    model: Ranker,
    tables: RankingTables,
    config: RankerConfig,
    content: ContentStores,
    description: str = "MAKE",
) -> list[float]:
    """Train the content model of `model` in place; its best epoch on validation is kept.

    Returns:
        The validation AUC of the content model after each epoch.
    """
    recent_only: dict[str, Any] = {
        "recent_length": config.recent_length if config.search != "none" else None
    }
    loader = Loader(tables, "train", config.batch_size, content, config.seed, **recent_only)
    module = model.content_model()
    optimiser = torch.optim.AdamW(
        module.parameters(), config.learning_rate, weight_decay=config.weight_decay, foreach=True
    )
    total = loader.requests.num_rows * config.make_epochs
    done, found, best = 0, [], {}
    with progress(f"{description}: content model", total=total) as bar:
        for epoch in range(config.make_epochs):
            model.train()
            for batch in _on(model, loader.epoch(epoch)):
                optimiser.param_groups[0]["lr"] = config.learning_rate * rate_factor(done, total)
                logits = model.content_logits(batch)
                loss = nn.functional.binary_cross_entropy_with_logits(logits, batch.labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                done += batch.num_rows
                bar.advance(batch.num_rows)
            validation = Loader(tables, "validation", 4096, content, **recent_only)
            found.append(_validation_auc(model, validation))
            if found[-1] == max(found):
                best = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(best)
    return found


@torch.no_grad()
def _validation_auc(model: Ranker, loader: Loader) -> float:
    model.eval()
    requests = loader.requests
    scores = np.empty(requests.num_rows)
    for batch in _on(model, loader.epoch()):
        scores[batch.table_rows.cpu().numpy()] = model.content_logits(batch).double().cpu().numpy()
    return auc(requests.labels, scores)


def _on(model: Ranker, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches on the model's device."""
    device = model.row_layer.weight.device
    return (batch if device.type == "cpu" else batch.to(device) for batch in batches)
