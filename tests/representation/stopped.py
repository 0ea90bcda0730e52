"""A post-training that is stopped and goes on, beside one that was not."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from moon_rec.files import read_json
from moon_rec.shop import Shop
from representation.posttraining import PosttrainConfig, posttrain
from representation.posttraining.train import LOG_FILE


class Stopped(Exception):
    """At the third step."""


def check_goes_on_to_the_same_bits(
    shop: Shop, folder: Path, config: PosttrainConfig, start: Path
) -> dict[str, Tensor]:
    """The weights of both, which are the same to the byte, as are all files but for the seconds that curation took; `config` saves every second step and logs every one."""

    def stop(step, _):
        if step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        posttrain(shop, folder / "out", config, start, on_log=stop)
    posttrain(shop, folder / "out", config, start)
    posttrain(shop, folder / "unbroken", config, start)
    ours, wanted = (_files(folder / one) for one in ("out", "unbroken"))
    assert ours.keys() == wanted.keys()
    assert [name for name in wanted if ours[name] != wanted[name]] == []
    return load_file(folder / "out" / "model.safetensors")


def _files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return found | {LOG_FILE: json.dumps(read_json(folder / LOG_FILE)["log"]).encode()}
