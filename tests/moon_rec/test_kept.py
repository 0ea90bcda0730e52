"""What a stopped command says of itself, and what its parts noted on the way does not."""

import pytest

from moon_rec.kept import (
    as_a_part,
    begin_command,
    note_done,
    note_kept,
    note_to_go_on,
    note_written,
    what_is_kept,
)


@pytest.fixture(autouse=True)
def of_its_own():
    """The notes of other tests' commands are no news here, nor these there."""
    begin_command(["study", "shop"])
    yield
    begin_command([])


def test_a_part_of_a_command_is_no_news_of_it(tmp_path):
    """A study trains encoders by the functions of another command, which say of themselves that they are done."""
    cells = tmp_path / "cells"
    cells.mkdir()
    note_kept(cells, "3 finished cells")
    with as_a_part():
        (cells / "encoder").mkdir()
        note_written(cells / "encoder")
        note_kept(cells / "encoder", "step 2 of 9")
        note_to_go_on("--anew")
        note_done()
        inside = what_is_kept()  # as a signal within the block has it
    wanted = f"kept: {cells} (3 finished cells); go on with: study shop"
    assert what_is_kept() == wanted and inside == wanted


def test_notes_go_to_the_command_again_after_a_part_that_failed(tmp_path):
    with pytest.raises(ZeroDivisionError), as_a_part():
        raise ZeroDivisionError
    note_kept(tmp_path, "all of it")
    note_to_go_on("--resume")
    assert what_is_kept() == f"kept: {tmp_path} (all of it); go on with: study shop --resume"
