"""Every way of using content beside the baseline of ids and counters: `python -m ranking.ways SHOP --items ITEMS --out OUT`.

Trains each with several seeds on the same rows, scores the test period and prints what each gains over the baseline,
on all, cold and warm items, with paired intervals over users and seeds, what is left of the gain with permuted
vectors, and what a training step costs. Rows without content stand beside them: ids without counters, matrix factorisation
of ids, and trees on counters.

The share of hidden ids and the number of epochs follow the validation period: the share is chosen once, without content, for all rows; each
training then keeps its own best epoch. `--set unknown_rate=R` and `--set kept_epoch=last` fix them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from moon_rec.command import Parser, add_config_options, count
from moon_rec.config import load_config, read_toml
from moon_rec.errors import RankingError
from moon_rec.files import read_json, write_json
from moon_rec.outputs import PICTURE, OutputKind, check_output, json_that, json_with
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say, track
from moon_rec.shop import Shop
from moon_rec.shop.non_click_recipe import non_clicks_said
from moon_rec.vector_pairs import add_accept_option, open_pair
from ranking.chosen_settings import ChosenSettings, choose_settings
from ranking.comparison import ONE_SEED, Comparison
from ranking.config import FIRST_SETTINGS, SETTINGS, RankerConfig, refuse_whole_history
from ranking.features import FeatureConfig, RankingTables, add_feature_options, counters_said
from ranking.judging.side_by_side import side_by_side
from ranking.version import made_by
from ranking.ways.picture import draw
from ranking.ways.result import WayResult
from ranking.ways.variations import (
    FACTORISATION,
    IDS_ONLY,
    NO_COUNTERS,
    NO_NETWORKS,
    STANDARD,
    Inputs,
    Variation,
    check_runs,
    refuse_unread,
    run_all,
    told_of,
)

if TYPE_CHECKING:
    from ranking.ways.step_cost import StepCost

NUM_RESAMPLES = 500
WRITTEN = {
    "ways.json": OutputKind(
        "a comparison of ways",
        "",
        json_that(
            lambda about: "ways" in about and not about.keys().isdisjoint({"baseline", "ids_only"})
        ),  # the latter of an earlier version
    ),
    "ways.png": PICTURE,
    "chosen.json": OutputKind("settings chosen by validation", "", json_with("made_of", "chosen")),
}


def compare_ways(
    scores: dict[str, list[pl.DataFrame]],
    variations: Sequence[Variation],
    costs: dict[str, "StepCost"],
    num_resamples: int = NUM_RESAMPLES,
) -> list[WayResult]:
    """Every variation against the baseline, on the same rows.

    Args:
        scores: name -> one table a seed, from `run_all`.
        costs: name -> cost of a step.

    Raises:
        RankingError: no scores of the baseline.
    """
    if IDS_ONLY not in scores:
        raise RankingError(
            f"no scores of the baseline ({IDS_ONLY!r}): there is nothing to compare with"
        )
    results = []
    for one in track([v for v in variations if v.name != IDS_ONLY], "comparisons"):
        control = scores.get(one.permuted().name)
        gains = side_by_side(scores[IDS_ONLY], scores[one.name], num_resamples)
        lost, content = {}, {}
        if control is not None:
            lost = side_by_side(scores[IDS_ONLY], control, num_resamples)
            content = side_by_side(control, scores[one.name], num_resamples)
        results.append(WayResult(one.name, gains, lost, content, costs.get(one.name)))
    return results


def markdown(results: Sequence[WayResult], chosen: Mapping[str, str] | None = None) -> str:
    """A table in Markdown: AUC and GAUC gained over the baseline, in points of .01, what validation chose (by name), and the cost of a step.

    Intervals are those of the verdict, over users and seeds (with one seed over users alone); bold: zero is
    outside, with several seeds.
    """
    head = "| way | AUC | cold | warm | GAUC | permuted: AUC | content itself: AUC | chosen, by seed | step, x baseline |"
    lines = [head, "|---" * 9 + "|"]
    for one in results:
        cells = [_points(one.gains.get(name)) for name in ("auc", "auc_cold", "auc_warm", "gauc")]
        cells += [_points(one.permuted.get("auc")), _points(one.content.get("auc"))]
        cells.append((chosen or {}).get(one.name, ""))
        cost = ""
        if one.cost is not None:
            cost = f"{one.cost.ratio:.2f} ({one.cost.low:.2f}-{one.cost.high:.2f})"
        lines.append(f"| {one.title} | {' | '.join(cells)} | {cost} |")
    return "\n".join(lines)


def _points(found: Comparison | None) -> str:
    if found is None:
        return ""
    if found.no_interval:
        return f"{100 * found.value:+.2f} ({found.no_interval})"
    low, high = found.verdict_interval
    words = f"{100 * found.value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    return f"**{words}**" if found.is_significant_over_seeds else words


def against_factors(
    scores: dict[str, list[pl.DataFrame]], baseline: str, num_resamples: int = NUM_RESAMPLES
) -> list[str]:
    """A line for each network without content: whether it is shown to lose to matrix factorisation of ids, or to beat it; none without that row."""
    if FACTORISATION not in scores:
        return []
    names = {NO_COUNTERS: "ids only, no counters", IDS_ONLY: baseline}
    lines = []
    for name, words in names.items():
        if name not in scores:
            continue
        found = side_by_side(scores[FACTORISATION], scores[name], num_resamples)["auc"]
        verdict = "no difference is shown" if len(scores[name]) > 1 else "one seed makes no verdict"
        if found.is_significant_over_seeds:
            verdict = "it beats it" if found.value > 0 else "IT LOSES TO IT"
        lines.append(
            f"{words}, against matrix factorisation of ids alone: {verdict}, AUC {_points(found)}"
        )
    return lines


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("ranking.ways")
    parser = _parser()
    given = parser.parse_args(argv)
    for name, kind in WRITTEN.items():
        check_output(given.out / name, kind, overwrite=True)  # what is there is gone on with
    features = load_config(FeatureConfig, None, given.features)
    settings = [*_words_of(given.config), *given.settings]
    shop = Shop.open(given.shop)
    coverage = open_pair(shop, given.items, given.queries, given.accept).coverage
    inputs = Inputs(given.shop, features, given.items, given.queries, tuple(given.accept))
    chosen = _chosen(given.ways, features)
    seeds = range(given.seeds)
    refuse_unread(chosen, settings)
    for one in chosen:  # what is wrong is named before anything is trained
        config = one.config(settings, 0)
        if config is not None:
            refuse_whole_history(config, one.features_of(features).history_length)
    controls = [one.permuted() for one in chosen if one.reads_vectors(settings)]
    everything = [*chosen, *(controls if given.permuted else [])]
    check_runs(everything, given.out, seeds)
    fixed = next((word for word in reversed(settings) if word.startswith("unknown_rate=")), None)
    chosen_settings = None
    if fixed is None:
        chosen_settings = _settings_chosen(shop, features, settings, given.out)
        settings.append(f"unknown_rate={chosen_settings.unknown_rate}")
    hidden = f"{fixed}, as set" if chosen_settings is None else str(chosen_settings)
    scores = run_all(inputs, everything, settings, seeds, given.out, given.processes)
    costs = _costs(inputs, chosen, settings) if given.cost else {}
    results = compare_ways(scores, chosen, costs, given.resamples)
    ids = next(iter(results)).gains
    told = {one.name: [told_of(one, given.out, seed) for seed in seeds] for one in everything}
    counters = told[IDS_ONLY][0]["counters"]
    kept = {name: ", ".join(one["chosen"] for one in runs) for name, runs in told.items()}
    baseline = "ids only" if counters == "none" else "ids and counters"
    simulated = "simulated shoppers" if shop.is_simulated else "real behaviour"
    about = {
        "shop": shop.name,
        "shop_digest": shop.digest,
        "is_simulated": shop.is_simulated,
        "non_clicks": None if shop.non_clicks is None else shop.non_clicks.as_dict(),
        "period": inputs.period,
        "seeds": list(seeds),
        "settings": settings,
        "features": features.model_dump(mode="json"),
        "coverage": coverage.as_dict(),
        "counters": counters,
        "baseline": {name: result.a for name, result in ids.items()},
        "chosen_settings": None if chosen_settings is None else chosen_settings.as_dict(),
        "chosen": kept,
        "ways": [result.as_dict() for result in results],
    }
    write_json(given.out / "ways.json", about)
    title = f"{shop.name} ({simulated}), {inputs.period}, {len(seeds)} seeds; baseline: {baseline}"
    sampled = non_clicks_said(shop.non_clicks, "; ")
    brief = non_clicks_said(shop.non_clicks, "; ", is_brief=True)
    draw(results, title + brief, given.out / "ways.png")
    counted = counters_said(counters, "; ")
    print(f"{title}: AUC {ids['auc'].a:.4f}, GAUC {ids['gauc'].a:.4f}{counted}{sampled}")
    print(f"hidden ids, of all rows: {hidden}")
    print(f"{_epochs_said(chosen[0], settings)}; baseline: {kept[IDS_ONLY]}")
    print(markdown(results, kept))
    for line in against_factors(scores, baseline, given.resamples):
        print(line)
    print(coverage)
    count = sum(len(one.gains) for one in results)
    over = "users and seeds" if len(seeds) > 1 else "users"
    bold = "bold: zero is outside" if len(seeds) > 1 else ONE_SEED
    print(
        f"gains over {baseline} in points (.01), mean over seeds; 95 % intervals, paired, over {over} "
        f"({ids['auc'].count:,} users); {bold}; {count} intervals in ways.json, none corrected for their number"
    )
    print(f"picture: {given.out / 'ways.png'}")


def _chosen(names: Sequence[str] | None, features: FeatureConfig) -> list[Variation]:
    """The variations, the baseline first; one without counters is that where none are asked for."""
    alike = NO_COUNTERS if names is None and features.counters == "none" else None
    named = dict.fromkeys([IDS_ONLY, *(names or STANDARD)])
    return [Variation.parse(name) for name in named if name != alike]


def _words_of(file: Path | None) -> list[str]:
    """A file's settings as `name=value` words, which every way reads on top of its own."""
    found = read_toml(file) if file is not None else {}
    return [f"{name}={json.dumps(value)}" for name, value in found.items()]


