"""A step's loss is one cross-entropy (or one circle loss) over all negatives there are, written out; its gradients reach every part."""

import math

import numpy as np
import pytest
import torch

from representation.negatives import HardNegatives
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.momentum import MomentumEncoder
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule
from representation.posttraining.step import ContrastiveStep

MIXTURE = {"text->title+image": 1.0, "image->title+image": 1.0}


def config(**values) -> PosttrainConfig:
    settings = {"batch_size": 8, "hard_negatives": 2, "num_negatives": 60, "precision": "float32"}
    return PosttrainConfig.model_validate({**settings, "mixture": MIXTURE, "steps": 12, **values})


@pytest.fixture
def batches(little_shop, encoder, known):
    schedule = Schedule(logged_pairs(little_shop), own_pairs(little_shop), MIXTURE, {}, 12, 8, 0)
    hard = HardNegatives(little_shop, known)
    return Batches(little_shop, encoder, schedule, known, None, 0, hard=hard, num_hard=2)


def embedder(encoder):
    return lambda *sides: [encoder.embed(side) for side in sides]


def run(step, encoder, batches, count):
    """`count` steps without an update; the outcome of each."""
    return [
        step.backward(batches.make(number), number, embedder(encoder), torch.float32)
        for number in range(count)
    ]


def is_known(known, batch, row, item_id, spu_id):
    """Whether an item is no negative of a row, asked one at a time."""
    return bool(known.blocked(batch.rows[row], np.array([item_id]), np.array([spu_id]))[0, 0])


def written_out(step, encoder, known, batch, past):
    """The step's loss by a loop over queries, widths and negatives, each negative listed by itself."""
    with torch.no_grad():
        queries, items, hard = (
            encoder.embed(side).double().numpy()
            for side in (batch.queries, batch.items, batch.hard.items)
        )
    vectors, ids = [*items, *hard], [*batch.item_ids, *batch.hard.ids.reshape(-1)]
    spus = [*batch.spu_ids, *batch.hard.spu_ids.reshape(-1)]
    if past is not None:
        vectors += [*past.bank.vectors.detach().double().numpy()]
        ids, spus = [*ids, *past.drawn.item_ids], [*spus, *past.drawn.spu_ids]
    others = [
        [
            vector
            for place, (vector, item, spu) in enumerate(zip(vectors, ids, spus, strict=True))
            if place != row and item >= 0 and not is_known(known, batch, row, int(item), int(spu))
        ]
        for row in range(len(queries))
    ]
    temperature, settings = step.config.temperature, step.config
    losses, weights = [], []
    for width in encoder.widths:
        weights += [width if settings.matryoshka_weights == "width" else 1] * len(queries)
        for row, query in enumerate(queries):

            def cosine(vector, query=query, width=width):
                one, other = query[:width], vector[:width]
                return one @ other / math.sqrt(one @ one) / math.sqrt(other @ other)

            right = cosine(items[row])
            wrong = [cosine(vector) for vector in others[row]]
            is_prefix = width < encoder.widths[-1]
            if settings.loss == "infonce" or (is_prefix and settings.prefix_loss == "infonce"):
                total = sum(math.exp(score / temperature) for score in [right, *wrong])
                losses.append(-math.log(math.exp(right / temperature) / total))
            else:
                margin, scale = settings.circle_margin, settings.circle_scale
                negatives = sum(
                    math.exp(scale * max(0, score + margin) * (score - margin)) for score in wrong
                )
                pull = scale * max(0, 1 + margin - right) * (right - (1 - margin))
                losses.append(math.log1p(negatives * math.exp(-pull)))
    return np.average(losses, weights=weights)


@pytest.mark.parametrize(
    "values",
    [
        {"queue_term": "joint", "queue_drift": "kept"},
        {"queue_term": "added"},
        {"queue_term": "queries"},
        {"queue_term": "joint", "loss": "circle", "circle_scale": 16.0},
        {"queue_term": "queries", "loss": "circle", "circle_scale": 16.0, "prefix_loss": "same"},
        {"queue_term": "queries", "matryoshka_weights": "equal"},
    ],
)
def test_the_loss_written_out(values, encoder, known, batches):
    step = ContrastiveStep(config(**values), encoder.widths, known, encoder.device)
    for number in range(5):
        batch = batches.make(number)
        outcome = step.backward(batch, number, embedder(encoder), torch.float32)
    assert len(outcome.past.drawn.item_ids) > 20 and outcome.past.blocked.any()
    wanted = written_out(step, encoder, known, batch, outcome.past)
    if step.config.queue_term == "added":
        wanted = (wanted + written_out(step, encoder, known, batch, None)) / 2
    assert outcome.loss.item() == pytest.approx(wanted, rel=1e-4)


