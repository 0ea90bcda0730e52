"""DIN against its formula, pair by pair."""

import torch

from ranking.behaviour import DIN, Behaviours, Target


def test_din_is_the_sum_of_weighted_behaviours_without_softmax():
    torch.manual_seed(0)
    module = DIN(4, [4, 3], hidden_dim=5).double()
    target = Target(torch.randn(3, 2, 4).double())
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]).bool()
    sequences = [Behaviours(torch.randn(4, dim).double(), mask) for dim in (4, 3)]
    found = module(target, sequences).per_target
    for request in range(3):
        for candidate in range(2):
            wanted = []
            for activation, sequence in zip(module.activations, sequences, strict=True):
                item = activation.match(target.ids[request, candidate])
                total = torch.zeros(sequence.ids.shape[1]).double()
                for event, owner in zip(sequence.ids, [0, 0, 0, 1], strict=True):
                    if owner != request:
                        continue
                    hidden = (
                        activation.of_behaviour.weight @ event
                        + activation.of_target.weight @ item
                        + activation.of_target.bias
                        + activation.of_product.weight @ (event * item)
                    )
                    weight = activation.out.weight[0] @ hidden.clamp(min=0) + activation.out.bias[0]
                    total = total + weight * event
                wanted.append(total)
            assert torch.allclose(found[request, candidate], torch.cat(wanted), atol=1e-12)


def test_twice_the_same_past_is_twice_the_interest():
    torch.manual_seed(1)
    module, target = DIN(4, [4]), Target(torch.randn(1, 1, 4))
    past = torch.randn(3, 4)
    once = module(target, [Behaviours(past, torch.ones(1, 3).bool())]).per_target
    twice = module(target, [Behaviours(past.repeat(2, 1), torch.ones(1, 6).bool())]).per_target
    assert torch.allclose(2 * once, twice, atol=1e-6)
