"""Two rankers compared: `ranking.compare(labels, ...)` on arrays, `python -m ranking.compare A B` on folders of scores.

`ranking` takes its function `compare` from here, from the module of the same name: loading this module can then no
longer put itself in the function's place. A package, so that `python -m` finds it loaded and does not mind.
"""

from ranking.significance import compare, compare_seeds

__all__ = ["compare", "compare_seeds", "main"]


def main(argv: list[str] | None = None) -> None:
    """The command. Its pictures are loaded with it alone, for the functions need none."""
    from ranking.judging.side_by_side import main as command

    command(argv)
