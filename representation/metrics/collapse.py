"""Does one modality do all the work? The same questions with text alone, pictures alone, and both.

NoteLLM-2 (section on modality bias) found recall@100 of 71.5 by text, 71.9 by both and 0.6 by picture alone: the model had stopped looking. Notable choices:
- The deciding row is products seeking products, the query and the gallery shown in the same way: by title and texts, by pictures, by both. Every figure of the row is
  over the same queries. Without product queries nothing is decided, the other rows only shown.
- A modality's share is its recall over that of both, above chance: (r - c) / (both - c), c = min(1, k / products). Its interval: `shares.ratio_of_shares`.
- Verdict: *collapsed* where the share's interval lies under the threshold (`collapse_share`), *not collapsed* where it lies above; *not clear* where it
  does neither, or where both together are no better than chance. A single modality above both is not a collapse; the share then exceeds 1.
- What the right picture is worth: recall by both less recall where each product of the gallery stands with its own texts and another's picture, drawn at random; paired over
  the same queries. Around zero the vector does not use the picture, whatever a picture alone can find.
- Accuracy (mean over category levels, and over attributes) by title, picture and both, and recall of the searches by item type, stand below it for reading.
"""

from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from moon_rec.shares import interval, mean_share, ratio_of_shares
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import Classified
from representation.metrics.retrieval import Grid, Retrieved, difference, retrieve
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.contestant import Contestant, NotMeasured

WAYS = ("text", "image", "both")
OTHERS = "others' pictures"
LABELLED_AS = {"text": "title", "image": "image", "both": "title+image"}


@dataclass(frozen=True)
class CollapseRow:
    """One question in three ways: `text`, `image`, `both`; the deciding one also with others' pictures (`OTHERS`)."""

    name: str
    values: dict[str, Estimate | NotMeasured]


@dataclass(frozen=True)
class Collapse:
    """The check.

    Attributes:
        rows: the questions; the first decides.
        shares: of `text` and of `image`, as the module's docstring defines them.
        verdicts: of `text` and of `image`.
        verdict: in a sentence.
        worth: of the right picture, as the module's docstring defines it; None where it is not measured.
    """

    rows: list[CollapseRow]
    shares: dict[str, Estimate]
    verdicts: dict[str, str] = field(default_factory=dict)
    verdict: str = ""
    worth: Estimate | None = None


def check_collapse(
    contestant: Contestant,
    bench: BenchmarkSet,
    grid: Grid,
    classified: dict[str, dict],
    config: BenchmarkConfig,
) -> Collapse:
    """Run the product row, gather the others, decide."""
    k = config.headline_k
    products = _product_row(contestant, bench, grid, config)
    dealt = _with_others_pictures(contestant, bench, config)
    asked = {"product finds product, both shown so": products}
    for kind in ("image", "text", "mixed"):
        cells = {way: grid[kind][way] for way in WAYS}
        if any(isinstance(cell, Retrieved) for cell in cells.values()):
            asked[f"{kind} search finds product shown so"] = cells
    rows = [
        CollapseRow(f"{name}, recall@{k}", _same_queries(cells, k)) for name, cells in asked.items()
    ]
    rows[0].values[OTHERS] = _same_queries(products | {OTHERS: dealt}, k)[OTHERS]
    for family in ("category", "attribute"):
        tasks = [ways for name, ways in classified.items() if name.startswith(family)]
        if tasks:
            name = f"accuracy, mean over {family} tasks"
            rows.append(CollapseRow(name, _mean_accuracy(tasks, config)))
    shares, verdicts = _shares(products, k, config)
    worth = _worth(dealt, products["both"], k)
    said = _sentence(products, shares, verdicts, config)
    if worth is not None:
        said += f"; the right picture instead of another's: {worth.value:+.3f} [{worth.low:+.3f}, {worth.high:+.3f}] recall@{k}"
    return Collapse(rows, shares, verdicts, said, worth)


def _with_others_pictures(
    contestant: Contestant, bench: BenchmarkSet, config: BenchmarkConfig
) -> Retrieved | NotMeasured:
    if "product" not in bench.queries:
        return NotMeasured("the set has no product query that can be answered")
    queries, items = contestant.queries("product"), contestant.with_others_pictures()
    return retrieve(queries, items, bench, "product", "both", config)


def _worth(
    dealt: Retrieved | NotMeasured, both: Retrieved | NotMeasured, k: int
) -> Estimate | None:
    if not isinstance(dealt, Retrieved) or not isinstance(both, Retrieved):
        return None
    found = difference(dealt, both, k)
    about = f"recall@{k}, products seeking products by both, less that where each product stands with another's picture"
    return None if found is None else replace(found, definition=about)


