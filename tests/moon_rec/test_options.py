"""Every command of the library: its help has a worked example that it understands, and no option takes a number that is none."""

import argparse
import importlib
import shlex
import subprocess
import sys

import pytest

from moon_rec.command import Parser, count, id_number, positive, seed_number

COMMANDS = (
    "moon_rec.doctor",
    "moon_rec.shop.commands",
    "moon_rec.tracking.commands",
    "ranking.compare",
    "ranking.evaluate",
    "ranking.handover.__main__",
    "ranking.score",
    "ranking.train",
    "ranking.ways.comparison",
    "representation.augment",
    "representation.benchmark",
    "representation.bring",
    "representation.compose",
    "representation.core_region.command",
    "representation.curate",
    "representation.embed",
    "representation.locked",
    "representation.look",
    "representation.merge",
    "representation.posttrain",
    "representation.pretrain",
    "representation.reason",
    "representation.recall",
    "representation.starters.__main__",
    "representation.write",
    "exchange_rate.demo",
    "exchange_rate.laws.command",
    "exchange_rate.log",
    "exchange_rate.report.command",
    "exchange_rate.study.command",
    "exchange_rate.study.plan_keys",
    "exchange_rate.verify",
)
WITH_TORCH = {
    "exchange_rate.demo",
    "exchange_rate.study.command",
    "exchange_rate.study.plan_keys",
    "representation.core_region.command",
    "representation.curate",
    "representation.write",
}
"""Whose help takes some seconds: what their settings are, or what they look at, is said by modules that load torch."""
NUMBERS = {
    count: ["0", "-1", "1.5", "nan", "inf", "two", "true", "", "9" * 40, "+1", "1_0", "²"],
    seed_number: ["-1", "1.5", "nan", "x", "", str(2**63)],
    id_number: ["1.5", "nan", "x", "", "--1", str(2**63)],
    positive: ["0", "-1", "nan", "inf", "x", ""],
}
"""For each type of option what it refuses."""


class _Seen(Exception):
    pass


def _parser(module: str) -> argparse.ArgumentParser:
    """The parser that a command makes, taken when it is about to read its words."""
    found = []

    def taken(self, *_, **__):
        found.append(self)
        raise _Seen

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Seen):
        patch.setattr(Parser, "parse_args", taken)
        importlib.import_module(module).main([])
    return found[0]


def _all_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """It and those of its subcommands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [one for each in action.choices.values() for one in _all_parsers(each)]
    return found


@pytest.mark.parametrize("module", COMMANDS)
def test_the_worked_example_is_one_that_the_command_takes(module):
    top = _parser(module)
    for parser in _all_parsers(top):
        assert parser.epilog and parser.epilog.startswith("example:\n  python -m "), parser.prog
        words = shlex.split(parser.epilog.split("\n")[1])  # the first settings may stand below
        called = top.prog.split()
        assert words[: len(called)] == called
        top.parse_args(words[len(called) :])


@pytest.mark.parametrize("module", COMMANDS)
def test_no_option_takes_a_number_that_is_none(module, capsys):
    for parser in _all_parsers(_parser(module)):
        for action in parser._actions:
            if action.type in (int, float):
                pytest.fail(f"{parser.prog} {action.option_strings}: a bare {action.type}")
            for wrong in NUMBERS.get(action.type, []):  # type: ignore[arg-type]
                option = action.option_strings[0]
                with pytest.raises(SystemExit) as caught:
                    parser.parse_args([f"{option}={wrong}"])
                said = capsys.readouterr().err
                assert caught.value.code == 2 and said.count("\n") == 1
                assert option in said and (wrong[:100] in said)


def test_help_comes_without_torch():
    """Nor TorchRec, nor transformers; with any warning an error, in a process of its own that asks each command in turn."""
    ask = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name).main(["--help"])
    except SystemExit as done:
        assert not done.code, name
    assert not {"torch", "torchrec", "transformers"} & sys.modules.keys(), name
"""
    names = [name for name in COMMANDS if name not in WITH_TORCH]
    words = [sys.executable, "-W", "error", "-c", ask, *names]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.count("example:\n  python -m ") == len(names)


def test_all_commands_are_in_the_list():
    """Whatever makes a parser of its own is walked here."""
    import pathlib

    root = pathlib.Path(importlib.import_module("moon_rec").__file__).parents[1]
    makers = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for package in ("moon_rec", "ranking", "representation", "exchange_rate")
        for path in (root / package).rglob("*.py")
        if "Parser(\n" in path.read_text() and path.name != "command.py"
    }
    assert makers - {"ranking.judging.side_by_side"} <= set(COMMANDS)
