"""What every behaviour module promises (ranking/behaviour/interface.py)."""

import functools

import pytest
import torch
from safetensors.torch import load_file, save_file

from ranking.behaviour import (
    BST,
    CUBE,
    DIEN,
    DIN,
    DMF,
    MAKE,
    Behaviours,
    Combination,
    Query,
    SimilarityAwareAttention,
    SimilarityScores,
    SimTier,
    Target,
    TargetVector,
)
from ranking.behaviour.slices import in_slices

DIM, PAST_DIM, CONTENT_DIM, LENGTHS = 6, 4, 5, (7, 3)
DIMS, BOTH, ONE = [DIM, PAST_DIM], [True, True], [True, False]


def cube(**options):
    return functools.partial(
        CUBE,
        DIM,
        DIMS,
        content_dim=CONTENT_DIM,
        score_lengths=options.pop("score_lengths", LENGTHS),
        hidden_dim=8,
        projection_dim=3,
        num_tiers=4,
        **options,
    )


def combination():
    attention = SimilarityAwareAttention(DIM, DIMS, ONE)
    return Combination([DIN(DIM, DIMS, 8), SimTier(BOTH), attention, MAKE(CONTENT_DIM, ONE, (4,))])


MODULES = {
    "DIN": functools.partial(DIN, DIM, DIMS, 8),
    "DIEN": functools.partial(DIEN, DIM, DIMS, 8),
    "DIEN in segments": functools.partial(DIEN, DIM, DIMS, 8, segment=2),
    "BST": functools.partial(BST, DIM, DIMS, 8, num_heads=2),
    "BST of two blocks": functools.partial(BST, DIM, DIMS, 8, num_heads=4, num_blocks=2),
    "BST with the target": functools.partial(
        BST, DIM, DIMS, 8, num_heads=2, target_in_sequence=True
    ),
    "vector": functools.partial(TargetVector, CONTENT_DIM, 3),
    "vector and query": functools.partial(TargetVector, CONTENT_DIM, 3, has_query=True),
    "scores": functools.partial(SimilarityScores, LENGTHS),
    "scores of the newest": functools.partial(SimilarityScores, (7, None), newest=2),
    "SimTier": functools.partial(SimTier, BOTH),
    "SimTier of one sequence": functools.partial(SimTier, ONE, embedding_dim=3),
    "SimTier equal counts": functools.partial(SimTier, BOTH, 8, edges="equal", values="counts"),
    "SA-TA": functools.partial(SimilarityAwareAttention, DIM, DIMS, BOTH),
    "SA-TA of one sequence": functools.partial(
        SimilarityAwareAttention, DIM, DIMS, ONE, attention_dim=5, scale=True
    ),
    "DMF": functools.partial(DMF, DIM, DIMS, BOTH, attention_dim=8, output_dim=5),
    "DMF of one sequence": functools.partial(DMF, DIM, DIMS, ONE, num_buckets=3, mix=0.9),
    "MAKE": functools.partial(MAKE, CONTENT_DIM, BOTH, (6, 4), projection_dim=4),
    "MAKE of one sequence": functools.partial(MAKE, CONTENT_DIM, ONE, (6,)),
    "CUBE tiers": cube(scores="tiers"),
    "CUBE vector": cube(scores="vector"),
    "CUBE both": cube(scores="both"),
    "CUBE without query": cube(has_query=False),
    "CUBE without query vectors": cube(has_query=False, score_lengths=(7, None)),
    "CUBE without ID-interest": cube(id_interest=False),
    "combination": combination,
}
READS_ORDER = ("DIEN", "BST", "scores", "CUBE vector", "CUBE both")
READS_NO_PAST = ("vector",)
READS_MORE_THAN_PAST = ("vector", "MAKE", "CUBE", "combination")
READS_ONE_SEQUENCE = ("of one sequence", "of the newest")


@pytest.fixture(params=MODULES)
def name(request):
    return request.param


@pytest.fixture
def module(name):
    torch.manual_seed(0)
    return MODULES[name]()


def all_of(module, target, sequences):
    """Everything an interest holds, `(batch, targets, width)`."""
    found = module(target, sequences)
    logit = [] if found.logit is None else [found.logit[..., None]]
    return torch.cat([found.joined(), *found.hidden, *logit], dim=-1)


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


