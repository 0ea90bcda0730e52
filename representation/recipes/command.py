"""The command: list the recipes, or show a card in full."""

import json
import textwrap

from moon_rec.command import Parser
from representation.recipes.card import NAMES, Card, Mechanism, as_json, read_card, read_cards

WIDTH = 100


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m representation.recipes",
        description="The MOON family as recipes, each with its card: every mechanism of the paper, FAITHFUL, APPROXIMATED, CHOSEN (the paper is silent) or OMITTED. "
        "Without a name, list them; with one, show its card in full.",
        example="python -m representation.recipes moon2",
    )
    parser.add_argument("name", nargs="?", help=f"of {', '.join(NAMES)}; default: all, in short")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(argv)
    if chosen.name is None:
        cards = read_cards()
        lines = [f"{card.name}: {card.line()}" for card in cards]
        print(
            json.dumps([as_json(card) for card in cards], indent=2)
            if chosen.json
            else "\n".join(lines)
        )
        return
    card = read_card(chosen.name)
    print(json.dumps(as_json(card), indent=2) if chosen.json else _in_full(card))


def _in_full(card: Card) -> str:
    parts = [f"{card.name}: {card.line()}", _wrapped(card.summary, "")]
    return "\n\n".join(["\n".join(parts), *map(_mechanism, card.mechanisms)])


def _mechanism(one: Mechanism) -> str:
    lines = [f"paper ({one.where}; {one.evidence}): {one.paper}"]
    for name, text in (("here", one.here), ("why", one.reason), ("test", one.test)):
        lines += [f"{name}: {text}"] if text else []
    head = f"{one.status}: {one.name} [{one.subject}]"
    return "\n".join([head, *(_wrapped(line, "    ") for line in lines)])


def _wrapped(text: str, margin: str) -> str:
    """Lines of the terminal's width; names of tests are never broken."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
