"""SA-TA against MUSE's code written out: value, and gradient of every weight and input."""

import pytest
import torch

from ranking.behaviour import Behaviours, SimilarityAwareAttention, Target


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def swish(values):
    return values * torch.sigmoid(values)


def muse(parts, target, facts, cosines, scale):
    """One row after the other: target `(dim,)`, facts `(length, dim)`, cosines `(length,)`, no padding."""
    query = swish(parts["query.weight"] @ target + parts["query.bias"])
    fact = swish(facts @ parts["key.weight"].T + parts["key.bias"])
    value = swish(facts @ parts["value.weight"].T + parts["value.bias"])
    dot = fact @ query * (len(query) ** -0.5 if scale else 1)
    bias = cosines / parts["tau"]
    b_1, b_2, b_3 = parts["mixing"]
    dot = b_1 * dot + b_2 * bias + b_3 * dot * bias
    return value.T @ (torch.softmax(dot, dim=0) + 0.0000001)


def parts_of(attention):
    """Copies of the weights under the code's view: tau itself, not its logarithm."""
    parts = {name: value.detach().clone() for name, value in attention.named_parameters()}
    parts["tau"] = parts.pop("log_temperature").exp()
    return {name: value.requires_grad_() for name, value in parts.items()}


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_are_muses(scale, dtype):
    torch.manual_seed(0)
    batch, targets, length, dim = 3, 2, 5, 4
    module = SimilarityAwareAttention(dim, [dim], [True], scale=scale).to(dtype)
    attention = module.attentions[0]
    with torch.no_grad():
        attention.mixing += torch.tensor([0.1, -0.2, 0.3])
    everything = torch.ones(batch, length).bool()
    ids = torch.randn(batch * length, dim, dtype=dtype, requires_grad=True)
    asked = torch.randn(batch, targets, dim, dtype=dtype, requires_grad=True)
    past = Behaviours(ids, everything, unit(batch, length, 3).to(dtype), everything)
    target = Target(asked, unit(batch, targets, 3).to(dtype), torch.ones(batch, targets).bool())
    found = module(target, [past]).per_target
    weights = torch.randn_like(found)
    (found * weights).sum().backward()

    parts = parts_of(attention)
    ids_too, asked_too = (each.detach().clone().requires_grad_() for each in (ids, asked))
    rows = []
    for request in range(batch):
        facts = ids_too.view(batch, length, dim)[request]
        for candidate in range(targets):
            cosines = past.content[request] @ target.content[request, candidate]
            rows.append(muse(parts, asked_too[request, candidate], facts, cosines, scale))
    wanted = torch.stack(rows).view_as(found)
    (wanted * weights).sum().backward()
    near = {"atol": 1e-6 if dtype == torch.float32 else 1e-12, "rtol": 1e-5}
    assert torch.allclose(found, wanted, **near)
    assert torch.allclose(ids.grad, ids_too.grad, **near)
    assert torch.allclose(asked.grad, asked_too.grad, **near)
    for name, parameter in attention.named_parameters():
        if name == "log_temperature":
            wanted_grad = parts["tau"].grad * parts["tau"].detach()
        else:
            wanted_grad = parts[name].grad
        assert torch.allclose(parameter.grad, wanted_grad, **near), name


def test_it_starts_as_the_code_does():
    torch.manual_seed(0)
    attention = SimilarityAwareAttention(400, [400], [True]).attentions[0]
    assert attention.log_temperature.exp().item() == pytest.approx(0.1)
    assert attention.mixing.tolist() == [1, 1, 1]
    for linear in (attention.query, attention.key, attention.value):
        assert linear.weight.std().item() == pytest.approx(0.05, rel=0.02)
        assert (linear.bias == 0.1).all() and linear.out_features == 400


def test_padding_is_left_out_and_a_missing_vector_has_bias_zero():
    torch.manual_seed(1)
    module = SimilarityAwareAttention(4, [4], [True]).double()
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    has = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 1]]).bool()
    ids = torch.randn(7, 4).double()
    past = Behaviours(ids, mask, unit(2, 4, 3).double(), has)
    has_target = torch.tensor([[1, 0], [1, 1]]).bool()
    target = Target(torch.randn(2, 2, 4).double(), unit(2, 2, 3).double(), has_target)
    found, parts = module(target, [past]).per_target, parts_of(module.attentions[0])
    for request, facts in enumerate((ids[:3], ids[3:])):
        for candidate in range(2):
            cosines = past.content[request] @ target.content[request, candidate]
            known = has[request] & has_target[request, candidate]
            cosines = torch.where(known, cosines, 0.0)[mask[request]]
            wanted = muse(parts, target.ids[request, candidate], facts, cosines, False)
            assert torch.allclose(found[request, candidate], wanted, atol=1e-12)


def test_the_more_alike_has_the_more_weight():
    torch.manual_seed(2)
    module = SimilarityAwareAttention(4, [4], [True], attention_dim=4)
    content = torch.tensor([[[1.0, 0], [-1, 0]]])
    everything = torch.ones(1, 2).bool()
    ids = torch.randn(2, 4)
    past = Behaviours(ids, everything, content, everything)
    target = Target(torch.zeros(1, 1, 4), content[:, :1], everything[:, :1])
    alone = Behaviours(ids[:1], everything[:, :1], content[:, :1], everything[:, :1])
    both, first = (module(target, [each]).per_target for each in (past, alone))
    assert torch.allclose(both, first, atol=1e-3)
