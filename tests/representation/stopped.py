"""A post-training that is stopped and goes on, beside one that was not."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from moon_rec.shop import Shop
from representation.posttraining import PosttrainConfig, posttrain


class Stopped(Exception):
    """At the third step."""


def check_goes_on_to_the_same_bits(
    shop: Shop, folder: Path, config: PosttrainConfig, start: Path
) -> dict[str, Tensor]:
    """The weights of both, which are the same; `config` saves every second step and logs every one."""

    def stop(step, _):
        if step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        posttrain(shop, folder / "out", config, start, on_log=stop)
    posttrain(shop, folder / "out", config, start)
    posttrain(shop, folder / "unbroken", config, start)
    ours, wanted = (load_file(folder / one / "model.safetensors") for one in ("out", "unbroken"))
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(ours[name], wanted[name]) for name in wanted)
    return wanted
