"""Results side by side: tables of texts, printed by rich and written as Markdown from the same rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from moon_rec.estimate import Estimate
from moon_rec.shown import as_console_text, as_markdown
from representation.metrics.benchmark import Result, differences
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import FIGURES, WORDS, Classified
from representation.metrics.collapse import OTHERS, WAYS
from representation.metrics.related import RelatedFound
from representation.metrics.retrieval import READINGS, Retrieved
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.contestant import LABELLED_TYPES, NotMeasured

LEAK = (
    "Products are classified by title and picture only: category, attributes, brand and description would give the label away. A title may still name it,"
    " so `image` is the honest reading of what was learnt from pictures."
)
SHOWN = "Products are found by: `text`, all their texts as the encoder words them; `image`, their picture alone; `both`. Brought vectors stand under `both`, whatever they were made of."

TIED = "`tied`: the share whose cut, or nearest, falls among several of one score; they count what a random order of these gives on average"


@dataclass(frozen=True)
class Sheet:
    """A table: a title, a line below it, headings, and rows of texts."""

    title: str
    note: str
    head: list[str]
    rows: list[list[str]]


def sheets(
    results: Sequence[Result], bench: BenchmarkSet, config: BenchmarkConfig, full: bool = False
) -> list[Sheet]:
    """The tables; `full` adds every k, every figure and the differences."""
    found = [_retrieval(results, k) for k in (config.all_ks if full else (config.headline_k,))]
    if full:
        others = [reading for reading in READINGS if reading != "recall"]
        found += [_retrieval(results, config.headline_k, reading) for reading in others]
    if full and len(results) > 1:
        found.append(_gains(results, config))
    figures = FIGURES if full else ("accuracy", "f1")
    found += [_classification(results, figure) for figure in figures]
    related = [_related(results, k) for k in (config.all_ks if full else (config.headline_k,))]
    related = related if bench.related else []
    return [*found, *[_collapse(one) for one in results], *related, _geometry(results)]


def print_tables(
    results: Sequence[Result], bench: BenchmarkSet, config: BenchmarkConfig, console: Console
) -> None:
    """Short tables on a console."""
    for line in about(bench):
        console.print(as_console_text(line))
    found = sheets(results, bench, config)
    if any(" tied)" in cell for sheet in found for row in sheet.rows for cell in row):
        console.print(TIED, markup=False, highlight=False)
    for sheet in found:
        if not sheet.rows:
            line = f"{sheet.title}: {sheet.note}"
            console.print(as_console_text(line))
            continue
        table = Table(
            title=as_console_text(sheet.title),
            caption=as_console_text(sheet.note) if sheet.note else None,
            title_justify="left",
            caption_justify="left",
        )
        for at, name in enumerate(sheet.head):
            table.add_column(
                as_console_text(name), justify="left" if at == 0 else "right", overflow="fold"
            )
        for row in sheet.rows:
            table.add_row(*[as_console_text(cell) for cell in row])
        console.print(table)


def markdown(results: Sequence[Result], bench: BenchmarkSet, config: BenchmarkConfig) -> str:
    """Everything as one Markdown page."""
    lines = [
        f"# Benchmark on {as_markdown(bench.name)}{_simulated(bench)}",
        "",
        *[f"{as_markdown(line)}\n" for line in about(bench)],
    ]
    lines += [
        f"- **{as_markdown(one.name)}**: {as_markdown(one.made_by)}, {one.dim} wide, digest {as_markdown(one.digest)}, {one.seconds:.0f} s"
        for one in results
    ]
    for sheet in sheets(results, bench, config, full=True):
        lines += ["", f"## {as_markdown(sheet.title)}", ""]
        if sheet.note:
            lines += [as_markdown(sheet.note), ""]
        if not sheet.rows:
            continue
        lines += [_line(sheet.head), _line(["---", *["---:"] * (len(sheet.head) - 1)])]
        lines += [_line(row) for row in sheet.rows]
    lines += [
        "",
        f"Intervals: 95 %, Wilson's for shares, at the count that the units are worth. {TIED}. `-`: not measured; the JSON says why for each.",
    ]
    return "\n".join(lines) + "\n"


def about(bench: BenchmarkSet) -> list[str]:
    """What was measured on, in lines."""
    counts = ", ".join(f"{frame.height:,} by {kind}" for kind, frame in bench.queries.items())
    assert bench.labelled is not None
    lines = [
        f"{bench.name}{_simulated(bench)}: {bench.gallery.height:,} products; queries: {counts or 'none'}; {len(bench.labelled):,} products classified ({bench.labelled_are})",
        f"source: {bench.source}" + (f"; licence: {bench.licence}" if bench.licence else ""),
    ]
    lines += [
        f"{kind} queries: {bench.asked[kind]}" for kind in bench.queries if kind in bench.asked
    ]
    lines += [f"{relation}s: {one.asked}" for relation, one in bench.related.items()]
    return [*lines, SHOWN, LEAK]


def _retrieval(results: Sequence[Result], k: int, reading: str = "recall") -> Sheet:
    rows = []
    for query, cells in results[0].retrieval.items():
        for item in cells:
            found = [one.retrieval[query][item] for one in results]
            counts = [len(cell.searches) for cell in found if isinstance(cell, Retrieved)]
            if counts and max(counts):
                figures = [
                    _text(cell.readings[reading][k] if isinstance(cell, Retrieved) else cell)
                    for cell in found
                ]
                rows.append([f"{query} -> {item}", f"{max(counts):,}", *figures])
    words = READINGS[reading].format(queries="queries", top=f"the top {k}", k=k)
    note = f"{words}. {_why([one.retrieval for one in results])}".rstrip(". ")
    title = f"Retrieval, {reading.replace('_', ' ')}@{k}"
    return Sheet(title, note, ["query -> product", "queries", *_names(results)], rows)


def _gains(results: Sequence[Result], config: BenchmarkConfig) -> Sheet:
    gained = differences(list(results), config)
    keys = list(dict.fromkeys(key for found in gained for key in found))
    rows = [
        [f"{query} -> {item}", *[_text(found.get((query, item))) for found in gained[1:]]]
        for query, item in keys
    ]
    title = f"Recall@{config.headline_k} less that of {results[0].name}, paired over queries"
    return Sheet(title, "", ["query -> product", *[one.name for one in results[1:]]], rows)


def _classification(results: Sequence[Result], figure: str) -> Sheet:
    rows = []
    is_accuracy = figure == "accuracy"
    for task in results[0].classification:
        for shown in LABELLED_TYPES:
            found = [one.classification[task][shown] for one in results]
            measured = next((one for one in found if isinstance(one, Classified)), None)
            if measured is None:
                continue
            counts = [f"{measured.num_labels:,}", f"{len(measured.rows):,}"]
            if is_accuracy:
                counts += [_short(measured.majority), _short(measured.chance)]
            figures = [
                _text(each.figures[figure] if isinstance(each, Classified) else each)
                for each in found
            ]
            rows.append([f"{task}, by {shown}", *counts, *figures])
    title = f"Classification, {'' if is_accuracy else 'macro '}{figure}"
    head = ["task", "labels", "products", *["majority", "chance"] * is_accuracy]
    note = _why([one.classification for one in results])
    if not results[0].classification:
        note = "not measured (-): no category level or attribute of this gallery has two labels"
    note = f"{WORDS[figure]}; zero-shot, nearest label text. {note}".strip()
    return Sheet(title, note, [*head, *_names(results)], rows)


def _collapse(result: Result) -> Sheet:
    """The questions that were asked in two ways or more."""
    rows = [
        [row.name, *[_text(row.values.get(way)) for way in (*WAYS, OTHERS)]]
        for row in result.collapse.rows
    ]
    asked = [row for row in rows if sum(cell != "-" for cell in row[1:]) > 1]
    title, note = f"Text alone, picture alone, both: {result.name}", result.collapse.verdict
    return Sheet(title, f"verdict: {note}", ["question", *WAYS, OTHERS], asked)


def _related(results: Sequence[Result], k: int) -> Sheet:
    rows = []
    for relation in results[0].related:
        found = [one.related[relation] for one in results]
        measured = [one for one in found if isinstance(one, RelatedFound)]
        if measured:
            figures = [
                _text(one.recall[k] if isinstance(one, RelatedFound) else one) for one in found
            ]
            count = max(one.recall[k].count for one in measured)
            rows.append([relation, f"{count:,}", _short(measured[0].chance[k]), *figures])
    note = f"share of the products asked about whose top {k} by product vectors hold a {' or a '.join(results[0].related)}, each relation alone; chance: of a random order"
    return Sheet(f"Related products, recall@{k}", note, ["relation", "products", "chance", *_names(results)], rows)  # fmt: skip


def _geometry(results: Sequence[Result]) -> Sheet:
    names = list(dict.fromkeys(name for one in results for name in one.geometry))
    rows = [
        [name.replace("_", " "), *[_text(one.geometry.get(name)) for one in results]]
        for name in names
    ]
    rows = [row for row in rows if any(cell != "-" for cell in row[1:])]
    note = "norm: of products' vectors as given; alignment: mean cosine of a query with its answers; uniformity: lower is more even; category accuracy: of the nearest other product; same SPU recall: of products with a sibling"
    return Sheet("Norms, alignment, uniformity", note, ["measure", *_names(results)], rows)


def _text(each: Estimate | NotMeasured | None) -> str:
    if not isinstance(each, Estimate):
        return "-"
    tied = f" ({each.tied:.1%} tied)" if each.tied else ""
    return f"{_short(each.value)} [{_short(each.low)}, {_short(each.high)}]{tied}"


def _short(value: float) -> str:
    """Three decimals, without the zero before the point."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3f}")


def _why(found: list) -> str:
    """The reasons for what is not measured, each once, of cells in two levels of names."""
    cells = [cell for grid in found for ways in grid.values() for cell in ways.values()]
    reasons = list(dict.fromkeys(cell.why for cell in cells if isinstance(cell, NotMeasured)))
    return f"not measured (-): {'; '.join(reasons)}" if reasons else ""


def _names(results: Sequence[Result]) -> list[str]:
    return [one.name for one in results]


def _simulated(bench: BenchmarkSet) -> str:
    return " (SIMULATED)" if bench.is_simulated else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(as_markdown(cell) for cell in cells) + " |"
