"""Similarity scores, place by place."""

import torch

from ranking.behaviour import Behaviours, SimilarityScores, Target


def test_each_place_holds_its_cosine_and_whether_it_is_known():
    torch.manual_seed(0)
    module = SimilarityScores([5, None, 3], newest=4)
    assert module.lengths == [4, None, 3] and module.target_dim == 14
    sequences = []
    for length in (5, 2, 2):
        mask = torch.rand(3, length) < 0.7
        content = torch.nn.functional.normalize(torch.randn(3, length, 4), dim=-1)
        has = torch.rand(3, length) < 0.7
        sequences.append(Behaviours(torch.zeros(int(mask.sum()), 2), mask, content, has))
    sequences[1] = Behaviours(sequences[1].ids, sequences[1].mask)
    content = torch.nn.functional.normalize(torch.randn(3, 2, 4), dim=-1)
    target = Target(torch.zeros(3, 2, 2), content, torch.rand(3, 2) < 0.7)
    found = module(target, sequences).per_target
    for request in range(3):
        for candidate in range(2):
            wanted = []
            for length, number in ((4, 0), (3, 2)):
                sequence = sequences[number]
                cosines, known = [0.0] * length, [0.0] * length
                for place in range(min(length, sequence.mask.shape[1])):
                    if (
                        sequence.mask[request, place]
                        and sequence.has_content[request, place]
                        and target.has_content[request, candidate]
                    ):
                        cosines[place] = float(
                            content[request, candidate] @ sequence.content[request, place]
                        )
                        known[place] = 1.0
                wanted += cosines + known
            assert torch.allclose(found[request, candidate], torch.tensor(wanted), atol=1e-6)
