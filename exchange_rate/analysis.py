"""A tracked study -> everything its report prints, as plain values: `report.json` is exactly this.

A printed number is a dictionary of `value`, `low`, `high`, `definition` and `source` (what was measured, on how much, in which runs); where the points do not
identify one, `value` is None and `verdict` and `reason` stand in its place.
"""

from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from exchange_rate.candidates import DEFINITIONS, metric_errors, rank_metrics
from exchange_rate.coverage import study_coverage
from exchange_rate.points import gather_points
from exchange_rate.rate import ExchangeRate, fit_exchange_rate, pairwise_ratios
from exchange_rate.records import Study, encoder_table, table_of
from exchange_rate.scaling import ScalingLaw, compare_forms, fit_scaling_law
from moon_rec.errors import StudyError

SEGMENTS = {"": "all items", "_warm": "warm items", "_cold": "cold items"}
Number = dict[str, Any]


def analyse(study: Study) -> dict[str, Any]:
    """Everything the report prints.

    Raises:
        StudyError: the study has no ranker on vectors.
    """
    table = table_of(study)
    if "cube" not in table["ranker"].to_list():
        raise StudyError(f"study {study.id} has no ranker on vectors: there is nothing to report")
    cube = table.filter(pl.col("ranker") == "cube")
    steering, level = study.about["steering_metric"], study.about["level"]
    chosen = study.about["control_encoder"] or study.about["encoders"][-1]
    return {
        "study": {key: study.about[key] for key in _STUDY} | {"id": study.id},
        "is_simulated": bool(study.about["shop"]["is_simulated"]),
        "counts": _counts(table),
        "rates": {
            outcome: _rate(cube, steering, outcome, level)
            for outcome in ("auc", "auc_warm", "auc_cold", "gauc")
            if outcome in cube.columns and cube[outcome].is_finite().fill_null(False).any()
        },
        "encoders": _encoders(study, cube, steering, level),
        "candidates": _candidates(study, cube, steering, level),
        "pairwise": _pairwise(cube, steering, level),
        "chosen_encoder": chosen,
        "is_chosen_on_validation": study.about["control_encoder"] is not None,
        "comparison": _comparison(study, chosen),
        "scaling": _scaling(study, steering, level),
        "definitions": _definitions(study, steering),
        "coverage": study_coverage(study),
    }


_STUDY = ("name", "key", "period", "steering_metric", "num_seeds", "seed", "width", "level", "shop")


def _counts(table: pl.DataFrame) -> dict[str, int]:
    return {
        "encoders": table["encoder"].drop_nulls().n_unique(),
        "seeds": table["seed"].n_unique(),
        "ranker_runs": len(table),
    }


