"""Names and numbers as people read them, wherever the report prints them."""

from collections.abc import Iterable

from exchange_rate.analysis.results import Number


def words(metric: str) -> str:
    """A metric's name for people: `image_search_recall@10` -> `image-search recall@10`."""
    name, at, cut = metric.partition("@")
    for modality in ("image", "text", "mixed"):
        name = name.replace(f"{modality}_search_", f"{modality}-search ")
    name = name.replace("same_spu", "same-SPU")
    return name.replace("_", " ") + at + cut


def points(value: float) -> str:
    """A difference of AUC in points of a hundredth, with its sign."""
    return f"{100 * value:+.2f}"


def with_interval(number: Number, scale: float = 1.0) -> str:
    """A difference of AUC in points, with its interval where it has one."""
    if number.value is None:
        return "an unknown number"
    if number.low is None or number.high is None:
        return points(scale * number.value)
    ends = f"[{points(scale * number.low)}, {points(scale * number.high)}]"
    return f"{points(scale * number.value)} {ends}"


def sized(number: Number, of: str, scale: float = 1.0) -> str:
    """`+1.12 points of CUBE's AUC [+1.05, +1.20]`."""
    value, _, ends = with_interval(number, scale).partition(" ")
    return f"{value} points of {of} {ends}".rstrip()


def counted(count: int, noun: str) -> str:
    """`1 path`, `6 paths`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: tuple[str, ...] | list[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def sentence(text: str) -> str:
    """With a capital at its beginning and a full stop at its end; nothing stays nothing."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def with_words(text: str, metrics: Iterable[str]) -> str:
    """A text in which metrics stand by their columns' names, with their names for people."""
    for metric in sorted(metrics, key=len, reverse=True):
        text = text.replace(metric, words(metric))
    return text
