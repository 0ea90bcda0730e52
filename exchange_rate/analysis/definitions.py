"""The terms that every number of a study's report rests on, said of this study."""

from exchange_rate.estimation.candidates import DEFINITIONS
from exchange_rate.evidence.records import Study


def definitions(study: Study, steering: str) -> dict[str, str]:
    """What is printed under the headline: the terms every number rests on."""
    about, shop = study.about, study.about["shop"]
    if shop is None:
        return _of_points(steering) | _COMMON
    seeds = (
        "one seed a side, so the interval is over users alone (bootstrap) and compares two trainings"
        if about["num_seeds"] == 1
        else f"mean over {about['num_seeds']} seeds; interval over users (bootstrap) and seeds"
    )
    scored = (
        "test is scored once" if about["period"] == "test" else "test is not scored in this study"
    )
    return {
        steering: study.definition("encoder", steering) or "not measured on this shop",
        "AUC": f"area under the ROC curve of the label {about['label']} by midranks, in float64, over all impressions of the {about['period']} period",
        "cold item": f"an item with fewer impressions before the cut than features.cold_below = {about['cold_below']}",
        "difference of two rankers": f"same rows, paired, {seeds}",
        **_COMMON,
        "periods": f"train before {shop['cut_time']}, test from {shop['test_time']}, validation between; validation chooses, {scored}",
    }


_COMMON = {
    "exchange rate": "slope of AUC on the metric over encoders; see the definition beside it",
    "verdict": "identified: the interval excludes zero and no one encoder decides the sign; not identified: too few encoders, no spread beyond the "
    "metric's noise, or an interval over zero; saturating: a curve that flattens is clearly better than the line; sign unstable: one encoder decides the sign",
    "best metric": "the one with the smallest left-out error among those measured on every encoder",
    "told from the best": DEFINITIONS["is_told_from_best"],
}


def _of_points(steering: str) -> dict[str, str]:
    """Of points that were measured elsewhere: what the table that holds them says."""
    return {
        steering: "as measured elsewhere and given in the table of points",
        "AUC": "as measured elsewhere and given in the table of points; whether all runs were scored on the same rows the table does not say, and the rate rests on it",
    }
