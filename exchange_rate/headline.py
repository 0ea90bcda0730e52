"""The answer in words. A number is said only where the points identify it; otherwise the words say why there is none."""

from typing import Any

from exchange_rate.drawing import words

Data = dict[str, Any]


def headline(data: Data) -> list[dict[str, str]]:
    """Sentences, the answer first; each with its `kind` (rate, gain, control or metric) and a `tone` (good, plain or caution)."""
    sentences = [_rate(data)]
    for build in (_gain, _control, _metric):
        sentence = build(data)
        if sentence is not None:
            sentences.append(sentence)
    return sentences


def points(value: float) -> str:
    """A difference of AUC in points of a hundredth, with its sign."""
    return f"{100 * value:+.2f}"


def _rate(data: Data) -> dict[str, str]:
    rate, metric = data["rates"]["auc"], words(data["study"]["steering_metric"])
    slope, count = rate["slope"], data["counts"]["encoders"]
    verdict = rate["verdict"]
    if slope["value"] is None:
        text = f"No exchange rate can be given for {metric}: {rate['reason']}."
        return {"kind": "rate", "tone": "caution", "text": text}
    ten = [points(slope[end] / 10) for end in ("value", "low", "high")]
    level = f"{data['study']['level']:.0%}"
    if verdict == "identified":
        text = (
            f"Ten points of {metric} go with {ten[0]} points of AUC ({level} interval {ten[1]} to {ten[2]}, {count} encoders): "
            "the exchange rate is identified."
        )
        return {"kind": "rate", "tone": "good", "text": text}
    if verdict == "saturating":
        text = (
            f"Ten points of {metric} went with {ten[0]} points of AUC on average ({level} interval {ten[1]} to {ten[2]}, {count} encoders), but the "
            f"gain is saturating: {rate['reason']}."
        )
        return {"kind": "rate", "tone": "caution", "text": text}
    text = (
        f"The exchange rate of {metric} is {verdict}: {rate['reason']}. The {level} interval runs from {ten[1]} to {ten[2]} points of AUC for ten points "
        f"of {metric} ({count} encoders)."
    )
    return {"kind": "rate", "tone": "caution", "text": text}


def _gain(data: Data) -> dict[str, str] | None:
    numbers = data["comparison"].get("cube against ids")
    if not numbers or "auc_gain" not in numbers:
        return None
    parts = [f"{_with_interval(numbers['auc_gain'])} points of AUC over the ids-only ranker"]
    if "auc_gain_cold" in numbers:
        parts.append(f"{_with_interval(numbers['auc_gain_cold'])} on cold items")
    how = "chosen on validation" if data["is_chosen_on_validation"] else "the plan's last"
    text = f"CUBE on the encoder {data['chosen_encoder']!r} ({how}) gains {', and '.join(parts)}."
    unsure = [
        segment
        for segment, name in (("overall", "auc_gain"), ("on cold items", "auc_gain_cold"))
        if name in numbers and not _is_above_zero(numbers[name])
    ]
    if unsure:
        text += f" No gain is shown {' and '.join(unsure)}: the interval does not lie above zero."
    is_won = not unsure
    return {"kind": "gain", "tone": "good" if is_won else "caution", "text": text}


def _control(data: Data) -> dict[str, str] | None:
    numbers = data["comparison"].get("permuted against ids")
    if not numbers or "auc_gain" not in numbers:
        return None
    text = f"With the same vectors permuted among items the gain over ids only is {_with_interval(numbers['auc_gain'])}"
    if "auc_gain_cold" in numbers:
        text += f", on cold items {_with_interval(numbers['auc_gain_cold'])}"
    lost = data["comparison"].get("cube against permuted", {}).get("auc_gain")
    is_lost = lost is not None and _is_above_zero(lost)
    if lost:
        text += f"; the true vectors beat the permuted ones by {_with_interval(lost)}"
    text += ": that much of the gain is content." if is_lost else "."
    return {"kind": "control", "tone": "good" if is_lost else "plain", "text": text}


def _metric(data: Data) -> dict[str, str] | None:
    ranked = data["candidates"]
    sure = [one for one in ranked if one["verdict"] == "identified"]
    if not ranked:
        return None
    if not sure:
        text = f"None of {len(ranked)} candidate metrics has an identified exchange rate in this study."
        return {"kind": "metric", "tone": "caution", "text": text}
    best = sure[0]
    text = (
        f"Of {len(ranked)} candidate metrics {len(sure)} have an identified rate; {words(best['metric'])} predicts the AUC of an unseen encoder best: off by "
        f"{100 * best['left_out_error']:.2f} points, against {100 * best['left_out_error_of_mean']:.2f} for guessing the mean (picked as the best of many, so "
        "flattered)."
    )
    return {"kind": "metric", "tone": "plain", "text": text}


def _is_above_zero(number: Data) -> bool:
    return number["low"] is not None and number["low"] > 0


def _with_interval(number: Data) -> str:
    if number["value"] is None:
        return "an unknown number"
    if number["low"] is None:
        return points(number["value"])
    return f"{points(number['value'])} [{points(number['low'])}, {points(number['high'])}]"
