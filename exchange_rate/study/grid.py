"""A plan -> the cells of its study, and what each one needs."""

from collections.abc import Mapping
from typing import Any

from exchange_rate.names import (
    BASELINE,
    CONTENT,
    PERMUTED,
    REFERENCE,
    Reference,
    Role,
    run_name,
)
from exchange_rate.study.cell_list import (
    SECONDS_PER_IMPRESSION,
    SECONDS_PER_RESAMPLED_IMPRESSION,
    CellList,
    output,
)
from exchange_rate.study.encoder_grid import TABLES, EncoderGrid, encoder_cell
from exchange_rate.study.outside import Found, find_outside
from exchange_rate.study.plan import RankerPlan, StudyConfig
from exchange_rate.study.schedule import Cell, Finished
from moon_rec.files import digest_of
from moon_rec.shop import Shop
from ranking.chosen_settings import SHARES
from ranking.config import RankerConfig
from ranking.features import FeatureConfig


def study_cells(
    shop: Shop, config: StudyConfig, period: str, outside: Found | None = None
) -> list[Cell]:
    """All cells of a study, each after those it needs.

    Args:
        outside: what the plan names from outside; found here where it is not given.

    Raises:
        StudyError: something of that is missing or does not go with the shop.
    """
    outside = find_outside(shop, config) if outside is None else outside
    cells = CellList(shop, config, period)
    EncoderGrid(cells, outside).add_all()
    _RankerGrid(cells).add_all()
    return cells.cells