def rows_of(target, sequences):
    """Each target as a request of its own, as a search unit gives them."""
    batch, targets = target.has_content.shape
    owners = torch.arange(batch).repeat_interleave(targets)
    repeated, long = requests(target, sequences, owners)
    one = Target(
        target.ids.flatten(0, 1)[:, None],
        target.content.flatten(0, 1)[:, None],
        target.has_content.flatten()[:, None],
        repeated.query,
    )
    return one, long


def test_widths_are_as_announced(module):
    target, sequences = make()
    interest = module(target, sequences)
    assert interest.per_target.shape == (5, 3, module.target_dim)
    assert interest.per_request.shape == (5, module.request_dim)
    assert interest.joined().shape == (5, 3, module.target_dim + module.request_dim)
    assert tuple(hidden.shape for hidden in interest.hidden) == tuple(
        (5, 3, width) for width in module.hidden_dims
    )
    assert (interest.logit is not None) == module.has_logit
    assert interest.logit is None or interest.logit.shape == (5, 3)


def test_an_empty_past_gives_no_interest_and_finite_gradients(name, module):
    none = torch.zeros(5, dtype=torch.long)
    target, sequences = make(sizes=(none, none))
    full_target, full = make()
    torch.manual_seed(3)
    ids = target.ids.clone().requires_grad_()
    asked = Target(ids, target.content, target.has_content, target.query)
    found = all_of(module, asked, sequences)
    if found.requires_grad:
        found.square().sum().backward()
    # what is left where there is no past does not come from the past: the same for a length of zero
    shortest = [
        Behaviours(s.ids, s.mask[:, :0], s.content[:, :0], s.has_content[:, :0]) for s in sequences
    ]
    assert torch.equal(all_of(module, target, shortest), found)
    if not name.startswith(READS_MORE_THAN_PAST):
        assert not found.any()
    for parameter in module.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()
    assert ids.grad is None or torch.isfinite(ids.grad).all()
    same = torch.allclose(all_of(module, full_target, full), all_of(module, full_target, sequences))
    assert same == name.startswith(READS_NO_PAST)


def test_gradients_are_finite_and_reach_every_weight(module):
    torch.manual_seed(5)
    target, sequences = make(batch=8)
    ids = [s.ids.requires_grad_() for s in sequences]
    found = all_of(module, target, sequences)
    if not found.requires_grad:
        assert not list(module.parameters())
        return
    (found * torch.randn_like(found)).sum().backward()
    for weight, parameter in module.named_parameters():
        assert parameter.grad is not None, weight
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), weight
    assert all(value.grad is None or torch.isfinite(value.grad).all() for value in ids)


