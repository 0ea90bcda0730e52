"""A tracked study -> everything its report prints, as plain values: `report.json` is exactly this.

A printed number is a dictionary of `value`, `low`, `high`, `definition` and `source` (what was measured, on how much, in which runs); where the points do not
identify one, `value` is None and `verdict` and `reason` stand in its place.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from exchange_rate.analysis.definitions import definitions
from exchange_rate.estimation.candidates import DEFINITIONS, metric_errors, rank_metrics
from exchange_rate.estimation.points import gather_points
from exchange_rate.estimation.rate import NAN, ExchangeRate, fit_exchange_rate, pairwise_ratios
from exchange_rate.evidence.coverage import study_coverage
from exchange_rate.evidence.missing import missing, nothing_left, without_unusable
from exchange_rate.evidence.records import Study, encoder_metrics, encoder_table, table_of
from exchange_rate.laws.scaling import ScalingLaw, compare_forms, fit_scaling_law
from exchange_rate.names import BASELINE, CONTENT
from moon_rec.errors import StudyError

SEGMENTS = {"": "all items", "_warm": "warm items", "_cold": "cold items"}
Number = dict[str, Any]


def analyse(study: Study) -> dict[str, Any]:
    """Everything the report prints.

    Raises:
        StudyError: no ranker on vectors counts.
    """
    table = table_of(study)
    names = study.about["rankers"][0]
    table = table.filter(pl.col("ranker") == names["name"])
    content = table.filter(pl.col("role") == CONTENT)
    if content.is_empty():
        raise StudyError(nothing_left(study))
    steering, level = study.about["steering_metric"], study.about["level"]
    content, unusable = without_unusable(content, encoder_metrics(study, content))
    study = replace(study, left_out=(*study.left_out, *unusable))
    last = [labels["encoder"] for labels, _ in study.cells("encoder")][-1]
    chosen = study.about["chosen_encoder"] or last
    return {
        "study": {key: study.about[key] for key in _STUDY} | {"id": study.id},
        "rankers": names,
        "is_simulated": is_simulated(study),
        "counts": _counts(table),
        "rates": {
            outcome: _rate(content, steering, outcome, level)
            for outcome in OUTCOMES
            if outcome in content.columns and content[outcome].is_finite().fill_null(False).any()
        },
        "encoders": _encoders(study, content, steering, level),
        "candidates": _candidates(study, content, steering, level),
        "pairwise": _pairwise(content, steering, level),
        "chosen_encoder": chosen,
        "is_chosen_on_validation": study.about["chosen_encoder"] is not None,
        "comparison": _comparison(study, chosen),
        "scaling": _scaling(study, steering, level),
        "definitions": definitions(study, steering),
        "coverage": study_coverage(study),
        "missing": missing(study, content),
    }


def is_simulated(study: Study) -> bool:
    """Whether its shop is, or what its points were measured on."""
    shop = study.about["shop"]
    return bool(study.about["is_simulated"] if shop is None else shop["is_simulated"])


_STUDY = (
    *("name", "key", "period", "label", "engagement", "steering_metric"),
    *("num_seeds", "seed", "width", "level", "shop"),
)
OUTCOMES = {
    "auc": "AUC",
    "auc_warm": "AUC on warm items",
    "auc_cold": "AUC on cold items",
    "gauc": "GAUC",
}
"""What rates are given of, as it is called."""


def _counts(table: pl.DataFrame) -> dict[str, int]:
    return {
        "encoders": table["encoder"].drop_nulls().n_unique(),
        "paths": table["path"].drop_nulls().n_unique(),
        "seeds": table["seed"].n_unique(),
        "ranker_runs": len(table),
    }


def _rate(content: pl.DataFrame, steering: str, outcome: str, level: float) -> dict[str, Any]:
    """The exchange rate of one outcome on the steering metric; `line` holds the band for the figure."""
    name = OUTCOMES[outcome]
    if steering not in content.columns:
        return _no_rate(name, f"{steering} was not measured on this shop")
    measured = pl.all_horizontal(pl.col(steering, outcome).is_finite().fill_null(False))
    runs = content.filter(measured)
    absent = content.filter(~measured)["encoder"].unique(maintain_order=True).to_list()
    columns = (runs[steering].to_numpy(), runs[outcome].to_numpy(), runs["encoder"].to_list())
    try:
        noise, told = metric_errors(runs, steering)
        rate = fit_exchange_rate(
            *columns,
            runs["seed"].to_list(),
            level,
            metric_error=noise,
            metric_name=steering,
            outcome=name,
        )
    except StudyError as error:
        return _no_rate(name, str(error))
    left_out = f"without {', '.join(map(repr, absent))}, not measured there" if absent else ""
    return {
        "name": name,
        "verdict": rate.verdict,
        "reason": "; ".join(filter(None, (rate.reason, told, left_out))),
        "slope": number(rate.slope, rate.low, rate.high, rate.definition, _runs_of(rate)),
        "end_slope": None if np.isnan(rate.end_slope) else rate.end_slope,
        "seed_noise": None if np.isnan(rate.seed_noise) else rate.seed_noise,
        "scatter": rate.scatter,
        "line": _line(rate, columns[0]),
    }


def _no_rate(name: str, reason: str) -> dict[str, Any]:
    return {
        "name": name,
        "verdict": "not identified",
        "reason": reason,
        "slope": _nothing(""),
        "seed_noise": None,
        "line": None,
    }


def _runs_of(rate: ExchangeRate) -> str:
    return f"{rate.num_encoders} encoders, {rate.num_runs} ranker runs"


def _line(rate: ExchangeRate, metric: np.ndarray) -> dict[str, list[float]] | None:
    if np.isnan(rate.slope):
        return None
    margin = 0.06 * float(np.ptp(metric))
    x = np.linspace(metric.min() - margin, metric.max() + margin, 60)
    value, low, high = rate.line(x)
    columns = {"x": x, "value": value, "low": low, "high": high}
    return {name: column.tolist() for name, column in columns.items()}


def _encoders(
    study: Study, content: pl.DataFrame, steering: str, level: float
) -> list[dict[str, Any]]:
    """One entry an encoder, in the plan's order."""
    points = gather_points(
        np.zeros(len(content)),
        content["auc"].to_numpy(),
        content["encoder"].to_list(),
        content["seed"].to_list(),
    )
    freedom = sum(points.num_runs) - len(points.names)
    quantile = float(stats.t.ppf((1 + level) / 2, freedom)) if freedom > 0 else float("nan")
    gains = {
        labels["encoder"]: metrics
        for labels, metrics in study.cells("comparison")
        if labels["ranker"] == study.about["rankers"][0]["name"]
        and labels["role"] == CONTENT
        and labels["against"] == BASELINE
    }
    entries = []
    for labels, metrics in study.cells("encoder"):
        name = labels["encoder"]
        auc, half, runs = NAN, NAN, 0
        if name in points.names:
            row = points.names.index(name)
            auc, runs = float(points.outcome[row]), points.num_runs[row]
            half = quantile * points.seed_noise / np.sqrt(runs)
        words = (
            f"AUC, mean over {runs} seeds; interval from the spread between seeds, pooled over encoders"
            if freedom > 0
            else "AUC of one training: one seed has no spread between seeds, so no interval"
        )
        entries.append(
            {
                **labels,
                "metric": _tracked(study, "encoder", metrics, steering, labels),
                "auc": number(auc, auc - half, auc + half, words, f"n = {runs} ranker runs"),
                "gains": {
                    segment: _tracked(
                        study, "comparison", gains.get(name, {}), f"auc_gain{segment}"
                    )
                    for segment in SEGMENTS
                },
                "shares": {
                    segment: _tracked(
                        study, "comparison", gains.get(name, {}), f"share_of_the_way{segment}"
                    )
                    for segment in SEGMENTS
                },
            }
        )
    return entries


