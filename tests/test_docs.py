"""What README and docs show is there: files and anchors that they link to, parts of examples that they include, commands that parse."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

import moon_rec.command

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SNIPPET = re.compile(r'--8<-- "([^":]+):?([^"]*)"')
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Of each heading, as Python-Markdown makes them, and those that are written out."""
    text = prose(page)
    headings = [re.sub(r"<[^>]*>", "", one) for one in HEADING.findall(text)]
    plain = [re.sub(r"[^\w\s-]", "", one).strip().lower() for one in headings]
    return {re.sub(r"[-\s]+", "-", one) for one in plain} | set(re.findall(r'id="([^"]+)"', text))


def broken_links(page: Path) -> list[str]:
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_broken(page):
    assert not broken_links(page)


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n[a](#a-page) [b](#nowhere) [c](none.md) [d](https://x.org)\n")
    assert broken_links(page) == ["#nowhere", "none.md"]


def test_every_included_part_of_an_example_is_there():
    included = [found for page in PAGES for found in SNIPPET.findall(page.read_text("utf-8"))]
    assert len(included) >= 7
    for file, part in included:
        text = (ROOT / file).read_text(encoding="utf-8")
        marks = (f"[start:{part}]", f"[end:{part}]") if part else ()
        assert all(mark in text for mark in marks), (file, part)
    scripts = {str(script.relative_to(ROOT)) for script in (ROOT / "examples").glob("*.py")}
    assert scripts == {file for file, _ in included}, "each example has its page"


def commands(page: Path) -> list[list[str]]:
    """Every command of a page's bash blocks, as words, with the variables that were set before it."""
    found, variables = [], {}
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "bash":
            continue
        for line in block.replace("\\\n", " ").splitlines():
            whole = re.sub(r"\$(\w+)", lambda name: variables[name[1]], line)
            words = shlex.split(whole, comments=True)
            assigned = re.fullmatch(r"(\w+)=(.*)", words[0]) if words else None
            if assigned and len(words) == 1:
                variables[assigned[1]] = assigned[2]
            elif words:
                found.append(words)
    return found


class ParsedError(Exception):
    """The command's words were understood."""


def parse(words: list[str], monkeypatch) -> None:
    """Let the command's own parser read its words, and stop it there."""

    def stop(options):
        raise ParsedError

    monkeypatch.setattr(moon_rec.command, "note_options", stop)
    is_package = (ROOT / words[0].replace(".", "/")).is_dir()
    module = importlib.import_module(words[0] + ".__main__" * is_package)
    with pytest.raises(ParsedError):
        module.main(words[1:])


SHOWN = {" ".join(words): words for page in PAGES for words in commands(page)}


@pytest.mark.parametrize("words", SHOWN.values(), ids=SHOWN.keys())
def test_every_command_shown_parses(words, monkeypatch):
    program, *rest = words
    if program == "make":
        targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert targets and set(rest) <= set(targets[1].split())
    elif program.rpartition("/")[2].startswith("python") and rest[0] == "-m":
        if rest[1].split(".")[0] in {"moon_rec", "representation", "ranking", "exchange_rate"}:
            parse(rest[1:], monkeypatch)
    elif program.rpartition("/")[2].startswith("python"):
        assert (ROOT / rest[0]).is_file()
    else:
        assert program.rpartition("/")[2] in {"source", "pip", "uv", "git", "cd", "export"}, program


def test_a_command_that_does_not_parse_is_found(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        parse(["ranking.train", "runs/shop", "--out", "runs/ids", "--no-such-option"], monkeypatch)
    assert "--no-such-option" in capsys.readouterr().err
