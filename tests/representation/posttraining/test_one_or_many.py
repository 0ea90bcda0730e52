"""Two processes with their shares of a batch against one with all of it: the loss and every gradient, for every setting that changes a loss.

One launch goes through all settings: each takes some steps of plain gradient descent, so that queues fill, the slow encoder moves and the temperature counts.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from moon_rec.shop import Shop
from representation.encoder import ProductEncoder
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.momentum import MomentumEncoder
from representation.posttraining.preparation import prepare
from representation.posttraining.step import ContrastiveStep
from representation.training.distributed import (
    SharedEncoder,
    average_gradients,
    mean_of_processes,
    processes,
    rank,
    world_size,
)
from representation.training.optimisation import training_mode
from tests.stopping import wait_for

ROOT = Path(__file__).parents[3]
STEPS = 3
BASE = {"batch_size": 9, "precision": "float32", "num_threads": 1, "steps": STEPS, "seed": 3}
BASE |= {"mixture": {"image->image": 1.0, "text->title+image": 1.0, "title+image->title+image": 1.0}}  # fmt: skip
QUEUE = {"num_negatives": 30, "own_picture_share": 0.0}
HARD = {"hard_negatives": 2}
MIXED = {
    "experts": {"num_experts": 4, "top_k": 1, "guided": True}, "balance_weight": 0.5, "alignment": {"objective_weights": True},
    "mixture": {"image->image": 1.0, "richer-text+image->richer-text+image": 1.0, "title+image->title+image": 1.0},
}  # fmt: skip
CASES = {
    "infonce": {},
    "fixed temperature": {"learn_temperature": False, "temperature": 0.2},
    "equal widths": {"matryoshka_weights": "equal"},
    "symmetric": {"symmetric": True},
    "symmetric, few": {"symmetric": True, "num_negatives": 4},
    "symmetric, chunks": {"symmetric": True, "chunk_size": 2},
    "few": {"num_negatives": 4},
    "circle": {"loss": "circle", "circle_scale": 16.0},
    "circle, same": {"loss": "circle", "circle_scale": 16.0, "prefix_loss": "same"},
    "hard": HARD,
    "hard, few": HARD | {"num_negatives": 10},
    "triplet": HARD | {"triplet_weight": 0.5, "mixture": {"text->richer-text": 1.0}},
    "queue": QUEUE,
    "queue, joint": QUEUE | {"queue_term": "joint", "queue_drift": "kept", "max_age": 2},
    "queue, queries, hard": QUEUE | HARD | {"queue_term": "queries", "num_negatives": 50},
    "momentum": QUEUE | {"momentum": 0.5},
    "momentum, chunks, hard": QUEUE | HARD | {"momentum": 0.5, "num_negatives": 50, "chunk_size": 2},
    "chunks": {"chunk_size": 2},
    "chunks, circle, queue": QUEUE | {"chunk_size": 2, "loss": "circle", "circle_scale": 16.0},
    "catalogue": {"pairs": "catalogue", "mixture": {"image->image": 1.0}},
    "products": {"mixture": {"richer-text+image->richer-text+image": 1.0}},
    "lora": {"lora": {"rank": 2}},
    "checkpointed": {"gradient_checkpointing": True},
    "experts, alignment": MIXED,
    "experts, alignment, chunks": MIXED | {"chunk_size": 2},
    "filtered": HARD | {"filtering": {}},
}  # fmt: skip

OFTEN = [
    "symmetric, few",
    "circle, same",
    "triplet",
    "momentum, chunks, hard",
    "queue, joint",
    "experts, alignment",
]
SELDOM = [name for name in CASES if name not in OFTEN]


def go(shop, start, values):
    """Losses, shares right and gradients of each step."""
    from representation.model.backbone import checkpoint_gradients
    from representation.model.lora import with_lora

    config = PosttrainConfig.model_validate(BASE | values)
    encoder = ProductEncoder.from_pretrained(start, device="cpu")
    if config.experts is not None:
        encoder.add_experts(config.experts, config.seed)
    prepared = prepare(shop, config, encoder, None, rank(), world_size())
    if config.lora is not None:
        with_lora(encoder.module, config.lora, config.seed)
    if config.gradient_checkpointing:
        checkpoint_gradients(encoder.module)
    slow = MomentumEncoder(encoder, config.momentum) if config.momentum else None
    experts, embedded = encoder.config.experts, encoder.embed_for_losses
    work = None if experts is None else lambda *sides: [embedded(side) for side in sides]
    shared = SharedEncoder(encoder, work=work)
    step = ContrastiveStep(
        config,
        encoder.widths,
        prepared.known,
        encoder.device,
        world_size(),
        experts=experts,
    )
    named = dict(shared.named_parameters()) | dict(step.parameters())
    found = {}
    with training_mode(encoder.module, config) as dtype:
        for number in range(STEPS):
            for value in named.values():
                value.grad = None
            outcome = step.backward(
                prepared.batches.make(number),
                number,
                shared.embed,
                dtype,
                shared.context_of_last,
                slow.embed if slow is not None else None,
            )
            average_gradients([value for _, value in step.parameters()])
            found[f"{number} loss"] = mean_of_processes(outcome.loss)
            found[f"{number} right"] = mean_of_processes(outcome.right)
            with torch.no_grad():
                for name, value in named.items():
                    if value.grad is not None:
                        found[f"{number} {name}"] = value.grad.clone()
                        value.sub_(value.grad, alpha=0.01)
            if slow is not None:
                slow.follow()
    return found


def work(shop, start, folder, names):
    with processes():
        for name in names:
            found = go(Shop.open(shop), start, CASES[name])
            save_file(found, Path(folder) / f"{rank()} {name}.safetensors")


def place(rank):
    """What torchrun tells a process of two."""
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "CUDA_VISIBLE_DEVICES": ""}
    return {name: str(value) for name, value in about.items()}


@contextmanager
def another(shop, start, folder, names):
    """A second process, which waits for this one to be the first: for a call of what is given; it is done at the block's end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, __file__, str(shop.path), str(start), str(folder), json.dumps(names)]
    root = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)), "OMP_NUM_THREADS": "1"}
    errors = folder / "errors"
    with open(errors, "wb") as file:
        environment = os.environ | place(1) | meet | root
        other = subprocess.Popen(words, env=environment, cwd=ROOT, stderr=file)

    def work_as_the_first():
        wait_for((folder / "ready").exists, other, errors)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (place(0) | meet).items():
                patch.setenv(name, value)
            patch.setattr(torch.cuda, "is_available", lambda: False)  # as for the other one
            work(shop.path, start, folder, names)

    try:
        yield work_as_the_first
        assert other.wait(timeout=300) == 0, errors.read_text()[-3000:]
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("names", [OFTEN, pytest.param(SELDOM, marks=pytest.mark.slow)])
def test_two_processes_have_the_loss_and_gradients_of_one(
    names, little_shop, encoder_path, tmp_path
):
    with another(little_shop, encoder_path, tmp_path, names) as work_as_the_first:
        alone = {name: go(little_shop, encoder_path, CASES[name]) for name in names}
        work_as_the_first()
    for name, wanted in alone.items():
        for number in range(2):
            found = load_file(tmp_path / f"{number} {name}.safetensors")
            assert found.keys() == wanted.keys(), name
            for key, value in wanted.items():
                torch.testing.assert_close(
                    found[key],
                    value,
                    rtol=1e-4,
                    atol=1e-5,
                    msg=lambda why, about=(name, key): f"{about}: {why}",
                )


if __name__ == "__main__":
    Path(sys.argv[3], "ready").touch()
    work(*sys.argv[1:4], json.loads(sys.argv[4]))