def _candidates(
    study: Study, content: pl.DataFrame, steering: str, level: float
) -> list[dict[str, Any]]:
    """All measured metrics, ranked; `is_shown` marks those that figure and short table hold: those at the steering metric's cut, and the best whatever its cut."""
    metrics = encoder_metrics(study, content)
    cut = f"@{steering.rpartition('@')[2]}" if "@" in steering else ""
    entries = []
    for place, row in enumerate(rank_metrics(content, "auc", metrics, level).iter_rows(named=True)):
        name = row["metric"]
        source = f"{row['num_encoders']} encoders"
        is_best = place == 0 and row["is_told_from_mean"] is not None
        entries.append(
            {
                "metric": name,
                "verdict": row["verdict"],
                "reason": row["reason"],
                "slope_per_deviation": _three(row, "slope_per_deviation", source),
                "kendall": _three(row, "kendall", source),
                "left_out_error": _three(row, "left_out_error", source),
                "left_out_error_of_mean": _three(row, "left_out_error_of_mean", source),
                "num_encoders": row["num_encoders"],
                "is_best": is_best,
                "is_told_from_best": row["is_told_from_best"],
                "is_told_from_mean": row["is_told_from_mean"],
                "definition": study.definition("encoder", name),
                "is_shown": is_best or "@" not in name or not cut or name.endswith(cut),
            }
        )
    return entries


