"""DMF against the formula with keys and values made for every pair."""

import torch

from ranking.behaviour import DMF, Behaviours, Target


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def literal(module, target, past, request, candidate):
    attention = module.attentions[0]
    mask, has = past.mask[request], past.has_content[request]
    query = attention.query(target.ids[request, candidate])
    logits, values, tiers = [], [], torch.zeros(module.num_tiers).double()
    for place in range(len(mask)):
        if not mask[place]:
            continue
        event = past.padded_ids[request, place]
        key, value = attention.key(event), attention.value(event)
        if has[place] and target.has_content[request, candidate]:
            cosine = float(target.content[request, candidate] @ past.content[request, place])
            bucket = int((cosine + 1) / 2 * module.attentions[0].num_buckets)
            key = key + attention.bucket_keys[bucket]
            value = value + attention.bucket_values[bucket]
            tiers[int((cosine + 1) / 2 * module.num_tiers)] += 1
        logits.append(query @ key / len(query) ** 0.5)
        values.append(value)
    interest = torch.zeros(module.target_dim).double()
    if values:
        enriched = torch.softmax(torch.stack(logits), 0) @ torch.stack(values)
        interest = module.mix * module.of_enriched[0](enriched)
    if tiers.any():
        interest = interest + (1 - module.mix) * module.of_centric[0]((1 + tiers).log())
    return interest


def test_value_and_gradient_are_the_formulas():
    torch.manual_seed(0)
    module = DMF(4, [3], [True], num_buckets=6, num_tiers=5, mix=0.3, attention_dim=8, output_dim=7)
    module = module.double()
    for values in (module.attentions[0].bucket_keys, module.attentions[0].bucket_values):
        torch.nn.init.normal_(values)
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    ids = torch.randn(6, 3).double().requires_grad_()
    past = Behaviours(ids, mask, unit(3, 5, 3).double(), torch.rand(3, 5) < 0.7)
    has_target = torch.tensor([[1, 0], [1, 1], [1, 1]]).bool()
    target = Target(torch.randn(3, 2, 4).double(), unit(3, 2, 3).double(), has_target)
    found = module(target, [past]).per_target
    wanted = torch.stack(
        [torch.stack([literal(module, target, past, r, c) for c in range(2)]) for r in range(3)]
    )
    assert torch.allclose(found, wanted, atol=1e-12)
    weights = torch.randn_like(found)
    leaves = [ids, *module.parameters()]
    ours, theirs = (
        torch.autograd.grad((value * weights).sum(), leaves, retain_graph=True)
        for value in (found, wanted)
    )
    for one, two in zip(ours, theirs, strict=True):
        assert torch.allclose(one, two, atol=1e-12)


def test_defaults_are_those_of_the_code_at_hand():
    module = DMF(4, [4], [True])
    assert (module.attentions[0].num_buckets, module.num_tiers, module.mix) == (35, 10, 0.5)


def test_the_ends_of_the_range_have_buckets():
    module = DMF(2, [2], [True], num_buckets=4)
    scores = torch.tensor([[[-1.0000001, -1, -0.5, 0, 0.4999, 1, 1.0000001, 0.3]]])
    known = torch.ones_like(scores).bool()
    known[..., -1] = False
    assert module.attentions[0]._buckets(scores, known).tolist() == [[[0, 0, 1, 2, 2, 3, 3, 4]]]