def _rate(cube: pl.DataFrame, steering: str, outcome: str, level: float) -> dict[str, Any]:
    """The exchange rate of one outcome on the steering metric; `line` holds the band for the figure."""
    name = {"auc": "AUC", "auc_warm": "AUC on warm items", "auc_cold": "AUC on cold items"}
    if steering not in cube.columns:
        return {
            "verdict": "not identified",
            "reason": f"{steering} was not measured on this shop",
            "slope": _nothing(""),
            "line": None,
        }
    runs = cube.filter(pl.all_horizontal(pl.col(steering, outcome).is_finite().fill_null(False)))
    columns = (runs[steering].to_numpy(), runs[outcome].to_numpy(), runs["encoder"].to_list())
    rate = fit_exchange_rate(
        *columns,
        runs["seed"].to_list(),
        level,
        metric_error=metric_errors(runs, steering),
        metric_name=steering,
        outcome=name.get(outcome, outcome.upper()),
    )
    return {
        "verdict": rate.verdict,
        "reason": rate.reason,
        "slope": number(rate.slope, rate.low, rate.high, rate.definition, _runs_of(rate)),
        "end_slope": None if np.isnan(rate.end_slope) else rate.end_slope,
        "seed_noise": rate.seed_noise,
        "scatter": rate.scatter,
        "line": _line(rate, columns[0]),
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
    study: Study, cube: pl.DataFrame, steering: str, level: float
) -> list[dict[str, Any]]:
    """One entry an encoder, in the plan's order."""
    points = gather_points(
        np.zeros(len(cube)),
        cube["auc"].to_numpy(),
        cube["encoder"].to_list(),
        cube["seed"].to_list(),
    )
    freedom = sum(points.num_runs) - len(points.names)
    quantile = float(stats.t.ppf((1 + level) / 2, freedom)) if freedom > 0 else float("nan")
    gains = {
        labels["encoder"]: metrics
        for labels, metrics in study.cells("comparison")
        if labels["ranker"] == "cube" and labels["against"] == "ids"
    }
    entries = []
    for labels, metrics in study.cells("encoder"):
        name = labels["encoder"]
        row = points.names.index(name)
        half = quantile * points.seed_noise / np.sqrt(points.num_runs[row])
        auc = float(points.auc[row])
        words = f"AUC, mean over {points.num_runs[row]} seeds; interval from the spread between seeds, pooled over encoders"
        entries.append(
            {
                **labels,
                "metric": _tracked(study, "encoder", metrics, steering),
                "auc": number(
                    auc, auc - half, auc + half, words, f"{points.num_runs[row]} ranker runs"
                ),
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
    study: Study, cube: pl.DataFrame, steering: str, level: float
) -> list[dict[str, Any]]:
    """All measured metrics, ranked; `is_shown` marks those at the steering metric's cut, which the figure draws."""
    metrics = [
        name
        for name in encoder_table(study).columns
        if f"{name}.low" in cube.columns and not name.startswith("validation.")
    ]
    cut = f"@{steering.rpartition('@')[2]}" if "@" in steering else ""
    ranked = rank_metrics(cube, "auc", metrics, level)
    entries = []
    for row in ranked.iter_rows(named=True):
        name = row["metric"]
        source = f"{row['num_encoders']} encoders"
        entries.append(
            {
                "metric": name,
                "verdict": row["verdict"],
                "reason": row["reason"],
                "slope_per_deviation": _three(row, "slope_per_deviation", source),
                "kendall": _three(row, "kendall", source),
                "left_out_error": row["left_out_error"],
                "left_out_error_of_mean": row["left_out_error_of_mean"],
                "definition": study.definition("encoder", name),
                "is_shown": "@" not in name or not cut or name.endswith(cut),
            }
        )
    return entries


def _three(row: dict[str, Any], name: str, source: str) -> Number:
    return number(row[name], row[f"{name}_low"], row[f"{name}_high"], DEFINITIONS[name], source)


def _pairwise(cube: pl.DataFrame, steering: str, level: float) -> dict[str, Any]:
    definition = (
        "(AUC of the encoder - AUC of the first) / (metric of the encoder - metric of the first); Fieller's interval from the noise of seeds and of the "
        "metric; empty where the gain of the metric is not told from zero"
    )
    if steering not in cube.columns:
        return {"first": "", "rows": [], "definition": definition}
    rows = pairwise_ratios(
        cube[steering].to_numpy(),
        cube["auc"].to_numpy(),
        cube["encoder"].to_list(),
        cube["seed"].to_list(),
        level,
        metric_error=float(np.sqrt(np.mean(metric_errors(cube, steering) ** 2))),
    )
    entries = [
        {
            "encoder": row["encoder"],
            "metric_gain": row["metric_gain"],
            "auc_gain": row["auc_gain"],
            "ratio": _ratio(row, definition),
        }
        for row in rows.iter_rows(named=True)
    ]
    return {"first": cube["encoder"][0], "rows": entries, "definition": definition}


def _ratio(row: dict[str, Any], definition: str) -> Number:
    nan = float("nan")
    value, low, high = (
        nan if row[name] is None else row[name] for name in ("ratio", "low", "high")
    )
    return number(value, low, high, definition, f"{row['num_runs']} ranker runs")


def _comparison(study: Study, chosen: str) -> dict[str, Any]:
    """Ids only, permuted control and CUBE of the chosen encoder, by segment."""
    found: dict[str, dict[str, Number]] = {}
    for labels, metrics in study.cells("comparison"):
        if labels["encoder"] != chosen:
            continue
        pair = f"{labels['ranker']} against {labels['against']}"
        names = [name for name in metrics if f"{name}.low" in metrics]
        found[pair] = {
            name: _tracked(study, "comparison", metrics, name, labels) for name in sorted(names)
        }
    return found


def _scaling(study: Study, steering: str, level: float) -> dict[str, Any]:
    """Steering metric and AUC against training tokens, along the path with the most encoders."""
    encoders = encoder_table(study)
    cube = table_of(study).filter(pl.col("ranker") == "cube")
    auc = cube.group_by("encoder", maintain_order=True).agg(pl.col("auc").mean())
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
            laws[name] = _law(
                points["posttraining_tokens"].to_numpy(), points[name].to_numpy(), level
            )
    return {"path": path, "num_points": len(points), "laws": laws}


def _law(x: np.ndarray, y: np.ndarray, level: float) -> dict[str, Any]:
    law: ScalingLaw = fit_scaling_law(x, y, "power", level)
    stands = law.verdict in ("identified", "saturating")
    held_out = None
    if len(x) >= 4:
        held_out = compare_forms(x, y, num_held_out=1, level=level).to_dicts()
    return {
        "form": law.text,
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


def _definitions(study: Study, steering: str) -> dict[str, str]:
    """What is printed under the headline: the terms every number rests on."""
    shop = study.about["shop"]
    return {
        steering: study.definition("encoder", steering) or "not measured on this shop",
        "AUC": f"area under the ROC curve by midranks, in float64, over all impressions of the {study.about['period']} period",
        "cold item": "an item with fewer impressions before the cut than the plan asks for (features.cold_below, 1 by default)",
        "difference of two rankers": "same rows, paired, mean over seeds, bootstrap over users",
        "exchange rate": "slope of AUC on the metric over encoders; see the definition beside it",
        "verdict": "identified: the interval excludes zero and no one encoder decides the sign; not identified: too few encoders, no spread beyond the "
        "metric's noise, or an interval over zero; saturating: a curve that flattens is clearly better than the line; sign unstable: one encoder decides the sign",
        "periods": f"train before {shop['cut_time']}, test from {shop['test_time']}, validation between; validation chooses, test is scored once",
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
    nan = float("nan")
    count = metrics.get(f"{name}.count")
    source = f"n = {count:,.0f}" if count is not None else ""
    low, high = metrics.get(f"{name}.low", nan), metrics.get(f"{name}.high", nan)
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
    nan = float("nan")
    return number(nan, nan, nan, definition)


def _escaped(name: str) -> str:
    return "".join(f"\\{letter}" if not letter.isalnum() else letter for letter in name)
