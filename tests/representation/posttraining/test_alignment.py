"""Dual-level alignment, the terms of experts' gates and sample filtering in a step, each against the step written out, and a training with all of them."""

import json
import math

import numpy as np
import pytest
import torch

from moon_rec.errors import ConfigError
from representation.encoder import ProductEncoder
from representation.losses.filtering import margin_at
from representation.mixture import OBJECTIVES, ExpertsConfig, Gates
from representation.negatives import HardNegatives
from representation.posttraining.alignment import check_mixture_of_experts
from representation.posttraining.alignment_config import AlignmentConfig
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule
from representation.posttraining.step import ContrastiveStep

MIXTURE = {"richer-text+image->richer-text+image": 1.0}
EXPERTS = ExpertsConfig(num_experts=4, top_k=2, guided=True)
WEIGHED = {"objective_weights": True, "sparsity_weight": 0.3, "intra_weight": 0.7}


def config(**values) -> PosttrainConfig:
    settings = {"batch_size": 8, "precision": "float32", "mixture": MIXTURE, "steps": 12}
    return PosttrainConfig.model_validate({**settings, **values})


@pytest.fixture
def mixed(encoder) -> ProductEncoder:
    encoder.add_experts(EXPERTS, 1)
    draws = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if ".router." in name or ".experts." in name:
                value.add_(torch.randn(value.shape, generator=draws) / 5)
    return encoder


def batches_of(shop, encoder, known, settings: PosttrainConfig) -> Batches:
    mixture = settings.mixture
    schedule = Schedule(logged_pairs(shop), own_pairs(shop), mixture, {}, settings.steps, 8, 0)
    count = settings.hard_negatives
    return Batches(shop, encoder, schedule, known, None, 0, hard=HardNegatives(shop, known) if count else None,
                   num_hard=count, alignment=settings.alignment)  # fmt: skip


def step_of(encoder, known, settings) -> ContrastiveStep:
    return ContrastiveStep(settings, encoder.widths, known, encoder.device, experts=encoder.config.experts)  # fmt: skip


def embedder(encoder):
    if encoder.config.experts is None:
        return lambda *sides: [encoder.embed(side) for side in sides]
    return lambda *sides: [encoder.embed_for_losses(side) for side in sides]


def cosine(one, other, width):
    return float(one[:width] @ other[:width] / one[:width].norm() / other[:width].norm())


def contrast(widths, queries, items, temperature, blocked, weights=None):
    """InfoNCE of a loop over widths, queries and items; widths weigh by their width, queries as told."""
    total = 0.0
    for width in widths:
        for row in range(len(queries)):
            scores = {
                column: math.exp(cosine(queries[row], items[column], width) / temperature)
                for column in range(len(items))
                if column == row or not blocked[row][column]
            }
            loss = -math.log(scores[row] / sum(scores.values()))
            weight = 1.0 if weights is None else weights[row]
            total += width / sum(widths) * weight * loss / len(queries)
    return total


def same_product(batch):
    """Whether two of the batch's items are one product, asked one at a time."""
    return [
        [
            int(batch.item_ids[one]) == int(batch.item_ids[other])
            or int(batch.spu_ids[one]) == int(batch.spu_ids[other])
            for other in range(batch.num_pairs)
        ]
        for one in range(batch.num_pairs)
    ]


def test_the_views_of_a_batch_show_what_they_say(little_shop, encoder, known):
    """Words alone, picture alone: of queries the pair's own, of items what the item is shown with."""
    batches = batches_of(little_shop, encoder, known, config(alignment=AlignmentConfig()))
    batch = batches.make(0)
    words, picture = batch.query_views["text"], batch.query_views["image"]
    assert words.pixels is None and torch.equal(picture.pixels, batch.queries.pixels)
    image, text = batch.item_views
    assert text.pixels is None and torch.equal(image.pixels, batch.items.pixels)
    special = list(encoder.composer.special.values())

    def said(rows):
        kept = [ids[mask] for ids, mask in zip(rows.token_ids, rows.mask, strict=True)]
        return [[one for one in ids.tolist() if one not in special] for ids in kept]

    assert said(words) == said(batch.queries) and said(text) == said(batch.items)
    assert not any(said(picture)) and not any(said(image)) and all(said(words))
    assert batch.query_sides == {"both": 0, "text": 2, "image": 3}
    assert batch.num_tokens == sum(side.num_tokens for side in batch.sides)


