"""The target's vector as a feature."""

import pytest
import torch

from ranking.behaviour import Query, Target, TargetVector


@pytest.mark.parametrize("has_query", [False, True])
def test_vectors_are_projected_and_missing_ones_have_a_learned_stand_in(has_query):
    torch.manual_seed(0)
    module = TargetVector(4, 3, has_query)
    torch.nn.init.normal_(module.project_target.missing)
    content, has = torch.randn(2, 3, 4), torch.tensor([[1, 0, 1], [0, 1, 1]]).bool()
    asked, is_asked = torch.randn(2, 4), torch.tensor([True, False])
    found = module(Target(torch.zeros(2, 3, 2), content, has, Query(asked, is_asked)), [])
    for request in range(2):
        for candidate in range(3):
            wanted = module.project_target.missing
            if has[request, candidate]:
                wanted = module.project_target.linear.weight @ content[request, candidate]
            wanted = torch.cat([wanted, has[request, candidate].float()[None]])
            assert torch.allclose(found.per_target[request, candidate], wanted, atol=1e-6)
    if not has_query:
        assert module.request_dim == 0 and found.per_request.shape == (2, 0)
        return
    wanted = torch.cat([module.project_query.linear.weight @ asked[0], torch.ones(1)])
    assert torch.allclose(found.per_request[0], wanted, atol=1e-6)
    wanted = torch.cat([module.project_query.missing, torch.zeros(1)])
    assert torch.allclose(found.per_request[1], wanted)
