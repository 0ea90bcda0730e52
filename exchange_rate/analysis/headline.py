"""The answer in words, made of decided states (`exchange_rate.analysis.decision`): a number is said only where the points identify it, else the words say why there is none."""

from typing import Any

from exchange_rate.analysis.decision import PAIRS, Decided, decide, direction
from exchange_rate.report.drawing import words

Data = dict[str, Any]
NUM_RIVALS_NAMED = 3


def headline(data: Data) -> list[dict[str, str]]:
    """Sentences, the answer first; each with its `kind` (rate, paths, missing, gain, control or metric) and a `tone` (good, plain or caution)."""
    decided = decide(data)
    sentences = [_rate(data)]
    if text := data["missing"]["text"]:
        sentences.append({"kind": "missing", "tone": "caution", "text": text})
    if text := _paths(data):
        sentences.append({"kind": "paths", "tone": "caution", "text": text})
    for build in (_gain, _control, _metric):
        sentence = build(data, decided)
        if sentence is not None:
            sentences.append(sentence)
    return sentences


def scope(data: Data) -> str:
    """What all numbers of the report were measured on, to stand beside them wherever they are printed."""
    study, counts = data["study"], data["counts"]
    shop = study["shop"]
    if shop is None:
        return _scope_of_points(data)
    kind = "Simulated shop" if data["is_simulated"] else "Shop"
    sampled = f" Beside every AUC: {said}." if (said := shop.get("non_clicks")) else ""
    seeds = "one seed each" if study["num_seeds"] == 1 else f"{study['num_seeds']} seeds each"
    return (
        f"{kind} {shop['name']} ({shop['source']}), {study['period']} period, label {study['label']}: {counts['encoders']} encoders, {seeds}, "
        f"{counts['ranker_runs']} trained rankers; intervals at {100 * study['level']:.0f} %.{sampled}"
    )


def _scope_of_points(data: Data) -> str:
    study, counts = data["study"], data["counts"]
    kind = "Simulated points" if data["is_simulated"] else "Points"
    most = "one run each" if study["num_seeds"] == 1 else f"up to {study['num_seeds']} runs each"
    return (
        f"{kind} of {study['name']}, measured elsewhere: {counts['encoders']} encoders on {counts['paths']} training paths, {most} of "
        f"{data['rankers']['content']}, {counts['ranker_runs']} in all; intervals at {100 * study['level']:.0f} %."
    )


def points(value: float) -> str:
    """A difference of AUC in points of a hundredth, with its sign."""
    return f"{100 * value:+.2f}"


def _rate(data: Data) -> dict[str, str]:
    rate, metric = data["rates"]["auc"], words(data["study"]["steering_metric"])
    slope, count = rate["slope"], data["counts"]["encoders"]
    verdict, tone = rate["verdict"], "caution"
    if slope["value"] is None:
        text = f"No exchange rate can be given for {metric}: {rate['reason']}."
        return {"kind": "rate", "tone": tone, "text": text}
    ten = [points(slope[end] / 10) for end in ("value", "low", "high")]
    interval = f"{100 * data['study']['level']:.0f} % interval {ten[1]} to {ten[2]}"
    if verdict == "identified":
        tone = "good" if slope["value"] > 0 else "caution"
        text = f"Ten points of {metric} go with {ten[0]} points of AUC ({interval}, {count} encoders): the exchange rate is identified."
    elif verdict == "saturating":
        text = (
            f"Ten points of {metric} went with {ten[0]} points of AUC on average ({interval}, {count} encoders), but the exchange rate is saturating: "
            f"{rate['reason']}."
        )
    else:
        text = f"The exchange rate of {metric} is {verdict}: {rate['reason']} ({interval} points of AUC for ten points of {metric}, {count} encoders)."
    return {"kind": "rate", "tone": tone, "text": text}


def _paths(data: Data) -> str:
    """That checkpoints of one training are no independent encoders; empty where there are none."""
    encoders, paths = data["counts"]["encoders"], data["counts"]["paths"]
    if paths == encoders:
        return ""
    trainings = "one training" if paths == 1 else f"{paths} trainings"
    return f"The {encoders} encoders come from {trainings}: checkpoints of one training are alike, and the interval counts them as independent, so it is too narrow."


