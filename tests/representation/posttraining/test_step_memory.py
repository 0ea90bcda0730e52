"""Memory of a step's loss over a large batch: masks of a byte each, never scores of all pairs."""

import pytest

from tests.peak_memory import added_mib

BEFORE = """
    import torch
    from representation.posttraining.config import PosttrainConfig
    from representation.posttraining.mixture import KINDS
    from representation.posttraining.pair_batch import PairBatch
    from representation.posttraining.step import ContrastiveStep
    def step(count):
        config = PosttrainConfig(batch_size=count, chunk_size=64, num_negatives=100)
        trained = ContrastiveStep(config, (32,), None, torch.device("cpu"))
        ids = torch.arange(count)
        blocked = torch.zeros(count, count, dtype=torch.bool)
        batch = PairBatch(KINDS["image->image"], None, None, blocked, None, ids, ids, ids, slice(0, count))
        vectors = torch.nn.functional.normalize(torch.randn(2, count, 32), dim=2).requires_grad_()
        loss, outcome = trained.loss(batch, 0, list(vectors))
        loss.backward()
        assert 0 <= outcome.right <= 1
    step(128)
"""


@pytest.mark.slow  # a block of the loss alone is among the quick tests
def test_a_step_holds_no_scores_of_all_pairs():
    """4,096 pairs: 16 MiB a mask, 64 MiB of scores; some negatives of a batch, drawn at random, and the accuracy within the batch."""
    assert added_mib(BEFORE, "step(4096)") < 150