def _three(row: dict[str, Any], name: str, source: str) -> Number:
    low, high = row.get(f"{name}_low", NAN), row.get(f"{name}_high", NAN)
    return number(row[name], low, high, DEFINITIONS[name], source)


def _pairwise(content: pl.DataFrame, steering: str, level: float) -> dict[str, Any]:
    definition = (
        "(AUC of the encoder - AUC of the first) / (metric of the encoder - metric of the first); Fieller's interval from the noise of seeds and of the "
        "metric; empty where the gain of the metric is not told from zero"
    )
    nothing = {"first": "", "rows": [], "definition": definition}
    if steering not in content.columns:
        return nothing
    content = content.filter(pl.col(steering).is_finite().fill_null(False))
    columns = (
        content[steering].to_numpy(),
        content["auc"].to_numpy(),
        content["encoder"].to_list(),
    )
    try:
        noise, _ = metric_errors(content, steering)
        rows = pairwise_ratios(*columns, content["seed"].to_list(), level, metric_error=noise)
    except StudyError:  # the rate's reason says why
        return nothing
    entries = [
        {
            "encoder": row["encoder"],
            "metric_gain": _gain_of(
                row, "metric_gain", "interval from the metric's standard error"
            ),
            "auc_gain": _gain_of(row, "auc_gain", "interval from the noise of seeds"),
            "ratio": _ratio(row, definition),
        }
        for row in rows.iter_rows(named=True)
    ]
    return {"first": content["encoder"][0], "rows": entries, "definition": definition}


def _gain_of(row: dict[str, Any], name: str, how: str) -> Number:
    low, high = (
        NAN if row[f"{name}_{end}"] is None else row[f"{name}_{end}"] for end in ("low", "high")
    )
    definition = (
        f"{'AUC' if name == 'auc_gain' else 'metric'} of the encoder minus that of the first; {how}"
    )
    return number(row[name], low, high, definition, f"{row['num_runs']} ranker runs")


def _ratio(row: dict[str, Any], definition: str) -> Number:
    value, low, high = (
        NAN if row[name] is None else row[name] for name in ("ratio", "low", "high")
    )
    return number(value, low, high, definition, f"{row['num_runs']} ranker runs")


