"""A teacher that is not there, not asked or not asked for; options of the loss that do not go together."""

from pathlib import Path

import pytest

from tests.bad_inputs.harness import Case, check

POSTTRAIN = "representation.posttrain shop --out new"


def _half(folder: Path) -> None:
    (folder / "half").mkdir()
    (folder / "items").rename(folder / "half" / "items")


CASES = [
    Case("teacher: asked for, not given", f"{POSTTRAIN} --set score_distillation=1", ("give --teacher", "representation.embed")),
    Case("teacher: given, not asked", f"{POSTTRAIN} --teacher .", ("teacher = . changes nothing", "vector_distillation")),
    Case("teacher: no folder", f"{POSTTRAIN} --teacher nowhere --set score_distillation=1", ("no vectors at nowhere/items",)),
    Case("teacher: no vectors of searches", f"{POSTTRAIN} --teacher half --set vector_distillation=1", ("no vectors at half/queries",), _half),
    Case("teacher: a temperature of nothing", f"{POSTTRAIN} --set distillation_temperature=0.5", ("distillation_temperature = 0.5 changes nothing",)),
    Case("negatives: past alone without a slow encoder", f"{POSTTRAIN} --set queue_term=alone --set num_negatives=500", ("wants momentum above 0",)),
    Case("negatives: past alone, none drawn", f"{POSTTRAIN} --set queue_term=alone --set momentum=0.9", ("changes nothing", "num_negatives")),
    Case("positives: several under circle loss", f"{POSTTRAIN} --set other_positives=positives --set loss=circle", ("is for loss='infonce'",)),
    Case("negatives: a margin beyond cosines", f"{POSTTRAIN} --set above_positive_margin=3", ("above_positive_margin = 3", "less than or equal to 2")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_is_refused(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