@pytest.mark.parametrize(
    ("mixture", "sides"),
    [
        ({"text->richer-text+image": 1.0}, {"text": 0}),
        ({"image->image": 1.0}, {"image": 0}),
        ({"title+image->title+image": 1.0}, {"both": 0, "text": 2, "image": 3}),
    ],
    ids=str,
)
def test_queries_of_one_form_have_no_further_view(little_shop, encoder, known, mixture, sides):
    settings = config(mixture=mixture, alignment=AlignmentConfig())
    batch = batches_of(little_shop, encoder, known, settings).make(0)
    assert batch.query_sides == sides and len(batch.item_views) == 2


def written_out(encoder, batch, step):
    """MOON2.0's total loss, by loops, from each side's vectors and gates' figures; and the weights of objectives."""
    settings = step.config.alignment
    with torch.no_grad():
        wide = [encoder.embed_for_losses(side) for side in batch.sides]
    vectors = [one[:, : encoder.dim] for one in wide]
    gates = [Gates.of(one[:, encoder.dim :], EXPERTS) for one in wide]
    shares = step.alignment.weights.matrix.softmax(dim=1).tolist()
    total, weights = 0.0, {}
    blocked = batch.blocked.tolist()
    for name, side in {"both": 0, "text": 2, "image": 3}.items():
        rows = gates[side].of_rows().tolist()
        column = OBJECTIVES.index(name)
        omega = sum(shares[z][column] * row[z] for row in rows for z in range(4)) / len(rows)
        weights[name] = omega
        total += omega * contrast(encoder.widths, vectors[side], vectors[1], step.config.temperature, blocked)  # fmt: skip
    within = contrast(encoder.widths, vectors[4], vectors[5], settings.intra_temperature, same_product(batch))  # fmt: skip
    entropy = -sum(p * math.log(p) for row in shares for p in row) / len(shares)
    balance = 0.0
    for layer in range(gates[0].loads.shape[1]):
        loads = [sum(float(one.loads[:, layer, z].sum()) for one in gates) for z in range(2)]
        sums = [sum(float(one.probabilities[:, layer, z].sum()) for one in gates) for z in range(2)]
        tokens = sum(loads) / EXPERTS.top_k
        balance += 2 * sum(f / tokens * p / tokens for f, p in zip(loads, sums, strict=True))
    balance /= gates[0].loads.shape[1]
    total += settings.intra_weight * within + step.config.balance_weight * balance
    return total + settings.sparsity_weight * entropy, weights, within, balance


def test_the_total_loss_written_out(little_shop, mixed, known):
    settings = config(alignment=AlignmentConfig(**WEIGHED), balance_weight=0.2)
    step = step_of(mixed, known, settings)
    with torch.no_grad():
        step.alignment.weights.matrix.copy_(torch.linspace(-1, 1, 12).reshape(4, 3))
    batch = batches_of(little_shop, mixed, known, settings).make(1)
    batch.spu_ids[2] = batch.spu_ids[5]  # two of one product, which are no negatives of each other
    assert sum(map(sum, same_product(batch))) == 10
    outcome = step.backward(batch, 1, embedder(mixed), torch.float32)
    total, weights, within, balance = written_out(mixed, batch, step)
    assert outcome.loss.item() == pytest.approx(total, rel=1e-4)
    told = outcome.numbers()
    for name, weight in weights.items():
        assert told[f"weight_{name}"] == pytest.approx(weight, rel=1e-5)
    assert told["loss_within"] == pytest.approx(0.7 * within, rel=1e-4)
    assert told["load_balance"] == pytest.approx(balance, rel=1e-5)
    assert {"busiest_expert", "objective_entropy"} <= told.keys()