def test_circle_loss_has_a_temperature_where_prefixes_have_infonce(encoder, known):
    def step(**values):
        return ContrastiveStep(config(**values), encoder.widths, known, encoder.device)

    assert step(loss="circle").learns_temperature and step(loss="circle").numbers()
    alone = step(loss="circle", prefix_loss="same")
    assert not alone.learns_temperature and not alone.numbers()
    settings = config(loss="circle")
    one_width = ContrastiveStep(settings, encoder.widths[-1:], known, encoder.device)
    assert not one_width.learns_temperature and not one_width.numbers()


def test_the_triplet_term_written_out(encoder, known, batches):
    plain, more = (
        ContrastiveStep(config(triplet_weight=weight), encoder.widths, known, encoder.device)
        for weight in (0.0, 0.5)
    )
    batch = batches.make(0)
    assert 0 < batch.hard.is_clicked.sum() < batch.hard.mask.sum()
    added = [
        step.backward(batch, 0, embedder(encoder), torch.float32).loss.item()
        for step in (plain, more)
    ]
    with torch.no_grad():
        queries, items, hard = (
            encoder.embed(side) for side in (batch.queries, batch.items, batch.hard.items)
        )
    terms = []
    for width in encoder.widths:
        query, item, wrong = (
            torch.nn.functional.normalize(part[:, :width], dim=1) for part in (queries, items, hard)
        )
        terms.append(
            np.mean(
                [
                    max(
                        0.0,
                        0.2 + float(query[row] @ wrong[2 * row + place] - query[row] @ item[row]),
                    )
                    for row in range(8)
                    for place in range(2)
                    if batch.hard.is_clicked[row, place]
                ]
            )
        )
    assert added[1] - added[0] == pytest.approx(
        0.5 * np.average(terms, weights=encoder.widths), rel=1e-3
    )


def test_past_items_count_and_known_ones_never(encoder, known, batches):
    """Whatever is drawn is masked for exactly the queries that know it, and taking the queue away changes the loss."""
    kept = config(queue_drift="kept")
    step = ContrastiveStep(kept, encoder.widths, known, encoder.device)
    alone = ContrastiveStep(config(num_negatives=None), encoder.widths, known, encoder.device)
    with_past, without = run(step, encoder, batches, 6), run(alone, encoder, batches, 6)
    vectors = {}
    for number in range(6):
        batch = batches.make(number)
        with torch.no_grad():
            for side, ids in ((batch.items, batch.item_ids), (batch.hard.items, batch.hard.ids)):
                embedded = encoder.embed(side)
                vectors |= dict(zip(ids.reshape(-1).tolist(), embedded, strict=True))
    for number, (one, other) in enumerate(zip(with_past, without, strict=True)):
        if one.past is None:
            assert one.loss == other.loss
            continue
        assert one.loss > other.loss + 0.01
        batch, drawn = batches.make(number), one.past.drawn
        for row in range(8):
            for place in range(len(drawn.item_ids)):
                ids = int(drawn.item_ids[place]), int(drawn.spu_ids[place])
                assert one.past.blocked[row, place] == is_known(known, batch, row, *ids)
        for vector, item in zip(drawn.vectors, drawn.item_ids.tolist(), strict=True):
            assert torch.allclose(vector, vectors[item], atol=1e-5)
        own = torch.isin(drawn.item_ids, batch.item_ids)
        if own.any():
            same = drawn.item_ids[own][None, :] == batch.item_ids[:, None]
            assert one.past.blocked[:, own.numpy()][same.numpy()].all()
    assert sum(one.past is not None for one in with_past) >= 3


def test_past_items_follow_the_motion_of_new_ones(encoder, known, batches):
    """The encoder moves on between two steps: what is drawn is shifted by as much as the batch's mean item has moved since the step it is of."""
    step = ContrastiveStep(config(), encoder.widths, known, encoder.device)
    first, second = batches.make(0), batches.make(1)
    shift = torch.linspace(-0.3, 0.3, encoder.dim)

    def moved(*sides):
        return [torch.nn.functional.normalize(encoder.embed(side) + shift, dim=1) for side in sides]

    step.backward(first, 0, embedder(encoder), torch.float32)
    with torch.no_grad():
        (old,), (new,) = embedder(encoder)(first.items), moved(second.items)
    past = step.backward(second, 1, moved, torch.float32).past
    assert first.kind.item == second.kind.item
    place = {item: row for row, item in enumerate(first.item_ids.tolist())}
    seen = [row for row, item in enumerate(past.drawn.item_ids.tolist()) if item in place]
    assert len(seen) >= 4
    for row in seen:
        wanted = old[place[int(past.drawn.item_ids[row])]] - old.mean(dim=0) + new.mean(dim=0)
        found = past.bank.vectors[row]
        assert torch.allclose(found, wanted / wanted.norm(), atol=1e-5)


