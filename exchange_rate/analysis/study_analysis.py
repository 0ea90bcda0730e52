"""Evidence -> everything that a report says (`exchange_rate.analysis.results`), worked out once."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import polars as pl

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.definitions import definitions_of
from exchange_rate.analysis.encoders import cards_of, counts_of, encoders_of
from exchange_rate.analysis.headline import headline, scope
from exchange_rate.analysis.joint_draws import draws_of
from exchange_rate.analysis.judged import judged_of
from exchange_rate.analysis.laws import laws_of
from exchange_rate.analysis.planned import planned_of
from exchange_rate.analysis.rankers import comparisons_of, rankers_of
from exchange_rate.analysis.rates import pairs_of, rates_of, with_outcome
from exchange_rate.analysis.results import (
    About,
    AboutShop,
    Missing,
    Number,
    Reason,
    Results,
)
from exchange_rate.analysis.retrieved import with_retrieved
from exchange_rate.analysis.runs import runs_of
from exchange_rate.analysis.trust import blend_of, candidates_of, choice_of, disagreements_of
from exchange_rate.evidence.coverage import study_coverage
from exchange_rate.evidence.draws import StudyDraws
from exchange_rate.evidence.missing import missing, nothing_left, without_unusable
from exchange_rate.evidence.neighbour_file import StudyNeighbours
from exchange_rate.evidence.records import Study, encoder_metrics
from exchange_rate.names import CONTENT
from moon_rec.errors import StudyError

NONE: Mapping = MappingProxyType({})


def analyse(
    study: Study,
    ranker: str | None = None,
    draws: StudyDraws | None = None,
    *,
    neighbours: StudyNeighbours | None = None,
    tracking: tuple[str, str] = ("", ""),
    given: Mapping[str, Number] = NONE,
) -> Results:
    """Everything that the report says.

    Args:
        ranker: name of the headline's ranker; None takes the plan's first.
        draws: figures of all encoders under the same draws of users; None where there are none.
        neighbours: what the encoders find; None where that was not kept.
        tracking: address of the store, as it may be shown, and the experiment.
        given: AUC of encoders whose interval was given with it.

    Raises:
        StudyError: no such ranker, or none of its runs on vectors counts.
    """
    cells = Cells.of(study, ranker)
    content = cells.runs(cells.ranker, CONTENT)
    if content.is_empty():
        raise StudyError(nothing_left(study))
    steering, level = study.about["steering_metric"], study.about["level"]
    metrics = encoder_metrics(study, content)
    content, unusable = without_unusable(content, metrics)
    cells = replace(cells, study=replace(study, left_out=(*study.left_out, *unusable)))
    encoders = encoders_of(cells, content, steering, given)
    comparisons = comparisons_of(cells)
    rates = rates_of(cells, content, steering, draws)
    of = rates[0].outcome
    of_metrics = draws_of(draws, cells.ranker, metrics, content)
    judged = judged_of(content, metrics, steering, level, of_metrics)
    pairs, not_retrieved = with_retrieved(disagreements_of(judged, steering), cells, neighbours)
    found = Results(
        about=_about(cells, tracking),
        counts=counts_of(content, cells.table["run"].n_unique()),
        rates=rates,
        encoders=encoders,
        cards=cards_of(cells),
        choice=choice_of(judged),
        candidates=candidates_of(judged, cells, steering),
        blend=blend_of(judged),
        disagreements=pairs,
        not_retrieved=not_retrieved,
        rankers=rankers_of(cells, comparisons, rates),
        comparisons=comparisons,
        chosen_encoder=cells.chosen,
        is_chosen_on_validation=study.about["chosen_encoder"] is not None,
        laws=laws_of(encoders, cells, steering, level),
        plan=planned_of(with_outcome(cells, content, of), cells.ranker, steering, of, level, draws),
        pairwise=pairs_of(content, steering, level),
        runs=runs_of(cells, tracking[0]) if study.about["shop"] else (),
        coverage=study_coverage(study)["text"] if study.about["shop"] else NO_COVERAGE,
        missing=_missing(cells.study, content),
        definitions=definitions_of(cells, steering),
    )
    return found.model_copy(update={"scope": scope(found), "headline": headline(found)})


NO_COVERAGE = "A table of points says nothing of a baseline, of training tokens, or of which items have vectors. A study measures that (python -m exchange_rate.study)."


def _about(cells: Cells, tracking: tuple[str, str]) -> About:
    study, about = cells.study, cells.study.about
    shop = about["shop"]
    return About(
        kind="points" if shop is None else "study",
        id=study.id,
        is_simulated=bool(about["is_simulated"] if shop is None else shop["is_simulated"]),
        ranker=cells.ranker,
        shop=None if shop is None else AboutShop(**shop),
        tracking=tracking[0],
        experiment=tracking[1],
        **{name: about[name] for name in _OF_STUDY},
    )


_OF_STUDY = (
    *("name", "key", "steering_metric", "period", "label", "engagement"),
    *("num_seeds", "seed", "width", "level"),
)


def _missing(study: Study, content: pl.DataFrame) -> Missing:
    found = missing(study, content)
    parts = {
        name: tuple(Reason(**one) for one in found[name])
        for name in ("failed", "not_run", "left_out")
    }
    return Missing(text=found["text"], **parts)