def _product_row(
    contestant: Contestant, bench: BenchmarkSet, grid: Grid, config: BenchmarkConfig
) -> dict[str, Retrieved | NotMeasured]:
    found: dict[str, Retrieved | NotMeasured] = {way: grid["product"][way] for way in WAYS}
    for way in ("text", "image") if "product" in bench.queries else ():
        queries = contestant.queries("product", way)
        found[way] = retrieve(queries, contestant.items(way), bench, "product", way, config)
    return found


def _common(cells: dict[str, Retrieved | NotMeasured]) -> np.ndarray:
    """Queries that every way measured counted."""
    lists = [cell.searches for cell in cells.values() if isinstance(cell, Retrieved)]
    return reduce(np.intersect1d, lists) if lists else np.empty(0, np.int64)


def _same_queries(
    cells: dict[str, Retrieved | NotMeasured], k: int
) -> dict[str, Estimate | NotMeasured]:
    common = _common(cells)
    values: dict[str, Estimate | NotMeasured] = {}
    for way, cell in cells.items():
        if isinstance(cell, NotMeasured):
            values[way] = cell
            continue
        hits, users = cell.hits_of(common, k)
        definition = f"recall@{k} by {way} over the {len(common):,} queries that every way can answer, of {cell.num_items:,} products"
        values[way] = mean_share(hits, definition=definition, groups=users)
    return values


def _mean_accuracy(tasks: list[dict], config: BenchmarkConfig) -> dict[str, Estimate | NotMeasured]:
    """Accuracy averaged over tasks; bootstrap over products, each with all its tasks."""
    values: dict[str, Estimate | NotMeasured] = {}
    for way, shown in LABELLED_AS.items():
        found = [ways[shown] for ways in tasks]
        measured = [one for one in found if isinstance(one, Classified)]
        if not measured:
            values[way] = found[0]
            continue
        rows = np.unique(np.concatenate([one.rows for one in measured]))
        right, asked = np.zeros((2, len(rows), len(measured)))
        for task, one in enumerate(measured):
            at = np.searchsorted(rows, one.rows)
            right[at, task], asked[at, task] = one.right, 1
        random = generator(config.seed, "mean accuracy", len(rows))
        means = np.empty(config.num_resamples)
        for sample in range(config.num_resamples):
            times = np.bincount(random.integers(0, len(rows), len(rows)), minlength=len(rows))
            means[sample] = np.mean((times @ right) / np.maximum(times @ asked, 1))
        value = float(np.mean(right.sum(axis=0) / asked.sum(axis=0)))
        low, high = interval(value, means.var(), len(rows))
        definition = f"mean accuracy over {len(measured)} tasks, products shown by {shown}"
        values[way] = Estimate(value, float(low), float(high), len(rows), definition)
    return values


def _shares(
    cells: dict[str, Retrieved | NotMeasured], k: int, config: BenchmarkConfig
) -> tuple[dict[str, Estimate], dict[str, str]]:
    common = _common(cells)
    both = cells["both"]
    if isinstance(both, NotMeasured) or not common.size:
        return {}, {}
    measured = {way: cell for way, cell in cells.items() if isinstance(cell, Retrieved)}
    hits = {way: cell.hits_of(common, k)[0] for way, cell in measured.items()}
    chance = {way: min(1.0, k / cell.num_items) for way, cell in measured.items()}
    is_near_chance = mean_share(hits["both"]).low <= chance["both"]
    shares, verdicts = {}, {}
    for way in ("text", "image"):
        if way not in hits:
            continue
        if is_near_chance:
            verdicts[way] = "not clear"
            continue
        definition = f"recall@{k} by {way} alone over that by both, each less its chance, products seeking products ({len(common):,} queries)"
        less = (chance[way], chance["both"])
        found = ratio_of_shares(hits[way], hits["both"], definition=definition, less=less)
        shares[way] = found
        if found.high < config.collapse_share:
            verdicts[way] = "collapsed"
        else:
            verdicts[way] = "not collapsed" if found.low >= config.collapse_share else "not clear"
    return shares, verdicts


def _sentence(
    cells: dict[str, Retrieved | NotMeasured],
    shares: dict[str, Estimate],
    verdicts: dict[str, str],
    config: BenchmarkConfig,
) -> str:
    if not verdicts:
        why = next(
            (cell.why for cell in cells.values() if isinstance(cell, NotMeasured)),
            "no query is answered in all three ways",
        )
        return f"not decided: {why}"
    parts = []
    for way, verdict in verdicts.items():
        share = ", both are near chance"
        if (one := shares.get(way)) is not None:
            share = f", {one.value:.2f} of both [{one.low:.2f}, {one.high:.2f}]"
        parts.append(f"{way} {verdict}{share}")
    return f"{'; '.join(parts)} (collapsed: under {config.collapse_share:g})"