class _RankerGrid:
    """Lists rankers and comparisons; rankers with equal baselines share its trainings."""

    def __init__(self, cells: CellList):
        self._list, self._config = cells, cells.config
        self._seeds = cells.config.ranker_seeds()
        self._baselines: dict[str, list[str]] = {}
        self._choices: dict[str, str] = {}

    def add_all(self) -> None:
        for plan in self._config.rankers:
            baseline = self._add_baseline(plan)
            for encoder in self._config.encoder_names():
                content = [self._add_ranker(plan, CONTENT, encoder, one) for one in self._seeds]
                self._compare(plan, encoder, (BASELINE, baseline), (CONTENT, content))
                if self._config.is_permuted(encoder):
                    own = [self._add_ranker(plan, PERMUTED, encoder, one) for one in self._seeds]
                    self._compare(plan, encoder, (BASELINE, baseline), (PERMUTED, own))
                    self._compare(plan, encoder, (PERMUTED, own), (CONTENT, content))
        for reference, name in self._config.reference_names().items():
            self._add_reference(reference, name)

    def _add_reference(self, reference: Reference, name: str) -> None:
        """Its trainings, and its comparison with every baseline."""
        own = [self._add_reference_training(reference, name, seed) for seed in self._seeds]
        for key, baseline in self._baselines.items():
            self._compare_reference(name, own, self._sharing(key), baseline)

    def _sharing(self, key: str) -> list[RankerPlan]:
        """The rankers over one baseline."""
        return [one for one in self._config.rankers if _baseline_key(self._config, one) == key]

    def _add_baseline(self, plan: RankerPlan) -> list[str]:
        key = _baseline_key(self._config, plan)
        if key not in self._baselines:
            sharing = self._sharing(key)
            self._baselines[key] = [
                self._add_ranker(plan, BASELINE, None, seed, sharing) for seed in self._seeds
            ]
        return self._baselines[key]

    def _choice(self, plan: RankerPlan) -> str | None:
        """The cell that chooses the settings of a baseline and of the rankers over it; None where nothing is chosen."""
        if plan.trees or not self._config.follow_validation:
            return None
        key = _baseline_key(self._config, plan)
        if key not in self._choices:
            self._choices[key] = self._add_choice(plan)
        return self._choices[key]

    def _add_choice(self, plan: RankerPlan) -> str:
        own = plan.without_content().model_copy(update={"seed": self._seeds[0]})
        features = self._config.features_of(plan)
        settings = {
            "config": own.model_dump(mode="json"),
            "features": features.model_dump(mode="json"),
        }
        name = f"{plan.names(self._config.features).baseline} · settings by validation"
        if self._choices:
            name += f", {len(self._choices) + 1}"

        def make(done: Finished) -> Any:
            return self._list.spec("choice", name, settings, {})

        cost = SECONDS_PER_IMPRESSION * self._list.num_impressions * own.epochs * len(SHARES)
        return self._list.add(f"choice {name}", "choice", (), cost, make)

    def _add_ranker(
        self,
        plan: RankerPlan,
        role: Role,
        encoder: str | None,
        seed: int,
        sharing: list[RankerPlan] | None = None,
    ) -> str:
        """One training of a ranker; a baseline is that of all rankers in `sharing`."""
        config, features = self._config, self._config.features_of(plan)
        own = plan.without_content() if role == BASELINE else plan.ranker
        own = None if plan.trees else own.model_copy(update={"seed": seed})
        choice = self._choice(plan)
        settings = self._settings(seed, features) | {
            "config": None if own is None else own.model_dump(mode="json"),
            "permuted": seed if role == PERMUTED else None,
            "keep_rankers": config.keep_rankers,
        }
        names = plan.names(config.features)
        labels = [
            {
                "ranker": one.names(config.features).name,
                "role": role,
                "encoder": encoder,
                "seed": seed,
            }
            for one in sharing or [plan]
        ]
        name = run_name(names.of_role(role), encoder, seed)
        if role == BASELINE and len(self._config.rankers) > len(sharing or ()):
            name += f", for {names.name}"

        def make(done: Finished) -> Any:
            inputs = {}
            if encoder is not None:
                outputs = done[encoder_cell(encoder)][1].outputs
                tables = [table for table in TABLES if table in outputs]
                inputs = {table: output(done, encoder_cell(encoder), table) for table in tables}
            told = settings
            if choice is not None and own is not None:
                told = settings | {"config": _as_chosen(own, done[choice][1].numbers)}
            return self._list.spec("ranker", name, told, inputs, labels[0], also=labels[1:])

        needs = () if encoder is None else (encoder_cell(encoder),)
        needs += () if choice is None else (choice,)
        cost = SECONDS_PER_IMPRESSION * self._list.num_impressions * (own.epochs if own else 1)
        cost += self._resampling(2)
        return self._list.add(f"ranker {name}", "ranker", needs, cost, make)

    def _add_reference_training(self, reference: Reference, name: str, seed: int) -> str:
        settings = self._settings(seed, self._config.features) | {"reference": reference}
        labels = {"ranker": name, "role": REFERENCE, "encoder": None, "seed": seed}
        run = run_name(name, REFERENCE, seed)

        def make(done: Finished) -> Any:
            return self._list.spec("ranker", run, settings, {}, labels)

        cost = SECONDS_PER_IMPRESSION * self._list.num_impressions + self._resampling(2)
        return self._list.add(f"ranker {run}", "ranker", (), cost, make)

    def _settings(self, seed: int, features: FeatureConfig) -> dict[str, Any]:
        """What every training that is scored is told."""
        return {
            "seed": seed,
            "features": features.model_dump(mode="json"),
            "label": features.label,
            "period": self._list.period,
            "width": self._config.width,
            "config": None,
            "reference": None,
            "permuted": None,
            "num_resamples": self._config.num_resamples,
            "draws": self._config.draws,
            "keep_rankers": False,
        }

    def _compare_reference(
        self, name: str, own: list[str], sharing: list[RankerPlan], baseline: list[str]
    ) -> None:
        """Against a baseline, which may be that of several rankers."""
        names = [plan.names(self._config.features) for plan in sharing]
        labels = [
            {
                "ranker": one.name,
                "role": REFERENCE,
                "encoder": None,
                "against": BASELINE,
                "reference": name,
            }
            for one in names
        ]
        title = f"{REFERENCE} · {name} against {names[0].baseline}"
        if len(self._baselines) > 1:
            title += f", for {names[0].name}"
        self._add_comparison(title, (names[0].baseline, baseline), (name, own), labels)

    def _compare(
        self, plan: RankerPlan, encoder: str, a: tuple[Role, list[str]], b: tuple[Role, list[str]]
    ) -> None:
        """B against A, over all seeds."""
        names = plan.names(self._config.features)
        labels = {"ranker": names.name, "role": b[0], "encoder": encoder, "against": a[0]}
        against, ours = ((names.of_role(role), cells) for role, cells in (a, b))
        self._add_comparison(f"{encoder} · {ours[0]} against {against[0]}", against, ours, [labels])

    def _add_comparison(
        self,
        name: str,
        a: tuple[str, list[str]],
        b: tuple[str, list[str]],
        labels: list[dict[str, Any]],
    ) -> None:
        """B against A, each what it is called and the cells of its trainings."""
        settings = {
            "a": a[0],
            "b": b[0],
            "label": self._config.features.label,
            "num_resamples": self._config.num_resamples,
            "segments": [*self._config.segments],
        }

        def make(done: Finished) -> Any:
            inputs = {
                f"{side}{place}": output(done, cell, "scores")
                for side, (_, cells) in (("a", a), ("b", b))
                for place, cell in enumerate(cells)
            }
            return self._list.spec("comparison", name, settings, inputs, labels[0], also=labels[1:])

        cost = self._resampling(len(self._seeds))
        self._list.add(f"comparison {name}", "comparison", (*a[1], *b[1]), cost, make)

    def _resampling(self, times: int) -> float:
        rows = self._list.num_impressions * self._config.num_resamples
        return times * SECONDS_PER_RESAMPLED_IMPRESSION * rows


def _baseline_key(config: StudyConfig, plan: RankerPlan) -> str:
    features = config.features_of(plan)
    baseline = "trees" if plan.trees else plan.without_content().digest()
    return digest_of([baseline, features.digest()])


def _as_chosen(own: RankerConfig, chosen: Mapping[str, float]) -> dict[str, Any]:
    """A ranker's settings with those that validation chose."""
    of_all = {"unknown_rate": chosen["unknown_rate"], "epochs": int(chosen["epochs"])}
    settings = own.model_dump() | of_all | {"kept_epoch": "last"}
    return RankerConfig.reading(**settings).model_dump(mode="json")