def _gain(data: Data, decided: Decided) -> dict[str, str] | None:
    if decided.gain == "missing":
        return None
    names, numbers = data["rankers"], data["comparison"][PAIRS[0]]
    how = "chosen on validation" if data["is_chosen_on_validation"] else "the plan's last"
    who = f"{names['content']} on the encoder {data['chosen_encoder']!r} ({how})"
    number = _with_interval(numbers["auc_gain"])
    text = {
        "gain": f"{who} gains {number} points of AUC over {names['baseline']}",
        "loss": f"{who} loses against {names['baseline']}: {number} points of AUC",
        "none": f"No gain is shown: {who} stands {number} points of AUC from {names['baseline']}, an interval that holds zero",
        "no interval": f"{who} stands {number} points of AUC from {names['baseline']}, without an interval",
    }[decided.gain]
    if decided.cold_gain != "missing":
        number = _with_interval(numbers["auc_gain_cold"])
        text += {
            "gain": f"; on cold items it gains {number}",
            "loss": f"; on cold items it loses: {number}",
            "none": f"; on cold items no gain is shown: {number}",
            "no interval": f"; on cold items {number}, without an interval",
        }[decided.cold_gain]
    text += "."
    if decided.is_one_seed:
        text += " One training a side: the interval holds the luck of users alone, so these two trainings are compared, not two rankers."
    if names["differences"]:
        text += f" The two rankers differ in more than content: {', '.join(names['differences'])}."
    is_won = {decided.gain, decided.cold_gain} <= {"gain", "missing"}
    is_good = is_won and not decided.is_one_seed and not names["differences"]
    return {"kind": "gain", "tone": "good" if is_good else "caution", "text": text}


def _control(data: Data, decided: Decided) -> dict[str, str] | None:
    if decided.gain == "missing":
        return None
    if decided.content == "no control":
        text = "The study has no permuted control: how much of a gain is content is not known."
        return {"kind": "control", "tone": "plain", "text": text}
    permuted, over = (data["comparison"][pair] for pair in PAIRS[1:])
    text = f"The same vectors permuted among items stand {_with_interval(permuted['auc_gain'])} points from ids only"
    if direction(permuted.get("auc_gain_cold")) != "missing":
        text += f" (on cold items {_with_interval(permuted['auc_gain_cold'])})"
    text += f", the true ones {_with_interval(over['auc_gain'])} points from the permuted: "
    text += {
        "all": "permuted vectors show no gain and the true ones beat them, so the gain is content.",
        "part": "that much of the gain is content, and the rest any vectors give.",
        "not shown": "true and permuted vectors are not told apart, so the gain is not shown to be content.",
        "none": "permuted vectors are better than the true ones, so the gain is not content.",
        "no gain": "as no gain over ids only is shown, none is said to be content.",
        "one seed": "with one training a side nothing is said of what is content.",
    }[decided.content]
    return {
        "kind": "control",
        "tone": "good" if decided.content in ("all", "part") else "plain",
        "text": text,
    }


def _metric(data: Data, decided: Decided) -> dict[str, str] | None:
    count = len(data["candidates"])
    if not count:
        return None
    if decided.best is None:
        text = f"None of {count} candidate metrics can be tried at predicting an unseen encoder: that needs four encoders of unlike metric or more."
        return {"kind": "metric", "tone": "caution", "text": text}
    best = next(one for one in data["candidates"] if one["metric"] == decided.best)
    name = words(decided.best)
    error, of_mean = best["left_out_error"], best["left_out_error_of_mean"]
    size = f"{_size(error)} points, against {_size(of_mean)} for guessing the mean (paired over {best['num_encoders']} encoders; the smallest of {count}, so flattered)"
    if decided.best_is == "no better than the mean":
        text = f"None of {count} candidate metrics is shown to predict the AUC of an unseen encoder better than guessing the mean; the smallest error is that of {name}: {size}."
        return {"kind": "metric", "tone": "caution", "text": text}
    if decided.best_is == "alone":
        text = f"Of {count} candidate metrics {name} predicts the AUC of an unseen encoder best, told from all others: off by {size}."
    else:
        text = f"Of {count} candidate metrics {name} has the smallest error at predicting the AUC of an unseen encoder: off by {size}. {_rivals(data, decided)}"
    text += f" Its own exchange rate is {best['verdict']}."
    return {"kind": "metric", "tone": "plain", "text": text}


def _rivals(data: Data, decided: Decided) -> str:
    count, steering = len(decided.rivals), data["study"]["steering_metric"]
    named = [words(one) for one in decided.rivals[:NUM_RIVALS_NAMED]]
    text = "1 other is" if count == 1 else f"{count} others are"
    more = "" if count <= len(named) else " first"
    text += f" not told from it ({', '.join(named)}{more})"
    if steering in decided.rivals[NUM_RIVALS_NAMED:]:
        text += f", the steering metric {words(steering)} among them"
    return text + "."


def _size(number: Data) -> str:
    """An error in points of AUC, with its interval where it has one."""
    text = f"{100 * number['value']:.2f}"
    if number["low"] is None:
        return text
    return f"{text} [{100 * number['low']:.2f}, {100 * number['high']:.2f}]"


def _with_interval(number: Data) -> str:
    if number["value"] is None:
        return "an unknown number"
    if number["low"] is None:
        return points(number["value"])
    return f"{points(number['value'])} [{points(number['low'])}, {points(number['high'])}]"
