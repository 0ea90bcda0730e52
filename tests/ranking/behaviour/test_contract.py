"""What every behaviour module promises (ranking/behaviour/interface.py)."""

import functools

import pytest
import torch

from ranking.behaviour import CUBE, DIN, Behaviours, Query, Target

DIM, PAST_DIM, CONTENT_DIM, LENGTHS = 6, 4, 5, (7, 3)


def cube(**options):
    return functools.partial(
        CUBE,
        DIM,
        [DIM, PAST_DIM],
        content_dim=CONTENT_DIM,
        score_lengths=options.pop("score_lengths", LENGTHS),
        hidden_dim=8,
        projection_dim=3,
        num_tiers=4,
        **options,
    )


MODULES = {
    "DIN": functools.partial(DIN, DIM, [DIM, PAST_DIM], 8),
    "CUBE tiers": cube(scores="tiers"),
    "CUBE vector": cube(scores="vector"),
    "CUBE both": cube(scores="both"),
    "CUBE without query": cube(has_query=False),
    "CUBE without query vectors": cube(has_query=False, score_lengths=(7, None)),
}


@pytest.fixture(params=MODULES)
def module(request):
    torch.manual_seed(0)
    return MODULES[request.param]()


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def make(batch=5, targets=3, lengths=LENGTHS, seed=1, sizes=None):
    """A target and two sequences of random sizes, some vectors missing; one request has no past."""
    torch.manual_seed(seed)
    sequences = []
    for number, (length, dim) in enumerate(zip(lengths, (DIM, PAST_DIM), strict=True)):
        size = torch.randint(0, length + 1, (batch,)) if sizes is None else sizes[number]
        mask = torch.arange(length) < size[:, None]
        mask[0] = False if sizes is None else mask[0]
        ids = torch.randn(int(mask.sum()), dim)
        content, has = unit(batch, length, CONTENT_DIM), torch.rand(batch, length) < 0.7
        sequences.append(Behaviours(ids, mask, content, has))
    query = Query(unit(batch, CONTENT_DIM), torch.rand(batch) < 0.7)
    target = Target(
        torch.randn(batch, targets, DIM),
        unit(batch, targets, CONTENT_DIM),
        torch.rand(batch, targets) < 0.7,
        query,
    )
    return target, sequences


def requests(target, sequences, chosen):
    """The same of some requests, in the order of `chosen`."""
    query = Query(target.query.content[chosen], target.query.has_content[chosen])
    shorter = []
    for sequence in sequences:
        grid = torch.zeros(sequence.mask.numel(), dtype=torch.long)
        grid[sequence.places] = torch.arange(len(sequence.ids))
        mask = sequence.mask[chosen]
        rows = grid.view(sequence.mask.shape)[chosen][mask]
        shorter.append(
            Behaviours(
                sequence.ids[rows], mask, sequence.content[chosen], sequence.has_content[chosen]
            )
        )
    return Target(
        target.ids[chosen], target.content[chosen], target.has_content[chosen], query
    ), shorter


def test_widths_are_as_announced(module):
    target, sequences = make()
    interest = module(target, sequences)
    assert interest.per_target.shape == (5, 3, module.target_dim)
    assert interest.per_request.shape == (5, module.request_dim)
    assert interest.joined().shape == (5, 3, module.target_dim + module.request_dim)


def test_an_empty_past_gives_no_interest_and_finite_gradients(module):
    none = torch.zeros(5, dtype=torch.long)
    target, sequences = make(sizes=(none, none))
    full_target, full = make()
    torch.manual_seed(3)
    ids = target.ids.clone().requires_grad_()
    interest = module(Target(ids, target.content, target.has_content, target.query), sequences)
    interest.joined().square().sum().backward()
    # what is left where there is no past does not come from the past: the same for a length of zero
    shortest = [
        Behaviours(s.ids, s.mask[:, :0], s.content[:, :0], s.has_content[:, :0]) for s in sequences
    ]
    assert torch.equal(module(target, shortest).joined(), interest.joined())
    of_past = module.din if isinstance(module, CUBE) else module
    assert not of_past(target, sequences).per_target.any()
    for parameter in module.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()
    assert ids.grad is None or torch.isfinite(ids.grad).all()
    assert not torch.allclose(module(full_target, full).joined(), interest.joined())


