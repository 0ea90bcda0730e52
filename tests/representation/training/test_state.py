"""A training goes on from its last save with the same bits, and refuses what is not its own."""

import pytest
import torch

from moon_rec import temporaries
from moon_rec.errors import EncoderError
from moon_rec.torch_seeds import torch_generator
from representation.negatives.queue import NegativeQueue
from representation.training.optimisation import OptimisationConfig, make_optimizer
from representation.training.state import drop_state, load_state, resume_folder, save_state

SETTINGS = {"config": {"steps": 8, "widths": (8, 16), "resume_every": 3}, "shop": "abc"}


class Little:
    """A linear map, learning to score against a queue of its own past outputs; `unused` never gets a gradient."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        self.layer = torch.nn.Linear(6, 4)
        self.unused = torch.nn.Linear(3, 3)
        self.log_temperature = torch.nn.Parameter(torch.tensor(0.3))
        self.named = [
            *self.layer.named_parameters("layer"),
            *self.unused.named_parameters("unused"),
            ("log_temperature", self.log_temperature),
        ]
        self.optimizer = make_optimizer(self.named, OptimisationConfig())
        self.queue = NegativeQueue(20, 4, 5)
        self.log: list[float] = []

    def train(self, first, last):
        for step in range(first, last):
            batch = torch.randn(7, 6, generator=torch_generator(0, "batch", step))
            vectors = torch.nn.functional.normalize(self.layer(batch), dim=1)
            drawn = self.queue.draw(9, step, torch_generator(0, "queue", step))
            scores = vectors @ torch.cat([vectors, drawn.vectors]).T / self.log_temperature.exp()
            loss = torch.nn.functional.cross_entropy(scores, torch.arange(7))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.queue.push(vectors, torch.arange(7), torch.arange(7), step)
            self.log.append(loss.item())

    def save(self, folder, step, settings=SETTINGS):
        queue = self.queue.state_dict()
        save_state(folder, step, self.named, self.optimizer, queue, self.log, settings)

    def load(self, folder, settings=SETTINGS):
        found = load_state(folder, self.named, self.optimizer, settings)
        if found is None:
            return 0
        self.queue.load_state_dict(found.others)
        self.log = found.log
        return found.step


def test_same_bits_after_an_interruption(tmp_path):
    whole = Little(seed=1)
    whole.train(0, 8)
    folder = resume_folder(tmp_path / "encoder")
    stopped = Little(seed=1)
    assert stopped.load(folder) == 0
    for step in (3, 5):
        stopped.train(len(stopped.log), step)
        stopped.save(folder, step)
    stopped.train(5, 7)  # lost
    assert [path.name for path in folder.iterdir()] == ["step-00000005"]
    later = Little(seed=2)
    assert later.load(folder) == 5
    later.train(5, 8)
    assert later.log == whole.log
    for (name, value), (_, wanted) in zip(later.named, whole.named, strict=True):
        assert torch.equal(value, wanted), name
    assert all(
        torch.equal(value, whole.queue.state_dict()[name])
        for name, value in later.queue.state_dict().items()
    )
    for parameter, wanted in zip(later.named, whole.named, strict=True):
        moments, others = later.optimizer.state[parameter[1]], whole.optimizer.state[wanted[1]]
        assert set(moments) == set(others)
        assert all(torch.equal(moments[key], others[key]) for key in others)
    drop_state(folder)
    assert not folder.exists()


def test_a_kill_while_saving_leaves_the_save_before(tmp_path, monkeypatch):
    folder = tmp_path / "encoder.resume"
    little = Little(seed=1)
    little.train(0, 2)
    little.save(folder, 2)
    monkeypatch.setattr("representation.training.state.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        little.save(folder, 3)
    monkeypatch.undo()
    dead = f".step-00000003.{temporaries._host()}.{2**22 + 5}-1.0.tmp"
    (folder / dead).mkdir()  # as a kill leaves it
    assert Little(seed=2).load(folder) == 2
    little.save(folder, 3)
    assert [path.name for path in folder.iterdir()] == ["step-00000003"]


def test_other_settings_are_refused(tmp_path):
    folder = tmp_path / "encoder.resume"
    little = Little(seed=1)
    little.save(folder, 2)
    free = {"config": SETTINGS["config"] | {"resume_every": 5, "num_threads": 1}, "shop": "abc"}
    assert little.load(folder, free) == 2
    for settings, complaint in (
        (SETTINGS | {"shop": "abd"}, "saved with shop = 'abc', now it is 'abd'; go on with"),
        (
            {"config": {"steps": 9, "widths": (8, 16)}, "shop": "abc"},
            r"config.steps = 8, now it is 9",
        ),
        ({"config": {"steps": 8, "widths": (8,)}, "shop": "abc"}, r"widths = \[8, 16\], now"),
        (SETTINGS | {"start": "x"}, "start = None, now it is 'x'"),
    ):
        with pytest.raises(EncoderError, match=complaint) as refusal:
            little.load(folder, settings)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["state.json", "weights.safetensors", "optimiser.safetensors"])
def test_a_broken_save_is_named(tmp_path, name):
    folder = tmp_path / "encoder.resume"
    little = Little(seed=1)
    little.train(0, 2)
    little.save(folder, 2)
    (folder / "step-00000002" / name).write_bytes(b"broken")
    with pytest.raises(EncoderError, match=f"cannot be read .*; remove {folder} to start anew"):
        little.load(folder)
