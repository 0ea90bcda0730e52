"""The terms that every number of a report rests on, said of what was analysed."""

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.results import Definition
from exchange_rate.analysis.words import words


def definitions_of(cells: Cells, steering: str) -> tuple[Definition, ...]:
    """In the order of the page."""
    of_source = _of_study(cells, steering) if cells.study.about["shop"] else _of_points(steering)
    return tuple(Definition(term=term, text=text) for term, text in (of_source | _COMMON).items())


def _of_study(cells: Cells, steering: str) -> dict[str, str]:
    about, shop = cells.study.about, cells.study.about["shop"]
    seeds = (
        "one seed a side, so the interval is over users alone (bootstrap) and compares two trainings"
        if about["num_seeds"] == 1
        else f"mean over {about['num_seeds']} seeds; interval over users (bootstrap) and seeds"
    )
    scored = (
        "test is scored once" if about["period"] == "test" else "test is not scored in this study"
    )
    return {
        words(steering): cells.definition(steering) or "not measured on this shop",
        "AUC": f"area under the ROC curve of the label {about['label']} by midranks, in float64, over all impressions of the {about['period']} period",
        "cold item": f"an item with fewer impressions before the cut than features.cold_below = {about['cold_below']}",
        "difference of two rankers": f"same rows, paired, {seeds}",
        "periods": f"train before {shop['cut_time']}, test from {shop['test_time']}, validation between; validation chooses, {scored}",
    }


_COMMON = {
    "point": "a hundredth: ten points of recall are .10, one point of AUC is .01",
    "exchange rate": "slope of AUC on the metric over trained encoders, noise in both axes and trainings as random effects; the definition beside each number has the rest",
    "trained encoder": "one with a contrastive post-training, or one brought along that is not marked as untrained; the headline is among these, for these are what one chooses between",
    "path": "one training: its checkpoints and widths are alike, so degrees of freedom count paths",
    "next points": "slope at the best encoder of a curve through the points: what the next gain of the metric buys, where a line says what gains bought on average",
    "direct effect": "the line of AUC over permuted vectors at a metric of zero: what content gives that the metric does not measure",
    "verdict of a rate": "identified: the interval leaves out zero, keeps its side without any one encoder or path, and within and between trainings agree; saturating or convex: a curve "
    "is told from the line; rests on one encoder or path: without it the verdict is another; not identified: all else",
    "decoy": "a built-in metric that means nothing: a metric is trusted only where it predicts better than the best of as many decoys",
    "metric to trust": "the one that predicts the outcome of encoders of an unseen path best, if better than decoys; others are not told from it where their errors are not shown to be larger",
}


def _of_points(steering: str) -> dict[str, str]:
    """Of points that were measured elsewhere: what the table that holds them says."""
    return {
        words(steering): "as measured elsewhere and given in the table of points",
        "AUC": "as measured elsewhere and given in the table of points; whether all runs were scored on the same rows the table does not say, and the rate rests on it",
    }
