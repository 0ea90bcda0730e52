"""MAKE: its DIN, layers and logit written out, and a planted taste that it finds."""

import pytest
import torch

from ranking.behaviour import MAKE, Behaviours, Target
from ranking.metrics import auc


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def drawn(batch=4, targets=3, length=5, dim=6):
    mask = torch.arange(length) < torch.randint(0, length + 1, (batch, 1))
    past = Behaviours(
        torch.zeros(int(mask.sum()), 0),
        mask,
        unit(batch, length, dim),
        torch.rand(batch, length) < 0.7,
    )
    has_target = torch.rand(batch, targets) < 0.7
    return Target(torch.zeros(batch, targets, 0), unit(batch, targets, dim), has_target), past


def test_output_layers_and_logit_are_the_formulas():
    torch.manual_seed(0)
    module = MAKE(6, [True], (5, 4), projection_dim=3, attention_dim=7)
    torch.nn.init.normal_(module.project.missing)
    target, past = drawn()
    found = module(target, [past])
    assert module.hidden_dims == (5, 4) and module.has_logit
    unit_of, project = module.din.activations[0], module.project.linear.weight
    for request in range(4):
        for candidate in range(3):
            item, total = module.project.missing, torch.zeros(3)
            if target.has_content[request, candidate]:
                item = project @ target.content[request, candidate]
                for place in range(5):
                    if not (past.mask[request, place] and past.has_content[request, place]):
                        continue
                    event = project @ past.content[request, place]
                    hidden = (
                        unit_of.of_behaviour.weight @ event
                        + unit_of.of_target(item)
                        + unit_of.of_product.weight @ (event * item)
                    )
                    total = total + unit_of.out(hidden.relu()) * event
            output = torch.cat([item, total, item * total])
            first = module.layers[0](output).relu()
            second = module.layers[1](first).relu()
            assert torch.allclose(found.per_target[request, candidate], output, atol=1e-6)
            assert torch.allclose(found.hidden[0][request, candidate], first, atol=1e-6)
            assert torch.allclose(found.hidden[1][request, candidate], second, atol=1e-6)
            logit = module.out(second)[0]
            assert torch.allclose(found.logit[request, candidate], logit, atol=1e-6)
    assert torch.equal(module.logits(target, [past]), found.logit)


@pytest.mark.parametrize(("content_dim", "projection_dim"), [(128, 32), (8, 64)])
def test_projected_vectors_start_at_a_length_of_about_two(content_dim, projection_dim):
    torch.manual_seed(0)
    module = MAKE(content_dim, [True], projection_dim=projection_dim)
    lengths = module.project.linear(unit(500, content_dim)).norm(dim=-1)
    assert 1.9 < lengths.mean() < 2.1


def test_alone_it_finds_who_likes_what_they_clicked_before():
    torch.manual_seed(1)
    module = MAKE(8, [True], (16,), projection_dim=8)
    optimiser = torch.optim.AdamW(module.parameters(), 1e-2)
    length, targets = 6, 4
    everything = torch.ones(64, length).bool()

    def draw():
        tastes = unit(64, 8)
        past = unit(64, length, 8) * 0.5 + tastes[:, None]
        past = torch.nn.functional.normalize(past, dim=-1)
        items = unit(64, targets, 8)
        clicked = torch.bernoulli(torch.sigmoid(4 * (items @ tastes[..., None]).squeeze(-1)))
        behaviours = Behaviours(torch.zeros(64 * length, 0), everything, past, everything)
        present = torch.ones(64, targets).bool()
        return Target(torch.zeros(64, targets, 0), items, present), behaviours, clicked

    for _ in range(150):
        target, past, clicked = draw()
        logits = module.logits(target, [past])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, clicked)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        seen = [draw() for _ in range(10)]
        scores = torch.cat([module.logits(target, [past]).flatten() for target, past, _ in seen])
    labels = torch.cat([clicked.flatten() for _, _, clicked in seen])
    assert auc(labels.numpy(), scores.numpy()) > 0.7