def test_a_form_of_item_meets_its_own_past_alone(little_shop, encoder, known):
    mixture = {"text->title+image": 1.0, "text->image": 1.0}
    schedule = Schedule(logged_pairs(little_shop), own_pairs(little_shop), mixture, {}, 12, 8, 0)
    batches = Batches(little_shop, encoder, schedule, known, None, 0)
    settings = config(hard_negatives=0, mixture=mixture)
    step = ContrastiveStep(settings, encoder.widths, known, encoder.device)
    seen = {}
    for number in range(8):
        batch = batches.make(number)
        past = step.backward(batch, number, embedder(encoder), torch.float32).past
        form = batch.kind.item
        assert (past.drawn.item_ids.tolist() if past else []) == seen.get(form, [])[-53:]
        seen.setdefault(form, []).extend(batch.item_ids.tolist())
    assert len(seen) == 2


@pytest.mark.parametrize("batch_size", [4, 8, 16])
def test_the_number_of_negatives_is_one_setting(batch_size, little_shop, encoder, known):
    mixture = {"text->image": 1.0}
    schedule = Schedule(
        logged_pairs(little_shop), own_pairs(little_shop), mixture, {}, 40, batch_size, 0
    )
    hard = HardNegatives(little_shop, known)
    batches = Batches(little_shop, encoder, schedule, known, None, 0, hard=hard, num_hard=1)
    for wanted in (5, 40):
        settings = config(
            batch_size=batch_size, hard_negatives=1, num_negatives=wanted, mixture=mixture
        )
        step = ContrastiveStep(settings, encoder.widths, known, encoder.device)
        last = run(step, encoder, batches, 12)[-1]
        candidates = 2 * batch_size - 1 + (last.past.blocked.shape[1] if last.past else 0)
        assert candidates == max(wanted, 2 * batch_size - 1)
        used = last.numbers()["negatives"]
        assert used <= wanted and used > 0.6 * wanted


def test_chunks_change_nothing(little_shop, encoder_path, known, batches):
    from representation.encoder import ProductEncoder

    gradients, losses = [], []
    for chunk_size in (None, 3):
        encoder = ProductEncoder.from_pretrained(encoder_path, device="cpu")
        settings = config(chunk_size=chunk_size, triplet_weight=0.5)
        step = ContrastiveStep(settings, encoder.widths, known, encoder.device)
        losses.append([one.loss.item() for one in run(step, encoder, batches, 3)])
        gradients.append(
            torch.cat(
                [
                    value.grad.reshape(-1)
                    for value in (*encoder.module.parameters(), step.log_temperature)
                    if value.grad is not None
                ]
            )
        )
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert gradients[0].norm() > 0.1
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[0].norm()


def test_gradients_reach_hard_negatives_and_not_the_past(encoder, known, batches):
    step = ContrastiveStep(config(), encoder.widths, known, encoder.device)
    run(step, encoder, batches, 4)
    batch = batches.make(4)
    vectors = [
        encoder.embed(side).detach().requires_grad_()
        for side in (batch.queries, batch.items, batch.hard.items)
    ]
    loss, outcome = step.loss(batch, 4, vectors)
    loss.backward()
    assert all(vector.grad.abs().sum() > 0 for vector in vectors)
    lacking = ~batch.hard.mask.reshape(-1)
    assert (vectors[2].grad[lacking] == 0).all()
    assert not outcome.past.bank.vectors.requires_grad


