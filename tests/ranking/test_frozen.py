"""Frozen vectors are trained by nobody: no weight, no buffer, no gradient, no optimiser state."""

from ranking.config import RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.search_unit import search_options
from ranking.training import prepare
from ranking.training.trainer import LocalTrainer

EVERYTHING = "vector+scores+simtier+sata+dmf+make+cube"


def elements(values):
    return sum(value.numel() for value in values)


def test_frozen_vectors_have_no_gradient_and_no_optimiser_state(planted):
    tables = RankingTables.build(planted.shop, FeatureConfig(history_length=6))
    config = RankerConfig(content=EVERYTHING, search="content", search_length=3, batch_size=64)
    more, _ = planted.items.lookup(planted.items.ids)
    larger = planted.items.extended(planted.items.ids + 10**6, more)
    sizes = []
    for items in (planted.items, larger):
        model, content, _ = prepare(tables, config, items, planted.queries)
        trainer = LocalTrainer(model, config)
        loader = Loader(tables, "train", 64, content, 0, **search_options(tables, config, content))
        batch = next(loader.epoch())
        next(trainer.steps([batch]))
        content_tensors = [value for value in vars(batch.content).values() if value is not None]
        assert len(content_tensors) == 10
        assert not any(value.requires_grad or value.grad_fn for value in content_tensors)
        assert all(value.grad is None for value in content_tensors)
        held = [*model.state_dict().values(), *model.buffers(), *trainer.optimiser_state().values()]
        sizes.append((elements(held), elements(model.parameters())))
        storage = {tensor.untyped_storage().data_ptr() for tensor in held}
        assert not storage & {value.untyped_storage().data_ptr() for value in content_tensors}
    assert sizes[0] == sizes[1]