def _comparison(study: Study, chosen: str) -> dict[str, Any]:
    """Baseline, permuted control and the ranker on the chosen encoder, by segment."""
    found: dict[str, dict[str, Number]] = {}
    for labels, metrics in study.cells("comparison"):
        if (labels["ranker"], labels["encoder"]) != (study.about["rankers"][0]["name"], chosen):
            continue
        pair = f"{labels['role']} against {labels['against']}"
        names = [name for name in metrics if f"{name}.low" in metrics]
        found[pair] = {
            name: _tracked(study, "comparison", metrics, name, labels) for name in sorted(names)
        }
    return found


def _scaling(study: Study, steering: str, level: float) -> dict[str, Any]:
    """Steering metric and AUC against training tokens, along the path with the most encoders."""
    encoders = encoder_table(study)
    content = table_of(study).filter(
        pl.col("role") == CONTENT, pl.col("ranker") == study.about["rankers"][0]["name"]
    )
    auc = content.group_by("encoder", maintain_order=True).agg(pl.col("auc").mean())
    seen = encoders.select(
        "encoder", "path", "posttraining_tokens", pl.col("^" + _escaped(steering) + "$")
    )
    both = seen.join(auc, on="encoder", how="left", maintain_order="left")
    trained = both.filter(pl.col("posttraining_tokens") > 0)
    if trained.is_empty():
        return {"path": None, "laws": {}}
    counts = trained.group_by("path", maintain_order=True).len()
    path = counts.sort("len", descending=True, maintain_order=True)["path"][0]
    points = trained.filter(pl.col("path") == path)
    laws = {}
    for name in (steering, "auc"):
        if name in points.columns:
            own = points.filter(pl.col(name).is_finite().fill_null(False))
            x, y = own["posttraining_tokens"].to_numpy(), own[name].to_numpy()
            laws[name] = _law(x, y, level)
    return {"path": path, "num_points": len(points), "laws": laws}


def _law(x: np.ndarray, y: np.ndarray, level: float) -> dict[str, Any]:
    try:
        law: ScalingLaw = fit_scaling_law(x, y, "power", level)
    except StudyError as error:  # no checkpoint has the figure
        return {
            "form": "none",
            "num_points": len(x),
            "verdict": "not identified",
            "reason": str(error),
            "parameters": None,
            "held_out": None,
        }
    stands = law.verdict in ("identified", "saturating")
    held_out = None
    if len(x) >= 4:
        held_out = compare_forms(x, y, num_held_out=1, level=level).to_dicts()
    return {
        "form": law.text,
        "num_points": law.num_points,
        "verdict": law.verdict,
        "reason": law.reason,
        "parameters": {
            name: number(
                value,
                *law.intervals[name],
                f"{name} of {law.text}",
                f"{law.num_points} checkpoints",
            )
            for name, value in law.parameters.items()
        }
        if stands
        else None,
        "held_out": held_out,
    }


def _tracked(
    study: Study,
    kind: str,
    metrics: dict[str, float],
    name: str,
    labels: dict[str, Any] | None = None,
) -> Number:
    """An estimate as tracked, with the definition it was measured under."""
    wanted = {key: value for key, value in (labels or {}).items() if isinstance(value, str)}
    definition = study.definition(kind, name, **wanted)
    if name not in metrics:
        return _nothing(definition)
    count = metrics.get(f"{name}.count")
    source = f"n = {count:,.0f}" if count is not None else ""
    low, high = metrics.get(f"{name}.low", NAN), metrics.get(f"{name}.high", NAN)
    return number(metrics[name], low, high, definition, source)


def number(value: float, low: float, high: float, definition: str, source: str = "") -> Number:
    """A number as the report prints it; not finite becomes None."""
    ends = [
        float(one) if one is not None and np.isfinite(one) else None for one in (value, low, high)
    ]
    return {
        "value": ends[0],
        "low": ends[1],
        "high": ends[2],
        "definition": definition,
        "source": source,
    }


def _nothing(definition: str) -> Number:
    return number(NAN, NAN, NAN, definition)


def _escaped(name: str) -> str:
    return "".join(f"\\{letter}" if not letter.isalnum() else letter for letter in name)
