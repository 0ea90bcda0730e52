"""What a study says before its first cell: what it will train, for how long, what it will measure; and what it refuses, since it could not be measured.

A shop without searches has no search recall, and a study steered by one would end after hours without an answer. So searches are counted first: those of the period,
and of validation, after which something of the kind asked for happened.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from exchange_rate.study.cell_files import RESULT, CellResult, CellSpec
from exchange_rate.study.clock import Clock
from exchange_rate.study.encoder_grid import EncoderGrid
from exchange_rate.study.outside import Found
from exchange_rate.study.plan import OF_ITEMS, StudyConfig, metric_names
from exchange_rate.study.schedule import Cell
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.shop import Shop
from moon_rec.shop.engagement import engagements
from moon_rec.shop.shop import Period
from moon_rec.texts import has_text
from representation.sets.search_cases import MODALITIES

LEAST_SEARCHES = 10
"""Below which a recall of searches is no figure to steer by."""
FEW_SEARCHES = 100
MOST_NAMED = 12
_BY = {"image": "by picture", "text": "by words", "mixed": "by picture and words"}


@dataclass(frozen=True)
class Measurable:
    """What a shop lets a study measure.

    Attributes:
        searches: by modality, those of the scored period that something can be found for; validation: of the validation period.
        has_siblings: whether two items are of one SPU.
        without_searches: encoders that have no vectors of searches.
    """

    searches: dict[str, int]
    validation: dict[str, int]
    has_siblings: bool
    without_searches: tuple[str, ...]


def what_is_measurable(shop: Shop, config: StudyConfig, period: Period) -> Measurable:
    """Count what figures will rest on.

    Raises:
        StudyError: the steering metric cannot be measured; says what could steer instead.
    """
    found = Measurable(
        _searches(shop, period, config),
        _searches(shop, "validation", config),
        _has_siblings(shop),
        _without_searches(config),
    )
    if why := _why_not_steered(shop, config, period, found):
        other = _steers_instead(config, found)
        raise StudyError(
            f"steering_metric = {config.steering_metric!r} cannot be measured: {why}; steer by {other}"
        )
    return found


def _searches(shop: Shop, period: Period, config: StudyConfig) -> dict[str, int]:
    """Searches of the period by modality after which something was engaged with."""
    engaged = engagements(shop, config.engagement, period).select("search_id").unique()
    rows = (
        shop.in_period(shop.searches, period)
        .select("search_id", has_text=has_text("query_text"))
        .join(shop.pictured("searches").select("search_id", "has_picture"), on="search_id")
        .join(engaged, on="search_id", how="semi")
        .group_by("has_text", "has_picture")
        .len()
        .collect(engine="streaming")
    )
    kinds = {(False, True): "image", (True, False): "text", (True, True): "mixed"}
    found = {
        kinds[text, picture]: count for text, picture, count in rows.iter_rows() if text or picture
    }
    return {name: found.get(name, 0) for name in MODALITIES}


def _has_siblings(shop: Shop) -> bool:
    counts = shop.items.group_by("spu_id").len().select(pl.col("len").max()).collect()
    return bool((counts.item() or 0) > 1)


def _without_searches(config: StudyConfig) -> tuple[str, ...]:
    """Encoders that are brought without vectors of searches, and mixtures of such."""
    found: list[str] = []
    for entry in config.encoders:
        parts = entry.mixture or ()
        if (entry.items and not entry.searches) or any(part in found for part in parts):
            found += [one.name for one in entry.encoders()]
    return tuple(found)


def _why_not_steered(shop: Shop, config: StudyConfig, period: Period, found: Measurable) -> str:
    """In words; empty where it can be."""
    metric = config.steering_metric
    if metric.startswith("same_spu"):
        return "" if found.has_siblings else f"no two items of shop {shop.name} are of one SPU"
    if metric.startswith(OF_ITEMS):
        return ""
    if len(found.without_searches) == len(config.encoder_names()):
        return "no encoder of the plan has vectors of searches"
    modality = metric.partition("_search")[0]
    count = found.searches.get(modality, sum(found.searches.values()))
    if count >= LEAST_SEARCHES:
        return ""
    by = _BY.get(modality, "of any kind")
    return f"shop {shop.name} has {count} searches {by} in the {period} period after which something was {config.engagement}, wanted {LEAST_SEARCHES} or more"


def _steers_instead(config: StudyConfig, found: Measurable) -> str:
    """Metrics that can be measured, the likest first."""
    cut = config.steering_metric.rpartition("@")[2]
    cut = cut if cut.isdigit() else str(config.ks[-1])
    known = []
    if len(found.without_searches) < len(config.encoder_names()):
        enough = [name for name, count in found.searches.items() if count >= LEAST_SEARCHES]
        known = [f"{name}_search_recall@{cut}" for name in enough]
    known += [f"same_spu_recall@{cut}"] if found.has_siblings else []
    return ", ".join(
        [
            *(name for name in known if name in metric_names(config.ks, config.engagement)),
            "category_accuracy",
        ]
    )


def told_before(
    shop: Shop,
    config: StudyConfig,
    period: Period,
    cells: Sequence[Cell],
    folder: Path,
    workers: int,
    outside: Found,
) -> list[str]:
    """Lines that say what a study will train, for how long, and what it will measure."""
    found = what_is_measurable(shop, config, period)
    seeds = config.ranker_seeds()
    trained, paths = _trained_and_paths(config)
    names = config.encoder_names()
    done = finished_before(cells, folder)
    clock = Clock(cells, workers)
    for name in done:
        clock.finish(name, None)
    kinds = Counter(cell.kind for cell in cells)
    trainings = kinds["pretraining"] + kinds["posttraining"]
    parts = [
        f"{trainings} trainings of encoders",
        f"{kinds['encoder']} encoders measured",
        *([f"{kinds['choice']} choices of rankers' settings"] if kinds["choice"] else []),
        f"{kinds['ranker']} trainings of rankers",
        f"{kinds['comparison']} comparisons",
    ]
    return [
        f"study {config.name!r} on shop {shop.name}: {len(names)} encoders on {paths} paths, {trained} trained: {_listed(names)}",
        *(
            f"from outside, {name}: {one.told}"
            for name, own in outside.items()
            for one in own.values()
        ),
        f"rankers: {'; '.join(f'{one.name} over {one.baseline}' for one in config.ranker_names())}; {len(seeds)} seeds each: {', '.join(map(str, seeds[:MOST_NAMED]))}",
        *(
            [f"references without vectors: {', '.join(config.reference_names().values())}"]
            if config.references
            else []
        ),
        f"hidden ids and epochs of networks: {_choices(config, kinds['choice'])}",
        _controls(config, cells),
        f"cells: {len(cells)} ({', '.join(parts)}), {len(done)} of them finished before",
        f"time: about {duration(clock.left())} with {workers} at a time, of a machine as the demo's; corrected as cells finish",
        *_measured(config, period, found),
    ]


def finished_before(cells: Sequence[Cell], folder: Path) -> dict[str, tuple[CellSpec, CellResult]]:
    """Cells whose result lies in `folder`; nothing is checked, changed or removed."""
    done: dict[str, tuple[CellSpec, CellResult]] = {}
    for cell in cells:
        if not all(need in done for need in cell.needs):
            continue
        spec = cell.make(done)
        own = spec.folder(folder)
        if (own / RESULT).is_file():
            try:
                done[cell.name] = spec, CellResult.load(own)
            except MoonRecError:  # it runs again, and the study says so
                continue
    return done


def _trained_and_paths(config: StudyConfig) -> tuple[int, int]:
    trained: dict[str, bool] = {}
    paths: dict[str, str] = {}
    for entry in config.encoders:
        path = EncoderGrid.path_of(entry, paths)
        for one in entry.encoders():
            trained[one.name], paths[one.name] = entry.is_trained(trained), path
    return sum(trained.values()), len(set(paths.values()))


def _choices(config: StudyConfig, count: int) -> str:
    """What decides the settings that validation may choose."""
    if not config.follow_validation:
        return "as their settings say (follow_validation = false)"
    if not count:
        return "none to choose, for all rankers are trees"
    return f"chosen by validation AUC, without content, once for each of {count} baselines and shared by all rankers over it; follow_validation = false keeps the settings"


def _controls(config: StudyConfig, cells: Sequence[Cell]) -> str:
    permuted = [name for name in config.encoder_names() if config.is_permuted(name)]
    if not permuted:
        return "permuted control: none, so how much of a gain is content will not be known"
    whole = len(permuted) == len(config.encoder_names())
    count = len(permuted) * len(config.rankers) * len(config.ranker_seeds())
    rankers = [cell for cell in cells if cell.kind == "ranker"]
    seconds = sum(cell.cost for cell in rankers) / max(len(rankers), 1) * count
    less = "; permuted_encoders = [...] restricts it" if whole else ""
    return f"permuted control: of {'each encoder' if whole else _listed(permuted)}, {count} trainings of rankers, {duration(seconds)} of one processor{less}"


def _measured(config: StudyConfig, period: Period, found: Measurable) -> list[str]:
    counts = ", ".join(f"{found.searches[name]:,} {_BY[name]}" for name in MODALITIES)
    lines = [
        f"measures on the {period} period: searches with something {config.engagement} after them: {counts}; steers by {config.steering_metric}"
    ]
    modality = config.steering_metric.partition("_search")[0]
    for name, period_name in ((found.searches, period), (found.validation, "validation")):
        count = name.get(modality)
        if count is not None and count < FEW_SEARCHES:
            lines.append(
                f"MIND: {count} searches {_BY[modality]} in the {period_name} period: {'the recall is noisy' if count else 'no encoder is chosen there'}"
            )
    absent = [f"search metrics {_BY[name]}" for name in MODALITIES if not found.searches[name]]
    absent += [] if found.has_siblings else ["same_spu_recall"]
    if absent:
        lines.append(f"not measured, since the shop has nothing for it: {', '.join(absent)}")
    if found.without_searches:
        lines.append(
            f"without vectors of searches, so measured by items alone: {_listed([*found.without_searches])}"
        )
    return lines


def duration(seconds: float) -> str:
    """In the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
