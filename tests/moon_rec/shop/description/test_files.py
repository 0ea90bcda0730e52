"""The folder that `shop describe --out` writes: the JSON keeps its schema, and says what the terminal and the page say."""

import importlib.util
import json
import math

from moon_rec.command import run
from moon_rec.shop import Shop
from moon_rec.shop.commands import main
from moon_rec.shop.description import Description, describe


def faults(value, schema, whole, place="$"):
    """Where a value breaks a JSON schema, by the words that ours use; an unknown word is a fault of this test."""
    known = {"$schema", "$defs", "$ref", "title", "description", "default", "format", "type", "const", "enum",
             "anyOf", "properties", "required", "additionalProperties", "items"}  # fmt: skip
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        return faults(value, whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole, place)
    if "anyOf" in schema:
        each = [faults(value, one, whole, place) for one in schema["anyOf"]]
        return [] if [] in each else min(each, key=len)
    kinds = {"null": type(None), "boolean": bool, "string": str, "integer": int, "number": (int, float), "object": dict, "array": list}  # fmt: skip
    wanted = schema.get("type")
    is_truth = isinstance(value, bool) and wanted != "boolean"
    if wanted and (is_truth or not isinstance(value, kinds[wanted])):
        return [f"{place}: {value!r} is no {wanted}"]
    if "const" in schema and value != schema["const"]:
        return [f"{place}: {value!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{place}: {value!r} is none of {schema['enum']}"]
    if isinstance(value, list):
        found = [
            faults(one, schema["items"], whole, f"{place}[{n}]") for n, one in enumerate(value)
        ]
        return [fault for some in found for fault in some]
    if not isinstance(value, dict):
        return []
    found = [f"{place}: no {name}" for name in schema.get("required", ()) if name not in value]
    further = schema.get("additionalProperties", True)
    for name, one in value.items():
        if name in schema.get("properties", {}):
            found += faults(one, schema["properties"][name], whole, f"{place}.{name}")
        elif further is False:
            found.append(f"{place}: unknown {name}")
        elif isinstance(further, dict):
            found += faults(one, further, whole, f"{place}.{name}")
    return found


def test_the_json_keeps_the_schema_beside_it(simulated):
    data = json.loads((simulated / "out" / "shop.json").read_text())
    schema = json.loads((simulated / "out" / "shop.schema.json").read_text())
    assert faults(data, schema, schema) == []
    assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12")
    damaged = data | {"headline": [1], "counts": data["counts"] | {"items": None, "more": 2}}
    damaged["drift"] = {"columns": [{"verdict": "huge"}]}
    told = " ".join(faults(damaged, schema, schema))
    for piece in ("$.headline[0]", "items", "unknown more", "verdict", "no definition"):
        assert piece in told
    if importlib.util.find_spec("jsonschema"):
        from jsonschema import Draft202012Validator

        Draft202012Validator.check_schema(schema)
        assert list(Draft202012Validator(schema).iter_errors(data)) == []
        assert list(Draft202012Validator(schema).iter_errors(damaged))


def test_the_json_is_the_result_itself(simulated):
    text = (simulated / "out" / "shop.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    found = describe(Shop.open(simulated / "shop"), checked=True)
    assert Description.model_validate_json(text) == found


def test_every_field_is_described_in_the_schema(simulated):
    schema = json.loads((simulated / "out" / "shop.schema.json").read_text())
    parts = {"": schema} | schema["$defs"]
    for name, part in parts.items():
        for field, about in part.get("properties", {}).items():
            part_of_it = schema["$defs"].get(about.get("$ref", "").rsplit("/", 1)[-1], about)
            assert part_of_it.get("description"), f"{name}.{field}"


def test_every_estimate_has_an_interval_a_definition_and_a_source(simulated):
    data = json.loads((simulated / "out" / "shop.json").read_text())

    def walk(value, place):
        if isinstance(value, dict):
            if {"value", "low", "high", "count"} <= set(value):
                yield place, value
            for name, one in value.items():
                yield from walk(one, f"{place}.{name}")
        elif isinstance(value, list):
            for one in value:
                yield from walk(one, place)

    shares = list(walk(data, "$"))
    assert len(shares) > 100
    for place, one in shares:
        counted = place.endswith((".cold_items", ".cold_users", ".cold_impressions"))
        if one["value"] is not None and not counted:
            assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1 and one["count"] > 0, place
    for part in (data["days"], data["places"], data["drift"], *data["spreads"]):
        assert part["definition"] and part["source"]
    assert data["provenance"]["is_simulated"] and "Simulated" in data["headline"][0]
    assert all(math.isfinite(one["index"]) for one in data["drift"]["columns"])


def test_the_terminal_prints_the_same_numbers(simulated, capsys):
    assert run(main, ["describe", str(simulated / "shop")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    data = json.loads((simulated / "out" / "shop.json").read_text())
    for sentence in data["headline"][:3]:
        assert sentence in out
    for column in data["drift"]["columns"][:3]:
        assert f"{column['index']:.3f}" in out
    assert "SIMULATED" in out and f"{data['counts']['impressions']:,}" in out