@pytest.mark.parametrize("objective", ["matrix", "router"])
def test_gradients_of_the_total_loss_are_those_of_its_differences(little_shop, mixed, known, objective):  # fmt: skip
    """W* by the loss written out; a router's weight by the step's own loss a little further on: no term hides behind a missing gradient."""
    settings = config(alignment=AlignmentConfig(**WEIGHED), balance_weight=0.2)
    step = step_of(mixed, known, settings)
    batch = batches_of(little_shop, mixed, known, settings).make(1)
    step.backward(batch, 1, embedder(mixed), torch.float32)
    value = step.alignment.weights.matrix
    if objective == "router":
        layers = mixed.module.model.language_model.layers
        value = layers[-1].mlp.router.weight
    place = int(value.grad.abs().argmax())
    slope, losses = value.grad.flatten()[place].item(), []
    for moved in (1e-2, -1e-2):
        with torch.no_grad():
            value.view(-1)[place] += moved
            if objective == "matrix":
                losses.append(written_out(mixed, batch, step)[0])
            else:
                vectors = embedder(mixed)(*batch.sides)
                losses.append(float(step.loss(batch, 1, vectors)[0]))
            value.view(-1)[place] -= moved
    assert (losses[0] - losses[1]) / 2e-2 == pytest.approx(slope, rel=0.05, abs=1e-4)


@pytest.mark.parametrize("more", [{}, {"hard_negatives": 2, "filtering": {}, "num_negatives": 40}])
def test_chunks_have_the_gradients_of_the_whole_batch(little_shop, mixed, known, more):
    """Also through the gates' figures, which no vector carries."""
    values = {"alignment": AlignmentConfig(**WEIGHED), "balance_weight": 0.5, **more}
    found = []
    for chunk in (None, 3):
        settings = config(**values, chunk_size=chunk)
        step = step_of(mixed, known, settings)
        batch = batches_of(little_shop, mixed, known, settings).make(1)
        mixed.module.zero_grad()
        outcome = step.backward(batch, 1, embedder(mixed), torch.float32)
        named = [*mixed.module.named_parameters(), *step.parameters()]
        found.append((outcome.loss, {name: value.grad for name, value in named}))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    assert found[0][1]["objective_matrix"].abs().max() > 0
    for name, wanted in found[0][1].items():
        other = found[1][1][name]
        if wanted is None:
            assert other is None or not other.any()
        else:
            torch.testing.assert_close(other, wanted, rtol=1e-3, atol=1e-5, msg=name)


def test_filtering_in_a_step_written_out(little_shop, encoder, known):
    """Each query against its own hard negatives, the nearest; what it is unsure of counts by its phi."""
    filtering = {"scale": 4.0, "first_margin": 0.4, "last_margin": 0.1}
    settings = config(hard_negatives=2, filtering=filtering, mixture={"image->image": 1.0})
    step = step_of(encoder, known, settings)
    batch = batches_of(little_shop, encoder, known, settings).make(3)
    outcome = step.backward(batch, 3, embedder(encoder), torch.float32)
    with torch.no_grad():
        queries, items, hard = (encoder.embed(side) for side in batch.sides)
    weights, margin = [], margin_at(settings.filtering, 3, 12)
    assert margin == pytest.approx(0.4 - 0.3 * 3 / 11)
    for row, query in enumerate(queries):
        wrong = [float(query @ hard[2 * row + place]) for place in range(2) if batch.hard.mask[row, place]]  # fmt: skip
        phi = 1.0
        if wrong:
            phi = 1 / (1 + math.exp(-4.0 * (float(query @ items[row]) - max(wrong) - margin)))
        weights.append(phi if phi < 0.6 else 1.0)
    assert min(weights) < 0.6
    blocked = torch.cat([batch.blocked, batch.hard.blocked], dim=1).tolist()
    wanted = contrast(encoder.widths, queries, torch.cat([items, hard]), 0.07, blocked, weights)
    assert outcome.loss.item() == pytest.approx(wanted, rel=1e-4)
    share = np.mean([weight < 1 for weight in weights])
    assert outcome.numbers()["share_filtered"] == pytest.approx(share)


