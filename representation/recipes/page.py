"""docs/moon_family.md, made of the cards: `python -m representation.recipes.page` writes it."""

from pathlib import Path

from representation.recipes.card import (
    STATUSES,
    SUBJECTS,
    Card,
    Mechanism,
    Subject,
    read_cards,
)

PAGE = Path(__file__).parents[2] / "docs" / "moon_family.md"
_BEGINNING = """# The MOON family

MOON is a series of four systems by which Taobao turns products into vectors. This page is made of the cards of `python -m representation.recipes`: of every mechanism of a paper that is known, what of it is
here, why it differs, and the test that pins it. A mechanism has one of four statuses.

| status | what it says |
|---|---|
| FAITHFUL | as the paper has it, as far as that is known; a test of this project holds it there |
| APPROXIMATED | another way to the same end, or a part of it |
| CHOSEN | the paper is silent, or its value is not public; the choice is ours and an option |
| OMITTED | not built |

The papers were not at hand in full, and none has public code. How each mechanism is known stands with it: from a *figure* or table of the paper, from its *abstract*, from a *note* of somebody who read it,
*inferred* by us, or *unknown*. Figures that the papers report are nothing to compare with: data, sizes and definitions differ.
What each part that is a switch is worth here, beside the direction that the papers' own ablations have, stands in [Results](results.md#the-recipes-of-the-moon-family-part-by-part)."""


def page() -> str:
    """The whole page as Markdown."""
    cards = read_cards()
    parts = [_BEGINNING, *_summaries(cards), "## Mechanisms by system", _table(cards)]
    parts += [_card(card) for card in cards]
    return "\n\n".join(parts) + "\n"


def _summaries(cards: list[Card]) -> list[str]:
    lines = ["| recipe | system | " + " | ".join(STATUSES) + " |", "|---|---|" + "--:|" * 4]
    for card in cards:
        counts = " | ".join(str(count) for count in card.counts().values())
        lines.append(f"| `{card.name}` | {card.title} ({card.paper}) | {counts} |")
    told = [f"**{card.title}.** {_text(card.summary)}" for card in cards]
    return ["## The four systems", *told, "\n".join(lines)]


def _table(cards: list[Card]) -> str:
    """A row a subject; the statuses of its mechanisms in each system, in words."""
    lines = [
        "| | " + " | ".join(card.title for card in cards) + " |",
        "|---|" + "---|" * len(cards),
    ]
    for subject in SUBJECTS:
        cells = [_statuses(card, subject) for card in cards]
        if any(cells):
            lines.append(f"| {subject} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _statuses(card: Card, subject: Subject) -> str:
    found = [one.status for one in card.of_subject(subject)]
    counted = [(status, found.count(status)) for status in STATUSES if status in found]
    return ", ".join(f"{status} ({count})" if count > 1 else status for status, count in counted)


def _card(card: Card) -> str:
    lines = [
        f"## {card.title}",
        "",
        f"`python -m representation.recipes {card.name}`; {card.paper}.",
        "",
    ]
    lines += ["| mechanism | status | the paper | here | test |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_row, card.mechanisms)])


def _row(one: Mechanism) -> str:
    known = f"{_text(one.paper)} *({one.where}; {one.evidence})*"
    here = " ".join(_text(text) for text in (one.here, one.reason) if text)
    test = f"`{one.test}`" if one.test else ""
    return f"| {_text(one.name)} | {one.status} | {known} | {here} | {test} |"


def _text(text: str) -> str:
    """In a cell of a table: no bar ends it, and nothing in it is mark-up but code."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    escaped = [part.replace("*", "\\*").replace("_", "\\_") for part in parts[::2]]
    parts[::2] = [part.replace("<", "&lt;") for part in escaped]
    return "`".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
