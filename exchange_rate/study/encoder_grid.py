"""The encoders of a plan -> their cells: trainings, and the tables of each with its metrics."""

from collections.abc import Mapping
from typing import Any

from exchange_rate.study.cell_list import (
    SECONDS_PER_PAIR,
    SECONDS_PER_QUESTION,
    SECONDS_PER_READ_VECTOR,
    SECONDS_PER_VECTOR,
    CellList,
    output,
)
from exchange_rate.study.encoder_plan import EncoderRun, PlannedEncoder
from exchange_rate.study.outside import Found
from exchange_rate.study.schedule import Finished

ORIGINS = {
    "random": "trained here",
    "training": "trained here",
    "folder": "folder",
    "hub": "hub",
    "brought": "brought",
    "mixture": "mixture",
}
TABLES = ("items", "queries")
STAGES = {"pretraining": "pretraining", "posttraining": "post-training"}


def encoder_cell(name: str) -> str:
    """The cell of an encoder."""
    return f"encoder {name}"


class EncoderGrid:
    """Lists the cells of encoders; trainings that share a stage share its cell."""

    def __init__(self, cells: CellList, outside: Found):
        self._list, self._config, self._outside = cells, cells.config, outside
        self._stages: dict[tuple[str, ...], str] = {}
        self._trained: dict[str, bool] = {}
        self._paths: dict[str, str] = {}

    def add_all(self) -> None:
        """The cells of every encoder."""
        for entry in self._config.encoders:
            stages = self._add_stages(entry)
            for one in entry.encoders():
                self._trained[one.name] = entry.is_trained(self._trained)
                self._paths[one.name] = self.path_of(entry, self._paths)
                self._add_encoder(entry, one, stages)

    @staticmethod
    def path_of(entry: EncoderRun, paths: Mapping[str, str]) -> str:
        """The path that the plan gives, or its own name; of a mixture of one path, that path. `paths` are those of the encoders before it."""
        parts = {paths[name] for name in entry.mixture or ()}
        return entry.path or (parts.pop() if len(parts) == 1 else entry.name)

    def _add_stages(self, entry: EncoderRun) -> list[str]:
        """The cells of its trainings, from where they start."""
        if entry.source not in ("random", "training"):
            return []
        if entry.start is not None:
            stages, before = [], ("start", self._outside[entry.name]["start"].digest)
        else:
            backbone = self._config.backbone.model_dump(mode="json")
            settings = {"backbone": backbone, "seed": self._config.seed}
            start = self._list.spec("start", "random weights", settings, {})
            before = ("start",)
            if before not in self._stages:
                self._stages[before] = self._list.add("start", "start", (), 2.0, lambda done: start)
            stages = [self._stages[before]]
        for kind in STAGES:
            config = getattr(entry, kind)
            if config is None:
                continue
            read = [one.digest for one in self._augmented(entry, kind).values()]
            before = (*before, kind, config.digest(), *read)
            if before not in self._stages:
                self._stages[before] = self._add_stage(entry, kind, stages[-1] if stages else None)
            stages.append(self._stages[before])
        return stages

    def _augmented(self, entry: EncoderRun, kind: str) -> dict[str, Any]:
        """The co-augmentation that a training of that kind reads, if any."""
        found = self._outside[entry.name]
        is_read = kind == "posttraining" and "co_augmentation" in found
        return {"co_augmentation": found["co_augmentation"]} if is_read else {}

    def _add_stage(self, entry: EncoderRun, kind: str, start: str | None) -> str:
        config = getattr(entry, kind)
        settings = {"config": config.model_dump(mode="json")}
        name = f"{entry.name} · {STAGES[kind]}"
        per_row = SECONDS_PER_PAIR if kind == "posttraining" else SECONDS_PER_QUESTION
        outside = {} if start else {"start": _place(self._outside[entry.name]["start"])}
        outside |= {key: _place(one) for key, one in self._augmented(entry, kind).items()}

        def make(done: Finished) -> Any:
            inputs = {"start": _last_of(done, start)} if start else {}
            return self._list.spec(kind, name, settings, inputs, outside=outside)

        needs = (start,) if start else ()
        return self._list.add(name, kind, needs, per_row * config.steps * config.batch_size, make)

    def _add_encoder(self, entry: EncoderRun, one: PlannedEncoder, stages: list[str]) -> None:
        config, name = self._config, one.name
        settings: dict[str, Any] = {
            "source": "width" if one.width else entry.source,
            "period": self._list.period,
            "width": config.width,
            "engagement": config.engagement,
            "ks": list(config.ks),
            "draws": config.draws,
        }
        settings |= {"prefix": one.width} if one.width else _settings_of(entry)
        found = self._outside[entry.name]
        outside = (
            {}
            if one.width
            else {read: _place(found[key]) for key, read in _READ_AS.items() if key in found}
        )
        outside.pop("start", None)
        labels: dict[str, Any] = {"encoder": name, "path": self._paths[name]}
        labels |= {"is_trained": self._trained[name]}
        labels |= {"origin": "width" if one.width else ORIGINS[entry.source]}
        labels |= self._recipe_labels(entry)
        needs = self._needs(entry, one, stages)

        def make(done: Finished) -> Any:
            told = labels | _seen(entry, one.step, done, stages)
            inputs = self._inputs(entry, one, stages, done)
            return self._list.spec("encoder", name, settings, inputs, told, outside)

        is_read = one.width is not None or entry.source in ("brought", "mixture")
        each = SECONDS_PER_READ_VECTOR if is_read else SECONDS_PER_VECTOR
        self._list.add(encoder_cell(name), "encoder", needs, each * self._list.num_vectors, make)

    def _recipe_labels(self, entry: EncoderRun) -> dict[str, str]:
        """The recipe that it was trained by, in the plan or, of a folder, elsewhere, with its card; empty without."""
        brought = self._outside[entry.name].get("folder")
        mark = entry.recipe_mark() if brought is None else brought.recipe
        return {} if mark is None else {name: text for name, text in mark.labels().items() if text}

    def _needs(self, entry: EncoderRun, one: PlannedEncoder, stages: list[str]) -> tuple[str, ...]:
        if one.width is not None:
            return (encoder_cell(entry.name), *stages)
        return (*(encoder_cell(name) for name in entry.mixture or ()), *stages)

    def _inputs(
        self, entry: EncoderRun, one: PlannedEncoder, stages: list[str], done: Finished
    ) -> dict[str, tuple[str, str]]:
        if one.width is not None:
            return _tables_of(done, entry.name)
        if entry.mixture is not None:
            parts = [_tables_of(done, name) for name in entry.mixture]
            return {
                f"{table}{place}": where
                for place, part in enumerate(parts)
                for table, where in part.items()
            }
        if not stages:
            return {}
        last = "encoder" if one.step is None else f"step {one.step}"
        return {"encoder": output(done, stages[-1], last)}