def test_items_learn_from_the_batch_and_queries_from_the_past_too(encoder, known, batches):
    """`queries` has the queries' gradients of the loss with the queue, and the items' of the loss without."""
    pulls = {}
    for name, values in {
        "queries": {"queue_term": "queries"},
        "with": {"queue_term": "joint"},
        "without": {"num_negatives": None},
    }.items():
        step = ContrastiveStep(config(**values), encoder.widths, known, encoder.device)
        run(step, encoder, batches, 4)
        batch = batches.make(4)
        vectors = [
            encoder.embed(side).detach().requires_grad_()
            for side in (batch.queries, batch.items, batch.hard.items)
        ]
        step.loss(batch, 4, vectors)[0].backward()
        pulls[name] = [vector.grad for vector in vectors]
    assert torch.allclose(pulls["queries"][0], pulls["with"][0], atol=1e-7)
    for side in (1, 2):
        assert torch.allclose(pulls["queries"][side], pulls["without"][side], atol=1e-7)
        assert not torch.allclose(pulls["with"][side], pulls["without"][side], atol=1e-4)
    assert not torch.allclose(pulls["with"][0], pulls["without"][0], atol=1e-4)


def test_a_slow_encoder_s_vectors_are_kept_and_compared_with(encoder, known, batches):
    settings = config(momentum=0.9, queue_term="queries", queue_drift="kept")
    step = ContrastiveStep(settings, encoder.widths, known, encoder.device)
    slow = MomentumEncoder(encoder, 0.9)
    first = next(iter(encoder.module.parameters()))
    was = first.detach().clone()
    with torch.no_grad():
        for value in encoder.module.parameters():
            value.mul_(1.5)
    for number in range(5):
        batch = batches.make(number)
        slow.follow()
        outcome = step.backward(batch, number, embedder(encoder), torch.float32, slow=slow.embed)
    kept = dict(slow.state_dict())["momentum/" + next(iter(encoder.module.state_dict()))]
    assert torch.allclose(kept, was * (1.5 - 0.5 * 0.9**5), rtol=1e-5)
    pushed = step.past.queues[batch.kind.item].state_dict()
    place = (int(pushed["next"]) - 8 - int(batch.hard.mask.sum())) % len(pushed["item_ids"])
    assert pushed["item_ids"][place] == batch.item_ids[0]
    wanted, fast = slow.embed(batch.items)[0], encoder.embed(batch.items)[0]
    assert torch.allclose(pushed["vectors"][place], wanted, atol=1e-6)
    assert not torch.allclose(wanted, fast, atol=1e-3)
    with torch.no_grad():
        queries, keys = encoder.embed(batch.queries), slow.embed(batch.items)
        hard = slow.embed(batch.hard.items)
    losses = []
    for width in encoder.widths:
        vectors = [
            torch.nn.functional.normalize(part[:, :width], dim=1)
            for part in (queries, torch.cat([keys, hard, outcome.past.bank.vectors]))
        ]
        scores = vectors[0] @ vectors[1].T / settings.temperature
        columns = torch.cat([outcome.blocked, torch.from_numpy(outcome.past.blocked)], dim=1)
        scores = scores.masked_fill(columns, -torch.inf)
        losses.append(torch.nn.functional.cross_entropy(scores, torch.arange(8)).item())
    wanted = np.average(losses, weights=encoder.widths)
    assert outcome.loss.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("loss", ["infonce", "circle"])
def test_a_batch_without_negatives(loss, encoder, known, batches):
    """One item, or the same product again and again: nothing to learn, and no NaN."""
    batch = batches.make(0)
    batch.hard = None
    batch.blocked = ~torch.eye(8, dtype=torch.bool)
    settings = config(loss=loss, hard_negatives=0, num_negatives=None)
    step = ContrastiveStep(settings, encoder.widths, known, encoder.device)
    outcome = step.backward(batch, 0, embedder(encoder), torch.float32)
    assert outcome.loss.item() == pytest.approx(0, abs=1e-6) and outcome.right == 1
    assert outcome.numbers()["negatives"] == 0 and outcome.numbers()["share_masked"] == 1
    assert all(
        torch.isfinite(value.grad).all() and value.grad.abs().max() < 1e-6
        for value in encoder.module.parameters()
        if value.grad is not None
    )


def test_the_queue_resumes_to_the_same_bits(encoder, known, batches):
    whole, first, second = (
        ContrastiveStep(config(max_age=3), encoder.widths, known, encoder.device) for _ in range(3)
    )
    wanted = run(whole, encoder, batches, 8)[-1]
    run(first, encoder, batches, 5)
    second.past.load_state_dict(first.past.state_dict())
    for number in range(5, 8):
        found = second.backward(batches.make(number), number, embedder(encoder), torch.float32)
    assert found.loss == wanted.loss and found.past.drawn.ages.max() <= 3
    assert torch.equal(found.past.bank.vectors, wanted.past.bank.vectors)