def _settings_chosen(
    shop: Shop, features: FeatureConfig, settings: Sequence[str], out: Path
) -> ChosenSettings:
    """What validation chooses for all rows; kept in `out` for the same command again."""
    config = load_config(RankerConfig, None, (), settings)
    of = [shop.digest, features.digest(), config.without_content().digest()]
    file, made_of = out / "chosen.json", {"reads": of, **made_by()}
    if file.exists() and (about := read_json(file))["made_of"] == made_of:
        return ChosenSettings.from_dict(about["chosen"])
    found = choose_settings(RankingTables.build(shop, features), config)
    say(str(found))
    out.mkdir(parents=True, exist_ok=True)
    write_json(file, {"made_of": made_of, "chosen": found.as_dict()})
    return found


def _epochs_said(baseline: Variation, settings: Sequence[str]) -> str:
    """How many epochs are trained, and what says so."""
    config = baseline.config(settings, 0)
    assert config is not None
    if config.follows_validation:
        return f"epochs: each training keeps that of its best validation AUC, of at most {config.epochs} (column chosen)"
    return f"epochs: {config.epochs}, as set"


def _costs(
    inputs: Inputs, chosen: Sequence[Variation], settings: Sequence[str]
) -> dict[str, "StepCost"]:
    shop = Shop.open(inputs.shop)
    tables = RankingTables.build(shop, inputs.features)
    items, queries = inputs.vectors(shop)
    found = {one.name: one.config(settings, 0) for one in chosen if not one.features}
    configs = {name: config for name, config in found.items() if config is not None}
    from ranking.ways.step_cost import step_costs

    return step_costs(tables, configs, items, queries, IDS_ONLY)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m ranking.ways",
        description="Train every way of using frozen vectors with several seeds and compare each with ids and counters: "
        "AUC and GAUC on all, cold and warm items, permuted controls, cost of a step.",
        example="python -m ranking.ways demo/shop --items demo/encoder/items --queries demo/encoder/queries "
        "--out demo/ways --way simtier --way cube,sequence=bst",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("--items", type=Path, required=True, help="embedding table of the items")
    parser.add_argument("--queries", type=Path, help="embedding table of the searches")
    add_accept_option(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for scores and comparison")
    parser.add_argument(
        "--way",
        dest="ways",
        action="append",
        metavar="WAY[,NAME=VALUE]",
        help=f"ways joined by +, or {', '.join(NO_NETWORKS)}, and other settings, of the features too; may be repeated; default: {' '.join(STANDARD)}",
    )
    parser.add_argument("--seeds", type=count, default=3, help="number of seeds per way")
    parser.add_argument(
        "--processes", type=count, default=1, help="rankers trained at the same time"
    )
    parser.add_argument(
        "--resamples", type=count, default=NUM_RESAMPLES, help="bootstrap resamples of users"
    )
    parser.add_argument(
        "--no-permuted", dest="permuted", action="store_false", help="train no permuted controls"
    )
    parser.add_argument(
        "--no-cost",
        dest="cost",
        action="store_false",
        help="do not measure the time of a step (which requires an idle machine)",
    )
    add_feature_options(parser)
    add_config_options(parser, kind=SETTINGS, first=FIRST_SETTINGS)
    parser.set_defaults(ways=None)
    return parser
