"""Tables of related products that cannot be read, or that say nothing of the shop."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_inputs.harness import Case, check

BENCHMARK = "representation.benchmark shop --tables one=items --out new --pairs pairs.csv"


def pairs(*rows: str, head: str = "item_a,item_b,relation") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "pairs.csv").write_text("\n".join([head, *rows]) + "\n")

    return make


CASES = [
    Case("relations: no such file", BENCHMARK, ("pairs.csv",)),
    Case("relations: a column that is missing", BENCHMARK, ("pairs.csv: column relation is missing", "it has item_a, item_b, kind"), pairs("1,2,s", head="item_a,item_b,kind")),
    Case("relations: a word that is none", BENCHMARK, ("pairs.csv: relation row 1: 'friend' is none that is known", "write substitute or complement"), pairs("1,2,s", "1,3,friend")),
    Case("relations: an id that is none", BENCHMARK, ("pairs.csv", "item_b", "row 0", "'two'"), pairs("1,two,s")),
    Case("relations: no relation at all", BENCHMARK, ("pairs.csv", "relation row 0"), pairs("1,2,")),
    Case("relations: ids of another shop", BENCHMARK, ("none of its 1 pairs", "give its item ids"), pairs("999991,999992,c")),
    Case("relations: of exact matches alone", BENCHMARK, ("none of its 1 pairs is a substitute or complement",), pairs("1,2,E")),
    Case("relations: of a published set", "representation.benchmark --published mbe:tables --tables one=items --out new --pairs pairs.csv", ("--pairs changes nothing", "leave it out"), pairs("1,2,s")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_relations(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
