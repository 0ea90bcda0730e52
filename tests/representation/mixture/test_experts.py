"""The block of experts against literal loops and transformers' Mixtral, value and gradient, and what it promises inside a backbone."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, MixtralConfig
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.mixtral.modeling_mixtral import (
    MixtralSparseMoeBlock,
    load_balancing_loss_func,
)

from moon_rec.errors import EncoderError
from representation.encoder import ProductEncoder
from representation.encoders.composed import compose_encoder
from representation.mixture import Experts, ExpertsConfig, Gates, Routing, has_experts, put_experts
from representation.mixture.guided import ATTRIBUTE, CATEGORY
from representation.model.backbone import checkpoint_gradients
from representation.model.lora import LoraConfig
from tests.representation.encoders.composed_parts import PAIRS, language_folder, vision_folder
from tests.representation.encoders.test_composed import batch_of, frame_of

DIM, ROWS, LENGTH = 12, 3, 5


def layer() -> LlamaMLP:
    torch.manual_seed(0)
    sizes = {"hidden_size": DIM, "intermediate_size": 8, "num_attention_heads": 2}
    return LlamaMLP(LlamaConfig(**sizes))


def block_of(config: ExpertsConfig, differ: bool = True) -> Experts:
    """Experts that have learnt to differ, and a router that prefers."""
    made = Experts(layer(), DIM, config)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in made.parameters() if differ else made.router.parameters():
            value.add_(torch.randn(value.shape, generator=draws) / 3)
    return made


def states() -> torch.Tensor:
    return torch.randn(ROWS, LENGTH, DIM, generator=torch.Generator().manual_seed(2))


def routing(guided: bool) -> Routing:
    """The last row has two tokens of padding; of each row one token is of the category, two of attributes."""
    mask = torch.ones(ROWS, LENGTH, dtype=torch.bool)
    mask[2, 3:] = False
    roles = torch.tensor([0, CATEGORY, ATTRIBUTE, 0, ATTRIBUTE]).expand(ROWS, -1)
    return Routing(mask, roles if guided else None)


def run(block: Experts, given: torch.Tensor, told: Routing | None = None) -> torch.Tensor:
    block.take_routing(block, (), {"routing": told})
    return block(given)


def by_loop(block: Experts, given: torch.Tensor, told: Routing | None) -> torch.Tensor:
    """One token and one expert at a time."""
    config, rows = block.config, []
    for place, token in enumerate(given.reshape(-1, DIM)):
        role = 0 if told is None or told.roles is None else int(told.roles.reshape(-1)[place])
        logits = [(weights * token).sum() for weights in block.router.weight]
        total = sum(logit.exp() for logit in logits)
        probabilities = [logit.exp() / total for logit in logits]
        best = sorted(range(len(logits)), key=lambda one: -logits[one].item())[: config.top_k]
        gates = {one: probabilities[one] / sum(probabilities[one] for one in best) for one in best}
        if config.guided and role:
            share = config.guided_share
            gates = {one: gate * (1 - share) for one, gate in gates.items()}
            gates[config.num_routed + role - 1] = torch.tensor(share)
        rows.append(sum(gate * block.experts[one](token) for one, gate in gates.items()))
    return torch.stack(rows).reshape(given.shape)


@pytest.mark.parametrize(
    "config",
    [
        ExpertsConfig(num_experts=4, top_k=2),
        ExpertsConfig(num_experts=3, top_k=3),
        ExpertsConfig(num_experts=5, top_k=1, guided=True),
        ExpertsConfig(num_experts=6, top_k=2, guided=True, guided_share=0.4),
    ],
    ids=str,
)
def test_the_block_against_a_loop_over_tokens(config):
    block, told = block_of(config), routing(config.guided)
    found = []
    for way in (run, by_loop):
        given = states().requires_grad_()
        made = way(block, given, told)
        made.square().sum().backward()
        found.append((made, given.grad, [each.grad for each in block.parameters()]))
        block.zero_grad()
    (ours, of_states, of_weights), (theirs, loop_states, loop_weights) = found
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_states, loop_states, rtol=1e-4, atol=1e-5)
    for one, other in zip(of_weights, loop_weights, strict=True):
        wanted = torch.zeros_like(one) if other is None else other
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5)


def test_routed_experts_are_mixtrals():
    """transformers' own block with the same weights: value and gradient of states and router."""
    block = block_of(ExpertsConfig(num_experts=4, top_k=2))
    sizes = {"hidden_size": DIM, "intermediate_size": 8, "num_local_experts": 4}
    theirs = MixtralSparseMoeBlock(MixtralConfig(**sizes, num_experts_per_tok=2))
    with torch.no_grad():
        theirs.gate.weight.copy_(block.router.weight)
        for place, expert in enumerate(block.experts):
            both = torch.cat([expert.gate_proj.weight, expert.up_proj.weight])
            theirs.experts.gate_up_proj[place] = both
            theirs.experts.down_proj[place] = expert.down_proj.weight
    found = []
    for one, router in ((block, block.router), (theirs, theirs.gate)):
        given = states().requires_grad_()
        made = one(given)
        made.square().sum().backward()
        found.append((made, given.grad, router.weight.grad))
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def test_with_one_expert_the_block_is_the_plain_layer():
    plain, block = layer(), Experts(layer(), DIM, ExpertsConfig(num_experts=1, top_k=1))
    found = []
    for one, weights in ((plain, plain), (block, block.experts[0])):
        given = states().requires_grad_()
        made = one(given)
        made.square().sum().backward()
        found.append((made, given.grad, *(value.grad for value in weights.parameters())))
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("guided", [False, True])
def test_at_the_start_the_block_is_the_plain_layer_whatever_the_gates(guided):
    """Copies, and gates that sum to one: also with tokens of the guided experts."""
    block = block_of(ExpertsConfig(num_experts=5, top_k=2, guided=guided), differ=False)
    torch.testing.assert_close(run(block, states(), routing(guided)), layer()(states()), rtol=1e-5, atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_gates_sum_to_one(share):
    block = block_of(ExpertsConfig(num_experts=6, top_k=2, guided=True, guided_share=share))
    told = routing(True)
    _, gates = block.gates(states().reshape(-1, DIM), told.roles)
    torch.testing.assert_close(gates.sum(dim=1), torch.ones(len(gates)))
    assert int((gates > 0).sum(dim=1).max()) == (2 if share == 1 else 3)


def balance_by_loop(layers, mask, top_k):
    """Switch's formula, one token at a time, then the mean over layers; `layers` are logits `(rows, length, experts)`."""
    total = 0.0
    for logits in layers:
        count = logits.shape[-1]
        taken, sums, tokens = [0] * count, [0.0] * count, 0
        for row in range(len(mask)):
            for place in range(mask.shape[1]):
                if not mask[row, place]:
                    continue
                tokens += 1
                values = [math.exp(value) for value in logits[row, place].tolist()]
                for one in sorted(range(count), key=lambda one: -values[one])[:top_k]:
                    taken[one] += 1
                for one in range(count):
                    sums[one] += values[one] / sum(values)
        total += count * sum(f / tokens * p / tokens for f, p in zip(taken, sums, strict=True))
    return total / len(layers)


@pytest.mark.parametrize("top_k", [1, 2])
def test_load_balance_against_a_loop_and_transformers(top_k):
    """Value and gradient; of one layer at a time, for Mixtral's takes all layers together."""
    config, told = ExpertsConfig(num_experts=4, top_k=top_k), routing(False)
    blocks = [block_of(config) for _ in range(2)]
    logits = []
    for place, block in enumerate(blocks):
        block._place = place
        given = states() * (1 + place)
        run(block, given, told)
        logits.append(given.reshape(-1, DIM) @ block.router.weight.T)
    gates = Gates.of(told.rows(), config)
    shaped = [each.detach().reshape(ROWS, LENGTH, 4) for each in logits]
    assert gates.balance().item() == pytest.approx(balance_by_loop(shaped, told.mask, top_k), rel=1e-5)  # fmt: skip
    theirs = sum(load_balancing_loss_func((each,), 4, top_k, told.mask) for each in logits) / 2
    torch.testing.assert_close(gates.balance(), theirs)
    routers = [block.router.weight for block in blocks]
    ours = torch.autograd.grad(gates.balance(), routers, retain_graph=True)
    for one, other in zip(ours, torch.autograd.grad(theirs, routers), strict=True):
        torch.testing.assert_close(one, other)


def test_an_even_load_has_the_least_balance_loss():
    even = torch.full((1, 1, 3, 4), 2.0)
    assert Gates.of((even / 2).flatten(1), ExpertsConfig(num_experts=4, top_k=1)).balance() == 1
    config = ExpertsConfig(num_experts=4, top_k=2)
    even[:, :, 0] = 1.0  # probabilities of 4 tokens, each of 2 experts
    gates = Gates.of(even.flatten(1), config)
    assert gates.balance() == 2 and gates.busiest() == 1
    one_sided = torch.zeros(1, 1, 3, 4)
    one_sided[..., :2] = 4.0
    assert Gates.of(one_sided.flatten(1), config).busiest() == 2


# within a backbone


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("experts")
    made = {}
    for vision, language in (PAIRS[0], PAIRS[2]):
        towers = vision_folder(vision, root / vision), language_folder(language, root / language)
        made[language] = compose_encoder(*towers).save_pretrained(root / f"{vision}-{language}")
    return made


@pytest.fixture(params=["llama", "gemma3", "qwen"])
def plain(request, folders, encoder_path) -> ProductEncoder:
    """Composed with Llama and with Gemma 3, and a Qwen3-VL with DeepStack."""
    path = encoder_path if request.param == "qwen" else folders[request.param]
    return ProductEncoder.from_pretrained(path, device="cpu")


GUIDED = ExpertsConfig(num_experts=5, top_k=2, guided=True)


def learnt(encoder: ProductEncoder, config: ExpertsConfig = GUIDED) -> ProductEncoder:
    """With experts that differ."""
    encoder.add_experts(config, 3)
    draws = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if ".experts." in name or ".router." in name:
                value.add_(torch.randn(value.shape, generator=draws) / 5)
    return encoder


def test_at_the_start_an_encoder_is_what_it_was(plain):
    items = frame_of(6)
    before = plain.encode_items(items, progress=False)
    digest = plain.digest
    plain.add_experts(GUIDED, 0)
    np.testing.assert_allclose(plain.encode_items(items, progress=False), before, rtol=0, atol=2e-6)
    assert plain.digest != digest
    with pytest.raises(EncoderError, match="has experts already"):
        plain.add_experts(GUIDED, 0)


def test_vectors_of_experts_depend_neither_on_the_batch_nor_on_the_order(plain):
    encoder, items = learnt(plain), frame_of(9)
    together = encoder.encode_items(items, progress=False)
    assert np.abs(together[0] - together[1]).max() > 1e-3
    alone = encoder.encode_items(items, batch_size=1, progress=False)
    turned = encoder.encode_items(items.reverse(), batch_size=4, progress=False)[::-1]
    for other in (alone, turned):
        np.testing.assert_allclose(together, other, rtol=0, atol=1e-6)


def test_experts_are_saved_and_opened_again(plain, tmp_path):
    encoder, items = learnt(plain), frame_of(5)
    path = encoder.save_pretrained(tmp_path / "saved")
    again = ProductEncoder.from_pretrained(path, device="cpu")
    assert again.config.experts == GUIDED and has_experts(again.module)
    assert type(again.module) is type(encoder.module) and again.digest == encoder.digest
    found, wanted = (one.encode_items(items, progress=False) for one in (again, encoder))
    np.testing.assert_array_equal(found, wanted)
    assert again.save_pretrained(tmp_path / "twice").is_dir()
    assert (tmp_path / "twice/model.safetensors").read_bytes() == (path / "model.safetensors").read_bytes()  # fmt: skip


def test_a_copy_has_experts_of_its_own(plain):
    """As a momentum encoder is made: what one is told never reaches the other."""
    encoder = learnt(plain)
    slow = encoder.with_module(copy.deepcopy(encoder.module))
    from representation.model.prompt import product_texts

    tokens = encoder.tokens(product_texts(frame_of(3), "richer"), "item", "richer")
    inputs = encoder.prepare("item", tokens, None)
    assert inputs.roles is not None
    with torch.no_grad():
        wanted = encoder.embed_for_losses(inputs)
        for each in encoder.module.model.language_model.layers:
            each.mlp.experts[-1].down_proj.weight.add_(1.0)
        torch.testing.assert_close(slow.embed_for_losses(inputs), wanted, rtol=0, atol=0)
        assert not torch.equal(encoder.embed_for_losses(inputs), wanted)


def test_adapters_are_of_each_expert_and_routers_are_trained_whole(plain, tmp_path):
    encoder, items = learnt(plain), frame_of(3)
    encoder.adapt(LoraConfig(rank=2), 0)
    trained = {name for name, value in encoder.module.named_parameters() if value.requires_grad}
    layers = encoder.module.model.language_model.layers
    assert sum(".router." in name for name in trained) == len(layers)
    assert sum(".experts." in name for name in trained) == len(layers) * 5 * 3 * 2
    assert all("lora_" in name or ".router." in name for name in trained)
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if "lora_B" in name:
                value.add_(torch.randn(value.shape, generator=draws) / 5)
    vectors = encoder.encode_items(items, progress=False)
    path = encoder.save_pretrained(tmp_path / "tuned")
    again = ProductEncoder.from_pretrained(path, device="cpu")
    np.testing.assert_allclose(again.encode_items(items, progress=False), vectors, atol=1e-5)
    assert not (path / "adapter").exists()


def test_settings_decide_the_digest(plain):
    """The same weights with another number of experts a token are another encoder."""
    learnt(plain)
    other = copy.copy(plain)
    vars(other).pop("digest", None)
    other.config = plain.config.model_copy(update={"experts": GUIDED.model_copy(update={"top_k": 1})})  # fmt: skip
    assert other.digest != plain.digest


def test_some_layers_have_experts_the_last_among_them(plain):
    layers = plain.module.model.language_model.layers
    plain.add_experts(ExpertsConfig(num_experts=2, top_k=1, every=2), 0)
    has = [isinstance(one.mlp, Experts) for one in layers]
    assert has == [(len(layers) - 1 - place) % 2 == 0 for place in range(len(layers))]


def test_experts_that_the_config_does_not_know_are_refused(plain):
    put_experts(plain.module, GUIDED)
    with pytest.raises(EncoderError, match="the backbone has some; the two do not belong together"):
        ProductEncoder(plain.module, plain.tokenizer, plain.config)


def test_states_computed_anew_are_told_the_same(plain):
    """Two batches, then the way back: each layer's second pass routes by its own batch's roles, and its gates' figures stay the first pass's."""
    encoder = learnt(plain)
    encoder.module.train()
    items = frame_of(4)
    from representation.model.prompt import product_texts

    def gradients():
        encoder.module.zero_grad()
        tokens = encoder.tokens(product_texts(items, "richer"), "item", "richer")
        both = [
            encoder.embed_for_losses(encoder.prepare(side, tokens, None))
            for side in ("item", "query")
        ]
        torch.cat(both).square().sum().mul(0.1).backward()
        return [torch.cat(both).detach(), *(value.grad for value in encoder.module.parameters())]

    whole = gradients()
    checkpoint_gradients(encoder.module)
    for one, other in zip(whole, gradients(), strict=True):
        if one is None:
            assert other is None
        else:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_figures_of_the_gates_leave_padding_out(plain):
    encoder = learnt(plain, ExpertsConfig(num_experts=3, top_k=2))
    inputs = batch_of(encoder)
    rows = encoder.embed_for_losses(inputs)
    vectors, gates = rows[:, : encoder.dim], Gates.of(rows[:, encoder.dim :], encoder.config.experts)  # fmt: skip
    torch.testing.assert_close(vectors, encoder.embed(inputs))
    tokens = inputs.mask.sum(dim=1)
    for layer_loads in gates.loads.unbind(1):
        assert torch.equal(layer_loads.sum(dim=1).long(), 2 * tokens)
    torch.testing.assert_close(gates.of_rows().sum(dim=1), torch.ones(len(tokens)))
    torch.testing.assert_close(functional.normalize(vectors, dim=1), vectors)
