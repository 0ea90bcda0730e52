"""BST against torch's own encoder layer, fed the paper's sequence of target and behaviours."""

import pytest
import torch

from moon_rec.errors import ConfigError, RankingError
from ranking.behaviour import BST, Behaviours, Target

DIM, HEADS = 8, 2


def encoder_layer(block):
    """The same weights in `nn.TransformerEncoderLayer`."""
    layer = torch.nn.TransformerEncoderLayer(
        DIM,
        HEADS,
        4 * DIM,
        dropout=0.0,
        batch_first=True,
        activation=torch.nn.functional.leaky_relu,
    ).double()
    attention = layer.self_attn
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([block.query.weight, block.key_value.weight]))
        attention.in_proj_bias.copy_(torch.cat([block.query.bias, block.key_value.bias]))
    attention.out_proj.load_state_dict(block.out.state_dict())
    layer.linear1.load_state_dict(block.wide.state_dict())
    layer.linear2.load_state_dict(block.narrow.state_dict())
    layer.norm1.load_state_dict(block.norm_attention.state_dict())
    layer.norm2.load_state_dict(block.norm_forward.state_dict())
    return layer


def drawn(num_blocks, **options):
    torch.manual_seed(0)
    module = BST(4, [3], DIM, HEADS, num_blocks, **options).double()
    torch.nn.init.normal_(module.transformers[0].positions)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    ids = torch.randn(6, 3).double()
    return module, Target(torch.randn(3, 2, 4).double()), Behaviours(ids, mask)


def embedded(transformer, target, events):
    """The paper's sequence `(1, 1 + length, dim)`: the target at place 0, the newest behaviour at 1."""
    states = [transformer.of_target(target) + transformer.positions[0]]
    for place, event in enumerate(events, start=1):
        states.append(transformer.of_behaviour(event) + transformer.positions[place])
    return torch.stack(states)[None]


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_with_the_target_in_the_sequence_it_is_torchs_encoder(num_blocks):
    module, target, past = drawn(num_blocks, target_in_sequence=True)
    found, transformer = module(target, [past]).per_target, module.transformers[0]
    for request, events in ((0, past.ids[:4]), (1, past.ids[4:])):
        for candidate in range(2):
            states = embedded(transformer, target.ids[request, candidate], events)
            for block in transformer.blocks:
                states = encoder_layer(block)(states)
            wanted = torch.cat([states[0, 0], states[0, 1:].mean(dim=0)])
            assert torch.allclose(found[request, candidate], wanted, atol=1e-10)
    assert not found[2].any()


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_without_it_behaviours_read_each_other_and_the_target_reads_them(num_blocks):
    module, target, past = drawn(num_blocks)
    found, transformer = module(target, [past]), module.transformers[0]
    for request, events in ((0, past.ids[:4]), (1, past.ids[4:])):
        for candidate in range(2):
            states = embedded(transformer, target.ids[request, candidate], events)
            # True forbids: no behaviour reads place 0
            hidden = torch.zeros(states.shape[1], states.shape[1]).bool()
            hidden[1:, 0] = True
            for block in transformer.blocks:
                states = encoder_layer(block)(states, src_mask=hidden)
            state, mean = states[0, 0], states[0, 1:].mean(dim=0)
            assert torch.allclose(found.per_target[request, candidate], state, atol=1e-10)
            assert torch.allclose(found.per_request[request], mean, atol=1e-10)
    assert not found.per_target[2].any() and not found.per_request[2].any()


def test_with_one_block_the_targets_state_is_the_papers():
    module, target, past = drawn(1)
    paper, _, _ = drawn(1, target_in_sequence=True)
    paper.load_state_dict(module.state_dict())
    one = module(target, [past]).per_target
    assert torch.allclose(one, paper(target, [past]).per_target[..., :DIM], atol=1e-12)


def test_what_it_cannot_read_is_refused():
    with pytest.raises(ConfigError, match="width 30 is no multiple of its 8 heads"):
        BST(4, [3], 30)
    module = BST(4, [3], 8, max_length=2)
    with pytest.raises(
        RankingError, match="BST reads at most 2 behaviours, these histories have up to 3"
    ):
        module(
            Target(torch.zeros(1, 1, 4)), [Behaviours(torch.zeros(3, 3), torch.ones(1, 3).bool())]
        )