def test_a_sure_batch_is_not_filtered(little_shop, encoder, known):
    """With a margin that every pair keeps, filtering changes nothing, to the bit."""
    losses = []
    for filtering in (None, {"first_margin": -2.0, "last_margin": -2.0}):
        settings = config(hard_negatives=1, filtering=filtering)
        step = step_of(encoder, known, settings)
        batch = batches_of(little_shop, encoder, known, settings).make(0)
        losses.append(step.backward(batch, 0, embedder(encoder), torch.float32).loss.item())
    assert losses[0] == losses[1]


# a training


ALL = {
    "steps": 4, "batch_size": 6, "precision": "float32", "log_every": 1, "warmup_share": 0.0,
    "mixture": {"richer-text+image->richer-text+image": 1.0, "text->richer-text": 1.0, "image->image": 1.0},
    "experts": {"num_experts": 4, "top_k": 1, "guided": True}, "hard_negatives": 1, "filtering": {},
    "alignment": {"objective_weights": True}, "num_negatives": 20,
}  # fmt: skip


def trained(shop, start, out, **values):
    from representation.posttraining import posttrain

    posttrain(shop, out, PosttrainConfig.model_validate({**ALL, **values}), start)
    return ProductEncoder.from_pretrained(out, device="cpu")


def test_a_training_with_experts_goes_on_to_the_bit(little_shop, encoder_path, tmp_path):
    """Adapters over the experts, their routers, and W*, which is no part of the encoder."""
    from representation.training import loop

    lora = {"lora": {"rank": 2}}
    one = trained(little_shop, encoder_path, tmp_path / "one", **lora)
    keep = loop._Loop._train

    def stopping(self, batch, step, dtype):
        if step == 2:
            raise KeyboardInterrupt
        return keep(self, batch, step, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Loop, "_train", stopping)
        with pytest.raises(KeyboardInterrupt):
            trained(little_shop, encoder_path, tmp_path / "two", resume_every=1, **lora)
    two = trained(little_shop, encoder_path, tmp_path / "two", resume_every=1, **lora)
    assert two.digest == one.digest
    log = json.loads((tmp_path / "two" / "posttraining_log.json").read_text())["log"]
    assert any("weight_both" in entry for entry in log)
    assert all("load_balance" in entry for entry in log if entry["step"])


def test_an_encoder_with_experts_is_trained_further(little_shop, encoder_path, tmp_path):
    first = trained(little_shop, encoder_path, tmp_path / "first")
    second = trained(little_shop, tmp_path / "first", tmp_path / "second", experts=None, balance_weight=0.1)  # fmt: skip
    assert second.config.experts == first.config.experts and second.digest != first.digest
    with pytest.raises(
        ConfigError,
        match="has experts already, which go on as they are; set experts=none over a recipe",
    ):
        trained(little_shop, tmp_path / "first", tmp_path / "third")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"balance_weight": 0.5}, r"balance_weight = 0.5 changes nothing: the encoder has no experts"),
        ({"alignment": {"objective_weights": True}}, "weighs by an encoder's experts, and it has none"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_experts_want_some(encoder, values, words):
    with pytest.raises(ConfigError, match=words):
        check_mixture_of_experts(config(**values), encoder)


def test_layers_with_experts_are_not_compiled(mixed):
    with pytest.raises(ConfigError, match="layers with experts are not compiled"):
        check_mixture_of_experts(config(compile_layers=True), mixed)