def test_one_behaviour(module):
    one = torch.ones(5, dtype=torch.long)
    target, sequences = make(sizes=(one, one))
    assert torch.isfinite(all_of(module, target, sequences)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near(module, dtype):
    target, sequences = make()
    exact = all_of(module, target, sequences)
    halved = [
        Behaviours(s.ids.to(dtype), s.mask, s.content.to(dtype), s.has_content) for s in sequences
    ]
    query = Query(target.query.content.to(dtype), target.query.has_content)
    half = Target(target.ids.to(dtype), target.content.to(dtype), target.has_content, query)
    found = all_of(module.to(dtype), half, halved)
    if found.requires_grad:
        found.float().square().mean().backward()
    assert found.dtype == dtype
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
    # tiers may flip at an edge, so most, not all, must be near
    assert (found.float() - exact).abs().median() < 0.02


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_is_finite_and_near(module, dtype, monkeypatch):
    """Weights and vectors in float32, products in half precision, as a GPU trains."""
    target, sequences = make()
    exact = all_of(module, target, sequences)
    softmax, norm = torch.softmax, torch.nn.functional.layer_norm
    # on a GPU these two give float32 even there; on a CPU they do not
    monkeypatch.setattr(torch, "softmax", lambda values, dim: softmax(values.float(), dim))
    monkeypatch.setattr(
        torch.nn.functional, "layer_norm", lambda values, *rest: norm(values.float(), *rest)
    )
    with torch.autocast("cpu", dtype):
        found = all_of(module, target, sequences)
    if found.requires_grad:
        found.float().square().mean().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
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
    found = all_of(module, more, wider)[:, :3]
    assert torch.allclose(found, all_of(module, target, sequences), atol=1e-6)


def test_requests_do_not_read_each_other(module):
    target, sequences = make()
    together = all_of(module, target, sequences)
    for number in range(5):
        alone = all_of(module, *requests(target, sequences, torch.tensor([number])))
        assert torch.allclose(alone[0], together[number], atol=1e-6)


def test_targets_of_a_request_do_not_read_each_other(module):
    target, sequences = make()
    other = Target(
        torch.cat([target.ids[:, :1], torch.randn(5, 2, DIM)], dim=1),
        torch.cat([target.content[:, :1], unit(5, 2, CONTENT_DIM)], dim=1),
        target.has_content,
        target.query,
    )
    one, two = (all_of(module, each, sequences)[:, 0] for each in (target, other))
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
    one, two = all_of(module, target, sequences), all_of(module, noisy, noise)
    assert torch.allclose(one, two, atol=1e-6)


def test_what_a_sequence_without_vectors_holds_is_not_asked_for(name, module):
    if not name.endswith(READS_ONE_SEQUENCE):
        pytest.skip("reads vectors of all sequences, or of none")
    target, (clicks, searches) = make()
    plain = Behaviours(searches.ids, searches.mask)
    found = all_of(module, target, [clicks, plain])
    assert torch.equal(found, all_of(module, target, [clicks, searches]))


def test_a_row_alone_is_read_as_in_its_request(module):
    target, sequences = make(batch=4)
    rows = all_of(module, *rows_of(target, sequences))[:, 0]
    assert torch.allclose(rows, all_of(module, target, sequences).flatten(0, 1), atol=1e-6)


def test_holes_in_a_history_are_padding(name, module):
    """Real places need not come first: a search unit may leave some empty."""
    target, sequences = make(lengths=(6, 6))
    spread, packed = [], []
    for s in sequences:
        mask = torch.rand(5, 6) < 0.5
        ids = torch.randn(int(mask.sum()), s.ids.shape[1])
        order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
        content = s.content.gather(1, order[..., None].expand_as(s.content))
        spread.append(Behaviours(ids, mask, s.content, s.has_content))
        packed.append(
            Behaviours(ids, mask.gather(1, order), content, s.has_content.gather(1, order))
        )
    one, two = (all_of(module, target, each) for each in (spread, packed))
    by_place = name.startswith(("scores", "CUBE vector", "CUBE both"))
    assert torch.allclose(one, two, atol=1e-6) != by_place


def test_saved_and_loaded_is_the_same(name, module, tmp_path):
    target, sequences = make()
    save_file(module.state_dict(), tmp_path / "module.safetensors")
    torch.manual_seed(99)
    other = MODULES[name]()
    other.load_state_dict(load_file(tmp_path / "module.safetensors"))
    assert torch.equal(all_of(module, target, sequences), all_of(other, target, sequences))


def test_the_target_itself_many_times_over_is_finite(module):
    """Repeats, and cosines that rounding puts beyond 1."""
    target, sequences = make(lengths=(60, 60), sizes=(torch.full((5,), 60), torch.full((5,), 60)))
    repeated = [
        Behaviours(
            s.ids[:1].expand_as(s.ids),
            s.mask,
            target.content[:, :1].expand(-1, 60, -1) * 1.000001,
            torch.ones_like(s.mask),
        )
        for s in sequences
    ]
    found = all_of(module, target, repeated)
    if found.requires_grad:
        found.sum().backward()
    assert torch.isfinite(found).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())


def test_order_of_behaviours_matters_only_to_those_that_read_it(name, module):
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
    one, two = all_of(module, target, sequences), all_of(module, target, turned)
    assert torch.allclose(one, two, atol=1e-5) != name.startswith(READS_ORDER)


@pytest.mark.parametrize("places", [1, 14, 21])
def test_slices_of_a_batch_are_the_batch(module, places):
    """Value and gradient, to rounding; what is sliced is made again in the backward pass."""
    found = []
    for limit in (10**6, places):
        target, sequences = make()
        target.ids.requires_grad_()
        for sequence in sequences:
            sequence.ids.requires_grad_()
        module.zero_grad()
        sliced = in_slices(module, target, sequences, limit)
        values = all_of(lambda *_, kept=sliced: kept, target, sequences)
        if values.requires_grad:
            values.sin().sum().backward()
        leaves = [target.ids, *(sequence.ids for sequence in sequences), *module.parameters()]
        gradients = [torch.zeros(1) if leaf.grad is None else leaf.grad for leaf in leaves]
        found.append([values.detach(), *(gradient.clone() for gradient in gradients)])
    for whole, sliced in zip(*found, strict=True):
        torch.testing.assert_close(sliced, whole, atol=2e-5, rtol=1e-5)
