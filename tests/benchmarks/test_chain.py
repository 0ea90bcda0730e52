"""A chain is resumed only where the very same command made what is there."""

import pytest

from benchmarks.chain import Step, run_chain
from moon_rec.errors import MoonRecError


def test_a_step_of_another_command_is_not_taken_for_this_one(tmp_path):
    made = tmp_path / "made.txt"
    write = f"open({str(made)!r}, 'a').write('x')"
    step = Step("write", ["-c", write], made)
    first = run_chain([step], tmp_path / "log.json")
    again = run_chain([step], tmp_path / "log.json", resume=True)
    assert again == first and made.read_text() == "x"
    other = Step("write", ["-c", write + "  # seed 1"], made)
    with pytest.raises(MoonRecError, match=r"made.txt is there, but was made by .*seed 1"):
        run_chain([other], tmp_path / "log.json", resume=True)
    with pytest.raises(MoonRecError, match="is not known"):
        run_chain([step], tmp_path / "no_log.json", resume=True)
