"""Row-wise Adagrad against its formula on dense gradients."""

import pytest
import torch
from torch import nn

from ranking.training.optimiser import RowWiseAdagrad


def test_it_is_the_formula_and_leaves_other_rows_alone():
    torch.manual_seed(0)
    table = nn.Embedding(7, 3)
    optimiser = RowWiseAdagrad([table], learning_rate=0.1)
    weight, accumulator = table.weight.detach().clone(), torch.zeros(7)
    for rows in ([0, 2, 2], [2, 5, 0], [2, 2, 2]):
        target = torch.randn(3, 3)
        dense = weight.clone().requires_grad_()
        (dense[torch.tensor(rows)] - target).square().sum().backward()
        accumulator += dense.grad.square().mean(dim=1)
        touched = dense.grad.abs().sum(dim=1) > 0
        step = 0.1 * dense.grad / (accumulator.sqrt() + 1e-8)[:, None]
        weight = torch.where(touched[:, None], weight - step, weight)
        optimiser.zero_grad()
        (table(torch.tensor(rows)) - target).square().sum().backward()
        assert table.weight.grad.is_sparse
        optimiser.step()
        assert torch.allclose(table.weight, weight, atol=1e-6)


def test_it_is_fbgemms_rowwise_adagrad():
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    torch.manual_seed(1)
    fused = SplitTableBatchedEmbeddingBagsCodegen(
        [(10, 4, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        learning_rate=0.05,
        eps=1e-8,
        pooling_mode=PoolingMode.SUM,
    )
    table = nn.Embedding(10, 4)
    with torch.no_grad():
        table.weight.copy_(fused.split_embedding_weights()[0].normal_())
    optimiser = RowWiseAdagrad([table], learning_rate=0.05)
    for rows in ([1, 2, 3], [3, 3, 9], [1, 9, 0]):
        target = torch.randn(3, 4)
        (fused(torch.tensor(rows), torch.arange(4)) - target).square().sum().backward()
        optimiser.zero_grad()
        (table(torch.tensor(rows)) - target).square().sum().backward()
        optimiser.step()
    assert table.weight.detach().numpy() == pytest.approx(
        fused.split_embedding_weights()[0].detach().numpy(), abs=1e-5
    )
