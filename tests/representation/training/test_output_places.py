"""Which checkpoints' folders a training may write anew unasked: those that it wrote itself before it was stopped."""

import pytest

from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from representation.posttraining.config import PosttrainConfig
from representation.training.output_places import Places, step_folder

CONFIG = PosttrainConfig(steps=4, checkpoint_steps=(2,))
ABOUT = {"config": CONFIG.model_dump(), "start": "abc", "shop": "def"}
FASTER = {"config": ABOUT["config"] | {"learning_rate": 0.5, "resume_every": 7}}
LARGER = {"config": ABOUT["config"] | {"batch_size": 3}}


@pytest.mark.parametrize(
    "others, is_own",
    [({}, True), (FASTER, True), (LARGER, False), ({"start": "x"}, False), ({"shop": "x"}, False)],
)
def test_a_checkpoint_of_the_same_training_is_written_anew(tmp_path, others, is_own):
    careful, overwriting = (
        Places(tmp_path / "out", CONFIG, "posttraining_log.json", overwrite)
        for overwrite in (False, True)
    )
    folder = step_folder(tmp_path / "out", 2)
    folder.mkdir()
    write_json(folder / "moon_rec.json", {"format_version": 1, "digest": "", "config": {}})
    write_json(folder / "posttraining_log.json", {**ABOUT, **others, "log": []})
    if is_own:
        careful.check_steps(ABOUT)
    else:
        with pytest.raises(MoonRecError, match="out-step-000002 exists already; --overwrite"):
            careful.check_steps(ABOUT)
    overwriting.check_steps(ABOUT)
    (folder / "notes.txt").touch()
    with pytest.raises(MoonRecError, match=r"it holds notes\.txt"):
        overwriting.check_steps(ABOUT)
