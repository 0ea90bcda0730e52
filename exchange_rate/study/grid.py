"""A plan -> the cells of its study, and what each one needs."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from exchange_rate.names import BASELINE, CONTENT, PERMUTED, RankerNames, Role, run_name
from exchange_rate.study.cell_files import CellSpec
from exchange_rate.study.cells import code_of
from exchange_rate.study.plan import EncoderRun, StudyConfig
from exchange_rate.study.schedule import Cell, Finished
from moon_rec.errors import StudyError
from moon_rec.shop import Shop

# Processor seconds of one thread with AVX-512, measured on the demo's shop; the schedule corrects them as it goes.
SECONDS_TO_BEGIN = 0.5
SECONDS_PER_PAIR = 1.2e-3
SECONDS_PER_QUESTION = 1.5e-3
SECONDS_PER_VECTOR = 4e-4
SECONDS_PER_IMPRESSION = 1e-5
SECONDS_PER_RESAMPLED_IMPRESSION = 4e-9


def study_cells(shop: Shop, config: StudyConfig, period: str) -> list[Cell]:
    """All cells of a study, each after those it needs."""
    return _Grid(shop, config, period).cells


class _Grid:
    def __init__(self, shop: Shop, config: StudyConfig, period: str):
        self._config, self._period = config, period
        self._shop = (str(shop.path), shop.digest)
        self._num_vectors = _height(shop.items) + _height(shop.searches)
        self._num_impressions = _height(shop.impressions)
        self._seeds = [config.seed + number for number in range(config.num_seeds)]
        self._names = RankerNames.of("", config.ranker, config.ids_ranker)
        self.cells: list[Cell] = []
        self._names_of_cells: set[str] = set()
        for run in config.encoders:
            self._add_path(run)
        baseline = [self._add_ranker(BASELINE, None, seed) for seed in self._seeds]
        for name in config.encoder_names():
            own = [self._add_ranker(CONTENT, name, seed) for seed in self._seeds]
            self._add_comparison(CONTENT, name, BASELINE, baseline, own)
        if config.permuted_control:
            own = [self._add_ranker(PERMUTED, None, seed) for seed in self._seeds]
            self._add_comparison(PERMUTED, None, BASELINE, baseline, own)
            self._add_comparison(CONTENT, None, PERMUTED, own, None)

    def _add(
        self,
        name: str,
        kind: str,
        needs: tuple[str, ...],
        cost: float,
        make: Callable[[Finished], CellSpec],
        takes: Callable[[Finished], Sequence[str]] | None = None,
    ) -> str:
        if name not in self._names_of_cells:
            self._names_of_cells.add(name)
            self.cells.append(Cell(name, kind, needs, make, SECONDS_TO_BEGIN + cost, takes))
        return name

    def _spec(
        self,
        kind: str,
        name: str,
        settings: dict[str, Any],
        inputs: dict[str, tuple[str, str]],
        labels: dict[str, Any] | None = None,
    ) -> CellSpec:
        return CellSpec(kind, name, settings, inputs, self._shop, labels or {}, code_of(kind))

    def _add_path(self, run: EncoderRun) -> None:
        """The stages of one path, shared with other paths where they are the same, and the encoders it yields."""
        config = self._config
        settings = {"backbone": config.backbone.model_dump(mode="json"), "seed": config.seed}
        start = self._spec("start", "random weights", settings, {})
        path = [self._add("start", "start", (), 2.0, lambda done: start)]
        if run.pretraining is not None:
            path.append(self._add_stage("pretraining", run.pretraining, path[-1]))
        if run.posttraining is not None:
            path.append(self._add_stage("posttraining", run.posttraining, path[-1]))
        for name, step in run.encoders():
            self._add_encoder(run, name, step, path)

    def _add_stage(self, kind: str, config: Any, start: str) -> str:
        settings = {"config": config.model_dump(mode="json")}
        name = f"{kind} {config.digest()} after {start}"
        per_row = SECONDS_PER_PAIR if kind == "posttraining" else SECONDS_PER_QUESTION

        def make(done: Finished) -> CellSpec:
            inputs = {"start": _output(done, start, "encoder")}
            return self._spec(kind, name, settings, inputs)

        return self._add(name, kind, (start,), per_row * config.steps * config.batch_size, make)

    def _add_encoder(self, run: EncoderRun, name: str, step: int | None, path: list[str]) -> None:
        config = self._config
        settings = {
            "period": self._period,
            "width": config.width,
            "engagement": config.engagement,
            "ks": list(config.ks),
        }
        output = "encoder" if step is None else f"step {step}"

        def make(done: Finished) -> CellSpec:
            labels = {"encoder": name, "is_trained": run.posttraining is not None}
            labels |= {"origin": "trained here"} | _training(run, step, [done[cell] for cell in path])
            inputs = {"encoder": _output(done, path[-1], output)}
            return self._spec("encoder", name, settings, inputs, labels)

        cost = SECONDS_PER_VECTOR * self._num_vectors
        self._add(_encoder_cell(name), "encoder", (path[-1],), cost, make)

    def _add_ranker(self, role: Role, encoder: str | None, seed: int) -> str:
        """One seed of a ranker; the permuted control has no encoder of its own but the one that validation chooses."""
        config = self._config
        own = config.ids_ranker if role == BASELINE else config.ranker
        settings = {
            "config": own.model_copy(update={"seed": seed}).model_dump(mode="json"),
            "features": config.features.model_dump(mode="json"),
            "label": config.features.label,
            "period": self._period,
            "width": config.width,
            "permuted": seed if role == PERMUTED else None,
            "num_resamples": config.num_resamples,
            "keep_rankers": config.keep_rankers,
        }

        def make(done: Finished) -> CellSpec:
            name = self._chosen(done) if role == PERMUTED else encoder
            labels = {"ranker": self._names.name, "role": role, "encoder": name, "seed": seed}
            inputs = {}
            if name is not None:
                tables = ("items", "queries")
                inputs = {table: _output(done, _encoder_cell(name), table) for table in tables}
            label = run_name(self._names.of_role(role), name, seed)
            return self._spec("ranker", label, settings, inputs, labels)

        needs = () if role == BASELINE else self._encoder_cells(encoder)
        cost = SECONDS_PER_IMPRESSION * self._num_impressions * own.epochs
        cost += 2 * SECONDS_PER_RESAMPLED_IMPRESSION * self._num_impressions * config.num_resamples
        return self._add(_ranker_cell(role, encoder, seed), "ranker", needs, cost, make)

    def _add_comparison(
        self, role: Role, encoder: str | None, other: Role, a: list[str], b: list[str] | None
    ) -> None:
        """A ranker against another over all seeds; without `b` it is the ranker on the encoder that validation chooses."""
        settings = {
            "a": self._names.of_role(other),
            "b": self._names.of_role(role),
            "label": self._config.features.label,
            "num_resamples": self._config.num_resamples,
        }

        def make(done: Finished) -> CellSpec:
            name = encoder or self._chosen(done)
            right = b or [_ranker_cell(CONTENT, name, seed) for seed in self._seeds]
            inputs = {f"a{number}": _output(done, cell, "scores") for number, cell in enumerate(a)}
            inputs |= {
                f"b{number}": _output(done, cell, "scores") for number, cell in enumerate(right)
            }
            labels = {"ranker": self._names.name, "role": role, "encoder": name}
            labels |= {"against": other}
            label = f"{self._names.of_role(role)} against {self._names.of_role(other)}, {name}"
            return self._spec("comparison", label, settings, inputs, labels)

        def takes(done: Finished) -> list[str]:
            if not all(name in done for name in a):
                return a
            return [
                *a,
                *(_ranker_cell("content", self._chosen(done), seed) for seed in self._seeds),
            ]

        needs = (*a, *(b or self._all_rankers()))
        rows = self._num_impressions * self._config.num_resamples * self._config.num_seeds
        cost = SECONDS_PER_RESAMPLED_IMPRESSION * rows
        name = f"comparison {role} against {other} {encoder or 'chosen'}"
        self._add(name, "comparison", needs, cost, make, None if b else takes)

    def _encoder_cells(self, encoder: str | None) -> tuple[str, ...]:
        """The cell of one encoder, or of all, from which validation chooses."""
        names = [encoder] if encoder is not None else self._config.encoder_names()
        return tuple(_encoder_cell(name) for name in names)

    def _all_rankers(self) -> list[str]:
        names = self._config.encoder_names()
        return [_ranker_cell(CONTENT, name, seed) for name in names for seed in self._seeds]

    def _chosen(self, done: Finished) -> str:
        """The encoder that is best by the steering metric on the validation period; the first of equals.

        Raises:
            StudyError: the steering metric could not be measured on every encoder.
        """
        metric = f"validation.{self._config.steering_metric}"
        values = {}
        for name in self._config.encoder_names():
            estimates = done[_encoder_cell(name)][1].estimates
            if metric not in estimates:
                known = ", ".join(key for key in estimates if not key.startswith("validation."))
                raise StudyError(
                    f"steering_metric {self._config.steering_metric!r} could not be measured on {name!r} in the validation "
                    f"period; choose one of {known}, or set permuted_control = false"
                )
            values[name] = estimates[metric].value
        return max(values, key=lambda name: values[name])


def _training(
    run: EncoderRun, step: int | None, path: list[tuple[CellSpec, Any]]
) -> dict[str, str | float]:
    """What an encoder has seen: the axes of a scaling study."""
    tokens = {"pretraining": 0.0, "posttraining": 0.0}
    pairs = 0.0
    stages = []
    for spec, result in path:
        if spec.kind == "pretraining":
            tokens["pretraining"] = result.numbers["pretraining_tokens"]
            stages.append("pretraining")
        elif spec.kind == "posttraining":
            tokens["posttraining"] = result.numbers[f"tokens at step {step}"]
            pairs = result.numbers[f"pairs at step {step}"]
            stages.append("posttraining")
    negatives = 0
    if run.posttraining is not None:
        negatives = run.posttraining.num_used
    return {
        "path": run.name,
        "stages": " + ".join(stages) or "none",
        "pretraining_tokens": tokens["pretraining"],
        "posttraining_tokens": tokens["posttraining"],
        "training_tokens": sum(tokens.values()),
        "posttraining_pairs": pairs,
        "negatives": float(negatives),
    }


def _output(done: Finished, cell: str, name: str) -> tuple[str, str]:
    """Key of a finished cell, with its kind and the path of an output inside its folder."""
    spec, result = done[cell]
    return spec.key, f"{spec.kind}/{result.outputs[name]}"


def _encoder_cell(name: str) -> str:
    return f"encoder {name}"


def _ranker_cell(ranker: str, encoder: str | None, seed: int) -> str:
    return f"ranker {ranker} {encoder or ''} seed {seed}"


def _height(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())