_READ_AS = {"start": "start", "folder": "encoder", "hub": "encoder"} | {
    name: name for name in ("items", "searches")
}
"""What a cell calls what the plan names."""


def _place(one: Any) -> tuple[str, str]:
    return one.path, one.digest


def _settings_of(entry: EncoderRun) -> dict[str, Any]:
    """What else decides its tables."""
    if entry.mixture is not None:
        return {"weights": [*entry.mixture.values()]}
    if entry.items is not None:
        return {
            "items_ids": entry.item_ids,
            "searches_ids": entry.search_ids,
            "widths": [*entry.widths],
        }
    return {}


def _tables_of(done: Finished, encoder: str) -> dict[str, tuple[str, str]]:
    cell = encoder_cell(encoder)
    outputs = done[cell][1].outputs
    return {table: output(done, cell, table) for table in TABLES if table in outputs}


def _last_of(done: Finished, cell: str) -> tuple[str, str]:
    return output(done, cell, "encoder")


def _seen(
    entry: EncoderRun, step: int | None, done: Finished, stages: list[str]
) -> dict[str, str | float]:
    """What an encoder has seen in trainings of the plan: the axes of a scaling study."""
    tokens = {"pretraining": 0.0, "posttraining": 0.0}
    pairs, named = 0.0, []
    for spec, result in (done[cell] for cell in stages):
        if spec.kind == "pretraining":
            tokens["pretraining"] = result.numbers["pretraining_tokens"]
            named.append("pretraining")
        elif spec.kind == "posttraining":
            tokens["posttraining"] = result.numbers[f"tokens at step {step}"]
            pairs = result.numbers[f"pairs at step {step}"]
            named.append("posttraining")
    negatives = 0 if entry.posttraining is None else entry.posttraining.num_used
    none = "none" if entry.source == "random" else entry.source
    return {
        "stages": " + ".join(named) or none,
        "pretraining_tokens": tokens["pretraining"],
        "posttraining_tokens": tokens["posttraining"],
        "training_tokens": sum(tokens.values()),
        "posttraining_pairs": pairs,
        "negatives": float(negatives),
    }