def test_one_behaviour(module):
    one = torch.ones(5, dtype=torch.long)
    target, sequences = make(sizes=(one, one))
    assert torch.isfinite(module(target, sequences).joined()).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near(module, dtype):
    target, sequences = make()
    exact = module(target, sequences).joined()
    halved = [
        Behaviours(s.ids.to(dtype), s.mask, s.content.to(dtype), s.has_content) for s in sequences
    ]
    query = Query(target.query.content.to(dtype), target.query.has_content)
    half = Target(target.ids.to(dtype), target.content.to(dtype), target.has_content, query)
    found = module.to(dtype)(half, halved).joined()
    found.float().square().mean().backward()
    assert found.dtype == dtype
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
    # tiers may flip at an edge, so most, not all, must be near
    assert (found.float() - exact).abs().median() < 0.02


def test_padding_changes_nothing(module):
    target, sequences = make()
    wider = [
        Behaviours(
            s.ids,
            torch.nn.functional.pad(s.mask, (0, 4)),
            torch.nn.functional.pad(s.content, (0, 0, 0, 4), value=7.0),
            torch.nn.functional.pad(s.has_content, (0, 4), value=True),
        )
        for s in sequences
    ]
    more = Target(
        torch.nn.functional.pad(target.ids, (0, 0, 0, 2), value=3.0),
        torch.nn.functional.pad(target.content, (0, 0, 0, 2), value=1.0),
        torch.nn.functional.pad(target.has_content, (0, 2), value=True),
        target.query,
    )
    found = module(more, wider).joined()[:, :3]
    assert torch.allclose(found, module(target, sequences).joined(), atol=1e-6)


def test_requests_do_not_read_each_other(module):
    target, sequences = make()
    together = module(target, sequences).joined()
    for number in range(5):
        alone = module(*requests(target, sequences, torch.tensor([number]))).joined()
        assert torch.allclose(alone[0], together[number], atol=1e-6)


def test_targets_of_a_request_do_not_read_each_other(module):
    target, sequences = make()
    other = Target(
        torch.cat([target.ids[:, :1], torch.randn(5, 2, DIM)], dim=1),
        torch.cat([target.content[:, :1], unit(5, 2, CONTENT_DIM)], dim=1),
        target.has_content,
        target.query,
    )
    one, two = (module(each, sequences).joined()[:, 0] for each in (target, other))
    assert torch.allclose(one, two, atol=1e-6)


def test_missing_vectors_are_not_read(module):
    target, sequences = make()
    noise = [
        Behaviours(
            s.ids, s.mask, torch.where(s.has_content[..., None], s.content, 9.0), s.has_content
        )
        for s in sequences
    ]
    query = Query(
        torch.where(target.query.has_content[:, None], target.query.content, -9.0),
        target.query.has_content,
    )
    content = torch.where(target.has_content[..., None], target.content, 9.0)
    noisy = Target(target.ids, content, target.has_content, query)
    one, two = module(target, sequences).joined(), module(noisy, noise).joined()
    assert torch.allclose(one, two, atol=1e-6)


def test_order_of_behaviours_matters_only_to_the_score_vector(module):
    full = torch.full((5,), 3)
    target, sequences = make(lengths=(3, 3), sizes=(full, full))
    turned = [
        Behaviours(
            s.ids.view(5, 3, -1).flip(1).flatten(0, 1),
            s.mask,
            s.content.flip(1),
            s.has_content.flip(1),
        )
        for s in sequences
    ]
    one, two = module(target, sequences).joined(), module(target, turned).joined()
    is_vector = isinstance(module, CUBE) and module.by_target[0].scores != "tiers"
    assert torch.allclose(one, two, atol=1e-5) != is_vector
