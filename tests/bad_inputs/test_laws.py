"""Bad tables of points and options: `exchange_rate.laws`."""

from pathlib import Path

import pytest

from tests.bad_inputs.harness import Case, check

GOOD = "tokens,params,recall,seed,loss\n" + "".join(
    f"{10**place},{7 * 10**place},{0.5 - 0.4 * 10 ** (-0.3 * place):.4f},{seed},{name}\n"
    for place in range(1, 7)
    for seed in (0, 1)
    for name in ("infonce",)
)


def law(
    name: str, says: tuple[str, ...], old: str = "", new: str = "", options: str = "--x tokens --y recall"
) -> Case:  # fmt: skip
    """The good table with the first `old` replaced by `new`."""

    def damage(folder: Path) -> None:
        assert old in GOOD, old
        (folder / "law.csv").write_text(GOOD.replace(old, new, 1) if old else GOOD)

    return Case(f"laws: {name}", f"exchange_rate.laws law.csv {options} --out new", says, damage)


def _taken(folder: Path) -> None:
    (folder / "law.csv").write_text(GOOD)
    (folder / "new").mkdir()
    (folder / "new" / "mine.txt").write_text("mine")


CASES = [
    Case("laws: no such file", "exchange_rate.laws nowhere.csv --x tokens --y recall --out new", ("no file at nowhere.csv",)),
    Case("laws: a folder that is not ours", "exchange_rate.laws law.csv --x tokens --y recall --out new --overwrite", ("new exists already and is not replaced", "no laws.json"), _taken),
    law("no such column", ("law.csv has no column 'auc'", "it has tokens, params"), options="--x tokens --y auc"),
    law("a column asked for twice", ("'tokens' is asked for twice",), options="--x tokens --y tokens"),
    law("a value that is a word", ("law.csv, row 0, recall: 'much' is no number", "leave that row out"), "0.2995", "much"),
    law("a value that is missing", ("law.csv, row 0, recall: is missing",), "0.2995", ""),
    law("an infinite value", ("law.csv, row 0, recall: 'inf' is no number",), "0.2995", "inf"),
    law("tokens of zero", ("law.csv, row 0, tokens: 0 is not positive", "leave that row out"), "\n10,", "\n0,"),
    law("a seed twice at one point", ("law.csv, row 1: seed '0' stands at this point in row 0 already",), "1,infonce", "0,infonce", "--x tokens --y recall --seed seed"),
    law("a group without a name", ("loss, row 0", "is no name"), "infonce", "", "--x tokens --y recall --by loss"),
    law("a logarithm of a negative", ("law.csv: y, row 0: -0.2 has no logarithm", "choose scale linear"), "0.2995", "-0.2", "--x tokens --y recall --scale log"),
    law("a form of two inputs with one", ("--form additive takes 2 input(s), not 1", "--x2"), options="--x tokens --y recall --form additive"),
    law("a form of one input with two", ("--form log takes 1 input(s), not 2", "leave --x2 out"), options="--x tokens --x2 params --y recall --form log"),
    law("a budget of one input", ("--budget is of two inputs", "--x2"), options="--x tokens --y recall --budget 1e9"),
    law("an axis and groups", ("--axis and --by do not go together", "leave one of them out"), options="--x tokens --y recall --axis loss --by loss"),
    law("more held out than there are", ("law.csv: held out: 99 of 12 points",), options="--x tokens --y recall --hold-out 99"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_refused_or_handled_and_said(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
