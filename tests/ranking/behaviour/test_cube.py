"""CUBE's five branches against a literal loop over rows and behaviours."""

import math

import pytest
import torch

from ranking.behaviour import CUBE, Behaviours, Query, Target
from ranking.behaviour.simtier import tier_counts

LENGTHS, TIERS = (4, 3), 5


def literal_branch(branch, asker, has_asker, sequence, request, temperature):
    """Score features, fusion-interest, content-interest of one asker, as the docstring says them."""
    mask, has = sequence.mask[request], sequence.has_content[request]
    events = sequence.padded_ids[request]
    scores, known = {}, []
    for place in range(mask.shape[0]):
        if mask[place] and has[place] and has_asker:
            scores[place] = float(asker @ sequence.content[request, place])
            known.append(place)
    total = sum(math.exp(scores[place] / temperature) for place in known)
    weights = {place: math.exp(scores[place] / temperature) / total for place in known}
    fusion = sum((w * events[place] for place, w in weights.items()), torch.zeros_like(events[0]))
    content = sum(
        (w * sequence.content[request, place] for place, w in weights.items()),
        torch.zeros_like(sequence.content[request, 0]),
    )
    tiers = torch.zeros(TIERS).double()
    for score in scores.values():
        tiers[min(int((score + 1) / 2 * TIERS), TIERS - 1)] += 1
    vector, presence = torch.zeros(branch.length).double(), torch.zeros(branch.length).double()
    for place, score in scores.items():
        vector[place], presence[place] = score, 1
    features = {"tiers": [(1 + tiers).log()], "vector": [vector, presence]}
    features["both"] = features["tiers"] + features["vector"]
    return [*features[branch.scores], fusion, branch.project.weight @ content]


@pytest.mark.parametrize("scores", ["tiers", "vector", "both"])
def test_cube_is_the_literal_loop(scores):
    torch.manual_seed(0)
    cube = CUBE(
        4, [4, 3], 6, LENGTHS, hidden_dim=5, projection_dim=2, scores=scores, num_tiers=TIERS
    ).double()
    torch.nn.init.normal_(cube.log_temperature, mean=-2)
    torch.nn.init.normal_(cube.project_target.missing)
    torch.nn.init.normal_(cube.project_query.missing)
    batch, candidates = 6, 3

    def unit(*shape):
        return torch.nn.functional.normalize(torch.randn(*shape).double(), dim=-1)

    sequences = []
    for length, dim in zip(LENGTHS, (4, 3), strict=True):
        mask = torch.arange(length) < torch.randint(0, length + 1, (batch, 1))
        mask[0] = False
        ids = torch.randn(int(mask.sum()), dim).double()
        sequences.append(
            Behaviours(ids, mask, unit(batch, length, 6), torch.rand(batch, length) < 0.7)
        )
    query = Query(unit(batch, 6), torch.tensor([1, 1, 0, 1, 0, 1]).bool())
    target = Target(
        torch.randn(batch, candidates, 4).double(),
        unit(batch, candidates, 6),
        torch.rand(batch, candidates) < 0.6,
        query,
    )
    found = cube(target, sequences)
    of_ids = cube.din(target, sequences).per_target
    temperatures = cube.log_temperature.exp().detach()
    for request in range(batch):
        r_q, has_q = query.content[request], bool(query.has_content[request])
        wanted = []
        for number, sequence in enumerate(sequences):
            wanted += literal_branch(
                cube.by_query[number], r_q, has_q, sequence, request, temperatures[1, number]
            )
        project = cube.project_query
        wanted.append(project.linear.weight @ r_q if has_q else project.missing)
        assert torch.allclose(found.per_request[request], torch.cat(wanted), atol=1e-6)
        for candidate in range(candidates):
            r_t = target.content[request, candidate]
            has_t = bool(target.has_content[request, candidate])
            wanted = [of_ids[request, candidate]]
            for number, sequence in enumerate(sequences):
                wanted += literal_branch(
                    cube.by_target[number], r_t, has_t, sequence, request, temperatures[0, number]
                )
            project = cube.project_target
            wanted.append(project.linear.weight @ r_t if has_t else project.missing)
            both = has_t and has_q
            wanted.append(torch.tensor([float(r_t @ r_q) if both else 0.0, float(both)]).double())
            assert torch.allclose(
                found.per_target[request, candidate], torch.cat(wanted), atol=1e-6
            )


def test_every_temperature_is_learned_unless_told_not_to():
    for learn in (True, False):
        cube = CUBE(4, [4], 6, [3], learn_temperature=learn)
        assert cube.log_temperature.requires_grad is learn
        assert cube.log_temperature.exp().flatten().tolist() == pytest.approx([0.1, 0.1])


def test_rounding_beyond_one_counts_in_the_outer_tiers():
    scores = torch.tensor([[-1.0000001, -1.0, -0.999, 0.0, 0.999, 1.0, 1.0000001]])
    counts = tier_counts(scores, torch.ones_like(scores).bool(), 4)
    assert counts.tolist() == [[3, 0, 1, 3]]
