"""`report.json` is the typed result and keeps its published schema; nothing else of the report works anything out."""

import json
from pathlib import Path

import pytest

from exchange_rate.analysis.results import Results, schema
from exchange_rate.report.write import write_points_report
from tests.exchange_rate.analysis.conftest import make_points
from tests.moon_rec.shop.description.test_files import faults

PUBLISHED = Path(__file__).parents[3] / "docs" / "report.schema.json"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_points_report(make_points(), tmp_path_factory.mktemp("r") / "report")


def test_the_json_is_the_result_itself(report):
    text = (report.folder / "report.json").read_text()
    assert Results.model_validate_json(text) == report.results
    assert "NaN" not in text and "Infinity" not in text


def test_the_json_keeps_the_published_schema(report):
    own = json.loads((report.folder / "report.schema.json").read_text())
    assert own == schema()
    assert json.loads(PUBLISHED.read_text()) == own, (
        "the results have changed: python -c 'import json; from exchange_rate.analysis.results import schema; "
        "print(json.dumps(schema(), indent=2, ensure_ascii=False))' > docs/report.schema.json"
    )
    data = json.loads((report.folder / "report.json").read_text())
    assert faults(data, own, own) == []


def test_what_breaks_the_schema_is_told(report):
    own = schema()
    data = json.loads((report.folder / "report.json").read_text())
    damaged = data | {"headline": [1], "counts": data["counts"] | {"paths": None, "more": 2}}
    told = " ".join(faults(damaged, own, own))
    for piece in ("$.headline[0]", "paths", "unknown more"):
        assert piece in told


def test_every_field_is_described():
    whole = schema()
    parts = {"": whole} | whole["$defs"]
    assert len(parts) > 30
    for name, part in parts.items():
        for field, about in part.get("properties", {}).items():
            referred = whole["$defs"].get(about.get("$ref", "").rsplit("/", 1)[-1], about)
            assert about.get("description") or referred.get("description"), f"{name}.{field}"


def test_a_result_holds_no_number_that_is_none(report):
    with pytest.raises(ValueError, match="finite"):
        type(report.results.rate.slope)(value=float("nan"), low=None, high=None, definition="")


def test_figures_stand_as_png_and_as_svg_with_names_on_their_marks(report):
    for name in ("exchange_rate", "checks", "candidates"):
        svg = (report.folder / "figures" / f"{name}.svg").read_text()
        assert svg.startswith("<?xml") and "<svg" in svg
        assert (report.folder / "figures" / f"{name}.png").stat().st_size > 5_000
    marks = (report.folder / "figures" / "exchange_rate.svg").read_text()
    assert "<title>encoder 3: image-search recall@10 0." in marks


def test_the_page_can_be_heard_and_walked_with_keys(report):
    page = report.page.read_text()
    assert page.index('<a class="skip" href="#answer">') < page.index("<main>")
    assert (
        page.count('role="img"') == page.count("<svg")
        and 'aria-label="Scatter of 7 encoders' in page
    )
    tables = page.count("<table>")
    assert tables > 4 and page.count('<caption class="unseen">') == tables
    assert page.count('role="region" tabindex="0"') == tables
    assert page.count('<th scope="row"') > 20 and "<th>" not in page
    for place in ("answer", "rate", "checks", "metrics", "encoders", "definitions"):
        assert f'id="{place}"' in page
