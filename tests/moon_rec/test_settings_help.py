"""Commands of many settings: help opens with the six that users touch, and lists all of them where it is asked."""

import importlib

import pytest

COMMANDS = (
    "representation.posttrain",
    "representation.pretrain",
    "representation.reason",
    "representation.curate",
    "representation.benchmark",
    "ranking.train",
    "ranking.ways",
)


def lines_after(text: str, head: str) -> list[str]:
    """The names at the beginning of the indented lines below a line."""
    below = text.partition(head)[2].splitlines()[1:]
    end = next((at for at, line in enumerate(below) if not line.startswith("  ")), len(below))
    return [line.split()[0].removesuffix(":") for line in below[:end]]


@pytest.mark.parametrize("command", COMMANDS)
def test_six_settings_first_and_all_where_asked(command, capsys):
    module = command if command != "ranking.ways" else "ranking.ways.__main__"
    main = importlib.import_module(module).main
    with pytest.raises(SystemExit) as ended:
        main(["--help-all"])
    printed = capsys.readouterr().out
    first = lines_after(printed, "settings to touch first")
    every = lines_after(printed, "all settings")
    assert ended.value.code == 0 and len(first) == 6
    assert set(first) <= set(every) and len(every) == len(set(every)) > 6
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert "settings to touch first" in printed and "all settings:" not in printed
